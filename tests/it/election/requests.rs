//! The requests of an election, and what every write must contain.

use crate::common::cluster::{
    ServiceAccount, elector, holder, lock_of, on, owned, plain_server, put, requests, wait_for, wait_for_renewals,
};
use crate::common::{Elector, wait_until};
use apiserver::{Fault, Options, RequestSeen, Rule, Server};
use rustix::process::Signal;
use serde_json::json;

/// Every write names the version that it replaces, although the server would accept it without.
fn all_writes_are_conditional(server: &Server) {
    let writes: Vec<RequestSeen> =
        server.requests().into_iter().filter(|request| !["GET"].contains(&request.method.as_str())).collect();
    assert!(writes.len() > 5);
    for write in writes {
        let object = write.json().unwrap();
        let metadata = &object["metadata"];
        if write.method == "POST" {
            assert!(metadata["uid"].is_null() && metadata["resourceVersion"].is_null(), "{object}");
            continue;
        }
        assert_eq!(write.method, "PUT", "the lock is never patched or deleted");
        assert!(metadata["uid"].as_str().is_some_and(|uid| !uid.is_empty()), "{object}");
        let version = metadata["resourceVersion"].as_str().and_then(|version| version.parse::<u64>().ok());
        assert!(version.is_some_and(|version| version > 0), "{object}");
    }
}

#[test]
fn every_write_names_the_version_it_replaces_whatever_happens() {
    let server = plain_server();
    let mut electors = vec![elector(&server, "a", &[]), elector(&server, "b", &[]), elector(&server, "c", &[])];
    let someone_leads = |electors: &[Elector]| {
        wait_until("one of them leads", || electors.iter().any(Elector::leads));
    };
    someone_leads(&electors);
    for fault in [Fault::DropAnswer, Fault::HalfAnswer, Fault::Status { code: 409, retry_after: None }] {
        server.fault(on(&["update", "create", "get"]), Some(3), fault);
        wait_for_renewals(&server, 2);
        someone_leads(&electors);
    }
    // The lock is deleted, created again by another client, edited, and taken by another candidate.
    server.delete("endpoints", "default", "example");
    wait_for(&server, "it is there again", |server| !holder(server).is_empty());
    server.delete("endpoints", "default", "example");
    put(&server, lock_of("stranger", 1));
    someone_leads(&electors);
    put(&server, json!({"metadata": {"name": "example"}}));
    someone_leads(&electors);
    while let Some(leader) = electors.iter().position(|elector| elector.id == holder(&server)) {
        electors[leader].signal(Signal::TERM);
        electors[leader].wait_to_end();
        electors.remove(leader);
        if !electors.is_empty() {
            someone_leads(&electors);
        }
    }
    assert_eq!(holder(&server), "");
    all_writes_are_conditional(&server);
}

#[test]
fn a_renewal_is_one_put_and_nothing_else() {
    let server = plain_server();
    // A connection is not used again after 2 R, which a busy machine exceeds if R is short.
    let leader = elector(&server, "a", &["--ttl=60s", "--retry-period=1s"]);
    leader.wait_to_lead();
    wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
    server.clear_requests();
    wait_for_renewals(&server, 6);
    let others: Vec<String> = server
        .requests()
        .into_iter()
        .filter(|request| request.verb != "update")
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    let connections: std::collections::BTreeSet<u64> =
        requests(&server, "update").iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 1, "all on one connection");
}

#[test]
fn a_follower_at_rest_asks_for_nothing() {
    let tokens = owned(&[("one", "leader"), ("two", "follower")]);
    let rules = vec![Rule::new("*", &["*"], "*")];
    let server = Server::start(Options { tokens, rules, ..Options::default() }).unwrap();
    let (one, two) = (ServiceAccount::new("one", ""), ServiceAccount::new("two", ""));
    let leader = elector(&server, "a", &["--ttl=6s", "--retry-period=200ms", &one.flag()]);
    leader.wait_to_lead();
    // Its own retry period decides how long it trusts a silent watch.
    let follower = elector(&server, "b", &["--ttl=6s", &two.flag()]);
    follower.wait_to_name("a");
    wait_for(&server, "both watches are open", |server| server.open_watches() == 2);
    // The watch may have shown the leader before the first read was answered.
    wait_for(&server, "its first read is over", |server| {
        let is_its_read = |it: &RequestSeen| it.user.as_deref() == Some("follower") && it.verb == "get";
        server.requests().iter().any(|it| is_its_read(it) && it.answered.is_some())
    });
    server.clear_requests();
    wait_for_renewals(&server, 20);
    let of_follower: Vec<String> = server
        .requests()
        .into_iter()
        .filter(|request| request.user.as_deref() == Some("follower"))
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert!(of_follower.is_empty(), "{of_follower:?}");
    assert!(!requests(&server, "update").is_empty());
}
