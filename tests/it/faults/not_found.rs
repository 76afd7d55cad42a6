//! A proxy answers 404, although the lock exists.

use crate::common::lock::{KINDS, Lock};
use crate::common::{Elector, wait_until};
use apiserver::{Fault, FaultHandle};
use serde_json::json;

/// D is 400 s, so that no term expires during a test.
const LONG: &[&str] = &["--ttl=10m", "--retry-period=50ms"];

fn not_found(body: &str) -> Fault {
    let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Fault::Raw((head + body).into_bytes())
}

fn status(details: serde_json::Value) -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "details": details,
    })
    .to_string()
}

/// Answers requests with these verbs like this.
fn fault(lock: &Lock, verbs: &'static [&'static str], fault: Fault) -> FaultHandle {
    lock.server.fault(|request| verbs.contains(&request.verb), None, fault)
}

/// Checks that the leader continues its term, and recognises its last write.
fn goes_on(lock: &Lock, leader: &Elector) {
    let changes = lock.version();
    wait_until("it renews its lease", || {
        assert!(leader.leads(), "{}", leader.log());
        lock.version() >= changes + 3
    });
    assert_eq!(leader.fencing_tokens().len(), 1, "{}", leader.log());
    assert!(!leader.log().contains("did not write"), "{}", leader.log());
}

#[test]
fn a_404_of_a_proxy_does_not_end_the_term() {
    let other = status(json!({"name": "other", "kind": "endpoints"}));
    for body in ["<html>404 Not Found</html>", "", &status(json!({})), &other] {
        let lock = Lock::new("endpoints");
        let leader = lock.start("a", LONG);
        leader.wait_to_lead();
        let both = fault(&lock, &["get", "update", "create"], not_found(body));
        wait_until("it was told so", || both.hits() >= 4);
        both.remove();
        goes_on(&lock, &leader);
    }
}

#[test]
fn an_own_record_that_was_said_to_be_absent_is_recognised() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let leader = lock.start("a", LONG);
        leader.wait_to_lead();
        let absent = not_found(&status(json!({"name": "example", "kind": kind})));
        let both = fault(&lock, &["get", "update"], absent);
        // The right answer to its create is 409.
        wait_until("it creates what it was told is gone", || {
            lock.server.requests().iter().filter(|request| request.verb == "create").count() >= 2
        });
        both.remove();
        goes_on(&lock, &leader);
    }
}

#[test]
fn a_404_of_a_proxy_does_not_free_a_lock() {
    let lock = Lock::new("leases");
    let leader = lock.start("a", LONG);
    leader.wait_to_lead();
    fault(&lock, &["get", "watch"], not_found("<html>404 Not Found</html>"));
    let second = lock.start("b", LONG);
    second.wait_for_log("is that the address of a Kubernetes API server?");
    goes_on(&lock, &leader);
    let creations = lock.server.requests().iter().filter(|request| request.verb == "create").count();
    assert_eq!(creations, 1, "{}", second.log());
}
