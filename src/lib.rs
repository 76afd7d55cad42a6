//! Elects one leader among the replicas of an application on Kubernetes.
#![forbid(unsafe_code)]

pub mod api;
pub mod clock;
pub mod credentials;
pub mod duration;
pub mod election;
pub mod http;
pub mod lock;
pub mod record;
pub mod rfc3339;
pub mod status;
