//! How failures are logged: what was attempted, what came back, what to do, and not repeatedly.

use crate::common::lock::Lock;
use crate::common::{Elector, wait_until};
use apiserver::Fault;
use rustix::process::Signal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A leader that renews so frequently that it has many failures in a short time, without losing its lease.
const FAST: [&str; 3] = ["--ttl=30s", "--renew-deadline=20s", "--retry-period=50ms"];

fn loud(elector: &Elector) -> Vec<String> {
    let loud = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    elector.log().lines().filter(loud).map(str::to_owned).collect()
}

fn leader(lock: &Lock, flags: &[&str]) -> Elector {
    let a = lock.start("a", flags);
    a.wait_to_lead();
    a
}

#[test]
fn requests_that_fail_now_and_then_are_logged_once() {
    let lock = Lock::new("endpoints");
    let a = leader(&lock, &FAST);
    let number = AtomicU64::new(0);
    let every_other = move |it: &apiserver::RequestSeen| {
        it.verb == "update" && number.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
    };
    let lossy = lock.server.fault(every_other, None, Fault::DropRequest);
    lock.wait("many fail", || lossy.hits() >= 30);
    let told = loud(&a);
    assert!(
        told.len() == 1 && told[0].contains("cannot update endpoints default/example: the connection was lost"),
        "{told:#?}"
    );
    assert!(a.leads() && a.log().matches("works again").count() == 1, "{}", a.log());
}

#[test]
fn ever_new_messages_do_not_fill_the_log() {
    let lock = Lock::new("leases");
    let a = leader(&lock, &FAST);
    let faults: Vec<_> = (500..530)
        .map(|code| lock.server.fault(|it| it.verb == "update", Some(1), Fault::Status { code, retry_after: None }))
        .collect();
    lock.wait("all have failed", || faults.iter().all(|fault| fault.hits() == 1));
    lock.wait_for_changes(1);
    let told = loud(&a);
    assert!((1..=5).contains(&told.len()), "{told:#?}");
    assert!(a.leads());
}

#[test]
fn an_api_server_that_is_gone_is_logged_once_for_each_kind_of_request() {
    let down: fn(&Lock) = |lock| lock.server.down();
    let frozen: fn(&Lock) = |lock| lock.server.freeze();
    for (end, why) in
        [(down, "connection refused by 127.0.0.1:"), (frozen, "if the API server is always this slow, raise --ttl")]
    {
        let lock = Lock::new("configmaps");
        let a = leader(&lock, &["--ttl=2s", "--retry-period=50ms"]);
        let b = lock.start("b", &["--ttl=2s", "--retry-period=50ms"]);
        b.wait_to_name("a");
        end(&lock);
        a.wait_for_log("no longer leading configmaps default/example");
        let since = Instant::now();
        wait_until("it has lasted for some time", || since.elapsed() > Duration::from_secs(3));
        for candidate in [a, b] {
            let told = loud(&candidate);
            assert!(told.iter().any(|line| line.contains(why)), "{told:#?}");
            assert!(told.len() <= 6, "{told:#?}");
        }
    }
}

#[test]
fn a_pause_of_the_process_is_logged() {
    let lock = Lock::new("leases");
    let a = leader(&lock, &["--ttl=1s"]);
    a.signal(Signal::STOP);
    let since = Instant::now();
    wait_until("it was paused", || since.elapsed() > Duration::from_secs(3));
    a.signal(Signal::CONT);
    a.wait_for_log("s ago, while this process or its machine was paused");
    a.wait_to_lead();
}
