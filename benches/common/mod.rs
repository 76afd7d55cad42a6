//! What the benchmarks share: candidates as real processes, API servers that can be asked what they did, and the polling
//! elector that everything is compared with.

#![allow(dead_code, reason = "each benchmark uses its part of it")]

pub mod api_server;
pub mod candidate;
pub mod polling;
pub mod program;
pub mod stats;
pub mod trio;

use std::time::{Duration, Instant};

/// Longer than anything here takes. What takes longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where all elections of a benchmark are.
pub const NAMESPACE: &str = "bench";

/// Waits until `condition` holds, looking every `pause`.
pub fn wait_until(what: &str, pause: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(pause);
    }
}

/// This program is executed again as a part of the benchmark: it runs that part, and does not return.
pub fn run_part() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(polling::PART) => polling::run(&args[1..]),
        Some(api_server::PART) => api_server::serve(),
        _ => return,
    }
    std::process::exit(0);
}
