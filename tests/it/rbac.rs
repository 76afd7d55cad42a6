//! If RBAC denies a request, the log names the rule that grants it, and everything that is allowed continues.

use crate::common::cluster::{
    self, elector, holder, lines, lock_of, plain_server, put, requests, wait_for, wait_for_renewals,
};
use crate::common::{Elector, wait_until};
use apiserver::{Options, Rule, Server};
use std::time::Instant;

const ANYBODY: &str = "system:anonymous";

pub fn allow(verbs: &[&str]) -> Vec<Rule> {
    vec![Rule::new(ANYBODY, verbs, "endpoints")]
}

pub fn server_that_allows(verbs: &[&str]) -> Server {
    Server::start(Options { rules: allow(verbs), ..Options::default() }).unwrap()
}

/// The rights on the one object that most manifests for 0.5 grant.
fn on_the_lock(verbs: &[&str]) -> Rule {
    Rule::new(ANYBODY, verbs, "endpoints").on("example").within("default")
}

fn server_with(rules: Vec<Rule>) -> Server {
    Server::start(Options { rules, ..Options::default() }).unwrap()
}

/// Checks that only requests with these verbs were refused.
fn assert_refused_only(server: &Server, verbs: &[&str]) {
    let refused = |request: &&apiserver::RequestSeen| request.status == Some(403) && !verbs.contains(&request.verb);
    let other = server.requests().iter().find(refused).map(|request| (request.verb, request.path.clone()));
    assert_eq!(other, None);
}

/// Checks that the first candidate leads, and the second one takes over from it.
fn hand_over(server: &Server) -> [Elector; 2] {
    let mut leader = elector(server, "a", &["--ttl=6s", "--retry-period=200ms"]);
    leader.wait_to_lead();
    let follower = elector(server, "b", &["--ttl=6s", "--retry-period=200ms"]);
    follower.wait_to_name("a");
    leader.signal(rustix::process::Signal::TERM);
    assert_eq!(leader.wait_to_end().code(), Some(0));
    follower.wait_to_lead();
    [leader, follower]
}

/// The message about a missing right.
pub fn says_what_to_grant(elector: &Elector, attempt: &str, verb: &str, rule: &str) {
    elector.wait_for_log(&format!("cannot {attempt} endpoints default/example: 403 forbidden"));
    elector.wait_for_log(&format!("grant the verb \"{verb}\" on \"endpoints\""));
    elector.wait_for_log(&format!("in namespace \"default\" to \"{ANYBODY}\": {rule}"));
}

#[test]
fn get_forbidden_is_logged_once_and_retried() {
    let server = server_that_allows(&["create", "update", "watch"]);
    let elector = elector(&server, "a", &["--ttl=300ms"]);
    let rule = r#"- {apiGroups: [""], resources: ["endpoints"], resourceNames: ["example"], verbs: ["get", "update"]}"#;
    says_what_to_grant(&elector, "read", "get", rule);
    wait_for(&server, "it asks again", |server| requests(server, "get").len() >= 4);
    assert_eq!(lines(&elector, "cannot read endpoints default/example: 403"), 1, "{}", elector.log());
    server.set_rules(allow(&["*"]));
    elector.wait_to_lead();
    elector.wait_for_log("getting endpoints default/example works again");
}

#[test]
fn create_forbidden_is_logged_once_and_retried() {
    let server = server_that_allows(&["get", "update", "watch"]);
    let elector = elector(&server, "a", &["--ttl=300ms"]);
    let rule = r#"- {apiGroups: [""], resources: ["endpoints"], verbs: ["create"]}"#;
    says_what_to_grant(&elector, "create", "create", rule);
    wait_for(&server, "it asks again", |server| requests(server, "create").len() >= 4);
    assert_eq!(lines(&elector, "WARN cannot create endpoints default/example: 403"), 1, "{}", elector.log());
    server.set_rules(allow(&["*"]));
    elector.wait_to_lead();
}

#[test]
fn an_object_that_somebody_else_created_needs_no_right_to_create() {
    let server = server_that_allows(&["get", "update", "watch"]);
    let elector = elector(&server, "a", &[]);
    elector.wait_for_log("cannot create endpoints default/example: 403 forbidden");
    put(&server, serde_json::json!({"metadata": {"name": "example"}, "subsets": []}));
    elector.wait_to_lead();

    let server = server_that_allows(&["get", "update", "watch"]);
    put(&server, serde_json::json!({"metadata": {"name": "example"}, "subsets": []}));
    let elector = cluster::elector(&server, "a", &[]);
    elector.wait_to_lead();
    assert_eq!(lines(&elector, "cannot create"), 0, "{}", elector.log());
}

#[test]
fn update_forbidden_is_logged_once_and_retried() {
    let server = server_that_allows(&["get", "create", "watch"]);
    put(&server, lock_of("", 1));
    let elector = elector(&server, "a", &["--ttl=300ms"]);
    let rule = r#"- {apiGroups: [""], resources: ["endpoints"], resourceNames: ["example"], verbs: ["get", "update"]}"#;
    says_what_to_grant(&elector, "update", "update", rule);
    wait_for(&server, "it asks again", |server| requests(server, "update").len() >= 4);
    assert_eq!(lines(&elector, "WARN cannot update endpoints default/example: 403"), 1, "{}", elector.log());
    server.set_rules(allow(&["*"]));
    elector.wait_to_lead();
}

#[test]
fn a_leader_that_may_no_longer_update_stops_in_time_and_leads_again_when_it_may() {
    let server = plain_server();
    let elector = elector(&server, "a", &[]);
    elector.wait_to_lead();
    server.set_rules(allow(&["get", "create", "watch"]));
    elector.wait_for_log("no renewal was acknowledged in time; the last one: cannot update endpoints");
    assert!(!elector.leads());
    assert_eq!(lines(&elector, "WARN cannot update endpoints default/example: 403"), 1, "{}", elector.log());
    server.set_rules(allow(&["get", "update"]));
    elector.wait_to_lead();
    elector.wait_for_log("updating endpoints default/example works again");
}

#[test]
fn get_and_update_are_enough_for_an_existing_object() {
    let server = server_with(vec![on_the_lock(&["get", "update"])]);
    put(&server, serde_json::json!({"metadata": {"name": "example"}, "subsets": []}));
    for elector in hand_over(&server) {
        assert_eq!(lines(&elector, "403 forbidden"), 1, "only the watch: {}", elector.log());
    }
    assert_refused_only(&server, &["watch"]);
    assert!(server.requests().iter().all(|request| ["get", "update", "watch"].contains(&request.verb)));
}

#[test]
fn with_create_the_object_need_not_exist() {
    let server = server_with(vec![on_the_lock(&["get", "update"]), Rule::new(ANYBODY, &["create"], "endpoints")]);
    hand_over(&server);
    assert_refused_only(&server, &["watch"]);
}

#[test]
fn with_watch_on_the_one_object_nothing_is_refused() {
    let server =
        server_with(vec![on_the_lock(&["get", "update", "watch"]), Rule::new(ANYBODY, &["create"], "endpoints")]);
    for elector in hand_over(&server) {
        assert_eq!(lines(&elector, "403 forbidden"), 0, "{}", elector.log());
    }
    assert_refused_only(&server, &[]);
}

#[test]
fn without_any_right_the_port_answers_and_every_rule_is_named_once() {
    let server = server_with(vec![Rule::new("somebody-else", &["*"], "*")]);
    let mut elector = elector(&server, "a", &["--ttl=300ms"]);
    says_what_to_grant(
        &elector,
        "read",
        "get",
        r#"- {apiGroups: [""], resources: ["endpoints"], resourceNames: ["example"]"#,
    );
    says_what_to_grant(
        &elector,
        "watch",
        "watch",
        r#"- {apiGroups: [""], resources: ["endpoints"], resourceNames: ["example"]"#,
    );
    wait_for(&server, "it asks again", |server| requests(server, "get").len() >= 4);
    assert_eq!(elector.body(), r#"{"name":""}"#);
    assert_eq!((elector.ask("/healthz").unwrap().0, elector.ask("/readyz").unwrap().0), (200, 503));
    assert!(elector.is_running());
    assert_eq!(lines(&elector, "403 forbidden"), 2, "{}", elector.log());
    assert!(server.requests().iter().all(|request| ["get", "watch"].contains(&request.verb)), "nothing else is tried");
    server.set_rules(vec![on_the_lock(&["get", "update"]), Rule::new(ANYBODY, &["create"], "endpoints")]);
    elector.wait_to_lead();
}

#[test]
fn a_leader_that_may_no_longer_read_keeps_leading() {
    let server = plain_server();
    let elector = elector(&server, "a", &["--ttl=6s", "--retry-period=200ms"]);
    elector.wait_to_lead();
    server.set_rules(allow(&["update"]));
    server.cut_connections();
    wait_for_renewals(&server, 10);
    assert!(elector.leads(), "{}", elector.log());
}

#[test]
fn a_refused_update_is_tried_again_soon_after_the_term() {
    let server = plain_server();
    // Eighty refusals until its claim ends; without a term ten would make it wait for most of a minute.
    let elector = elector(&server, "a", &["--ttl=6s", "--retry-period=50ms"]);
    elector.wait_to_lead();
    server.set_rules(allow(&["get", "create", "watch"]));
    elector.wait_for_log("no renewal was acknowledged in time");
    let so_far = requests(&server, "update").len();
    wait_for(&server, "it asks again", |server| requests(server, "update").len() >= so_far + 3);
    server.set_rules(allow(&["*"]));
    elector.wait_to_lead();
}

#[test]
fn repeated_refusals_slow_the_requests_down() {
    let server = server_that_allows(&["create", "update", "watch"]);
    let _elector = elector(&server, "a", &["--ttl=6s", "--retry-period=20ms"]);
    let reads = |server: &Server| requests(server, "get");
    wait_for(&server, "it asks again and again", |server| reads(server).len() >= 7);
    let pause = |a: usize, b: usize| reads(&server)[b].when - reads(&server)[a].when;
    // R is 20 ms: without backing off, six pauses would be 264 ms at most.
    assert!(pause(0, 6) > std::time::Duration::from_millis(600));
}

#[test]
fn without_a_token_a_401_says_so() {
    let server = plain_server();
    server.fault(|_| true, None, apiserver::Fault::Status { code: 401, retry_after: None });
    let elector = elector(&server, "a", &["--ttl=300ms"]);
    elector.wait_for_log("cannot read endpoints default/example: 401 unauthorized");
    elector.wait_for_log("no token was sent");
    wait_for(&server, "it tries again", |server| requests(server, "get").len() >= 4);
    assert_eq!(lines(&elector, "cannot read endpoints default/example: 401"), 1, "{}", elector.log());
    server.clear_faults();
    elector.wait_to_lead();
}

#[test]
fn a_leader_with_an_unknown_token_stops_in_time_and_leads_again_when_it_is_known() {
    let server = plain_server();
    let elector = elector(&server, "a", &[]);
    elector.wait_to_lead();
    let fault = server.fault(|_| true, None, apiserver::Fault::Status { code: 401, retry_after: None });
    wait_until("it leads no longer", || !elector.leads());
    assert_eq!(holder(&server), "a", "the lock still bears its name");
    fault.remove();
    elector.wait_to_lead();
}

#[test]
fn a_missing_namespace_is_named() {
    let options = Options { missing_namespaces: vec!["nowhere".into()], ..Options::default() };
    let server = Server::start(options).unwrap();
    let mut elector = elector(&server, "a", &["--election-namespace=nowhere"]);
    elector.wait_for_log("cannot create endpoints nowhere/example: 404 not found");
    elector.wait_for_log("create the namespace \"nowhere\", or give the right one with --election-namespace");
    let began = Instant::now();
    wait_for(&server, "it tries again", |server| requests(server, "create").len() >= 4);
    assert!(began.elapsed() > std::time::Duration::from_millis(300), "no busy loop");
    assert_eq!(lines(&elector, "WARN cannot create endpoints nowhere/example: 404"), 1, "{}", elector.log());
    assert!(elector.is_running());
}

#[test]
fn a_wrong_path_in_the_server_address_is_logged_as_404() {
    let server = plain_server();
    let elector = elector(&server, "a", &[&format!("--server={}/elsewhere", server.url())]);
    elector.wait_for_log("cannot read endpoints default/example: 404 not found");
}
