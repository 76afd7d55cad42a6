//! The records that a lock may have, and how a candidate handles each.

use crate::common::lock::{KINDS, Lock, NEVER, RECORD, record_of, transitions_of};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Tests all cases at the same time, because most of the time is spent waiting for leases.
fn each<T: Clone + Send>(cases: &[T], test: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        let test = &test;
        let running: Vec<_> = cases.iter().cloned().map(|case| scope.spawn(move || test(case))).collect();
        for thread in running {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

#[test]
fn an_annotation_that_cannot_be_read_is_reported_and_counts_as_held_for_one_lease() {
    let huge = "x".repeat(1024 * 1024);
    let held = |more: &str| format!("{{\"holderIdentity\":\"peer\",{more}}}");
    let texts = [
        ("".to_owned(), "it is not JSON"),
        ("peer".to_owned(), "it is not JSON"),
        ("{\"holderIdentity\":\"peer\",".to_owned(), "it is not JSON"),
        (huge, "it is not JSON"),
        ("[".repeat(5000), "it is not JSON"),
        ("[1,2]".to_owned(), "it is not a JSON object"),
        ("{\"leaseDurationSeconds\":1}".to_owned(), "holderIdentity is missing"),
        ("{\"holderIdentity\":7,\"leaseDurationSeconds\":1}".to_owned(), "holderIdentity is not a string"),
        ("{\"holderIdentity\":\"peer\"}".to_owned(), "leaseDurationSeconds is missing"),
        (held("\"leaseDurationSeconds\":0"), "leaseDurationSeconds is not above 0"),
        (held("\"leaseDurationSeconds\":-1"), "leaseDurationSeconds is not above 0"),
        (held("\"leaseDurationSeconds\":1e30"), "leaseDurationSeconds is not a whole number, or too large"),
        (held("\"leaseDurationSeconds\":1000000000000000000000000000000"), "not a whole number, or too large"),
        (held("\"leaseDurationSeconds\":86401"), "leaseDurationSeconds is more than a day"),
        (held("\"leaseDurationSeconds\":\"10\""), "leaseDurationSeconds is not a whole number, or too large"),
        (held("\"leaseDurationSeconds\":1,\"renewTime\":5"), "renewTime is not a string"),
        (held("\"leaseDurationSeconds\":1,\"leaderTransitions\":\"5\""), "number of transitions is not a number"),
    ];
    for some in texts.chunks(6) {
        each(some, |(text, why)| {
            let lock = Lock::new("endpoints");
            lock.put_record(&text.clone().into());
            let a = lock.start("a", &["--ttl=1s"]);
            let waited = lock.wait_for_takeover(&a);
            let shown: String = text.chars().take(40).collect();
            assert!(waited >= SECOND, "{shown}: {waited:?}");
            let log = a.log();
            let told: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
            assert!(told.len() == 1 && told[0].contains(why) && told[0].len() < 600, "{shown}: {log}");
            a.wait_to_lead();
        });
    }
}

#[test]
fn an_unreadable_record_is_not_overwritten_while_it_changes_and_logged_once() {
    let lock = Lock::new("configmaps");
    lock.put_record(&"garbage".into());
    let a = lock.start("a", &["--ttl=1s"]);
    a.wait_for_log("cannot be read");
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < 3 * SECOND && lock.holder() != "a" {
        number += 1;
        lock.put_record(&format!("garbage {number}").into());
        thread::sleep(SECOND / 20); // the interval of the other writer
    }
    let waited = lock.wait_for_takeover(&a);
    assert!(waited >= SECOND, "{waited:?}");
    assert_eq!(a.log().matches("cannot be read").count(), 1, "{}", a.log());
}

#[test]
fn a_lock_that_nobody_holds_is_taken_at_once() {
    let empty = |kind| (kind, json!({"holderIdentity": "", "leaseDurationSeconds": 600}));
    let cases = [
        empty("endpoints"),
        empty("configmaps"),
        empty("leases"),
        ("endpoints", json!({"holderIdentity": "", "leaseDurationSeconds": 0, "renewTime": null})),
        ("endpoints", json!({"holderIdentity": ""})),
        ("leases", json!({})),
        ("leases", Value::Null),
        ("leases", json!({"leaseDurationSeconds": 600})),
        ("leases", json!({"preferredHolder": "peer", "strategy": "OldestEmulationVersion"})),
    ];
    each(&cases, |(kind, record)| {
        let lock = Lock::new(kind);
        lock.put_record(&record);
        lock.start("a", &[NEVER]).wait_to_lead();
        assert_eq!(lock.holder(), "a", "{record}");
    });
}

#[test]
fn an_object_without_a_record_is_taken_at_once() {
    each(&KINDS, |kind| {
        let lock = Lock::new(kind);
        let before = lock.put(json!({"metadata": {"labels": {"app": "x"}}}));
        lock.start("a", &[NEVER]).wait_to_lead();
        let after = lock.object().unwrap();
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    });
}

#[test]
fn a_lease_that_is_held_for_no_stated_time_counts_as_held() {
    each(
        &[json!({"holderIdentity": "peer"}), json!({"holderIdentity": "peer", "leaseDurationSeconds": null})],
        |spec| {
            let lock = Lock::new("leases");
            lock.put_record(&spec);
            let a = lock.start("a", &["--ttl=1s"]);
            let waited = lock.wait_for_takeover(&a);
            assert!(waited >= SECOND, "{waited:?}");
            assert!(a.log().contains("leaseDurationSeconds is missing") || spec.get("leaseDurationSeconds").is_some());
        },
    );
}

/// Renews as another implementation for some time, unless another candidate took the lock.
fn renew(lock: &Lock, pace: Duration, duration: Duration, record: impl Fn(u64) -> Value) {
    let begun = Instant::now();
    for number in 1.. {
        let held = lock.holder();
        if begun.elapsed() > duration || held != "peer" {
            return;
        }
        lock.put_record(&record(number));
        thread::sleep(pace); // the interval of its renewals
    }
}

#[test]
fn a_peer_is_respected_while_it_renews_and_waited_for_since_its_last_renewal() {
    // Whole seconds and no transitions, as in 0.5; microseconds, as client-go writes Leases; and times of clocks that
    // are far off or have stopped, so that only the transitions change.
    let stamp = |format: &'static str| move |number: u64| format.replace("NN", &format!("{number:02}"));
    let cases = [
        ("endpoints", SECOND, 2, stamp("2026-01-01T00:00:NNZ")),
        ("leases", SECOND / 5, 2, stamp("2026-01-01T00:00:00.0000NNZ")),
        ("configmaps", SECOND / 5, 2, stamp("9999-12-31T23:59:NNZ")),
        ("endpoints", SECOND / 5, 2, stamp("0001-01-01T00:00:NNZ")),
        ("endpoints", SECOND / 5, 2, stamp("half past NN")),
    ];
    each(&cases, |(kind, pace, lease, stamp)| {
        let lock = Lock::new(kind);
        lock.put_record(&lock.peer("peer", lease, &stamp(0)));
        let a = lock.start("a", &["--ttl=2s"]);
        renew(&lock, pace, 5 * SECOND, |number| lock.peer("peer", lease, &stamp(number)));
        let waited = lock.wait_for_takeover(&a);
        assert!(waited >= 2 * SECOND, "{kind} {}: {waited:?}", stamp(0));
        assert!(waited < 20 * SECOND, "{kind} {}: {waited:?}", stamp(0));
        assert_eq!(transitions_of(&lock.record()), 1);
    });
}

#[test]
fn the_longer_of_the_two_leases_counts() {
    each(&[(3, "--ttl=1s"), (1, "--ttl=3s")], |(theirs, ours)| {
        let lock = Lock::new("endpoints");
        lock.put_record(&lock.peer("peer", theirs, "2026-01-01T00:00:00Z"));
        let a = lock.start("a", &[ours]);
        let waited = lock.wait_for_takeover(&a);
        assert!(waited >= 3 * SECOND, "{theirs} {ours}: {waited:?}");
    });
}

#[test]
fn other_changes_of_the_object_neither_extend_nor_shorten_a_lease() {
    each(&KINDS, |kind| {
        let lock = Lock::new(kind);
        lock.put_record(&lock.peer("peer", 2, "2026-01-01T00:00:00.000000Z"));
        let _a = lock.start("a", &["--ttl=2s"]);
        let begun = Instant::now();
        for number in 0.. {
            let edited = lock.edit(|object| object["metadata"]["labels"]["number"] = format!("{number}").into());
            if record_of(&edited)["holderIdentity"] != "peer" {
                break;
            }
            assert!(begun.elapsed() < 20 * SECOND, "{kind}: never taken while labels change");
            thread::sleep(SECOND / 10); // the interval of the changes
        }
        let changes = lock.changes();
        let taken = changes.iter().find(|(_, holder)| holder == "a").expect("it was taken");
        let waited = taken.0.when - changes[0].0.when;
        assert!(waited >= 2 * SECOND, "{kind}: {waited:?}");
    });
}

#[test]
fn transitions_stop_at_the_largest_number_that_kubernetes_keeps() {
    let cases = [
        ("endpoints", "leaderTransitions", json!(2_147_483_646), 2_147_483_647_u64),
        ("endpoints", "leaderTransitions", json!(2_147_483_647), 2_147_483_647),
        ("leases", "leaseTransitions", json!(2_147_483_647), 2_147_483_647),
        ("configmaps", "leaderTransitions", json!(1e30), 2_147_483_647),
        ("configmaps", "leaderTransitions", json!(u64::MAX), 2_147_483_647),
        ("configmaps", "leaderTransitions", json!(-5), 1),
        ("endpoints", "leaderTransitions", json!(null), 1),
    ];
    each(&cases, |(kind, field, before, after)| {
        let lock = Lock::new(kind);
        let mut record = lock.peer("", 1, "2026-01-01T00:00:00.000000Z");
        record[field] = before.clone();
        lock.put_record(&record);
        lock.start("a", &[NEVER]).wait_to_lead();
        assert_eq!(transitions_of(&lock.record()), after, "{before}");
    });
}

#[test]
fn a_fraction_of_a_second_is_rounded_up_in_the_record() {
    each(&[("--ttl=300ms", 1), ("--ttl=1s", 1), ("--ttl=1500ms", 2)], |(ttl, seconds)| {
        for kind in KINDS {
            let lock = Lock::new(kind);
            let _a = lock.start("a", &[ttl]);
            lock.wait("it is held", || lock.holder() == "a");
            assert_eq!(lock.record()["leaseDurationSeconds"], seconds, "{ttl}");
        }
    });
}

#[test]
fn the_record_has_the_format_of_other_implementations() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        lock.start("a", &[NEVER]).wait_to_lead();
        let record = lock.record();
        let mut names: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let transitions = if kind == "leases" { "leaseTransitions" } else { "leaderTransitions" };
        let mut expected = ["acquireTime", "holderIdentity", "leaseDurationSeconds", "renewTime", transitions];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(lock.object().unwrap()["metadata"]["annotations"].get(RECORD).is_some(), kind != "leases");
        for time in ["acquireTime", "renewTime"] {
            let time = record[time].as_str().unwrap();
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
        }
    }
}
