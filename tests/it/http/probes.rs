//! `/healthz`, `/readyz` and `/leader` of real electors during faults.

use crate::common::cluster::{STEADY, elector, lock_of, on, plain_server, put, wait_for, wait_for_renewals};
use crate::common::lock::RECORD;
use crate::common::{Elector, wait_until};
use apiserver::{Fault, Options, Rule, Server};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

/// The status codes of the three paths.
pub fn codes(elector: &Elector) -> [u16; 3] {
    ["/healthz", "/readyz", "/leader"].map(|path| elector.ask(path).map_or(0, |(code, _)| code))
}

pub fn wait_for_codes(elector: &Elector, healthz: u16, readyz: u16, leader: u16) {
    let expected = [healthz, readyz, leader];
    wait_until(&format!("{expected:?}, not {:?}", codes(elector)), || codes(elector) == expected);
}

fn ready(elector: &Elector) -> (u16, String) {
    elector.ask("/readyz").unwrap()
}

/// Longer than L, so that no earlier answer of the API server counts.
pub fn longer_than(lease: Duration) {
    let since = Instant::now();
    wait_until("a lease passes", || since.elapsed() > lease);
}

#[test]
fn an_unreachable_server_affects_readiness_and_leadership_but_not_health() {
    let server = plain_server();
    let elector = elector(&server, "a", &[]);
    wait_for_codes(&elector, 200, 200, 200);
    server.down();
    wait_for_codes(&elector, 200, 503, 503);
    assert_eq!(ready(&elector).1, "the API server was not reached within the lease duration");
    // L is a second; it would count as stuck after 2 L + 5 s.
    longer_than(Duration::from_secs(8));
    assert_eq!(codes(&elector), [200, 503, 503]);
    server.up();
    wait_for_codes(&elector, 200, 200, 200);
}

#[test]
fn an_elector_that_never_read_the_lock_is_healthy_and_not_ready() {
    let server = plain_server();
    server.freeze();
    let waits = elector(&server, "a", &["--ttl=600ms"]);
    assert_eq!(codes(&waits), [200, 503, 503]);
    let rules = vec![Rule::new("system:anonymous", &["update"], "endpoints")];
    let denying = Server::start(Options { rules, ..Options::default() }).unwrap();
    let denied = elector(&denying, "b", &["--ttl=600ms"]);
    denied.wait_for_log("403 forbidden");
    longer_than(Duration::from_millis(600));
    for elector in [&waits, &denied] {
        assert_eq!(codes(elector), [200, 503, 503]);
        assert_eq!(ready(elector).1, "the lock has not been read yet");
    }
    server.thaw();
    wait_for_codes(&waits, 200, 200, 200);
}

#[test]
fn an_unreadable_record_affects_only_the_leadership() {
    let server = plain_server();
    let unreadable = json!({"metadata": {"name": "example", "annotations": {RECORD: "no record"}}});
    put(&server, unreadable.clone());
    let elector = elector(&server, "a", &["--ttl=3s"]);
    wait_for_codes(&elector, 200, 200, 503);
    elector.wait_for_log("cannot be read");
    assert_eq!(elector.body(), "{\"name\":\"\"}");
    elector.wait_to_lead();
    assert_eq!(codes(&elector), [200; 3]);
}

#[test]
fn readiness_does_not_depend_on_who_leads() {
    let server = plain_server();
    put(&server, lock_of("other", 600));
    let elector = elector(&server, "a", &[STEADY]);
    wait_for_codes(&elector, 200, 200, 503);
    wait_for(&server, "it watches", |server| server.open_watches() == 1);
    // A foreign record that nobody renews is still read.
    longer_than(Duration::from_secs(6));
    assert_eq!(codes(&elector), [200, 200, 503]);
}

#[test]
fn a_resumed_process_is_neither_ready_nor_leading() {
    let server = plain_server();
    let elector = elector(&server, "a", &["--ttl=3s", "--retry-period=200ms"]);
    wait_for_codes(&elector, 200, 200, 200);
    wait_for_renewals(&server, 1);
    let before = server.history().len();
    let late = server.fault(on(&["update"]), None, Fault::DelayRequest(Duration::from_millis(300)));
    wait_for(&server, "a renewal is on its way", |_| late.hits() > 0);
    elector.signal(Signal::STOP);
    // An answer and watch events are waiting to be read; they are stale.
    wait_for(&server, "it is done", |server| server.history().len() > before);
    longer_than(Duration::from_secs(3));
    server.freeze();
    late.remove();
    elector.signal(Signal::CONT);
    let ([_, readyz, leader], body) = (codes(&elector), elector.body());
    assert_eq!((readyz, leader, body.as_str()), (503, 503, "{\"name\":\"\"}"));
    server.thaw();
    wait_for_codes(&elector, 200, 200, 200);
}

#[test]
fn after_sigterm_the_port_answers_until_the_exit_and_never_names_the_elector() {
    let server = plain_server();
    let a = elector(&server, "a", &["--ttl=10m", "--release-delay=10m"]);
    wait_for_codes(&a, 200, 200, 200);
    a.signal(Signal::TERM);
    a.wait_for_log("stopping");
    wait_for_codes(&a, 200, 200, 503);
    assert_eq!((a.body(), a.ask("/isLeader").unwrap().1), ("{\"name\":\"\"}".into(), "{\"isLeader\": false}".into()));
    let status: serde_json::Value = serde_json::from_str(&a.ask("/status").unwrap().1).unwrap();
    assert_eq!(
        (&status["leader"], &status["isLeader"], &status["fencingToken"]),
        (&json!(""), &json!(false), &json!(null))
    );
    assert!(a.ask("/metrics").unwrap().1.contains("leader_election_master_status{name=\"example\"} 0\n"));
}
