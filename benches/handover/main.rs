//! Measures how long there is no leader, and what an elector costs, compared with an elector that polls: `just bench`, or
//! `cargo bench --bench handover`, which builds its own binary.
//!
//! Each program runs three candidates as processes. In each round all programs are measured one after the other, so that
//! the load of the machine affects all of them. The benchmark only prints a table; docs/operations.md has the figures to
//! expect.
//!
//! - Words select measurements by the beginnings of their names: `-- sigterm idle`.
//! - `--svg=FILE` draws a chart.
//! - `--rounds=N` repeats each measurement N times as often. With 1, the default, a run takes about eight minutes.
//! - The variable `RIVALS=NAME=COMMAND,…` adds programs with the same flags and the same answer on `/`.
//! - The variable `KUBEBUILDER_ASSETS` names a directory with etcd and kube-apiserver. Without it the benchmark uses the
//!   in-memory API server of the tests.

#[path = "../common/mod.rs"]
mod common;

mod bare_writes;
mod chart;
mod correctness;
mod failover;
mod idle;
mod report;
mod run_mode;
mod service;
mod start;

use common::api_server::ApiServer;
use common::program::Program;
use report::Report;

/// The server, the programs and the settings of a run.
pub struct Bench {
    pub server: ApiServer,
    pub programs: Vec<Program>,
    /// The factor for the number of repetitions of each measurement.
    pub rounds: usize,
}

type MeasureFn = fn(&Bench, &mut Report);

const MEASUREMENTS: [(&str, MeasureFn); 9] = [
    ("sigterm", failover::sigterm),
    ("sigkill", failover::sigkill),
    ("service", service::service),
    ("start", start::start),
    ("idle", idle::idle),
    ("memory", run_mode::memory),
    ("size", start::size),
    ("pause", correctness::pause),
    ("together", correctness::together),
];

fn main() {
    common::run_subcommand();
    apiserver::raise_file_limit();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let value = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(&format!("--{name}=")));
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let rounds = value("rounds").map_or(1, |rounds| rounds.parse().expect("--rounds must be a number"));
    let bench = Bench { server: ApiServer::start(), programs: Program::all(), rounds };
    let mut report = Report::new(&bench);
    println!("{}\n", report.setting);
    for (name, measure) in MEASUREMENTS {
        if words.is_empty() || words.iter().any(|word| name.starts_with(word.as_str())) {
            eprintln!("{name} …");
            let done = report.rows.len();
            measure(&bench, &mut report);
            // The table is printed at the end. These lines help if the run is interrupted before.
            report.rows[done..].iter().for_each(|row| eprintln!("{}", report.line(row)));
        }
    }
    print!("{}", report.table());
    if let Some(path) = value("svg") {
        let drawn = chart::draw(&report);
        std::fs::write(path, drawn).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }
}
