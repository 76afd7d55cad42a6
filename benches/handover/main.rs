//! How long is nobody leading, and what does it cost, beside an elector that polls? `just bench`, or
//! `cargo bench --bench handover` for a build of its own.
//!
//! Real processes of three candidates each. In each round each program has its turn, so that all of them meet the same
//! machine. It prints a table and judges nothing; docs/operations.md says what to expect.
//!
//! - Words choose measures by the beginning of their names: `-- sigterm rest`.
//! - `--svg=FILE` draws them.
//! - `--rounds=N` repeats each measure N times as often; once takes about eight minutes.
//! - `RIVALS=name=command,…` names more programs, which take the same flags and answer the same on `/`.
//! - `KUBEBUILDER_ASSETS` names a folder with etcd and kube-apiserver. Otherwise the server is the one of the tests.

#[path = "../common/mod.rs"]
mod common;

mod alone;
mod bare_writes;
mod failover;
mod figure;
mod report;
mod rest;
mod run_mode;
mod service;
mod start;

use common::api_server::ApiServer;
use common::program::Program;
use report::Report;

/// What a measure needs.
pub struct Bench {
    pub server: ApiServer,
    pub programs: Vec<Program>,
    /// How often to repeat, beside what is usual.
    pub rounds: usize,
}

type Measure = fn(&Bench, &mut Report);

const MEASURES: [(&str, Measure); 9] = [
    ("sigterm", failover::sigterm),
    ("sigkill", failover::sigkill),
    ("service", service::service),
    ("start", start::start),
    ("rest", rest::rest),
    ("memory", run_mode::memory),
    ("size", start::size),
    ("pause", alone::pause),
    ("together", alone::together),
];

fn main() {
    common::run_part();
    apiserver::raise_file_limit();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let value = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(&format!("--{name}=")));
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let rounds = value("rounds").map_or(1, |rounds| rounds.parse().expect("--rounds=N"));
    let bench = Bench { server: ApiServer::start(), programs: Program::all(), rounds };
    let mut report = Report::new(&bench);
    println!("{}\n", report.setting);
    for (name, measure) in MEASURES {
        if words.is_empty() || words.iter().any(|word| name.starts_with(word.as_str())) {
            eprintln!("{name} …");
            let done = report.rows.len();
            measure(&bench, &mut report);
            // The table comes at the end: who has to stop before has these.
            report.rows[done..].iter().for_each(|row| eprintln!("{}", report.line(row)));
        }
    }
    print!("{}", report.table());
    if let Some(path) = value("svg") {
        let drawn = figure::draw(&report);
        std::fs::write(path, drawn).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }
}
