//! What do many candidates, and many elections, ask of an API server? `just growth`, or `cargo bench --bench growth` for a
//! build of its own.
//!
//! Real processes; the server is that of `benches/handover`. It prints tables and judges nothing; docs/operations.md has
//! what follows from them. A process takes 2.5 MiB and 8 threads, and the in-memory server one thread a connection: for a
//! thousand elections of three, 8 GB and a `kernel.pid_max` of more than 32,768 are needed.
//!
//! - `-- 3 10 100` chooses the numbers of candidates of one election (otherwise 3, 10, 100, 300, 1000).
//! - `--elections=N` is how many elections of three there are beside (otherwise 300; 0 for none).
//! - `--rounds=N` is how often the leader is ended (otherwise 5 times).
//! - `--program=NAME` measures another program than leader-elector: `polling`, or one of `RIVALS`.

#[path = "../common/mod.rs"]
mod common;

mod many_candidates;
mod many_elections;

use common::api_server::ApiServer;
use common::program::Program;
use std::time::Duration;

/// How long to look at what goes on when nothing happens.
const REST: Duration = Duration::from_secs(20);

/// With this lease client-go's defaults are what they are.
const TTL: &str = "--ttl=15s";

/// What a measure needs.
pub struct Growth {
    pub server: ApiServer,
    pub program: Program,
    /// How often the leader is ended.
    pub rounds: usize,
}

fn main() {
    common::run_part();
    apiserver::raise_file_limit();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(&format!("--{name}=")));
    let number = |name: &str, usual: usize| value(name).map_or(usual, |text| text.parse().expect("a number"));
    let sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![3, 10, 100, 300, 1000] } else { sizes };
    let name = value("program").unwrap_or("leader-elector");
    let program = Program::all().into_iter().find(|program| program.name == name);
    let program = program.unwrap_or_else(|| panic!("there is no program {name}"));
    let growth = Growth { server: ApiServer::start(), program, rounds: number("rounds", 5) };
    println!("{}, {}\n", growth.program.name, growth.server.name());
    many_candidates::measure(&growth, &sizes);
    match number("elections", 300) {
        0 => {}
        elections => many_elections::measure(&growth, elections),
    }
}
