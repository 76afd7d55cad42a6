//! A watch may show other objects than the lock: they are ignored.

use crate::common::cluster::{
    STEADY, elector, lines, lock_of, on, plain_server, put, record, requests, wait_for, wait_for_renewals,
};
use crate::common::lock::{KINDS, Lock, NEVER};
use crate::common::{Elector, wait_until};
use apiserver::Fault;
use serde_json::{Value, json};

/// A lock of another election in the same namespace.
fn other_election(holder: &str) -> Value {
    let mut lock = lock_of(holder, 600);
    lock["metadata"]["name"] = "other".into();
    lock
}

/// A watch event with an Endpoints object of this namespace and name; null for none.
fn event(kind: &str, namespace: Value, name: Value, version: u64) -> Vec<u8> {
    let mut object = lock_of("stranger", 600);
    object["kind"] = "Endpoints".into();
    object["metadata"]["namespace"] = namespace;
    object["metadata"]["name"] = name;
    object["metadata"]["uid"] = "stranger".into();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    format!("{}\n", json!({"type": kind, "object": object})).into_bytes()
}

fn told_once(elector: &Elector) {
    elector.wait_for_log("WARN the watch of endpoints default/example shows other objects as well, such as ");
    assert_eq!(lines(elector, "shows other objects"), 1, "{}", elector.log());
    assert_eq!(lines(elector, "is the leader"), 0);
}

#[test]
fn behind_a_proxy_that_drops_the_selector_a_leader_keeps_leading_and_a_follower_names_the_right_one() {
    let server = plain_server();
    server.fault(on(&["watch"]), None, Fault::DropSelector);
    put(&server, other_election("stranger"));
    let leader = elector(&server, "a", &[STEADY]);
    leader.wait_to_lead();
    let follower = elector(&server, "b", &[STEADY]);
    follower.wait_to_name("a");
    let began = record(&server).unwrap()["acquireTime"].clone();
    for number in 0..5 {
        put(&server, other_election(&format!("stranger-{number}")));
        wait_for_renewals(&server, 2);
    }
    assert!(server.delete("endpoints", "default", "other"));
    put(&server, other_election("stranger"));
    wait_for_renewals(&server, 2);
    assert_eq!(record(&server).unwrap()["acquireTime"], began, "{}", leader.log());
    assert_eq!((leader.leads(), follower.body().as_str()), (true, r#"{"name":"a"}"#));
    for elector in [&leader, &follower] {
        wait_until("it has printed one leader", || elector.printed() == "a is the leader");
    }
    leader.wait_for_log("shows other objects as well, such as default/other: they are ignored");
    for elector in [&leader, &follower] {
        assert_eq!(lines(elector, "shows other objects"), 1, "{}", elector.log());
    }
}

#[test]
fn behind_a_proxy_that_drops_the_selector_a_release_is_seen_at_once() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        lock.server.fault(on(&["watch"]), None, Fault::DropSelector);
        let mut other = lock.put(json!({"metadata": {}}));
        lock.server.delete(kind, "default", "example");
        other["metadata"]["name"] = "other".into();
        lock.server.put(kind, "default", other);
        let mut leader = lock.start("a", &[NEVER]);
        leader.wait_to_lead();
        let follower = lock.start("b", &[NEVER]);
        follower.wait_to_name("a");
        leader.signal(rustix::process::Signal::TERM);
        assert!(leader.wait_to_end().success());
        follower.wait_to_lead();
    }
}

#[test]
fn an_event_of_another_namespace_or_of_none_is_ignored() {
    let strangers: [(&str, Value, Value); 5] = [
        ("MODIFIED", "elsewhere".into(), "example".into()),
        ("ADDED", "default".into(), "other".into()),
        ("MODIFIED", Value::Null, "example".into()),
        ("MODIFIED", "default".into(), Value::Null),
        ("DELETED", "elsewhere".into(), "example".into()),
    ];
    for (kind, namespace, name) in strangers {
        let server = plain_server();
        let leader = elector(&server, "a", &[STEADY]);
        leader.wait_to_lead();
        wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
        server.send_to_watches(&event(kind, namespace, name, server.resource_version() + 100));
        told_once(&leader);
        wait_for_renewals(&server, 2);
        assert!(leader.leads(), "{}", leader.log());
        wait_until("it has printed one leader", || leader.printed() == "a is the leader");
        assert_eq!(requests(&server, "watch").len(), 1, "{}", leader.log());
    }
}
