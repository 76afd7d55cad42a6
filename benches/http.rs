//! Measures the HTTP port: its throughput, the delay of events, and the effect of attacks on other clients. Run it with
//! `cargo bench --bench http`, or `just bench-http` for the binary that ships. Needs wrk (Debian: `wrk`), except for
//! `-- attacks` and `-- events`.
//!
//! It only prints figures; docs/operations.md has those to expect. `-- NAME...` selects measurements by the beginnings
//! of their names.

#[path = "../tests/http_attacks/attacks.rs"]
mod attacks;
#[path = "../tests/http_attacks/client.rs"]
mod client;
#[path = "../tests/common/mod.rs"]
mod common;

use attacks::Attack;
use client::{Port, Questions};
use common::Elector;
use common::cluster::{elector, holder_in, lock_of, plain_server, put};
use common::http::Events;
use common::lock::NEVER;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The subcommand that serves with tiny_http.
const SERVE_WITH_TINY_HTTP: &str = "serve-with-tiny-http";
/// How long a client sends requests during one attack, if it gets no answers.
const ATTACK_LIMIT: Duration = Duration::from_secs(15);
const BODY: &str = r#"{"name":"a"}"#;

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(SERVE_WITH_TINY_HTTP) {
        return serve_with_tiny_http();
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, measure) in [("throughput", throughput as fn()), ("events", events), ("attacks", attacks)] {
        if wanted.is_empty() || wanted.iter().any(|start| name.starts_with(start.as_str())) {
            measure();
        }
    }
}

/// Measures the time from the commit of a lock write until a subscriber has the event. There is one elector. The benchmark
/// writes another holder into the lock, which the elector sees by its watch, and then releases the lock, so that the
/// elector acquires it again.
fn events() {
    const ROUNDS: usize = 300;
    println!("{:<40} {:>9} {:>8} {:>8} {:>8}", "delay of an event on /events", "events", "p50 ms", "p99 ms", "max ms");
    for listeners in [1, 64] {
        let server = plain_server();
        let elector = elector(&server, "a", &[NEVER]);
        elector.wait_to_lead();
        let (arrived, arrivals) = mpsc::channel();
        for _ in 0..listeners {
            let (arrived, mut events) = (arrived.clone(), Events::of(elector.address()));
            events.until_named("a");
            // The thread ends with the elector.
            std::thread::spawn(move || {
                while let Some((name, _)) = events.event() {
                    let _ = arrived.send((name, Instant::now()));
                }
            });
        }
        let delays = |leader: &str| {
            let event = || arrivals.recv_timeout(common::PATIENCE).expect("each subscriber gets the event");
            let named = std::iter::repeat_with(event).filter(|(name, _)| name == leader);
            let all: Vec<Instant> = named.map(|(_, at)| at).take(listeners).collect();
            let history = server.history();
            let write = history.iter().rev().find(|change| holder_in(&change.object).as_deref() == Some(leader));
            let committed = write.expect("the lock has had this holder").when;
            all.into_iter().map(move |at| at.saturating_duration_since(committed))
        };
        let (mut as_follower, mut as_leader) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let other = format!("other-{round}");
            put(&server, lock_of(&other, 600));
            as_follower.extend(delays(&other));
            put(&server, lock_of("", 1));
            as_leader.extend(delays("a"));
        }
        for (event, mut times) in [("another leads", as_follower), ("the elector leads", as_leader)] {
            times.sort();
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| percentile_ms(&times, part));
            let name = format!("{event}, {listeners} subscribers");
            println!("{name:<40} {:>9} {p50:>8.2} {p99:>8.2} {max:>8.2}", times.len());
        }
    }
}

/// Measures how soon a leader answers a client while others attack its port. Compares with tiny_http with the same body.
fn attacks() {
    apiserver::raise_file_limit();
    let head = format!("{:>10} {:>8} {:>8} {:>8}", "answered", "p50 ms", "p99 ms", "RSS kB");
    println!("{:<40} {:^37} | {:^37}", "", "leader-elector", "tiny_http");
    println!("{:<40} {head} | {head}", "attack");
    let every_attack = attacks::all();
    for attack in std::iter::once(None).chain(every_attack.iter().map(Some)) {
        let (_server, elector) = leader();
        let answers = during(attack, &Port::from(&elector));
        let elector_row = row(&answers, Some(elector.memory_kb("VmHWM")));
        let mut tiny_http = TinyHttpServer::start();
        let address = tiny_http.address.parse().expect("the address is valid");
        let answers = during(attack, &Port { address, leader: "a".to_owned(), has_metrics: false });
        let tiny_http_row = row(&answers, tiny_http.memory_kb());
        println!("{:<40} {elector_row} | {tiny_http_row}", attack.map_or("none", |attack| attack.name));
        if !elector.leads() || elector.log().contains("no longer leading") {
            println!("    leader-elector lost its leadership");
        }
        if let Ok(Some(status)) = tiny_http.process.try_wait() {
            println!("    tiny_http exited: {status}");
        }
    }
}

fn during(attack: Option<&Attack>, port: &Port) -> Questions {
    let end = Instant::now() + ATTACK_LIMIT;
    let enough = |questions: &Questions| questions.asked() >= 250 || Instant::now() > end;
    match attack {
        Some(attack) => Questions::during(attack, port, enough),
        None => Questions::ask(port, enough),
    }
}

fn row(questions: &Questions, memory_kb: Option<u64>) -> String {
    let mut times = questions.answered.clone();
    times.sort();
    let share = 100.0 * times.len() as f64 / questions.asked() as f64;
    let [p50, p99] = [0.5, 0.99].map(|part| percentile_ms(&times, part));
    let memory = memory_kb.map_or("-".to_owned(), |kb| kb.to_string());
    format!("{share:>8.1} % {p50:>8.2} {p99:>8.2} {memory:>8}")
}

fn leader() -> (apiserver::Server, Elector) {
    let server = plain_server();
    let elector = elector(&server, "a", &["--ttl=10s"]);
    elector.wait_to_lead();
    (server, elector)
}

/// A percentile of sorted times.
fn percentile_ms(times: &[Duration], part: f64) -> f64 {
    let index = (times.len() as f64 * part) as usize;
    times.get(index.min(times.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// Measures requests per second and the p99 latency. Compares with tiny_http with the same body. The two are measured
/// alternately, because the load of the machine changes.
fn throughput() {
    const ROUNDS: usize = 5;
    let (_server, elector) = leader();
    let mut tiny_http = TinyHttpServer::start();
    let (elector_url, tiny_http_url) =
        (format!("http://{}/", elector.address()), format!("http://{}/", tiny_http.address));
    let loads = [
        ("1 connection, kept alive", 1, true),
        ("32 connections, kept alive", 32, true),
        ("256 connections, kept alive", 256, true),
        ("one connection per request, 32 clients", 32, false),
    ];
    println!("medians of {ROUNDS} alternating runs:        requests/s    p99 ms   tiny_http    p99 ms   ratio");
    for (name, connections, keep) in loads {
        let runs: Vec<[WrkResult; 2]> =
            (0..ROUNDS).map(|_| [&elector_url, &tiny_http_url].map(|url| wrk(url, connections, keep))).collect();
        let median = |of: &dyn Fn(&[WrkResult; 2]) -> f64| {
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
    let tiny_http_kb = tiny_http.memory_kb().expect("the server runs");
    println!("peak memory: {} kB, tiny_http {tiny_http_kb} kB", elector.memory_kb("VmHWM"));
}

struct WrkResult {
    /// Requests per second.
    rate: f64,
    p99_ms: f64,
}

/// Runs wrk with one thread fewer than there are cores, to leave a core to the server. With more busy threads than cores,
/// the slowest answers would depend on the scheduler's time slices.
fn wrk(url: &str, connections: u32, keep: bool) -> WrkResult {
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
    WrkResult { rate: value("Requests/sec:").parse().expect("a number"), p99_ms: in_ms(value("99%")) }
}

/// Parses a time in wrk's output, such as `1.20ms`.
fn in_ms(time: &str) -> f64 {
    let digits = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &time[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        _ => 1000.0,
    };
    digits.parse::<f64>().expect("a number") * factor
}

/// A process of this program that serves with tiny_http; killed when dropped.
struct TinyHttpServer {
    process: Child,
    address: String,
}

impl TinyHttpServer {
    fn start() -> TinyHttpServer {
        let program = std::env::current_exe().expect("the path of this program is known");
        let mut process = Command::new(program)
            .arg(SERVE_WITH_TINY_HTTP)
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start the server");
        let mut address = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut address).expect("the server prints its address");
        TinyHttpServer { process, address: address.trim().to_owned() }
    }

    /// `None` after it has ended.
    fn memory_kb(&mut self) -> Option<u64> {
        let runs = matches!(self.process.try_wait(), Ok(None));
        runs.then(|| common::memory_kb(self.process.id(), "VmHWM"))
    }
}

impl Drop for TinyHttpServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves with several threads that receive requests, as the documentation of tiny_http recommends for many clients.
/// tiny_http itself starts a thread for each connection.
fn serve_with_tiny_http() {
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
