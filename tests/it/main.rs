//! The tests of the program and of its library, in one binary, because most of the build time is linking.
//!
//! All of them share this process, its environment, its limits and its logger. A test that changes one of these, or
//! counts resources of the process, is a binary of its own, and says so in its first lines.

#[path = "../common/mod.rs"]
mod common;

/// The health check, run mode, the leader Service and stepping down.
mod acting {
    mod health_check;
    mod leader_service;
    mod run_mode;
    mod step_down;
}

/// The command line: flags, output, exit codes, `--check`.
mod cli {
    mod check;
    mod flags;
    mod program;
    mod timing;
    mod unread_output;
}

/// The client of the API server, request by request; its watches are in [`watches`].
mod client {
    mod credentials;
    mod faults;
    mod requests;
    pub mod tls;
}

/// The sources of the server address, tokens and certificates, and their secrecy.
mod credentials {
    mod exec_plugins;
    mod kubeconfig_errors;
    mod kubeconfig_files;
    mod kubeconfig_users;
    mod rotation;
    mod secrecy;
    mod startup;
}

/// The directory `deploy/`.
mod deploy {
    mod applications;
    mod manifests;
}

mod documents;

/// Elections: the state machine, and candidates as processes.
mod election {
    mod contract;
    mod handover;
    mod identity;
    mod migration;
    mod one_leader;
    mod requests;
    mod timer;
    mod two_locks;
}

/// Faults of the API server and of the network.
mod faults {
    mod answers;
    mod connections;
    mod not_found;
    mod outages;
    mod writes_in_doubt;
}

/// The HTTP port.
mod http {
    mod answers;
    mod election_events;
    mod event_stream;
    mod hostile_clients;
    mod listen;
    mod metrics;
    pub mod probes;
    mod promtool;
    mod protocol;
    pub mod status;
}

mod leader_service;

/// The lock object: its record, its other fields, its deletion.
mod lock {
    mod deletion;
    mod memory;
    mod other_fields;
    mod other_objects;
    mod record;
}

mod logging;
mod module_graph;
mod rbac;

/// All tests of watches: of the client, the watcher thread and the program.
mod watches {
    mod faults;
    mod floods;
    mod other_objects;
    mod reopening;
    mod rights;
    mod stream;
}
