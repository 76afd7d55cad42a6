//! Other clients delete, empty or take over the lock of a leader.

use crate::common::cluster::{ServiceAccount, owned};
use crate::common::lock::{KINDS, Lock, MARK, NEVER, RECORD};
use crate::common::wait_until;
use apiserver::{ChangeKind, Fault, Options, Rule, Server};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

#[test]
fn the_leader_writes_a_deleted_lock_again_and_followers_do_not() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let (a, b) = lock.start_two(&[NEVER]);
        for _ in 0..5 {
            assert!(lock.server.delete(kind, "default", "example"));
            wait_until("the lock is there again", || {
                assert!(a.leads(), "{}", a.log());
                lock.holder() == "a"
            });
        }
        b.wait_to_name("a");
        let changes = lock.changes();
        assert!(changes.iter().all(|(change, holder)| change.kind == ChangeKind::Deleted || holder == "a"));
        assert!(!b.log().contains("leading"), "{}", b.log());
    }
}

/// `DELETIONS` deletions, each while a candidate starts that has never seen the lock.
#[test]
fn a_candidate_that_starts_when_the_lock_is_deleted_does_not_lead_beside_its_holder() {
    let deletions: u64 = std::env::var("DELETIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for number in 0..deletions {
        let lock = Lock::new("endpoints");
        let a = lock.start("a", &["--ttl=60s"]);
        a.wait_to_lead();
        lock.server.clear_requests();
        let b = lock.spawn("b", &["--ttl=60s"]);
        // Somewhere between its start and its first read.
        match number % 4 {
            0 => {}
            1 => drop(
                lock.server.wait_until(crate::common::PATIENCE, |it| it.requests().iter().any(|it| it.verb == "get")),
            ),
            after => thread::sleep(Duration::from_millis(3 * after + number % 5)),
        }
        assert!(lock.server.delete("endpoints", "default", "example"));
        wait_until("the lock is there again", || !lock.holder().is_empty());
        b.wait_for_log("lead");
        assert!(a.leads(), "deletion {number}\n{}\n{}", a.log(), b.log());
        let changes = lock.changes();
        assert!(changes.iter().all(|(change, holder)| change.kind == ChangeKind::Deleted || holder == "a"));
        a.wait_for_log("without a selector, or move to --lock=leases");
    }
}

#[test]
fn each_time_the_lock_is_written_again_the_fencing_token_grows() {
    let lock = Lock::new("leases");
    let a = lock.start("a", &[NEVER]);
    a.wait_to_lead();
    for terms in 2..5 {
        lock.server.delete("leases", "default", "example");
        wait_until("another term", || a.fencing_tokens().len() == terms);
    }
    let tokens = a.fencing_tokens();
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

#[test]
fn the_leader_writes_a_removed_record_again() {
    let without_record: fn(&Lock) = |lock| {
        lock.edit(|object| {
            object["metadata"]["annotations"].as_object_mut().unwrap().remove(RECORD);
            object["metadata"]["labels"] = json!({"mine": "now"});
        });
    };
    let another_object: fn(&Lock) = |lock| {
        lock.server.delete(lock.kind, "default", "example");
        lock.put(json!({"metadata": {"labels": {"mine": "now"}}}));
    };
    for (kind, end) in [("endpoints", without_record), ("configmaps", without_record), ("endpoints", another_object)] {
        let lock = Lock::new(kind);
        let (a, b) = lock.start_two(&[NEVER]);
        end(&lock);
        wait_until("the record is there again", || {
            assert!(a.leads(), "{}", a.log());
            lock.holder() == "a"
        });
        assert_eq!(lock.object().unwrap()["metadata"]["labels"], json!({"mine": "now"}));
        assert!(lock.changes().iter().all(|(_, holder)| holder != "b") && !b.leads());
    }
}

#[test]
fn a_follower_waits_for_a_leader_whose_lock_is_gone() {
    thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || {
                let lock = Lock::new(kind);
                let (a, b) = lock.start_two(&["--ttl=3s"]);
                a.signal(Signal::STOP); // it cannot write the lock again, and may still claim to lead
                lock.server.delete(kind, "default", "example");
                b.wait_to_lead();
                let changes = lock.changes();
                let gone = changes.iter().find(|(it, _)| it.kind == ChangeKind::Deleted).expect("it was deleted");
                let taken = changes.iter().find(|(_, holder)| holder == "b").expect("b leads");
                let waited = taken.0.when - gone.0.when;
                assert!(waited >= Duration::from_secs(3), "{kind}: {waited:?}");
            });
        }
    });
}

/// The leader keeps running, but cannot see the lock: its requests hang, and it has no watch.
#[test]
fn a_follower_waits_for_a_leader_that_is_cut_off_when_the_record_is_removed() {
    let emptied: fn(&mut Value) = |lease| lease["spec"] = json!({});
    let without_spec: fn(&mut Value) = |lease| drop(lease.as_object_mut().unwrap().remove("spec"));
    let nulls: fn(&mut Value) = |lease| lease["spec"] = json!({"holderIdentity": null, "leaseDurationSeconds": null});
    let without_annotations: fn(&mut Value) =
        |object| drop(object["metadata"].as_object_mut().unwrap().remove("annotations"));
    let cases = [
        ("leases", emptied),
        ("leases", without_spec),
        ("leases", nulls),
        ("endpoints", without_annotations),
        ("configmaps", without_annotations),
    ];
    thread::scope(|scope| {
        for (kind, take_out) in cases {
            scope.spawn(move || {
                let rules = ["a", "b"].map(|user| Rule::new(user, &["*"], "*")).into();
                let tokens = owned(&[("token-a", "a"), ("token-b", "b")]);
                let server = Server::start(Options { tls: true, tokens, rules, ..Options::default() }).unwrap();
                let lock = Lock { server, kind };
                let ca = lock.server.ca_pem().unwrap();
                let [of_a, of_b] = ["token-a", "token-b"].map(|token| ServiceAccount::new(token, ca));
                let a = lock.start("a", &["--ttl=3s", &of_a.flag()]);
                a.wait_to_lead();
                let b = lock.start("b", &["--ttl=3s", &of_b.flag()]);
                b.wait_to_name("a");
                let cut_off = lock.server.fault(|it| it.user.as_deref() == Some("a"), None, Fault::HangRequest);
                lock.server.cut_watches();
                wait_until("a is cut off", || cut_off.hits() >= 2);
                lock.edit(take_out);
                let taken_out = lock.changes().last().unwrap().0.when;
                lock.wait("b takes the lock", || lock.holder() == "b");
                let changes = lock.changes();
                let taken = changes.iter().find(|(_, holder)| holder == "b").expect("b leads").0.when;
                let waited = taken - taken_out;
                assert!(waited >= Duration::from_secs(3), "{kind}: {waited:?}: {}", b.log());
                b.wait_to_lead();
                assert!(!a.leads(), "{kind}: {}", a.log());
            });
        }
    });
}

#[test]
fn a_candidate_that_saw_an_unreadable_record_waits_when_it_is_gone() {
    let deleted: fn(&Lock) = |lock| assert!(lock.server.delete(lock.kind, "default", "example"));
    let emptied: fn(&Lock) = |lock| drop(lock.put(json!({"metadata": {"labels": {"mine": "now"}}})));
    let freed: fn(&Lock) = |lock| drop(lock.put_record(&lock.peer("", 1, "2026-01-01T00:00:00.000000Z")));
    let lease = Duration::from_secs(3);
    thread::scope(|scope| {
        for (kind, gone) in KINDS.into_iter().flat_map(|kind| [(kind, deleted), (kind, emptied), (kind, freed)]) {
            scope.spawn(move || {
                let lock = Lock::new(kind);
                let a = lock.start("a", &["--ttl=3s"]);
                a.wait_to_lead();
                a.signal(Signal::STOP); // it is cut off, and may still claim to lead
                lock.put_record(&json!({"holderIdentity": 7}));
                let b = lock.start("b", &["--ttl=3s"]);
                b.wait_for_log("it counts as held");
                gone(&lock);
                let index = lock.version() - 1;
                b.wait_to_lead();
                let taken = lock.taken("b", index).expect("b leads");
                let waited = taken - lock.changes()[index].0.when;
                assert!(waited >= lease, "{kind}: {waited:?}");
            });
        }
    });
}

#[test]
fn a_leader_that_sees_another_holder_stops_at_once() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let a = lock.start("a", &[NEVER]);
        a.wait_to_lead();
        let version = lock.version();
        lock.put_record(&lock.peer("peer", 600, "2026-01-01T00:00:00.000000Z"));
        a.wait_to_name("peer");
        a.wait_for_log("no longer leading");
        assert_eq!((lock.holder().as_str(), lock.version()), ("peer", version + 1));
    }
}

#[test]
fn a_leader_whose_record_was_emptied_begins_a_new_term() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let a = lock.start("a", &[NEVER]);
        a.wait_to_lead();
        lock.put_record(&lock.peer("", 1, "2026-01-01T00:00:00.000000Z"));
        wait_until("it leads again", || a.fencing_tokens().len() == 2 && a.leads());
        assert_eq!(lock.holder(), "a");
    }
}

#[test]
fn a_leader_renews_although_its_mark_was_removed() {
    let lock = Lock::new("leases");
    let a = lock.start("a", &["--ttl=30s", "--retry-period=2s"]);
    a.wait_to_lead();
    let unmarked = |object: &Value| object["metadata"]["annotations"].get(MARK).is_none();
    let edited = lock.edit(|object| drop(object["metadata"].as_object_mut().unwrap().remove("annotations")));
    assert!(unmarked(&edited));
    wait_until("the mark is there again", || !unmarked(&lock.object().unwrap()));
    assert!(a.leads(), "{}", a.log());
}
