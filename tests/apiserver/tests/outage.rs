//! A server that is down, or frozen, and comes back.

mod common;

use std::net::TcpStream;

use apiserver::Server;
use common::{Client, LEASES, lease, server};

#[test]
fn a_server_that_is_down_refuses_and_comes_back_with_its_objects() {
    let server = server();
    let mut client = Client::to(&server);
    assert_eq!(client.call("POST", LEASES, Some(&lease("x", "a"))).status, 201);
    server.down();
    assert!(client.try_call("GET", "/version", None).is_err());
    assert!(TcpStream::connect(server.addr()).is_err());
    server.up();
    assert_eq!(Client::to(&server).get(&format!("{LEASES}/x")).status, 200);
}

#[test]
fn a_server_that_goes_down_ends_its_watches() {
    let server = server();
    let mut client = Client::to(&server);
    client.watch(&format!("{LEASES}?watch=1"));
    server.down();
    assert!(client.event().is_err());
    assert_eq!(server.open_watches(), 0);
}

#[test]
fn a_frozen_server_carries_out_requests_when_it_thaws() {
    let server = server();
    let mut watcher = Client::to(&server);
    watcher.watch(&format!("{LEASES}?watch=1"));
    server.freeze();
    let mut client = Client::to(&server);
    client.send("POST", LEASES, Some(&lease("x", "a"))).unwrap();
    server.put("leases", "default", lease("y", "a"));
    assert!(client.is_silent() && watcher.is_silent());
    assert!(server.get("leases", "default", "x").is_none());
    server.thaw();
    assert_eq!(client.answer().unwrap().status, 201);
    assert_eq!(watcher.must_event().1["metadata"]["name"], "y");
    assert_eq!(watcher.must_event().1["metadata"]["name"], "x");
}

#[test]
fn dropping_a_server_ends_all_connections() {
    let ends: [fn(&Server); 2] = [|_| {}, Server::freeze];
    for before in ends {
        let server = server();
        let mut client = Client::to(&server);
        client.watch(&format!("{LEASES}?watch=1"));
        before(&server);
        let addr = server.addr();
        drop(server);
        assert!(client.event().is_err());
        assert!(TcpStream::connect(addr).is_err());
    }
}
