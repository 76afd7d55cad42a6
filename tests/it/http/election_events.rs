//! `/events` of real electors: every change is sent.

use crate::common::cluster::{STEADY, elector, plain_server, record, wait_for_renewals};
use crate::common::http::Events;
use crate::common::lock::{Lock, NEVER};
use crate::common::{Elector, wait_until};
use rustix::process::Signal;
use std::time::{Duration, Instant};

fn events(elector: &Elector) -> Events {
    Events::of(elector.address())
}

#[test]
fn both_candidates_report_a_handover_and_the_old_leader_ends_its_streams() {
    let lock = Lock::new("leases");
    let mut a = lock.start("a", &[NEVER]);
    let mut of_a = events(&a);
    of_a.until_named("a");
    let b = lock.start("b", &[NEVER]);
    let mut of_b = events(&b);
    of_b.until_named("a");
    a.signal(Signal::TERM);
    let mut after: Vec<String> = std::iter::from_fn(|| of_a.event()).map(|(name, _)| name).collect();
    // There may be renewals before the end, and the next leader after it.
    let ended = after.iter().position(String::is_empty).expect("the end of the leadership is told");
    assert!(after.split_off(ended)[1..].iter().all(|name| name == "b") && after.iter().all(|name| name == "a"));
    of_b.until_named("b");
    assert!(a.wait_to_end().success());
}

#[test]
fn the_streams_of_a_follower_end_with_it() {
    let lock = Lock::new("endpoints");
    let a = lock.start("a", &[NEVER]);
    a.wait_to_lead();
    let mut b = lock.start("b", &[NEVER]);
    let mut of_b = events(&b);
    of_b.until_named("a");
    b.signal(Signal::TERM);
    assert_eq!(of_b.event(), None);
    assert!(b.wait_to_end().success());
}

#[test]
fn the_leader_and_a_watching_follower_report_each_renewal() {
    let server = plain_server();
    let a = elector(&server, "a", &[STEADY]);
    a.wait_to_lead();
    let b = elector(&server, "b", &[STEADY]);
    for (elector, longest) in [(&a, 4.0), (&b, 6.0)] {
        let mut events = events(elector);
        events.until_named("a");
        for _ in 0..5 {
            let (name, left) = events.event().unwrap();
            assert!(name == "a" && left > 0.0 && left <= longest, "{name} {left}");
        }
    }
    assert_eq!(record(&server).unwrap()["leaderTransitions"], 0);
}

#[test]
fn a_leader_that_cannot_renew_reports_the_end_of_its_claim() {
    let server = plain_server();
    let a = elector(&server, "a", &["--ttl=3s"]);
    a.wait_to_lead();
    let b = elector(&server, "b", &["--ttl=3s"]);
    let (mut of_a, mut of_b) = (events(&a), events(&b));
    of_a.until_named("a");
    of_b.until_named("a");
    server.freeze();
    of_a.until_named("");
    of_b.until_named("");
    server.thaw();
    let mut names = [of_a.name(), of_b.name()];
    while names[0] != names[1] || names[0].is_empty() {
        names = [of_a.name(), of_b.name()];
    }
}

#[test]
fn a_resumed_process_first_reports_that_it_no_longer_leads() {
    let server = plain_server();
    let a = elector(&server, "a", &[]);
    a.wait_to_lead();
    let mut of_a = events(&a);
    of_a.until_named("a");
    wait_for_renewals(&server, 1);
    server.freeze(); // so that nobody leads after that
    a.signal(Signal::STOP);
    let stopped = Instant::now();
    wait_until("its lease is over", || stopped.elapsed() > Duration::from_secs(2));
    of_a.client().forget_what_came();
    a.signal(Signal::CONT);
    assert_eq!(of_a.event(), Some((String::new(), 0.0)));
}
