//! The step-down annotation.

use crate::common::cluster::on;
use crate::common::lock::{KINDS, Lock};
use crate::common::{thread_names, wait_until};
use crate::rbac::allow;
use apiserver::{Fault, Options, Server};
use serde_json::Value;
use std::thread;

const STEP_DOWN: &str = "leader-elector/step-down";

/// Sets the annotation, as `kubectl annotate` does.
fn ask_to_step_down(lock: &Lock, holder: &str) {
    lock.edit(|object| object["metadata"]["annotations"][STEP_DOWN] = holder.into());
}

fn asked(lock: &Lock) -> Value {
    lock.object().unwrap()["metadata"]["annotations"][STEP_DOWN].clone()
}

#[test]
fn the_holder_that_is_named_hands_over_at_once_in_every_kind_of_lock() {
    thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || {
                let lock = Lock::new(kind);
                let (a, b) = lock.start_two(&["--ttl=10m"]);
                ask_to_step_down(&lock, "a");
                b.wait_to_lead();
                a.wait_for_log("asked to step down by the annotation leader-elector/step-down");
                assert_eq!(asked(&lock), Value::Null, "the next holder has taken it out");
                assert!(a.ask("/status").unwrap().1.contains(r#""candidacy":"standing-back""#));
                assert!(a.ask("/metrics").unwrap().1.contains("terms_lost_total{cause=\"stepped_down\"} 1"));
            });
        }
    });
}

#[test]
fn it_stands_back_for_one_lease_and_may_lead_again() {
    let lock = Lock::new("leases");
    let a = lock.start("a", &["--ttl=2s"]);
    a.wait_to_lead();
    ask_to_step_down(&lock, "a");
    wait_until("it leads again", || a.fencing_tokens().len() == 2);
    assert_eq!(asked(&lock), Value::Null);
}

#[test]
fn a_hanging_renewal_does_not_delay_the_step_down_and_is_aborted() {
    let lock = Lock::new("leases");
    let a = lock.start("a", &["--ttl=10m", "--retry-period=50ms"]);
    a.wait_to_lead();
    let hung = lock.server.fault(|request| request.verb == "update", Some(1), Fault::HangRequest);
    wait_until("a renewal hangs", || hung.hits() == 1);
    ask_to_step_down(&lock, "a");
    wait_until("the lock is released", || lock.holder().is_empty());
    let requesters = || thread_names(a.pid()).iter().filter(|name| *name == "requester").count();
    wait_until("the requester of the renewal has ended", || requesters() == 1);
}

#[test]
fn an_annotation_that_names_another_holder_is_ignored() {
    let lock = Lock::new("leases");
    let (a, _b) = lock.start_two(&["--ttl=6s --retry-period=100ms"]);
    ask_to_step_down(&lock, "b");
    let changes = lock.changes().len();
    lock.server.wait_until(crate::common::PATIENCE, |server| server.history().len() > changes + 3);
    assert!(a.leads());
    assert_eq!(asked(&lock), "b");
}

#[test]
fn without_the_right_to_watch_the_next_renewal_sees_the_annotation() {
    let server = Server::start(Options { rules: allow(&["get", "create", "update"]), ..Options::default() }).unwrap();
    let lock = Lock { server, kind: "endpoints" };
    let (_a, b) = lock.start_two(&["--ttl=6s --retry-period=100ms"]);
    ask_to_step_down(&lock, "a");
    b.wait_to_lead();
}

#[test]
fn a_release_that_is_lost_is_sent_again() {
    let lock = Lock::new("leases");
    let (_a, b) = lock.start_two(&["--ttl=6s --retry-period=100ms"]);
    lock.server.fault(on(&["update"]), Some(1), Fault::DropRequest);
    ask_to_step_down(&lock, "a");
    b.wait_to_lead();
}
