//! How fast is the port, how soon does it tell a change, and who suffers when it is attacked? `cargo bench --bench http`,
//! or `just bench-http` for the binary that ships. Needs wrk (Debian: `wrk`), except for `-- attacks` and `-- events`.
//!
//! It prints figures and judges nothing; docs/operations.md says what to expect. `-- NAME...` runs only the measures
//! whose names begin so.

#[path = "../tests/http_attacks/attacks.rs"]
mod attacks;
#[path = "../tests/http_attacks/client.rs"]
mod client;
#[path = "../tests/common/mod.rs"]
mod common;

use client::Questions;
use common::Elector;
use common::cluster::{elector, holder_in, lock_of, plain_server, put};
use common::http::Events;
use common::lock::NEVER;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The first argument of a process that serves as the rival.
const RIVAL: &str = "serve-with-tiny-http";
const BODY: &str = r#"{"name":"a"}"#;

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(RIVAL) {
        return rival();
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, measure) in [("throughput", throughput as fn()), ("events", events), ("attacks", attacks)] {
        if wanted.is_empty() || wanted.iter().any(|start| name.starts_with(start.as_str())) {
            measure();
        }
    }
}

/// From the commit of a write of the lock to the event at whoever listens. One elector stands; others take the lock from
/// it, which it sees by its watch, and leave it, so that it takes the lock itself.
fn events() {
    const ROUNDS: usize = 300;
    println!("{:<40} {:>9} {:>8} {:>8} {:>8}", "a change told by /events", "events", "p50 ms", "p99 ms", "most ms");
    for listeners in [1, 64] {
        let server = plain_server();
        let elector = elector(&server, "a", &[NEVER]);
        elector.wait_to_lead();
        let (arrived, arrivals) = mpsc::channel();
        for _ in 0..listeners {
            let (arrived, mut events) = (arrived.clone(), Events::of(elector.address()));
            events.until_named("a");
            // It ends with the elector.
            std::thread::spawn(move || {
                while let Some((name, _)) = events.event() {
                    let _ = arrived.send((name, Instant::now()));
                }
            });
        }
        let told = |leader: &str| {
            let event = || arrivals.recv_timeout(common::PATIENCE).expect("every listener is told");
            let named = std::iter::repeat_with(event).filter(|(name, _)| name == leader);
            let all: Vec<Instant> = named.map(|(_, at)| at).take(listeners).collect();
            let history = server.history();
            let write = history.iter().rev().find(|change| holder_in(&change.object).as_deref() == Some(leader));
            let committed = write.expect("it is in the lock").when;
            all.into_iter().map(move |at| at.saturating_duration_since(committed))
        };
        let (mut followed, mut led) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let other = format!("other-{round}");
            put(&server, lock_of(&other, 600));
            followed.extend(told(&other));
            put(&server, lock_of("", 1));
            led.extend(told("a"));
        }
        for (whose, mut times) in [("another's leadership", followed), ("its own leadership", led)] {
            times.sort();
            let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| percentile_ms(&times, part));
            let name = format!("{whose}, {listeners} listening");
            println!("{name:<40} {:>9} {p50:>8.2} {p99:>8.2} {most:>8.2}", times.len());
        }
    }
}

/// How a client is answered while others attack a leader.
fn attacks() {
    apiserver::raise_file_limit();
    println!("{:<40} {:>9} {:>8} {:>8} {:>8} {:>8}", "attack", "answered", "p50 ms", "p99 ms", "most ms", "RSS kB");
    let enough = |questions: &Questions| questions.asked() >= 250;
    let (_server, elector) = leader();
    report("none", &Questions::ask(&elector, enough), &elector);
    for attack in attacks::all() {
        let (_server, elector) = leader();
        let questions = Questions::during(&attack, &elector, enough);
        report(attack.name, &questions, &elector);
        if !elector.leads() || elector.log().contains("no longer leading") {
            println!("    and it lost its leadership");
        }
    }
}

fn leader() -> (apiserver::Server, Elector) {
    let server = plain_server();
    let elector = elector(&server, "a", &["--ttl=10s"]);
    elector.wait_to_lead();
    (server, elector)
}

fn report(name: &str, questions: &Questions, elector: &Elector) {
    let mut times = questions.answered.clone();
    times.sort();
    let ms = |part| percentile_ms(&times, part);
    println!(
        "{name:<40} {:>7.1} % {:>8.2} {:>8.2} {:>8.2} {:>8}",
        100.0 * times.len() as f64 / questions.asked() as f64,
        ms(0.5),
        ms(0.99),
        ms(1.0),
        elector.memory_kb("VmHWM")
    );
}

/// The time that this part of all, which are sorted, did not exceed.
fn percentile_ms(times: &[Duration], part: f64) -> f64 {
    let index = (times.len() as f64 * part) as usize;
    times.get(index.min(times.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// Requests a second and the 99th percentile, beside tiny_http with the same answer; by turns, for the machine is not
/// equally busy all the time.
fn throughput() {
    const ROUNDS: usize = 5;
    let (_server, elector) = leader();
    let rival = Rival::start();
    let (ours, theirs) = (format!("http://{}/", elector.address()), format!("http://{}/", rival.address));
    let loads = [
        ("1 connection, kept", 1, true),
        ("32 connections, kept", 32, true),
        ("256 connections, kept", 256, true),
        ("a connection a request, 32 at a time", 32, false),
    ];
    println!("medians of {ROUNDS} runs by turns:          requests/s    p99 ms   tiny_http    p99 ms   ratio");
    for (name, connections, keep) in loads {
        let runs: Vec<[Run; 2]> =
            (0..ROUNDS).map(|_| [&ours, &theirs].map(|url| wrk(url, connections, keep))).collect();
        let median = |of: &dyn Fn(&[Run; 2]) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "{name:<38} {:>12.0} {:>9.2} {:>11.0} {:>9.2} {:>7.2}",
            median(&|run| run[0].rate),
            median(&|run| run[0].p99_ms),
            median(&|run| run[1].rate),
            median(&|run| run[1].p99_ms),
            median(&|run| run[0].rate / run[1].rate),
        );
    }
    println!("memory at its peak: {} kB, tiny_http {} kB", elector.memory_kb("VmHWM"), rival.memory_kb());
}

struct Run {
    /// Requests a second.
    rate: f64,
    p99_ms: f64,
}

/// A core is left to the server. With more busy threads than cores, the slowest answers tell how long the scheduler lets
/// each of them run, and what they do is not seen.
fn wrk(url: &str, connections: u32, keep: bool) -> Run {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let threads = connections.min(cores.saturating_sub(1).max(1));
    let mut command = Command::new("wrk");
    command.args([&format!("-t{threads}"), &format!("-c{connections}"), "-d3s", "--latency", url]);
    if !keep {
        command.args(["-H", "Connection: close"]);
    }
    let output = command.output().unwrap_or_else(|error| panic!("cannot start wrk: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |label: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(label));
        found.unwrap_or_else(|| panic!("no {label:?} in {text}")).trim()
    };
    Run { rate: value("Requests/sec:").parse().expect("a number"), p99_ms: in_ms(value("99%")) }
}

/// A time as wrk writes it, such as `1.20ms`.
fn in_ms(time: &str) -> f64 {
    let digits = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &time[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        _ => 1000.0,
    };
    digits.parse::<f64>().expect("a number") * factor
}

/// This program again, serving with tiny_http; killed when dropped.
struct Rival {
    process: Child,
    address: String,
}

impl Rival {
    fn start() -> Rival {
        let program = std::env::current_exe().expect("it runs");
        let mut process = Command::new(program).arg(RIVAL).stdout(Stdio::piped()).spawn().expect("it can run again");
        let mut address = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("it prints its address");
        Rival { process, address: address.trim().to_owned() }
    }

    fn memory_kb(&self) -> u64 {
        common::memory_kb(self.process.id(), "VmHWM")
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves as the documentation of tiny_http advises where many ask: several threads that take requests. It keeps a
/// thread a connection on its own.
fn rival() {
    let server = tiny_http::Server::http("127.0.0.1:0").expect("a port is free");
    println!("{}", server.server_addr());
    let header = |text: &str| text.parse::<tiny_http::Header>().expect("a header");
    let headers = [header("Content-Type: application/json"), header("Cache-Control: no-store")];
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let Ok(request) = server.recv() else { continue };
                    let mut response = tiny_http::Response::from_string(BODY);
                    headers.iter().for_each(|header| response.add_header(header.clone()));
                    let _ = request.respond(response);
                }
            });
        }
    });
}
