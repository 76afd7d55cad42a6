//! The effect of each fault on the client and on the object.

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use apiserver::{Fault, Server};
use common::{Client, LEASES, PATIENCE, lease, server};
use serde_json::Value;

fn exists(server: &Server) -> bool {
    server.get("leases", "default", "x").is_some()
}

/// Creates a lease with `fault`, and returns the outcome.
fn create_with_fault(server: &Server, fault: Fault) -> std::io::Result<common::Answer> {
    let handle = server.fault(|request| request.verb == "create", Some(1), fault);
    let outcome = Client::to(server).try_call("POST", LEASES, Some(&lease("x", "a")));
    assert_eq!(handle.hits(), 1);
    outcome
}

#[test]
fn a_dropped_request_does_nothing() {
    let server = server();
    assert!(create_with_fault(&server, Fault::DropRequest).is_err());
    assert!(!exists(&server));
}

#[test]
fn a_dropped_answer_is_dropped_after_the_request_was_carried_out() {
    let server = server();
    assert!(create_with_fault(&server, Fault::DropAnswer).is_err());
    assert!(exists(&server));
    assert_eq!(server.requests()[0].status, None);
}

#[test]
fn resets_reset_the_connection() {
    let server = server();
    for (fault, acts) in [(Fault::ResetRequest, false), (Fault::ResetAnswer, true)] {
        let error = create_with_fault(&server, fault).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(exists(&server), acts);
    }
}

#[test]
fn a_delayed_request_is_carried_out_after_its_client_has_gone() {
    let server = server();
    server.fault(|_| true, None, Fault::DelayRequest(Duration::from_millis(50)));
    let mut client = Client::to(&server);
    client.send("POST", LEASES, Some(&lease("x", "a"))).unwrap();
    assert!(server.wait_until(PATIENCE, |server| server.requests().len() == 1));
    client.close();
    assert!(server.wait_until(PATIENCE, exists));
}

#[test]
fn a_delayed_answer_is_sent_after_the_request_was_carried_out() {
    let server = server();
    server.fault(|_| true, None, Fault::DelayAnswer(Duration::from_millis(50)));
    let mut client = Client::to(&server);
    client.send("POST", LEASES, Some(&lease("x", "a"))).unwrap();
    assert!(server.wait_until(PATIENCE, exists));
    assert_eq!(client.answer().unwrap().status, 201);
}

#[test]
fn a_hanging_request_stays_open_until_the_client_goes() {
    for (fault, acts) in [(Fault::HangRequest, false), (Fault::HangAnswer, true)] {
        let server = server();
        let handle = server.fault(|_| true, None, fault);
        let mut client = Client::to(&server);
        client.send("POST", LEASES, Some(&lease("x", "a"))).unwrap();
        assert!(server.wait_until(PATIENCE, |s| handle.hits() == 1 && exists(s) == acts));
        assert_eq!(server.open_connections(), 1);
        client.close();
        assert!(server.wait_until(PATIENCE, |server| server.open_connections() == 0));
        assert_eq!(exists(&server), acts);
    }
}

#[test]
fn a_status_fault_answers_with_the_given_status() {
    let server = server();
    let fault = Fault::Status { code: 429, retry_after: Some(7) };
    let answer = create_with_fault(&server, fault).unwrap();
    assert_eq!((answer.status, answer.reason().as_str()), (429, "TooManyRequests"));
    assert!(answer.head.contains("Retry-After: 7\r\n"));
    assert!(!exists(&server));
}

#[test]
fn a_committed_fault_carries_out_the_request_first() {
    let server = server();
    let inner = Fault::Status { code: 500, retry_after: None };
    let handle = server.fault(|_| true, Some(1), Fault::Committed(Box::new(inner)));
    let mut client = Client::to(&server);
    assert_eq!(client.call("POST", LEASES, Some(&lease("x", "a"))).status, 500);
    assert_eq!(handle.hits(), 1);
    assert!(exists(&server));
    assert_eq!(client.get(&format!("{LEASES}/x")).status, 200);
}

#[test]
fn raw_bytes_are_sent_unchanged() {
    let server = server();
    server.fault(|_| true, None, Fault::Raw(b"nonsense".to_vec()));
    let mut client = Client::to(&server);
    client.send("GET", "/version", None).unwrap();
    assert_eq!(client.rest(), b"nonsense");
}

#[test]
fn half_an_answer_ends_or_stalls() {
    let server = server();
    let half = Client::to(&server).get("/version").text.len().div_ceil(2);
    for (fault, stalls) in [(Fault::HalfAnswer, false), (Fault::StallAnswer, true)] {
        server.fault(|_| true, Some(1), fault);
        let mut client = Client::to(&server);
        client.send("GET", "/version", None).unwrap();
        client.head().unwrap();
        assert_eq!(client.bytes(half).unwrap().len(), half);
        assert_eq!(client.is_silent(), stalls);
    }
}

#[test]
fn a_huge_answer_has_the_given_size() {
    let server = server();
    server.fault(|_| true, None, Fault::HugeAnswer(1_000_000));
    let answer = Client::to(&server).get("/version");
    assert_eq!(answer.text.len(), 1_000_000);
}

#[test]
fn a_redirect_names_its_target() {
    let server = server();
    let answer = create_with_fault(&server, Fault::Redirect("http://example.com/".into())).unwrap();
    assert_eq!(answer.status, 307);
    assert!(answer.head.contains("Location: http://example.com/\r\n"));
}

#[test]
fn a_fault_expires_and_can_be_removed() {
    let server = server();
    let status = |code| Fault::Status { code, retry_after: None };
    server.fault(|_| true, Some(2), status(500));
    let handle = server.fault(|_| true, None, status(503));
    let mut client = Client::to(&server);
    let mut statuses = || client.get("/version").status;
    assert_eq!([statuses(), statuses(), statuses()], [500, 500, 503]);
    handle.remove();
    assert_eq!(statuses(), 200);
    server.fault(|_| true, None, status(500));
    server.clear_faults();
    assert_eq!(statuses(), 200);
}

fn watch_with_fault(server: &Server, fault: Fault) -> Client {
    server.fault(|request| request.verb == "watch", Some(1), fault);
    let mut client = Client::to(server);
    client.watch(&format!("{LEASES}?watch=1&resourceVersion={}", server.resource_version()));
    client
}

fn put(server: &Server, holder: &str) {
    server.put("leases", "default", lease("x", holder));
}

#[test]
fn a_watch_is_cut_after_a_number_of_events() {
    let server = server();
    let mut client = watch_with_fault(&server, Fault::CutWatch { after_events: 1, mid_line: false });
    put(&server, "a");
    client.must_event();
    assert!(client.rest().is_empty());
}

#[test]
fn a_watch_is_cut_in_the_middle_of_an_event() {
    let server = server();
    let mut client = watch_with_fault(&server, Fault::CutWatch { after_events: 1, mid_line: true });
    put(&server, "a");
    put(&server, "b");
    client.must_event();
    let rest = String::from_utf8(client.rest()).unwrap();
    assert!(rest.contains("\"object\"") && !rest.ends_with('\n'), "{rest}");
}

#[test]
fn a_silent_watch_stays_open() {
    let server = server();
    let mut client = watch_with_fault(&server, Fault::SilenceWatch { after_events: 1 });
    put(&server, "a");
    put(&server, "b");
    client.must_event();
    assert!(client.is_silent());
    assert_eq!(server.cut_watches(), 1);
    assert!(client.rest().is_empty());
}

#[test]
fn a_line_is_inserted_into_a_watch() {
    let server = server();
    let line = b"{\"type\":\"ERROR\",\"object\":null}\n".to_vec();
    let mut client = watch_with_fault(&server, Fault::WatchLine { after_events: 1, line });
    put(&server, "a");
    put(&server, "b");
    let kinds = [(); 3].map(|()| client.must_event());
    assert_eq!(kinds.map(|event| event.0), ["ADDED", "ERROR", "MODIFIED"]);
}

#[test]
fn a_flooded_watch_still_shows_changes() {
    let server = server();
    let line = |number| format!("{{\"type\":\"BOOKMARK\",\"object\":{{\"number\":{number}}}}}\n");
    let mut client = watch_with_fault(&server, Fault::FloodWatch(line));
    let read_to = |client: &mut Client, text: &str| {
        let mut sent = String::new();
        while !sent.contains(text) {
            sent = sent.split_off(sent.len().saturating_sub(text.len()));
            sent.push_str(std::str::from_utf8(&client.bytes(1024).unwrap()).unwrap());
        }
    };
    read_to(&mut client, "\"number\":0}");
    read_to(&mut client, "\"number\":10000}");
    put(&server, "a");
    read_to(&mut client, "\"ADDED\"");
    read_to(&mut client, "\"BOOKMARK\"");
}

#[test]
fn an_answer_is_edited_after_the_request_was_carried_out() {
    let server = server();
    server.fault(|_| true, Some(1), Fault::EditAnswer(|object| object["metadata"]["name"] = "another".into()));
    let answer = Client::to(&server).call("POST", LEASES, Some(&lease("x", "a")));
    assert_eq!((answer.status, answer.json()["metadata"]["name"].as_str()), (201, Some("another")));
    assert!(exists(&server));
}

#[test]
fn a_watch_without_its_selector_shows_every_object() {
    let server = server();
    server.put("leases", "default", lease("y", "a"));
    server.fault(|request| request.verb == "watch", None, Fault::DropSelector);
    let mut client = Client::to(&server);
    client.watch(&format!("{LEASES}?watch=1&fieldSelector=metadata.name%3Dx"));
    put(&server, "a");
    let names = [(); 2].map(|()| client.must_event().1["metadata"]["name"].clone());
    assert_eq!(names, ["y", "x"]);
}

#[test]
fn a_matcher_sees_the_request() {
    let server = server();
    let holder_b = |body: &Value| body["spec"]["holderIdentity"] == "b";
    server.fault(
        move |request| request.resource == "leases" && request.json().as_ref().is_some_and(holder_b),
        None,
        Fault::Status { code: 409, retry_after: None },
    );
    let mut client = Client::to(&server);
    assert_eq!(client.call("POST", LEASES, Some(&lease("x", "b"))).status, 409);
    assert_eq!(client.call("POST", LEASES, Some(&lease("x", "a"))).status, 201);
}
