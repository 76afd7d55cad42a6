//! A candidate that may not watch polls the lock instead.

use crate::common;
use crate::common::cluster::{elector, lines, wait_for, wait_for_renewals};
use crate::http::status::{status_of, wait_for_error};
use crate::rbac::{allow, says_what_to_grant, server_that_allows};
use std::time::Instant;

#[test]
fn without_a_right_to_watch_the_lock_is_polled() {
    let server = server_that_allows(&["get", "create", "update"]);
    let mut leader = elector(&server, "a", &[]);
    leader.wait_to_lead();
    let follower = elector(&server, "b", &[]);
    follower.wait_to_name("a");
    let rule = r#"- {apiGroups: [""], resources: ["endpoints"], resourceNames: ["example"], verbs: ["get", "update", "watch"]}"#;
    says_what_to_grant(&follower, "watch", "watch", rule);
    follower.wait_for_log("; until then the lock is polled");
    wait_for_renewals(&server, 5);
    leader.signal(rustix::process::Signal::KILL);
    leader.wait_to_end();
    follower.wait_to_lead();
    assert_eq!(lines(&follower, "cannot watch endpoints default/example: 403"), 1, "{}", follower.log());
    assert_eq!(lines(&leader, "cannot watch endpoints default/example: 403"), 1, "{}", leader.log());
}

#[test]
fn without_a_right_to_watch_a_release_is_found_by_polling() {
    let server = server_that_allows(&["get", "create", "update"]);
    let mut leader = elector(&server, "a", &["--ttl=60s"]);
    leader.wait_to_lead();
    let follower = elector(&server, "b", &["--ttl=60s", "--retry-period=300ms"]);
    follower.wait_to_name("a");
    let began = Instant::now();
    leader.signal(rustix::process::Signal::TERM);
    leader.wait_to_end();
    follower.wait_to_lead();
    assert!(began.elapsed() < common::PATIENCE, "within a fraction of the lease");
}

#[test]
fn a_right_to_watch_granted_later_is_used() {
    let server = server_that_allows(&["get", "create", "update"]);
    let elector = elector(&server, "a", &[]);
    elector.wait_to_lead();
    elector.wait_for_log("cannot watch");
    server.set_rules(allow(&["*"]));
    wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
}

#[test]
fn a_watch_that_is_forbidden_stays_an_error_while_everything_else_works() {
    let server = server_that_allows(&["get", "create", "update"]);
    let elector = elector(&server, "a", &[]);
    elector.wait_to_lead();
    wait_for_error(&elector, "forbidden");
    wait_for_renewals(&server, 3);
    assert_eq!(status_of(&elector)["lastError"], "forbidden");
}
