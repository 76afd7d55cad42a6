//! An in-memory Kubernetes API server for tests and demonstrations.
//!
//! It stores Endpoints, ConfigMaps, Leases and EndpointSlices, and its answers are those that were measured with
//! kube-apiserver 1.36: conflicts, unconditional updates, watches, validation, access rules and `Status` objects.
//! `kubectl` works with it. Tests can inject faults: see [`Fault`], [`Server::freeze`], [`Server::down`] and
//! [`Server::cut_watches`].
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
//! It does not support other resources, label selectors, dry runs, server-side apply, strategic merge (handled as a
//! merge patch), schemas, finalizers that delay a delete, and protobuf. It keeps unknown fields, which the real server
//! drops.
//!
//! Each connection has a blocking thread. The modules, from the outside in: `listener` accepts connections,
//! `connection` processes requests and faults, `http` and `wire` read and write, `call` parses requests, `api` carries
//! them out, `store` stores objects, `history` records changes and informs watches, `watch` streams events.

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

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on; port 0 for a free port.
    pub listen: String,
    /// Whether to use TLS, with a certificate for 127.0.0.1, ::1, localhost and kubernetes.default.svc. Clients may
    /// then use certificates too, see [`Server::client_certificate`].
    pub tls: bool,
    /// Pairs of token and user. Without tokens and rules everybody may do everything.
    pub tokens: Vec<(String, String)>,
    /// The access rules. With tokens but without rules, nobody may do anything.
    pub rules: Vec<Rule>,
    /// Namespaces that do not exist; all others do.
    pub missing_namespaces: Vec<String>,
    /// How many of the latest changes can be watched; a watch from an older one gets a 410.
    pub watch_window: usize,
    /// How many of the latest changes [`Server::history`] returns, at least `watch_window`.
    pub keep_changes: usize,
    /// How many of the latest requests [`Server::requests`] returns.
    pub keep_requests: usize,
}

impl Default for Options {
    /// Plain HTTP on a free port of 127.0.0.1, everything allowed, everything kept.
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
    /// A user or a group; `system:anonymous` for requests without a token and a certificate.
    pub user: String,
    /// `get`, `create`, `update`, `patch`, `delete`, `list` or `watch`.
    pub verbs: Vec<String>,
    /// `endpoints`, `configmaps`, `leases` or `endpointslices`.
    pub resource: String,
    /// The names to which it applies; empty for all. A list or a watch has a name if its field selector has one, and a
    /// create has none.
    pub names: Vec<String>,
    /// The namespace in which it applies; none for all.
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

/// A committed change.
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
    /// The resourceVersion of the change.
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

/// Locks a mutex. A poisoned one is used too, because nothing here is changed in steps that could fail in between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Raises the limit of open files as far as the system permits. A thousand clients and their server in one process need
/// more than the usual soft limit.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
