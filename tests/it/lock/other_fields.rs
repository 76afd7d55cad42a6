//! Other clients may use the lock object too: every write keeps all of its fields except the record.

use crate::common::lock::{Lock, MARK, NEVER, RECORD};
use crate::common::{Elector, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The flags of a leader that renews frequently.
const FAST: [&str; 3] = ["--ttl=30s", "--renew-deadline=20s", "--retry-period=50ms"];

/// The object without the fields that a candidate or the API server may change.
fn rest(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().expect("every object has metadata");
    metadata.retain(|name, _| !["resourceVersion", "managedFields"].contains(&name.as_str()));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| ![RECORD, MARK].contains(&name.as_str()));
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let record = ["holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions"];
        spec.retain(|name, _| !record.contains(&name.as_str()));
    }
    object
}

/// Numbers and texts that careless parsers change.
fn odd() -> Value {
    json!({
        "u64": u64::MAX, "i64": i64::MIN, "beyond a double": 9_007_199_254_740_993_u64, "float": 0.1, "whole": 1.0,
        "small": 5e-324, "large": 1.797e308, "text": "\u{0}\u{7f}\u{2028}\u{1f600}\"\\/ <&>", "nothing": null,
        "empty": {}, "none": [], "deep": [[[[{"a": [1, 2.5, "3", false, null]}]]]],
    })
}

fn metadata() -> Value {
    json!({
        "name": "example",
        "labels": {"app": "x", "empty": ""},
        "annotations": {"note": "mine", "json": "{\"a\": 1}", "another/leader": "{}"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "x", "uid": "1", "controller": true}],
        "finalizers": ["example.com/keep"],
        "generation": 9_007_199_254_740_993_u64,
        "unknown": odd(),
    })
}

fn addresses(count: usize) -> Value {
    let address = |n: usize| {
        json!({
            "ip": format!("10.0.{}.{}", n / 250, n % 250 + 1), "nodeName": format!("node-{}", n % 50),
            "targetRef": {
                "kind": "Pod", "namespace": "default", "name": format!("web-{n}"), "resourceVersion": format!("{n}"),
                "uid": format!("00000000-0000-0000-0000-{n:012}"),
            },
        })
    };
    let (ready, waiting): (Vec<Value>, Vec<Value>) =
        ((0..count / 2).map(address).collect(), (count / 2..count).map(address).collect());
    json!([{
        "addresses": ready, "notReadyAddresses": waiting, "unknown": odd(),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}],
    }])
}

/// Creates the object; a candidate acquires, renews, releases and acquires it again; then compares the fields.
fn is_kept(kind: &'static str, object: Value) -> Elector {
    let lock = Lock::new(kind);
    let before = rest(lock.put(object));
    let mut a = lock.start("a", &FAST);
    a.wait_to_lead();
    lock.wait_for_changes(10);
    assert_eq!(rest(lock.object().unwrap()), before);
    a.signal(Signal::TERM);
    assert!(a.wait_to_end().success());
    assert_eq!(lock.holder(), "");
    let b = lock.start("b", &[NEVER]);
    b.wait_to_lead();
    assert_eq!(rest(lock.object().unwrap()), before);
    assert!(lock.server.requests().iter().all(|it| ["get", "watch", "update"].contains(&it.verb)));
    b
}

#[test]
fn live_endpoints_of_a_service_keep_their_addresses_and_everything_else() {
    is_kept("endpoints", json!({"metadata": metadata(), "subsets": addresses(10), "unknown": odd()}));
}

#[test]
fn a_config_map_keeps_its_data() {
    is_kept(
        "configmaps",
        json!({
            "metadata": metadata(), "data": {"a": "1", "lines": "x\ny\r\n\tz", "record": "{}"},
            "binaryData": {"b": "AAECAw=="}, "immutable": false, "unknown": odd(),
        }),
    );
}

#[test]
fn a_lease_keeps_what_is_not_the_record() {
    let spec = json!({"preferredHolder": "someone", "strategy": "OldestEmulationVersion", "unknown": odd()});
    is_kept("leases", json!({"metadata": metadata(), "spec": spec, "status": {"phase": "x"}, "unknown": odd()}));
}

#[test]
fn what_others_change_while_it_leads_is_kept_too() {
    let lock = Lock::new("endpoints");
    lock.put(json!({"metadata": metadata(), "subsets": addresses(3)}));
    let a = lock.start("a", &FAST);
    a.wait_to_lead();
    // Like the endpoints controller: it updates the object that it has just read, and repeats that after a conflict.
    let agent = |addresses: &Value| {
        wait_until("the addresses are updated", || {
            let mut object = lock.object().unwrap();
            object["subsets"] = addresses.clone();
            put_if_unchanged(&lock, &object)
        });
    };
    for count in 4..12 {
        let now = addresses(count);
        agent(&now);
        lock.wait_for_changes(2);
        assert_eq!(lock.object().unwrap()["subsets"], now);
        assert!(a.leads(), "{}", a.log());
    }
    assert_eq!(a.log().matches("with the fencing token").count(), 1, "{}", a.log());
    assert!(!a.log().contains(" WARN "), "{}", a.log());
}

/// Sends an update that names the version that it replaces. Returns whether it was accepted.
fn put_if_unchanged(lock: &Lock, object: &Value) -> bool {
    use std::io::{Read, Write};
    let body = object.to_string();
    let mut stream = std::net::TcpStream::connect(lock.server.addr()).expect("the server listens");
    let head = format!(
        "PUT /api/v1/namespaces/default/{}/example HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        lock.kind,
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 409"), "{answer}");
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn a_thousand_addresses_are_kept_and_need_little_memory() {
    let elector = is_kept("endpoints", json!({"metadata": metadata(), "subsets": addresses(1000)}));
    let status = std::fs::read_to_string(format!("/proc/{}/status", elector.pid())).unwrap();
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    };
    println!("with 1,000 addresses: {} KiB resident, {} KiB at most", kilobytes("VmRSS"), kilobytes("VmHWM"));
    assert!(kilobytes("VmHWM") < 100 * 1024);
}
