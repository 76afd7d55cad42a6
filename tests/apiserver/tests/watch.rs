//! Watches: their events and where they start.

mod common;

use apiserver::{Options, Server};
use common::{Client, LEASES, PATIENCE, lease, server, version};
use serde_json::Value;

fn watch_from(at: &str) -> String {
    format!("{LEASES}?watch=1&fieldSelector=metadata.name%3Dx&resourceVersion={at}")
}

fn holder(event: &(String, Value)) -> (&str, &str) {
    (&event.0, event.1["spec"]["holderIdentity"].as_str().unwrap_or_default())
}

#[test]
fn a_watch_shows_every_change_of_its_object_and_of_no_other() {
    let server = server();
    let mut client = Client::to(&server);
    client.watch(&watch_from(&server.resource_version().to_string()));
    server.put("leases", "default", lease("x", "a"));
    server.put("leases", "default", lease("y", "other"));
    server.put("leases", "other", lease("x", "other"));
    server.put("leases", "default", lease("x", "b"));
    server.delete("leases", "default", "x");
    for expected in [("ADDED", "a"), ("MODIFIED", "b"), ("DELETED", "b")] {
        assert_eq!(holder(&client.must_event()), expected);
    }
}

#[test]
fn a_watch_shows_what_was_missed() {
    let server = server();
    let first = server.put("leases", "default", lease("x", "a"));
    server.put("leases", "default", lease("x", "b"));
    let mut client = Client::to(&server);
    client.watch(&watch_from(version(&first)));
    assert_eq!(holder(&client.must_event()), ("MODIFIED", "b"));
}

#[test]
fn a_watch_without_a_version_begins_with_the_existing_objects() {
    let server = server();
    server.put("leases", "default", lease("x", "a"));
    for at in ["", "0"] {
        let mut client = Client::to(&server);
        client.watch(&watch_from(at));
        assert_eq!(holder(&client.must_event()), ("ADDED", "a"));
    }
}

#[test]
fn the_end_of_the_initial_events_is_marked() {
    let server = server();
    server.put("leases", "default", lease("x", "a"));
    let mut client = Client::to(&server);
    client.watch(&format!("{LEASES}?watch=1&allowWatchBookmarks=true"));
    assert_eq!(client.must_event().0, "ADDED");
    let (kind, object) = client.must_event();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[test]
fn a_watch_from_a_future_version_is_silent_until_that_version() {
    let server = server();
    let mut client = Client::to(&server);
    client.watch(&watch_from(&(server.resource_version() + 2).to_string()));
    for holder in ["a", "b", "c"] {
        server.put("leases", "default", lease("x", holder));
    }
    assert_eq!(holder(&client.must_event()), ("MODIFIED", "c"));
}

fn expect_gone(client: &mut Client) {
    let (kind, status) = client.must_event();
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &410.into()));
    assert_eq!(status["reason"], "Expired");
    assert!(client.event().unwrap().is_none());
}

#[test]
fn a_watch_from_before_a_compaction_is_gone() {
    let server = server();
    let first = server.put("leases", "default", lease("x", "a"));
    server.put("leases", "default", lease("x", "b"));
    server.compact();
    let mut client = Client::to(&server);
    client.watch(&watch_from(version(&first)));
    expect_gone(&mut client);
    client.watch(&watch_from(&server.resource_version().to_string()));
}

#[test]
fn a_watch_from_before_the_window_is_gone() {
    let server = Server::start(Options { watch_window: 2, ..Options::default() }).unwrap();
    let put = |holder| server.put("leases", "default", lease("x", holder));
    let versions: Vec<Value> = ["a", "b", "c", "d"].map(put).into();
    let mut client = Client::to(&server);
    client.watch(&watch_from(version(&versions[0])));
    expect_gone(&mut client);
    client.watch(&watch_from(version(&versions[1])));
    assert_eq!(holder(&client.must_event()), ("MODIFIED", "c"));
    assert_eq!(server.history().len(), 4);
}

#[test]
fn a_watch_ends_in_time_and_the_connection_goes_on() {
    let server = server();
    let mut client = Client::to(&server);
    client.watch(&format!("{LEASES}?watch=1&timeoutSeconds=1"));
    assert!(client.event().unwrap().is_none());
    assert_eq!(client.get("/version").status, 200);
}

#[test]
fn a_watch_gets_a_bookmark_before_its_end() {
    let server = server();
    let stored = server.put("leases", "default", lease("x", "a"));
    let mut client = Client::to(&server);
    let at = version(&stored);
    let query = format!("watch=1&allowWatchBookmarks=true&timeoutSeconds=3&resourceVersion={at}");
    client.watch(&format!("{LEASES}?{query}"));
    server.bump_resource_version(5);
    let (kind, object) = client.must_event();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(version(&object), server.resource_version().to_string());
    assert!(client.event().unwrap().is_none());
}

#[test]
fn a_client_that_closes_is_noticed() {
    let server = server();
    let mut client = Client::to(&server);
    client.watch(&watch_from(""));
    assert_eq!(server.open_watches(), 1);
    client.close();
    assert!(server.wait_until(PATIENCE, |server| server.open_watches() == 0));
}

#[test]
fn watches_can_be_cut() {
    let server = server();
    let cuts: [fn(&Server) -> usize; 3] = [Server::cut_watches, Server::cut_watches_mid_line, Server::reset_watches];
    for cut in cuts {
        let mut client = Client::to(&server);
        client.watch(&watch_from(""));
        assert_eq!(cut(&server), 1);
        assert!(client.event().is_err());
        assert_eq!(server.open_watches(), 0);
    }
}

#[test]
fn any_line_can_be_sent_to_watches() {
    let server = server();
    let mut client = Client::to(&server);
    client.watch(&watch_from(""));
    server.send_to_watches(b"{\"type\":\"ERROR\",\"object\":{\"code\":500}}\n");
    assert_eq!(client.must_event().1["code"], 500);
}
