//! Elects one leader among the replicas of an application on Kubernetes.
#![forbid(unsafe_code)]

pub mod clock;
pub mod lock;
pub mod status;
