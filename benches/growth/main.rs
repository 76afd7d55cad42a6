//! Measures the load of many candidates and of many elections on an API server: `just growth`, or
//! `cargo bench --bench growth`, which builds its own binary.
//!
//! The candidates are processes; the API server is that of `benches/handover`. The benchmark only prints figures;
//! docs/operations.md has the conclusions. A candidate takes 2.5 MiB and 8 threads, and the in-memory API server has one
//! thread per connection: 1,000 elections of three candidates need 8 GB and a `kernel.pid_max` above 32,768.
//!
//! - `-- 3 10 100` sets the numbers of candidates in one election (default: 3, 10, 100, 300, 1000).
//! - `--elections=N` sets the number of elections with three candidates each (default: 300; 0 skips this part).
//! - `--rounds=N` sets how often the leader is stopped (default: 5).
//! - `--program=NAME` measures another program: `polling`, or one of `RIVALS`.

#[path = "../common/mod.rs"]
mod common;

mod many_candidates;
mod many_elections;

use common::api_server::ApiServer;
use common::program::Program;
use std::time::Duration;

/// How long to count requests and CPU time while no leader changes.
const IDLE_TIME: Duration = Duration::from_secs(20);

/// client-go's default.
const TTL: &str = "--ttl=15s";

/// The server, the program and the settings of a run.
pub struct Growth {
    pub server: ApiServer,
    pub program: Program,
    /// How often the leader is stopped.
    pub rounds: usize,
}

fn main() {
    common::run_subcommand();
    apiserver::raise_file_limit();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(&format!("--{name}=")));
    let number = |name: &str, default: usize| {
        value(name).map_or(default, |text| text.parse().expect("the value must be a number"))
    };
    let sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![3, 10, 100, 300, 1000] } else { sizes };
    let name = value("program").unwrap_or("leader-elector");
    let program = Program::all().into_iter().find(|program| program.name == name);
    let program = program.unwrap_or_else(|| panic!("unknown program {name}"));
    let growth = Growth { server: ApiServer::start(), program, rounds: number("rounds", 5) };
    println!("{}, {}\n", growth.program.name, growth.server.name());
    many_candidates::measure(&growth, &sizes);
    match number("elections", 300) {
        0 => {}
        elections => many_elections::measure(&growth, elections),
    }
}
