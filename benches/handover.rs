//! How long is nobody leading, and what does it cost? `cargo bench --bench handover`, or `just bench` for the binary
//! that ships.
//!
//! Real processes against the in-memory API server on this machine. It prints figures and judges nothing;
//! docs/operations.md says what to expect. `-- NAME...` runs only the measures whose names begin so.

#[path = "../tests/common/mod.rs"]
mod common;

use apiserver::{Options, Rule, Server};
use common::cluster::ServiceAccount;
use common::{Elector, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

const MEASURES: [(&str, fn()); 8] = [
    ("start", start),
    ("sigterm", sigterm),
    ("sigkill", sigkill),
    ("pause", pause),
    ("together", together),
    ("crowd", crowd),
    ("rest", rest),
    ("memory", memory),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, measure) in MEASURES {
        if wanted.is_empty() || wanted.iter().any(|start| name.starts_with(start.as_str())) {
            measure();
        }
    }
}

/// From the start of a process to its own `/` naming it.
fn start() {
    let mut times = Vec::new();
    for _ in 0..50 {
        let server = Server::start(Options::default()).unwrap();
        // A port that is free now, so that asking can begin before the process runs.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let since = Instant::now();
        let http = format!("--http={address}");
        let elector = Elector::spawn(Elector::program(), "a", &[&format!("--server={}", server.url()), &http]);
        while !common::ask(address, "/").is_ok_and(|(_, body)| body == r#"{"name":"a"}"#) {}
        times.push(since.elapsed());
        drop(elector);
    }
    tell("process start to leading over HTTP", &mut times);
}

/// From SIGTERM to the leader, to the `/` of a survivor naming itself.
fn sigterm() {
    let mut times = Vec::new();
    let server = Server::start(Options::default()).unwrap();
    let mut electors = trio(&server, "--ttl=10s");
    for _ in 0..40 {
        let leader = leader_of(&electors);
        let mut old = electors.remove(leader);
        let since = Instant::now();
        old.signal(Signal::TERM);
        let _ = leader_of(&electors);
        times.push(since.elapsed());
        old.wait_to_end();
        electors.push(Elector::start(&old.id.clone(), &args(&server, "--ttl=10s")));
        wait_until("the new one follows", || electors.last().is_some_and(|it| it.body() != r#"{"name":""}"#));
    }
    tell("SIGTERM to a survivor naming itself", &mut times);
}

/// How long after L, counted from the last renewal, a survivor names itself when the leader is killed.
fn sigkill() {
    const LEASE: Duration = Duration::from_secs(2);
    let mut times = Vec::new();
    let server = Server::start(Options::default()).unwrap();
    let mut electors = trio(&server, "--ttl=2s");
    for round in 0..20 {
        let leader = leader_of(&electors);
        let old = electors.remove(leader);
        // At another moment between two renewals each time.
        std::thread::sleep(Duration::from_millis(37 * round % 400));
        old.signal(Signal::KILL);
        let renewed = server.history().last().expect("a renewal").when;
        let _ = leader_of(&electors);
        times.push(renewed.elapsed().saturating_sub(LEASE));
        electors.push(Elector::start(&old.id.clone(), &args(&server, "--ttl=2s")));
        wait_until("the new one follows", || electors.last().is_some_and(|it| it.body() != r#"{"name":""}"#));
    }
    tell("SIGKILL: new leader this long after the last renewal + L", &mut times);
}

/// A leader paused for 2 L, asked as fast as possible from the instant it resumes.
fn pause() {
    let (mut asked, mut named, mut rounds) = (0, 0, 0);
    let server = Server::start(Options::default()).unwrap();
    let electors = trio(&server, "--ttl=1s");
    for _ in 0..10 {
        let leader = leader_of(&electors);
        electors[leader].signal(Signal::STOP);
        std::thread::sleep(Duration::from_secs(2));
        electors[leader].signal(Signal::CONT);
        let resumed = Instant::now();
        while resumed.elapsed() < Duration::from_millis(300) {
            asked += 1;
            named += u32::from(electors[leader].leads());
        }
        rounds += 1;
    }
    println!("leader paused for 2 L, then resumed:  {rounds} times, asked {asked} times, named itself {named} times");
}

/// Three candidates started in the same instant on a missing lock.
fn together() {
    let (mut rounds, mut one_leader, mut all_alive) = (0, 0, 0);
    for _ in 0..20 {
        let server = Server::start(Options::default()).unwrap();
        let spawn = |id| Elector::spawn(Elector::program(), id, &args(&server, "--ttl=2s"));
        let mut electors = ["a", "b", "c"].map(spawn);
        electors.iter_mut().for_each(Elector::wait_to_serve);
        wait_until("all name one leader", || {
            let bodies = electors.each_ref().map(Elector::body);
            bodies[0] != r#"{"name":""}"# && bodies.iter().all(|body| *body == bodies[0])
        });
        rounds += 1;
        one_leader += u32::from(electors.iter().filter(|elector| elector.leads()).count() == 1);
        all_alive += u32::from(electors.iter_mut().all(Elector::is_running));
    }
    println!("three started together:  {rounds} times, one leader {one_leader} times, all alive {all_alive} times");
}

/// What a failover costs the API server when many wait for it: requests a candidate, and the time it takes.
fn crowd() {
    const CANDIDATES: usize = 300;
    apiserver::raise_file_limit();
    let server = Server::start(Options::default()).unwrap();
    let args = args(&server, "--ttl=10s");
    let mut electors: Vec<Elector> =
        (0..CANDIDATES).map(|n| Elector::spawn(Elector::program(), &format!("crowd-{n}"), &args)).collect();
    electors.iter_mut().for_each(Elector::wait_to_serve);
    wait_until("all watch and know the leader", || {
        server.open_watches() == CANDIDATES && electors.iter().all(|elector| elector.body() != r#"{"name":""}"#)
    });
    for (how, signal) in [("SIGTERM", Signal::TERM), ("SIGKILL", Signal::KILL)] {
        let old = electors.remove(leader_of(&electors));
        server.clear_requests();
        let since = Instant::now();
        old.signal(signal);
        let leader = leader_of(&electors);
        let took = since.elapsed().as_secs_f64() * 1000.0;
        let body = electors[leader].body();
        wait_until("all name the new leader", || electors.iter().all(|elector| elector.body() == body));
        let verbs = ["create", "update", "get", "watch"];
        let seen = server.requests();
        let counts = verbs.map(|verb| seen.iter().filter(|it| it.verb == verb).count());
        println!(
            "{CANDIDATES} candidates, {how} to the leader:  a new one after {took:.0} ms, {:.2} requests a candidate \
             ({} updates, {} gets, {} watches)",
            counts.iter().sum::<usize>() as f64 / CANDIDATES as f64,
            counts[1],
            counts[2],
            counts[3]
        );
    }
}

/// What a leader and two followers ask of the API server in a minute in which nothing happens.
fn rest() {
    let server = Server::start(tls_options()).unwrap();
    let accounts = ["a", "b", "c"].map(|id| (id, service_account(&server, id)));
    let start = |(id, account): &(&str, ServiceAccount)| Elector::start(id, &tls_args(&server, account));
    let electors: Vec<Elector> = accounts.iter().map(start).collect();
    let leader = electors[leader_of(&electors)].id.clone();
    std::thread::sleep(Duration::from_secs(5));
    server.clear_requests();
    std::thread::sleep(Duration::from_secs(60));
    for elector in &electors {
        let requests = server.requests();
        let of =
            |verb| requests.iter().filter(|it| it.verb == verb && it.user.as_deref() == Some(&*elector.id)).count();
        let role = if elector.id == leader { "leader" } else { "follower" };
        println!(
            "at rest for a minute, {role} {}:  {} updates, {} gets, {} watches, {} creates",
            elector.id,
            of("update"),
            of("get"),
            of("watch"),
            of("create")
        );
    }
}

/// The memory of a leader over TLS after a minute, with a small lock and with a thousand addresses in it.
fn memory() {
    for addresses in [0, 1000] {
        let server = Server::start(tls_options()).unwrap();
        let account = service_account(&server, "a");
        if addresses > 0 {
            server.put("endpoints", "default", endpoints(addresses));
        }
        let elector = Elector::start("a", &tls_args(&server, &account));
        elector.wait_to_lead();
        std::thread::sleep(Duration::from_secs(60));
        let (now, peak) = (elector.memory_kb("VmRSS"), elector.memory_kb("VmHWM"));
        println!(
            "leader over TLS after a minute, {addresses} addresses in the lock:  RSS {now} kB, at its peak {peak} kB"
        );
    }
}

fn tls_options() -> Options {
    let ids = ["a", "b", "c"];
    Options {
        tls: true,
        tokens: ids.iter().map(|id| (format!("token-of-{id}"), (*id).to_owned())).collect(),
        rules: ids.iter().map(|id| Rule::new(id, &["*"], "*")).collect(),
        ..Options::default()
    }
}

/// What Kubernetes mounts for this candidate.
fn service_account(server: &Server, id: &str) -> ServiceAccount {
    ServiceAccount::new(&format!("token-of-{id}"), server.ca_pem().unwrap())
}

fn tls_args(server: &Server, account: &ServiceAccount) -> [String; 3] {
    [format!("--server={}", server.url()), account.flag(), "--ttl=10s".to_owned()]
}

fn endpoints(addresses: usize) -> serde_json::Value {
    let address = |n: usize| {
        json!({
            "ip": format!("10.{}.{}.{}", n / 65536, n / 256 % 256, n % 256), "nodeName": format!("node-{}", n % 50),
            "targetRef": {
                "kind": "Pod", "namespace": "default", "name": format!("web-6d4cf56db6-{n:05}"),
                "uid": format!("aa6a5a3c-0000-4000-8000-{n:012}")
            }
        })
    };
    let addresses: Vec<_> = (0..addresses).map(address).collect();
    json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "example", "namespace": "default"},
        "subsets": [{"addresses": addresses, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}]
    })
}

fn trio(server: &Server, ttl: &str) -> Vec<Elector> {
    let electors: Vec<_> = ["a", "b", "c"].iter().map(|id| Elector::start(id, &args(server, ttl))).collect();
    wait_until("all know the leader", || electors.iter().all(|elector| elector.body() != r#"{"name":""}"#));
    electors
}

fn args(server: &Server, ttl: &str) -> [String; 2] {
    [format!("--server={}", server.url()), ttl.to_owned()]
}

/// The index of the elector that names itself, as soon as one does.
fn leader_of(electors: &[Elector]) -> usize {
    let deadline = Instant::now() + common::PATIENCE;
    loop {
        if let Some(leader) = electors.iter().position(Elector::leads) {
            return leader;
        }
        assert!(Instant::now() < deadline, "nobody leads");
    }
}

fn tell(what: &str, times: &mut [Duration]) {
    times.sort();
    let ms = |n: usize| times[n.min(times.len() - 1)].as_secs_f64() * 1000.0;
    let half = times.len() / 2;
    println!("{what}:  p50 {:.1} ms, at most {:.1} ms, {} times", ms(half), ms(times.len()), times.len());
}
