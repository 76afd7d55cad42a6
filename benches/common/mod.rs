//! Code that the benchmarks share: candidates as processes, API servers that count requests and CPU time, and the polling
//! elector that leader-elector is compared with.

#![allow(dead_code, reason = "no benchmark uses everything")]

pub mod api_server;
pub mod candidate;
pub mod election;
pub mod polling;
pub mod program;
pub mod stats;

use std::time::{Duration, Instant};

/// The timeout of every wait. A benchmark that waits for so long has failed.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The namespace of all elections.
pub const NAMESPACE: &str = "bench";

/// Waits until `condition` holds. Checks it every `pause`.
pub fn wait_until(what: &str, pause: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out after {TIMEOUT:?}: {what}");
        std::thread::sleep(pause);
    }
}

/// The benchmark executes itself with a subcommand to get a polling elector or an API server as a process of its own. If
/// there is a subcommand, this runs it and does not return.
pub fn run_subcommand() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(polling::SUBCOMMAND) => polling::run(&args[1..]),
        Some(api_server::SUBCOMMAND) => api_server::serve(),
        _ => return,
    }
    std::process::exit(0);
}
