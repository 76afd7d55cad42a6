//! Answers that contain an object with another name or namespace are ignored.

use crate::common::cluster::{
    STEADY, elector, holder, lock_of, on, plain_server, put, record, requests, wait_for, wait_for_renewals,
};
use apiserver::{Fault, Server};
use serde_json::Value;

fn of_other_name(object: &mut Value) {
    object["metadata"]["name"] = "other".into();
}

fn of_other_namespace(object: &mut Value) {
    object["metadata"]["namespace"] = "elsewhere".into();
}

fn of_no_namespace(object: &mut Value) {
    object["metadata"].as_object_mut().unwrap().remove("namespace");
}

fn of_no_name(object: &mut Value) {
    object["metadata"].as_object_mut().unwrap().remove("name");
}

const EDITS: [fn(&mut Value); 4] = [of_other_name, of_other_namespace, of_no_namespace, of_no_name];

#[test]
fn a_read_that_returns_another_object_is_no_answer() {
    for edit in EDITS {
        let server = plain_server();
        put(&server, lock_of("stranger", 600));
        let reads = server.fault(on(&["get"]), None, Fault::EditAnswer(edit));
        server.fault(on(&["watch"]), None, Fault::Status { code: 403, retry_after: None });
        let a = elector(&server, "a", &["--ttl=1s"]);
        wait_for(&server, "it goes on reading", |_| reads.hits() >= 3);
        a.wait_for_log("cannot read endpoints default/example: the answer is not a usable Kubernetes object: it is ");
        assert_eq!((a.body().as_str(), a.printed().as_str()), (r#"{"name":""}"#, ""));
        assert!(requests(&server, "update").is_empty());
        reads.remove();
        a.wait_to_name("stranger");
    }
}

#[test]
fn an_answer_to_a_write_that_shows_another_object_is_no_acknowledgement() {
    for edit in EDITS {
        let server = plain_server();
        // After the first read only this answer could show that the lock was taken.
        let faults = [
            server.fault(on(&["create"]), None, Fault::EditAnswer(edit)),
            server.fault(on(&["watch"]), None, Fault::Status { code: 403, retry_after: None }),
            server.fault(on(&["get"]), Some(1), Fault::EditAnswer(|_| {})),
            server.fault(on(&["get"]), None, Fault::HangRequest),
        ];
        let a = elector(&server, "a", &["--ttl=2s"]);
        wait_for(&server, "it reads back what it has written", |_| faults[3].hits() >= 1);
        a.wait_for_log("cannot create endpoints default/example: the answer is not a usable Kubernetes object: it is ");
        assert_eq!((holder(&server).as_str(), a.leads()), ("a", false), "{}", a.log());
        faults.iter().for_each(apiserver::FaultHandle::remove);
        a.wait_to_lead();
    }
}

#[test]
fn a_leader_whose_renewal_is_answered_with_another_object_reads_and_keeps_leading() {
    let server: Server = plain_server();
    let leader = elector(&server, "a", &[STEADY]);
    leader.wait_to_lead();
    let began = record(&server).unwrap()["acquireTime"].clone();
    for edit in EDITS {
        let wrong = server.fault(on(&["update"]), Some(1), Fault::EditAnswer(edit));
        wait_for(&server, "a renewal is answered", |_| wrong.hits() == 1);
        wait_for_renewals(&server, 2);
    }
    assert_eq!(record(&server).unwrap()["acquireTime"], began, "{}", leader.log());
    assert!(leader.leads());
}
