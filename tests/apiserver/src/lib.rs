//! An in-memory Kubernetes API server for tests and demonstrations.
//!
//! It keeps Endpoints, ConfigMaps, Leases and EndpointSlices, and answers as a kube-apiserver 1.36 was measured
//! to answer: conflicts, unconditional updates, watches, validation, access rules, and the
//! `Status` objects that say so. `kubectl` can be pointed at it. It knows nothing of what is
//! tested with it, and does what a test needs of a server that fails: see [`Fault`],
//! [`Server::freeze`], [`Server::down`] and [`Server::cut_watches`].
//!
//! ```
//! use apiserver::{Options, Server};
//! use serde_json::json;
//!
//! let server = Server::start(Options::default())?;
//! server.put("leases", "default", json!({"metadata": {"name": "example"}}));
//! assert_eq!(server.history().len(), 1);
//! # std::io::Result::Ok(())
//! ```
//!
//! What it does not have: other resources, label selectors, dry runs, server-side apply, strategic
//! merge (taken as a merge patch), schemas, finalizers that hold up a delete, and protobuf. Fields
//! it does not know are kept, where the real server drops them.
//!
//! One thread a connection, all blocking. The modules from the outside in: `listener` accepts,
//! `connection` goes through requests and faults, `http` and `wire` read and write, `call`
//! understands, `api` acts, `store` keeps, `history` remembers and tells, `watch` streams.

#![forbid(unsafe_code)]

mod access;
mod activity;
mod api;
mod call;
mod client_certs;
mod connection;
mod discovery;
mod endpoint_slice;
mod fault;
mod gate;
mod history;
mod http;
mod inbox;
mod listener;
mod log;
mod object;
mod patch;
mod resource;
mod server;
mod status;
mod store;
mod table;
mod time;
mod tls;
mod watch;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

pub use crate::client_certs::ClientCertificate;
pub use crate::fault::{Fault, FaultHandle};
pub use crate::log::RequestSeen;
pub use crate::server::Server;

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on; port 0 for any that is free.
    pub listen: String,
    /// Whether to speak TLS, with a certificate for 127.0.0.1, ::1, localhost and
    /// kubernetes.default.svc; clients may then show one too, see [`Server::client_certificate`].
    pub tls: bool,
    /// Token and user. Without any token and rule everybody may do everything.
    pub tokens: Vec<(String, String)>,
    /// Who may do what. With tokens but no rules, nobody may do anything.
    pub rules: Vec<Rule>,
    /// Namespaces that do not exist; all others do.
    pub missing_namespaces: Vec<String>,
    /// How many of the latest changes can be watched; from older ones on a watch gets a 410.
    pub watch_window: usize,
    /// How many of the latest changes [`Server::history`] returns, at least `watch_window`.
    pub keep_changes: usize,
    /// How many of the latest requests [`Server::requests`] returns.
    pub keep_requests: usize,
}

impl Default for Options {
    /// Plain HTTP on any free port of 127.0.0.1, everything allowed, everything kept.
    fn default() -> Options {
        Options {
            listen: "127.0.0.1:0".to_owned(),
            tls: false,
            tokens: Vec::new(),
            rules: Vec::new(),
            missing_namespaces: Vec::new(),
            watch_window: 1024,
            keep_changes: usize::MAX,
            keep_requests: usize::MAX,
        }
    }
}

/// Allows something, as an RBAC rule with its binding does. `*` stands for everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who may, or a group that may; `system:anonymous` is who comes with neither a token nor a certificate.
    pub user: String,
    /// `get`, `create`, `update`, `patch`, `delete`, `list` or `watch`.
    pub verbs: Vec<String>,
    /// `endpoints`, `configmaps`, `leases` or `endpointslices`.
    pub resource: String,
    /// The names it holds for; empty for all. A list or a watch has a name if its field selector
    /// has one, and a create has none.
    pub names: Vec<String>,
    /// The namespace it holds in; none for all.
    pub namespace: Option<String>,
}

impl Rule {
    /// Allows these verbs on all objects of a resource.
    pub fn new(user: &str, verbs: &[&str], resource: &str) -> Rule {
        Rule {
            user: user.to_owned(),
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            resource: resource.to_owned(),
            names: Vec::new(),
            namespace: None,
        }
    }

    /// The same, for one name only.
    #[must_use]
    pub fn on(mut self, name: &str) -> Rule {
        self.names = vec![name.to_owned()];
        self
    }

    /// The same, in one namespace only.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Rule {
        self.namespace = Some(namespace.to_owned());
        self
    }
}

/// A change that was committed.
#[derive(Clone, Debug)]
pub struct Change {
    /// When it was committed.
    pub when: Instant,
    /// What happened to the object.
    pub kind: ChangeKind,
    /// `endpoints`, `configmaps`, `leases` or `endpointslices`.
    pub resource: &'static str,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The resourceVersion the change has.
    pub resource_version: u64,
    /// The object after the change; after a delete its last state.
    pub object: Arc<Value>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was updated.
    Modified,
    /// It was deleted.
    Deleted,
}

impl ChangeKind {
    /// The type of its watch event: `ADDED`, `MODIFIED` or `DELETED`.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Added => "ADDED",
            ChangeKind::Modified => "MODIFIED",
            ChangeKind::Deleted => "DELETED",
        }
    }
}

/// Locks; what a panicking thread left behind is still good, for nothing here is changed in steps
/// that could fail in between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets this process open as many files as the system permits. A thousand clients and their
/// server in one process need more than the usual soft limit. Does what it can.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
