//! Connections that hang or break: a single one never ends the leadership.

use crate::common::claim_checker::ClaimChecker;
use crate::common::cluster::{
    STEADY, ServiceAccount, all_at_once, elector, on, plain_server, record, requests, wait_for, wait_for_renewals,
};
use apiserver::{Fault, Options, Server};
use std::time::Duration;

#[test]
fn a_broken_connection_does_not_end_the_leadership() {
    let faults = [
        Fault::HangRequest,
        Fault::HangAnswer,
        Fault::StallAnswer,
        Fault::HalfAnswer,
        Fault::DropRequest,
        Fault::DropAnswer,
        Fault::ResetRequest,
        Fault::ResetAnswer,
        Fault::Status { code: 500, retry_after: None },
        Fault::Committed(Box::new(Fault::Status { code: 500, retry_after: None })),
        Fault::Committed(Box::new(Fault::Status { code: 409, retry_after: None })),
    ];
    all_at_once(faults.into(), |fault| breaks_once(&fault));
}

fn breaks_once(fault: &Fault) {
    let server = plain_server();
    let leader = elector(&server, "a", &[STEADY]);
    leader.wait_to_lead();
    let began = record(&server).unwrap()["acquireTime"].clone();
    let checker = ClaimChecker::start(&[&leader]);
    let broken = server.fault(on(&["update"]), Some(1), fault.clone());
    wait_for(&server, "an update breaks", |_| broken.hits() == 1);
    wait_for_renewals(&server, 2);
    let answers = checker.check(&server);
    let other = answers.iter().find(|answer| !answer.names_itself());
    assert!(other.is_none() && answers.len() > 10, "{fault:?}: {other:?} {}", leader.log());
    assert_eq!(record(&server).unwrap()["acquireTime"], began, "{fault:?}: {}", leader.log());
}

#[test]
fn after_a_connection_that_hung_the_next_try_is_on_a_new_one_and_at_once() {
    let server = plain_server();
    let leader = elector(&server, "a", &["--ttl=6s"]);
    leader.wait_to_lead();
    let hung = server.fault(on(&["update"]), Some(1), Fault::HangRequest);
    wait_for(&server, "an update hangs", |_| hung.hits() == 1);
    wait_for_renewals(&server, 1);
    let updates = requests(&server, "update");
    let hung = updates.iter().position(|request| request.status.is_none()).unwrap();
    let (hung, next) = (&updates[hung], &updates[hung + 1]);
    assert_ne!(hung.connection, next.connection);
    // T is 1.26 s and R 1.2 s: without the immediate attempt it would take 2.4 s.
    assert!(next.when - hung.when < Duration::from_millis(2200), "{:?}", next.when - hung.when);
    leader.wait_for_log("cannot update endpoints default/example: no answer within 1.26s");
    leader.wait_for_log("raise --ttl");
}

#[test]
fn after_a_connection_that_was_lost_the_next_try_is_at_once() {
    let server = plain_server();
    server.fault(on(&["create"]), Some(1), Fault::DropRequest);
    let elector = elector(&server, "a", &["--ttl=60s"]);
    elector.wait_to_lead();
    let creates = requests(&server, "create");
    // R is 12 s.
    assert!(creates[1].when - creates[0].when < Duration::from_secs(10));
}

#[test]
fn a_server_that_hangs_before_its_answer_is_asked_again() {
    let no_answer = "cannot read endpoints default/example: no answer within";
    // The answer contains no complete object.
    let half_a_status = "cannot read endpoints default/example: 404 not found";
    let faults =
        vec![(Fault::HangRequest, no_answer), (Fault::HangAnswer, no_answer), (Fault::StallAnswer, half_a_status)];
    all_at_once(faults, |(fault, said)| {
        let server = plain_server();
        server.fault(on(&["get"]), Some(3), fault.clone());
        server.fault(on(&["create"]), Some(1), fault.clone());
        server.fault(on(&["watch"]), Some(1), fault);
        let elector = elector(&server, "a", &[]);
        elector.wait_to_lead();
        elector.wait_for_log(said);
    });
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_waited_for() {
    let server = plain_server();
    server.freeze();
    let mut elector = elector(&server, "a", &[]);
    elector.wait_for_log("cannot read endpoints default/example: no answer within");
    assert!(elector.is_running() && elector.body() == "{\"name\":\"\"}");
    server.thaw();
    elector.wait_to_lead();
}

#[test]
fn a_server_that_hangs_in_the_tls_handshake_is_waited_for() {
    let server = Server::start(Options { tls: true, ..Options::default() }).unwrap();
    server.freeze();
    let account = ServiceAccount::new("one", server.ca_pem().unwrap());
    let mut elector = elector(&server, "a", &[&account.flag()]);
    elector.wait_for_log("cannot read endpoints default/example: no TLS handshake with 127.0.0.1:");
    assert!(elector.is_running() && elector.body() == "{\"name\":\"\"}");
    server.thaw();
    elector.wait_to_lead();
}

#[test]
fn a_server_of_plain_http_where_tls_was_expected_is_called_so_and_the_other_way_round() {
    let plain = plain_server();
    let secure = Server::start(Options { tls: true, ..Options::default() }).unwrap();
    let account = ServiceAccount::new("one", secure.ca_pem().unwrap());
    let https = format!("--server={}", plain.url().replace("http", "https"));
    elector(&plain, "a", &[&https, &account.flag()]).wait_for_log("does not speak TLS; is it an http:// address?");
    let http = format!("--server={}", secure.url().replace("https", "http"));
    elector(&secure, "a", &[&http]).wait_for_log("cannot read endpoints default/example: ");
}
