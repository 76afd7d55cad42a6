//! The answers of the HTTP port on each path.

use crate::common::http::{Client, HOUR, following, header, held_by, known, leading, serve, unknown};
use leader_elector::clock;
use leader_elector::election::{Claim, Holder};
use leader_elector::http::Limits;
use leader_elector::status::Snapshot;
use std::time::Duration;

/// Paths that are answered like `/`, as in 0.5.
const CATCH_ALL: [&str; 12] = [
    "/",
    "/?x=1",
    "/anything",
    "//",
    "/isLeader/",
    "/isleader",
    "/leader/",
    "/status/",
    "/eventsource",
    "/Metrics",
    "http://host/else",
    "*",
];

#[test]
fn every_other_path_names_the_holder() {
    let (address, status) = serve(Limits::default());
    status.publish(following("other"));
    let mut client = Client::connect(address);
    for path in CATCH_ALL {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"name":"other"}"#), "{path}");
        assert_eq!(header(&answer.head, "content-type"), Some("application/json"), "{path}");
    }
}

#[test]
fn every_method_gets_the_same_answer() {
    let (address, status) = serve(Limits::default());
    status.publish(following("other"));
    let mut client = Client::connect(address);
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "WHATEVER", "get"] {
        let answer = client.send(format!("{method} /x HTTP/1.1\r\n\r\n")).answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"name":"other"}"#), "{method}");
    }
}

#[test]
fn a_head_is_answered_like_its_get_without_the_body() {
    let (address, status) = serve(Limits::default());
    status.publish(following("other"));
    for path in ["/", "/isLeader", "/leader", "/healthz", "/livez", "/readyz"] {
        let mut client = Client::connect(address);
        let get = client.get(path);
        let (code, head) = client.send(format!("HEAD {path} HTTP/1.1\r\n\r\n")).head();
        assert_eq!((code, head), (get.status, get.head), "{path}");
        // The next bytes are the next answer, not a body.
        assert_eq!(client.get("/").body, r#"{"name":"other"}"#, "{path}");
    }
}

#[test]
fn a_leader_names_itself_escaped() {
    let (address, status) = serve(Limits::default());
    status.publish(leading());
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").body, r#"{"name":"me-\"0\""}"#);
    assert_eq!(client.get("/isLeader?").body, r#"{"isLeader": true}"#);
    assert_eq!(client.get("http://x/isLeader").body, r#"{"isLeader": true}"#);
    let answer = client.get("/leader");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"name":"me-\"0\""}"#));
}

#[test]
fn a_follower_names_the_holder_and_never_itself() {
    let (address, status) = serve(Limits::default());
    for (snapshot, body) in [(following("other"), r#"{"name":"other"}"#), (known(), r#"{"name":""}"#)] {
        status.publish(snapshot);
        let mut client = Client::connect(address);
        for path in CATCH_ALL.into_iter().chain(["/isLeader", "/leader", "/healthz", "/livez", "/readyz", "/metrics"]) {
            let answer = client.get(path);
            assert!(!answer.head.contains("me-") && !answer.body.contains("me-"), "{path}: {answer:?}");
        }
        let answer = client.get("/leader");
        assert_eq!((answer.status, answer.body.as_str()), (503, body));
        let answer = client.get("/isLeader");
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"isLeader": false}"#));
    }
}

#[test]
fn a_lease_that_ran_out_is_not_shown_though_nothing_was_published() {
    let (address, status) = serve(Limits::default());
    let until = clock::now().saturating_add(Duration::from_millis(300));
    status.publish(Snapshot { claim: Some(Claim { until, fencing_token: 1 }), ..known() });
    let mut client = Client::connect(address);
    while clock::now() < until {
        assert!(["/", "/leader", "/isLeader"].iter().all(|path| {
            let before = clock::now();
            let answer = client.get(path);
            // Only an answer that may have been given before the end may claim to lead.
            before < until || !(answer.body.contains("me-") || answer.body.contains("true"))
        }));
    }
    assert_eq!(client.get("/").body, r#"{"name":""}"#);
    assert_eq!(client.get("/isLeader").body, r#"{"isLeader": false}"#);
    assert_eq!(client.get("/leader").status, 503);
}

#[test]
fn another_holder_is_shown_until_its_lease_runs_out() {
    let (address, status) = serve(Limits::default());
    let mut client = Client::connect(address);
    let now = clock::now();
    for (until, body) in [(now, r#"{"name":""}"#), (now.saturating_add(HOUR), r#"{"name":"other"}"#)] {
        let lapsed = Some(Claim { until: now, fencing_token: 1 });
        status.publish(Snapshot { claim: lapsed, ..held_by(Holder { identity: "other".into(), until }) });
        assert_eq!(client.get("/").body, body);
    }
}

#[test]
fn probes_tell_whether_the_election_runs_and_knows_something() {
    let (address, status) = serve(Limits::default());
    let mut client = Client::connect(address);
    let mut probe = |path| {
        let answer = client.get(path);
        assert_eq!(header(&answer.head, "content-type"), Some("text/plain; charset=utf-8"));
        (answer.status, answer.body)
    };
    let ok = (200, "ok".to_owned());
    assert_eq!(probe("/healthz"), ok);
    assert_eq!(probe("/livez"), ok);
    assert_eq!(probe("/readyz"), (503, "the lock has not been read yet".to_owned()));

    status.publish(known());
    assert_eq!(probe("/readyz"), ok);

    let now = clock::now();
    status.publish(Snapshot { stuck_at: now, lease_duration: Duration::ZERO, ..leading() });
    assert_eq!(probe("/healthz").0, 500);
    assert_eq!(probe("/livez").0, 500);
    assert_eq!(probe("/readyz"), (503, "the API server was not reached within the lease duration".to_owned()));

    status.publish(unknown());
    assert_eq!(probe("/healthz"), ok);
}

#[test]
fn no_answer_may_be_cached() {
    let (address, _) = serve(Limits::default());
    let mut client = Client::connect(address);
    for path in ["/", "/isLeader", "/leader", "/healthz", "/status", "/metrics"] {
        assert_eq!(header(&client.get(path).head, "cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn a_published_change_is_seen_by_the_next_request_of_an_open_connection() {
    let (address, status) = serve(Limits::default());
    let mut client = Client::connect(address);
    for round in 0..1000 {
        let holder = format!("candidate-{round}");
        status.publish(following(&holder));
        assert_eq!(client.get("/").body, format!(r#"{{"name":"{holder}"}}"#));
    }
}
