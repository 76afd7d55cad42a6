//! Access rules.

mod common;

use apiserver::{Options, Rule, Server};
use common::{Client, ENDPOINTS, LEASES, lease};

fn server_with(rules: Vec<Rule>) -> Server {
    let tokens = vec![("secret".to_owned(), "app".to_owned())];
    Server::start(Options { tokens, rules, ..Options::default() }).unwrap()
}

fn app(server: &Server) -> Client {
    Client::to(server).with_token("secret")
}

const X: &str = "?fieldSelector=metadata.name%3Dx";

#[test]
fn an_unknown_token_is_not_authorized() {
    let server = server_with(vec![Rule::new("*", &["*"], "*")]);
    let answer = Client::to(&server).with_token("wrong").get(LEASES);
    assert_eq!((answer.status, answer.reason().as_str()), (401, "Unauthorized"));
    assert_eq!(server.requests()[0].user, None);
}

#[test]
fn a_request_without_credentials_is_anonymous() {
    let server = server_with(vec![]);
    let answer = Client::to(&server).get(&format!("{LEASES}/x"));
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.json()["message"],
        "leases.coordination.k8s.io \"x\" is forbidden: User \"system:anonymous\" cannot get resource \
         \"leases\" in API group \"coordination.k8s.io\" in the namespace \"default\""
    );
}

#[test]
fn a_right_on_one_name_is_no_right_on_another() {
    let server = server_with(vec![Rule::new("app", &["get"], "leases").on("x")]);
    server.put("leases", "default", lease("x", "a"));
    let mut client = app(&server);
    assert_eq!(client.get(&format!("{LEASES}/x")).status, 200);
    assert_eq!(client.get(&format!("{LEASES}/y")).status, 403);
    assert_eq!(client.get(&format!("{ENDPOINTS}/x")).status, 403);
}

#[test]
fn a_watch_of_a_name_is_a_request_for_that_name() {
    let server = server_with(vec![Rule::new("app", &["watch"], "leases").on("x")]);
    let mut client = app(&server);
    assert_eq!(client.get(&format!("{LEASES}?watch=1")).status, 403);
    client.watch(&format!("{LEASES}{X}&watch=1"));
}

#[test]
fn a_list_needs_the_right_to_list() {
    let server = server_with(vec![Rule::new("app", &["get", "watch"], "leases").on("x")]);
    assert_eq!(app(&server).get(&format!("{LEASES}{X}")).status, 403);
}

#[test]
fn a_right_limited_to_a_name_does_not_allow_create() {
    let server = server_with(vec![Rule::new("app", &["create"], "leases").on("x")]);
    assert_eq!(app(&server).call("POST", LEASES, Some(&lease("x", "a"))).status, 403);
}

#[test]
fn an_update_that_creates_needs_the_right_to_create() {
    let server = server_with(vec![Rule::new("app", &["update"], "leases")]);
    let path = format!("{LEASES}/x");
    assert_eq!(app(&server).call("PUT", &path, Some(&lease("x", "a"))).status, 403);
    server.set_rules(vec![Rule::new("app", &["update", "create"], "leases")]);
    assert_eq!(app(&server).call("PUT", &path, Some(&lease("x", "a"))).status, 201);
}

#[test]
fn a_right_applies_only_in_its_namespace() {
    let server = server_with(vec![Rule::new("app", &["list"], "leases").within("other")]);
    assert_eq!(app(&server).get(LEASES).status, 403);
    assert_eq!(app(&server).get(&LEASES.replace("default", "other")).status, 200);
}

#[test]
fn tokens_can_be_replaced_while_connections_are_open() {
    let server = server_with(vec![Rule::new("app", &["*"], "*")]);
    let mut client = app(&server);
    assert_eq!(client.get(LEASES).status, 200);
    server.set_tokens(vec![("new".to_owned(), "app".to_owned())]);
    assert_eq!(client.get(LEASES).status, 401);
    assert_eq!(client.with_token("new").get(LEASES).status, 200);
}

#[test]
fn a_delayed_request_fails_if_its_token_was_revoked() {
    let server = server_with(vec![Rule::new("app", &["*"], "*")]);
    server.freeze();
    let mut client = app(&server);
    client.send("GET", LEASES, None).unwrap();
    server.set_tokens(vec![]);
    server.thaw();
    assert_eq!(client.answer().unwrap().status, 401);
}
