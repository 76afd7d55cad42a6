//! The server over TLS.

mod common;

use std::time::{Duration, SystemTime};

use apiserver::{Options, Rule, Server};
use common::{Client, LEASES, PATIENCE, lease};

fn server() -> Server {
    Server::start(Options { tls: true, ..Options::default() }).unwrap()
}

#[test]
fn the_server_certificate_is_valid_only_for_its_ca() {
    let (server, other) = (server(), server());
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let mut client = Client::over_tls(&server, server.ca_pem().unwrap());
    assert_eq!(client.call("POST", LEASES, Some(&lease("x", "a"))).status, 201);
    let mut untrusted = Client::over_tls(&server, other.ca_pem().unwrap());
    assert!(untrusted.try_call("GET", "/version", None).is_err());
}

#[test]
fn a_watch_works_over_tls() {
    let server = server();
    let mut client = Client::over_tls(&server, server.ca_pem().unwrap());
    client.watch(&format!("{LEASES}?watch=1"));
    server.put("leases", "default", lease("x", "a"));
    assert_eq!(client.must_event().0, "ADDED");
    client.close();
    assert!(server.wait_until(PATIENCE, |server| server.open_watches() == 0));
}

#[test]
fn a_frozen_server_does_no_tls_handshake_until_it_thaws() {
    let server = server();
    server.freeze();
    let mut client = Client::over_tls(&server, server.ca_pem().unwrap());
    assert!(client.is_silent());
    server.thaw();
    assert_eq!(client.get("/version").status, 200);
}

#[test]
fn a_new_ca_applies_to_new_connections() {
    let server = server();
    let old = server.ca_pem().unwrap();
    let mut before = Client::over_tls(&server, old);
    assert_eq!(before.get("/version").status, 200);
    let new = server.rotate_ca().unwrap();
    assert_eq!(before.get("/version").status, 200);
    assert!(Client::over_tls(&server, old).try_call("GET", "/version", None).is_err());
    assert_eq!(Client::over_tls(&server, &new).get("/version").status, 200);
}

/// A server with one token, whose user may do everything, as may a group.
fn with_rules() -> Server {
    let tokens = vec![("secret".to_owned(), "app".to_owned())];
    let rules = vec![Rule::new("app", &["*"], "*"), Rule::new("electors", &["*"], "*")];
    Server::start(Options { tls: true, tokens, rules, ..Options::default() }).unwrap()
}

/// The time in this number of seconds, which may be negative.
fn in_seconds(seconds: i64) -> SystemTime {
    let difference = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    if seconds < 0 { now - difference } else { now + difference }
}

#[test]
fn a_certificate_names_its_user_and_groups() {
    let server = with_rules();
    let member = server.client_certificate("jane", Some("electors"), in_seconds(60)).unwrap();
    let mut client = Client::with_certificate(&server, server.ca_pem().unwrap(), Some(&member));
    assert_eq!(client.call("POST", LEASES, Some(&lease("x", "a"))).status, 201);
    let seen = server.requests().remove(0);
    assert_eq!(seen.user.as_deref(), Some("jane"));
    assert_eq!(seen.groups, ["electors"]);

    let untrusted = server.client_certificate("joe", None, in_seconds(60)).unwrap();
    let mut client = Client::with_certificate(&server, server.ca_pem().unwrap(), Some(&untrusted));
    let answer = client.get(LEASES);
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("User \\\"joe\\\" cannot list"), "{}", answer.text);
}

#[test]
fn an_untrusted_certificate_is_answered_with_401() {
    let (server, other) = (with_rules(), with_rules());
    let expired = server.client_certificate("jane", Some("electors"), in_seconds(-60)).unwrap();
    let foreign = other.client_certificate("jane", Some("electors"), in_seconds(60)).unwrap();
    for own in [expired, foreign] {
        let show = || Client::with_certificate(&server, server.ca_pem().unwrap(), Some(&own));
        assert_eq!(show().get(LEASES).status, 401);
        assert_eq!(show().with_token("secret").get(LEASES).status, 200);
    }
}

#[test]
fn without_a_certificate_a_client_is_anonymous() {
    let server = with_rules();
    assert_eq!(Client::over_tls(&server, server.ca_pem().unwrap()).get(LEASES).status, 403);
    assert_eq!(server.requests()[0].user.as_deref(), Some("system:anonymous"));
}

#[test]
fn client_certificates_remain_valid_with_a_new_ca() {
    let server = with_rules();
    let member = server.client_certificate("jane", Some("electors"), in_seconds(60)).unwrap();
    let new = server.rotate_ca().unwrap();
    assert_eq!(Client::with_certificate(&server, &new, Some(&member)).get(LEASES).status, 200);
}
