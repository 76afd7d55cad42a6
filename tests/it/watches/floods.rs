//! A watch with endless events: it affects neither the leadership nor memory, the log stays readable, and signals work
//! at once.

use crate::common::cluster::{
    elector, holder, lines, lock_of, on, plain_server, put, record, wait_for, wait_for_renewals,
};
use crate::common::lock::Lock;
use crate::common::{Elector, wait_until};
use apiserver::{Fault, Server};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The limit in `deploy/`.
const LIMIT_KB: u64 = 32 * 1024;

/// The duration of a flood. Without a bound on the queue each flood would need several times the memory limit.
const LASTS: Duration = Duration::from_secs(10);

/// L is longer than the tests wait; renewals follow each other quickly.
const FLAGS: [&str; 2] = ["--ttl=60s", "--retry-period=200ms"];

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn object(name: &str, holder: &str, version: u64) -> Value {
    let mut object = lock_of(holder, 600);
    object["kind"] = "Endpoints".into();
    for (field, value) in [("name", name), ("namespace", "default"), ("uid", "flood")] {
        object["metadata"][field] = value.into();
    }
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object["metadata"]["labels"]["some"] = "x".repeat(1000).into();
    object
}

/// As short as possible, so that there are as many events as possible.
fn bookmark(_: u64) -> String {
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\"}}}\n".into()
}

/// An old state of the lock.
fn past(number: u64) -> String {
    event("MODIFIED", &object("example", "long ago", 1 + number % 500))
}

/// The lock of another election.
fn stranger(number: u64) -> String {
    event("MODIFIED", &object("other", "stranger", 1_000_000 + number))
}

/// A new holder each time.
fn holders(number: u64) -> String {
    event("MODIFIED", &object("example", &format!("holder-{number}"), 1_000_000 + number))
}

/// The lock is deleted and created again endlessly.
fn deletions(number: u64) -> String {
    let mut object = object("example", &format!("holder-{number}"), 1_000_000 + number);
    object["metadata"]["uid"] = format!("flood-{}", number / 2).into();
    event(if number.is_multiple_of(2) { "ADDED" } else { "DELETED" }, &object)
}

/// Floods the open watches, and later ones.
fn flood(server: &Server, line: fn(u64) -> String) -> apiserver::FaultHandle {
    wait_for(server, "the watch is open", |server| server.open_watches() >= 1);
    let flood = server.fault(on(&["watch"]), None, Fault::FloodWatch(line));
    server.cut_watches();
    wait_for(server, "the flood has begun", |_| flood.hits() >= 1);
    flood
}

fn log_lines(elector: &Elector) -> usize {
    elector.log().lines().count() + elector.printed().lines().count()
}

/// Checks that the leader keeps leading during a flood that shows nothing new.
fn leads_on(elector: &Elector, server: &Server) {
    let (began, log_before) = (record(server).unwrap()["acquireTime"].clone(), log_lines(elector));
    let begun = Instant::now();
    while begun.elapsed() < LASTS {
        assert!(elector.leads(), "{}", elector.log());
        wait_for_renewals(server, 1);
    }
    assert_eq!(record(server).unwrap()["acquireTime"], began);
    assert!(log_lines(elector) <= log_before + 5, "{}", elector.log());
    let peak = elector.memory_kb("VmHWM");
    assert!(peak > 0 && peak < LIMIT_KB, "{peak} kB");
}

#[test]
fn a_flood_that_shows_nothing_new_affects_neither_the_leadership_nor_memory_nor_the_release() {
    std::thread::scope(|scope| {
        for line in [bookmark, past, stranger] {
            scope.spawn(move || {
                let server = plain_server();
                let mut leader = elector(&server, "a", &FLAGS);
                leader.wait_to_lead();
                let _flood = flood(&server, line);
                leads_on(&leader, &server);
                leader.signal(Signal::TERM);
                assert!(leader.wait_to_end().success());
                assert_eq!(holder(&server), "", "{}", leader.log());
                assert!(lines(&leader, "shows other objects") <= 1);
            });
        }
    });
}

#[test]
fn a_release_is_seen_in_a_flood() {
    std::thread::scope(|scope| {
        for line in [bookmark, past, stranger] {
            scope.spawn(move || {
                let lock = Lock::new("endpoints");
                let mut leader = lock.start("a", &FLAGS);
                leader.wait_to_lead();
                let follower = lock.start("b", &FLAGS);
                follower.wait_to_name("a");
                let _flood = flood(&lock.server, line);
                wait_for_renewals(&lock.server, 5);
                leader.signal(Signal::TERM);
                assert!(leader.wait_to_end().success());
                follower.wait_to_lead();
            });
        }
    });
}

#[test]
fn a_flood_of_holders_is_processed_at_a_limited_rate_and_signals_work() {
    std::thread::scope(|scope| {
        for line in [holders, deletions] {
            scope.spawn(move || {
                let server = plain_server();
                put(&server, lock_of("first", 600));
                let mut follower = elector(&server, "a", &FLAGS);
                follower.wait_to_name("first");
                let _flood = flood(&server, line);
                let begun = Instant::now();
                wait_until("it follows what changes", || follower.printed().lines().count() > 20);
                while begun.elapsed() < LASTS {
                    assert!(!follower.leads(), "{}", follower.log());
                    std::thread::sleep(Duration::from_millis(20)); // the interval of requests
                }
                // 64 states at once, and then one every 50 ms: each with a line on stdout and one in the log.
                let most = 64 + begun.elapsed().as_millis() as usize / 50;
                assert!(log_lines(&follower) < 2 * most + 40, "{} of {most}", log_lines(&follower));
                let peak = follower.memory_kb("VmHWM");
                assert!(peak > 0 && peak < LIMIT_KB, "{peak} kB");
                let told = Instant::now();
                follower.signal(Signal::TERM);
                assert!(follower.wait_to_end().success());
                assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
            });
        }
    });
}
