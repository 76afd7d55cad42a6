//! Writes in doubt, which may have been carried out or not: they neither cause a second leader nor end the leadership.

use crate::common::claim_checker::ClaimChecker;
use crate::common::cluster::{
    STEADY, all_at_once, elector, holder, holder_in, lock_of, on, plain_server, put, record, requests, wait_for,
    wait_for_renewals,
};
use crate::common::{Elector, wait_until};
use apiserver::{Fault, RequestSeen, Server};
use rustix::process::Signal;
use serde_json::json;

/// Faults of a write that is carried out, but has no clear answer.
fn done_in_doubt() -> Vec<Fault> {
    let status = |code| Fault::Committed(Box::new(Fault::Status { code, retry_after: None }));
    vec![
        Fault::DropAnswer,
        Fault::ResetAnswer,
        Fault::HangAnswer,
        Fault::HalfAnswer,
        Fault::StallAnswer,
        Fault::Committed(Box::new(Fault::DropRequest)),
        Fault::Committed(Box::new(Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()))),
        status(500),
        status(504),
        status(409),
    ]
}

/// Faults of a write that is not carried out.
fn lost() -> Vec<Fault> {
    vec![Fault::DropRequest, Fault::ResetRequest, Fault::HangRequest, Fault::Status { code: 504, retry_after: None }]
}

/// The terms in the history of the lock: holder and acquireTime.
fn terms(server: &Server) -> Vec<(String, String)> {
    let mut terms: Vec<_> = server
        .history()
        .iter()
        .filter(|change| holder_in(&change.object).is_some_and(|holder| !holder.is_empty()))
        .map(|change| {
            let record = change.object["metadata"]["annotations"]["control-plane.alpha.kubernetes.io/leader"].as_str();
            let record: serde_json::Value = serde_json::from_str(record.unwrap()).unwrap();
            (record["holderIdentity"].to_string(), record["acquireTime"].to_string())
        })
        .collect();
    terms.dedup();
    terms
}

fn is_release(request: &RequestSeen) -> bool {
    request.verb == "update" && request.json().as_ref().and_then(holder_in).as_deref() == Some("")
}

#[test]
fn a_creation_in_doubt_is_read_back() {
    all_at_once(done_in_doubt(), |fault| {
        let server = plain_server();
        let in_doubt = server.fault(on(&["create"]), Some(1), fault.clone());
        // Without a watch, so that only a read can show the write.
        server.fault(on(&["watch"]), None, Fault::Status { code: 403, retry_after: None });
        let leader = elector(&server, "a", &[STEADY]);
        leader.wait_to_lead();
        wait_for_renewals(&server, 1);
        assert_eq!(in_doubt.hits(), 1);
        assert_eq!(requests(&server, "create").len(), 1, "{fault:?}");
        assert_eq!(terms(&server).len(), 1, "{fault:?}: {}", leader.log());
    });
}

#[test]
fn a_creation_in_doubt_makes_one_leader_of_many() {
    all_at_once(done_in_doubt(), |fault| {
        let server = plain_server();
        server.fault(on(&["create"]), Some(1), fault);
        let electors = [elector(&server, "a", &[]), elector(&server, "b", &[])];
        let checker = ClaimChecker::start(&[&electors[0], &electors[1]]);
        wait_until("one of them leads", || electors.iter().any(Elector::leads));
        wait_for_renewals(&server, 2);
        checker.check(&server);
    });
}

#[test]
fn a_renewal_in_doubt_neither_ends_the_term_nor_begins_one() {
    all_at_once([done_in_doubt(), lost()].concat(), |fault| {
        let server = plain_server();
        let leader = elector(&server, "a", &[STEADY]);
        leader.wait_to_lead();
        let in_doubt = server.fault(on(&["update"]), Some(1), fault.clone());
        wait_for(&server, "a renewal comes to nothing", |_| in_doubt.hits() == 1);
        wait_for_renewals(&server, 2);
        assert_eq!(terms(&server).len(), 1, "{fault:?}: {}", leader.log());
        assert!(leader.leads());
    });
}

#[test]
fn a_takeover_in_doubt_is_read_back() {
    all_at_once(done_in_doubt(), |fault| {
        let server = plain_server();
        put(&server, lock_of("", 1));
        let in_doubt = server.fault(on(&["update"]), Some(1), fault.clone());
        let leader = elector(&server, "a", &[STEADY]);
        leader.wait_to_lead();
        wait_for_renewals(&server, 1);
        assert_eq!(in_doubt.hits(), 1);
        assert_eq!(terms(&server).len(), 1, "{fault:?}: {}", leader.log());
    });
}

#[test]
fn a_release_in_doubt_is_resolved_before_the_exit() {
    all_at_once([done_in_doubt(), lost()].concat(), |fault| {
        let server = plain_server();
        let mut leader = elector(&server, "a", &["--ttl=60s"]);
        leader.wait_to_lead();
        let follower = elector(&server, "b", &["--ttl=60s"]);
        follower.wait_to_name("a");
        let checker = ClaimChecker::start(&[&follower]);
        let in_doubt = server.fault(is_release, Some(1), fault.clone());
        leader.signal(Signal::TERM);
        assert_eq!(leader.wait_to_end().code(), Some(0));
        assert_eq!(in_doubt.hits(), 1);
        // The lease is longer than the timeout of the test, so the takeover followed a release.
        follower.wait_to_lead();
        checker.check(&server);
        assert!(!leader.log().contains("could not be released"), "{fault:?}: {}", leader.log());
    });
}

#[test]
fn after_a_conflict_a_release_is_sent_again_with_the_new_version() {
    let server = plain_server();
    let mut leader = elector(&server, "a", &["--ttl=60s"]);
    leader.wait_to_lead();
    // The watch does not show the edit.
    server.fault(on(&["watch"]), None, Fault::HangRequest);
    server.cut_watches();
    server.edit("endpoints", "default", "example", |lock| lock["metadata"]["labels"] = json!({"edited": "yes"}));
    leader.signal(Signal::TERM);
    assert_eq!(leader.wait_to_end().code(), Some(0));
    let lock = server.get("endpoints", "default", "example").unwrap();
    assert_eq!((holder(&server).as_str(), &lock["metadata"]["labels"]["edited"]), ("", &json!("yes")));
}

#[test]
fn writes_that_arrive_late_make_no_second_leader() {
    let server = plain_server();
    let electors = [elector(&server, "a", &[]), elector(&server, "b", &[])];
    wait_until("one of them leads", || electors.iter().any(Elector::leads));
    let checker = ClaimChecker::start(&[&electors[0], &electors[1]]);
    let late = Fault::DelayRequest(std::time::Duration::from_millis(1200));
    let delayed = server.fault(on(&["update"]), Some(3), late);
    wait_for(&server, "three writes are late", |_| delayed.hits() == 3);
    wait_for(&server, "they arrive", |server| {
        requests(server, "update").iter().filter(|request| request.status.is_none()).count() == 0
    });
    wait_until("one of them leads", || electors.iter().any(Elector::leads));
    wait_for_renewals(&server, 2);
    checker.check(&server);
    assert!(record(&server).is_some());
}
