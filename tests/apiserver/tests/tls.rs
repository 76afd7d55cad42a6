//! The server over TLS.

mod common;

use apiserver::{Options, Server};
use common::{Client, LEASES, PATIENCE, lease};

fn server() -> Server {
    Server::start(Options { tls: true, ..Options::default() }).unwrap()
}

#[test]
fn the_server_is_trusted_by_its_authority_alone() {
    let (server, other) = (server(), server());
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let mut client = Client::over_tls(&server, server.ca_pem().unwrap());
    assert_eq!(client.call("POST", LEASES, Some(&lease("x", "a"))).status, 201);
    let mut stranger = Client::over_tls(&server, other.ca_pem().unwrap());
    assert!(stranger.try_call("GET", "/version", None).is_err());
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
fn a_frozen_server_shakes_no_hands_until_it_thaws() {
    let server = server();
    server.freeze();
    let mut client = Client::over_tls(&server, server.ca_pem().unwrap());
    assert!(client.is_silent());
    server.thaw();
    assert_eq!(client.get("/version").status, 200);
}

#[test]
fn a_new_authority_is_for_new_connections() {
    let server = server();
    let old = server.ca_pem().unwrap();
    let mut before = Client::over_tls(&server, old);
    assert_eq!(before.get("/version").status, 200);
    let new = server.rotate_ca().unwrap();
    assert_eq!(before.get("/version").status, 200);
    assert!(Client::over_tls(&server, old).try_call("GET", "/version", None).is_err());
    assert_eq!(Client::over_tls(&server, &new).get("/version").status, 200);
}
