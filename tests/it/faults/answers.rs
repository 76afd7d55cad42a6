//! Errors, conflicts and invalid answers of the API server: no unread version is overwritten, the rate of requests is
//! limited, and the election continues as soon as the answers are valid again.

use crate::common::cluster::{
    STEADY, all_at_once, elector, holder, lines, lock_of, on, plain_server, put, record, requests, wait_for,
    wait_for_renewals,
};
use crate::common::wait_until;
use apiserver::{Fault, RequestSeen, Server};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const ALL: &[&str] = &["get", "create", "update", "watch"];
const WRITES: &[&str] = &["create", "update"];

fn status(code: u16) -> Fault {
    Fault::Status { code, retry_after: None }
}

fn busy(code: u16, seconds: u32) -> Fault {
    Fault::Status { code, retry_after: Some(seconds) }
}

fn raw(body: &str) -> Fault {
    let length = body.len();
    Fault::Raw(format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}").into())
}

/// The pauses between these requests.
fn pauses(requests: &[RequestSeen]) -> Vec<Duration> {
    requests.windows(2).map(|pair| pair[1].when - pair[0].when).collect()
}

#[test]
fn updates_that_conflict_are_tried_again_at_a_limited_rate() {
    let server = plain_server();
    let elector = elector(&server, "a", &[]);
    elector.wait_to_lead();
    server.clear_requests();
    let storm = server.fault(on(WRITES), None, status(409));
    wait_for(&server, "it goes on trying", |_| storm.hits() >= 15);
    let all = server.requests();
    let lasted = all.last().unwrap().when - all[0].when;
    // One read for each write, and T/2 between two writes during a term; the test allows twice that.
    assert!(all.len() as u32 <= 6 + 4 * lasted.as_millis() as u32 / 105, "{} in {lasted:?}", all.len());
    storm.remove();
    elector.wait_to_lead();
}

#[test]
fn creations_that_conflict_are_tried_again_at_a_limited_rate() {
    let server = plain_server();
    let storm = server.fault(on(WRITES), None, status(409));
    let elector = elector(&server, "a", &[]);
    wait_for(&server, "it goes on trying", |_| storm.hits() >= 8);
    let writes = requests(&server, "create");
    // The second attempt is immediate, all others wait for R.
    assert!(pauses(&writes)[2..].iter().all(|pause| *pause > Duration::from_millis(150)), "{:?}", pauses(&writes));
    storm.remove();
    elector.wait_to_lead();
}

#[test]
fn a_conflict_does_not_end_the_leadership() {
    let server = plain_server();
    let elector = elector(&server, "a", &[STEADY]);
    elector.wait_to_lead();
    let began = record(&server).unwrap()["acquireTime"].clone();
    for edited in 1..=3 {
        server.edit("endpoints", "default", "example", |lock| {
            lock["metadata"]["labels"] = json!({"edited": edited.to_string()});
        });
        wait_for_renewals(&server, 1);
    }
    let lock = server.get("endpoints", "default", "example").unwrap();
    assert_eq!(lock["metadata"]["labels"]["edited"], "3", "what others write stays");
    assert_eq!(record(&server).unwrap()["acquireTime"], began);
    assert_eq!(lines(&elector, "409 conflict"), 0, "{}", elector.log());
}

#[test]
fn retry_after_delays_the_next_read() {
    all_at_once(vec![429, 503], |code| {
        let server = plain_server();
        server.fault(on(&["get"]), Some(1), busy(code, 1));
        let elector = elector(&server, "a", &[STEADY]);
        elector.wait_to_lead();
        let reads = requests(&server, "get");
        let pauses = pauses(&reads);
        assert!(pauses[0] > Duration::from_millis(900), "{code}: {pauses:?}\n{}", elector.log());
        elector.wait_for_log(&format!("cannot read endpoints default/example: {code} "));
    });
}

#[test]
fn retry_after_delays_the_next_write() {
    let server = plain_server();
    server.fault(on(&["create"]), Some(1), busy(429, 1));
    let elector = elector(&server, "a", &[STEADY]);
    elector.wait_to_lead();
    let writes = requests(&server, "create");
    assert!(pauses(&writes)[0] > Duration::from_millis(900), "{:?}", pauses(&writes));
}

#[test]
fn a_leader_ignores_a_retry_after_longer_than_its_lease() {
    all_at_once(vec![429, 503], |code| {
        let server = plain_server();
        let elector = elector(&server, "a", &[STEADY]);
        elector.wait_to_lead();
        let began = record(&server).unwrap()["acquireTime"].clone();
        let fault = server.fault(on(WRITES), Some(1), busy(code, 3600));
        wait_for(&server, "it is asked to wait", |_| fault.hits() == 1);
        wait_for_renewals(&server, 2);
        assert_eq!(record(&server).unwrap()["acquireTime"], began, "{code}: {}", elector.log());
    });
}

#[test]
fn server_errors_are_logged_once_and_requests_go_on() {
    all_at_once(vec![500, 503, 504, 400, 422, 302, 204], |code| {
        let server = plain_server();
        let problem = server.fault(on(ALL), None, status(code));
        let mut elector = elector(&server, "a", &["--ttl=300ms"]);
        let said = match code {
            204 => "cannot read endpoints default/example: the answer is not a usable Kubernetes object".to_owned(),
            code => format!("cannot read endpoints default/example: {code} "),
        };
        elector.wait_for_log(&said);
        wait_for(&server, "it goes on trying", |server| requests(server, "get").len() >= 4);
        assert_eq!(lines(&elector, &said), 1, "{}", elector.log());
        assert!(elector.is_running() && !elector.leads());
        assert!(server.get("endpoints", "default", "example").is_none());
        problem.remove();
        elector.wait_to_lead();
    });
}

#[test]
fn each_kind_of_request_may_fail_on_its_own() {
    for verb in ALL {
        let server = plain_server();
        if *verb == "update" {
            put(&server, lock_of("", 1));
        }
        let problem = server.fault(on(std::slice::from_ref(verb)), Some(3), status(500));
        let elector = elector(&server, "a", &[STEADY]);
        wait_for(&server, "it fails", |_| problem.hits() >= 1);
        elector.wait_to_lead();
        let name = if *verb == "get" { "read" } else { verb };
        elector.wait_for_log(&format!("cannot {name} endpoints default/example: 500 internal server error"));
    }
}

/// Bodies that resemble the lock, and the messages about them.
fn impostors() -> Vec<(String, &'static str)> {
    let object = |edit: fn(&mut Value)| {
        let mut object = json!({"kind": "Endpoints", "apiVersion": "v1", "metadata":
            {"name": "example", "namespace": "default", "uid": "impostor", "resourceVersion": "5"}});
        edit(&mut object);
        object.to_string()
    };
    vec![
        (String::new(), "not a usable Kubernetes object"),
        ("<html>It works!</html>".into(), "not a usable Kubernetes object"),
        ("{".into(), "not a usable Kubernetes object"),
        ("[]".into(), "not a usable Kubernetes object"),
        ("null".into(), "not a usable Kubernetes object"),
        ("\"text\u{7}\"".into(), "not a usable Kubernetes object"),
        ("[".repeat(100_000), "not a usable Kubernetes object"),
        (json!({"kind": "Status", "status": "Success"}).to_string(), "its kind is \"Status\""),
        (object(|o| o["kind"] = "Pod".into()), "its kind is \"Pod\""),
        (object(|o| o["kind"] = 7.into()), "its kind is 7"),
        (object(|o| o["metadata"] = 7.into()), "metadata cannot be read"),
        (object(|o| o["metadata"] = Value::Null), "it is an object without metadata.name"),
        (object(|o| o["metadata"]["annotations"] = "x".into()), "annotations cannot be read"),
        (object(|o| o["metadata"]["uid"] = Value::Null), "no metadata.uid"),
        (object(|o| o["metadata"]["uid"] = "".into()), "no metadata.uid"),
        (object(|o| o["metadata"]["resourceVersion"] = Value::Null), "no metadata.resourceVersion"),
        (object(|o| o["metadata"]["resourceVersion"] = "".into()), "no metadata.resourceVersion"),
        (object(|o| o["metadata"]["resourceVersion"] = "0".into()), "not a number above 0"),
        (object(|o| o["metadata"]["resourceVersion"] = "abc".into()), "not a number above 0"),
        (object(|o| o["metadata"]["resourceVersion"] = "-1".into()), "not a number above 0"),
        (object(|o| o["metadata"]["resourceVersion"] = "99999999999999999999".into()), "not a number above 0"),
    ]
}

#[test]
fn an_answer_that_is_not_the_lock_is_never_written_back() {
    let server = plain_server();
    put(&server, lock_of("", 1));
    let faults: Vec<_> = impostors().iter().map(|(body, _)| server.fault(on(&["get"]), Some(1), raw(body))).collect();
    server.fault(on(&["watch"]), None, status(500));
    let elector = elector(&server, "a", &["--ttl=100ms"]);
    wait_for(&server, "all of them are read", |_| faults.iter().all(|fault| fault.hits() == 1));
    elector.wait_to_lead();
    for update in requests(&server, "update") {
        let metadata = &update.json().unwrap()["metadata"];
        assert!(metadata["uid"] != "impostor" && metadata["resourceVersion"] != "5", "{metadata}");
    }
    assert!(requests(&server, "create").is_empty());
    // Of many different problems in a row only some are logged.
    let told = lines(&elector, "WARN cannot read");
    assert!((2..=5).contains(&told), "{told}: {}", elector.log());
}

#[test]
fn the_log_says_what_is_wrong_with_each_invalid_object() {
    all_at_once(impostors(), |(body, why)| {
        let server = plain_server();
        let impostor = server.fault(on(&["get"]), None, raw(&body));
        let elector = elector(&server, "a", &[]);
        wait_until(why, || elector.log().lines().any(|line| line.contains("WARN cannot read") && line.contains(why)));
        assert!(elector.log().lines().all(|line| line.len() < 600), "{}", elector.log());
        impostor.remove();
        elector.wait_to_lead();
    });
}

#[test]
fn an_answer_to_a_write_that_is_not_the_lock_is_no_acknowledgement_and_does_not_end_the_leadership() {
    let server = plain_server();
    let elector = elector(&server, "a", &[STEADY]);
    elector.wait_to_lead();
    let began = record(&server).unwrap()["acquireTime"].clone();
    for (body, _) in impostors().into_iter().step_by(3) {
        for fault in [raw(&body), Fault::Committed(Box::new(raw(&body)))] {
            let fault = server.fault(on(&["update"]), Some(1), fault);
            wait_for(&server, "the update goes wrong", |_| fault.hits() == 1);
            wait_for_renewals(&server, 1);
        }
    }
    assert_eq!(record(&server).unwrap()["acquireTime"], began, "{}", elector.log());
}

/// The peak memory of a process, in MiB.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let huge = || Fault::HugeAnswer(100 * 1024 * 1024);
    let server = plain_server();
    put(&server, lock_of("", 1));
    let faults = [server.fault(on(&["get"]), Some(1), huge()), server.fault(on(&["watch"]), Some(2), huge())];
    let elector = elector(&server, "a", &[STEADY]);
    wait_for(&server, "they are answered", |_| faults[0].hits() == 1 && faults[1].hits() == 2);
    elector.wait_to_lead();
    elector
        .wait_for_log("cannot read endpoints default/example: the answer is larger than 3 MiB, the limit for a lock");
    elector.wait_for_log("cannot watch endpoints default/example: an event is longer than");
    let began = record(&server).unwrap()["acquireTime"].clone();
    let update = server.fault(on(&["update"]), Some(1), huge());
    wait_for(&server, "the update is answered", |_| update.hits() == 1);
    wait_for_renewals(&server, 1);
    assert_eq!(record(&server).unwrap()["acquireTime"], began, "{}", elector.log());
    assert!(peak_memory(elector.pid()) < 32, "{} MiB", peak_memory(elector.pid()));
}

#[test]
fn an_endless_head_is_not_read_to_its_end() {
    let server = plain_server();
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024));
    server.fault(on(&["get"]), Some(1), Fault::Raw(head.into()));
    server.fault(on(&["get"]), Some(1), Fault::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()));
    let elector = elector(&server, "a", &["--ttl=300ms"]);
    elector.wait_to_lead();
    wait_until("both are told", || lines(&elector, "WARN cannot read") >= 2);
    assert_eq!(holder(&server), "a");
}

#[test]
fn every_answer_may_be_cut_in_the_middle() {
    all_at_once(vec![Fault::HalfAnswer, Fault::StallAnswer, Fault::DropAnswer, Fault::ResetRequest], |fault| {
        let server: Server = plain_server();
        for verb in ALL {
            server.fault(on(std::slice::from_ref(verb)), Some(1), fault.clone());
        }
        let elector = elector(&server, "a", &[]);
        elector.wait_to_lead();
        wait_for_renewals(&server, 3);
        assert_eq!(holder(&server), "a");
    });
}
