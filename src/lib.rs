//! Elects one leader among the replicas of an application on Kubernetes.
#![forbid(unsafe_code)]

pub mod api;
pub mod candidate;
pub mod cli;
pub mod clock;
pub mod credentials;
pub mod duration;
pub mod election;
pub mod http;
pub mod lines;
pub mod lock;
pub mod logging;
pub mod place;
pub mod random;
pub mod record;
pub mod report;
pub mod requester;
pub mod rfc3339;
pub mod run;
pub mod signals;
pub mod status;
pub mod watcher;
