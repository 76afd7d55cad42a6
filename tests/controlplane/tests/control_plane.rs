//! Tests of what other tests rely on. They run against the kind of server that is available.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use controlplane::{ControlPlane, object_path};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The error of comparing times from two clocks.
const CLOCK_ERROR: Duration = Duration::from_millis(1);

fn plane() -> ControlPlane {
    ControlPlane::start(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out after {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[test]
fn commits_are_recorded_in_order_with_their_time() {
    let plane = plane();
    plane.add_namespace("records");
    for kind in ["endpoints", "configmaps", "leases"] {
        let before = Instant::now();
        let mut versions = vec![version(&plane.create(kind, "records", "it", json!({})))];
        for number in ["one", "two"] {
            let label = |object: &mut Value| object["metadata"]["labels"] = json!({"number": number});
            versions.push(version(&plane.edit(kind, "records", "it", label)));
            plane.edit(kind, "records", "it", label); // changes nothing, so it is not a new state
        }
        wait_until("the server has recorded everything", || plane.commits(kind, "records").len() == 3);
        let commits = plane.commits(kind, "records");
        let seen: Vec<u64> = commits.iter().map(|it| version(it.object.as_ref().unwrap())).collect();
        assert_eq!(seen, versions);
        let after = Instant::now();
        for commit in &commits {
            let (earliest, latest) = commit.within;
            assert!(before - CLOCK_ERROR <= earliest && earliest <= latest && latest <= after + CLOCK_ERROR);
        }
        plane.delete(kind, "records", "it");
        wait_until("the server has recorded the deletion", || {
            plane.commits(kind, "records").last().unwrap().object.is_none()
        });
        assert!(plane.get(kind, "records", "it").is_none());
    }
}

#[test]
fn an_account_has_only_its_rights_and_its_tokens_can_be_revoked() {
    let plane = plane();
    plane.add_namespace("accounts");
    plane.create("leases", "accounts", "it", json!({}));
    let account = plane.add_account("accounts", "somebody");
    let (first, second) = (plane.token(&account), plane.token(&account));
    assert!(plane.accepts(&first) && plane.accepts(&second));
    let is_allowed = |method: &str, name: &str| {
        let object = plane.get("leases", "accounts", "it").unwrap();
        let body = (method == "PUT").then_some(&object);
        plane.send_as(&second, method, &object_path("leases", "accounts", name), body).unwrap().status != 403
    };
    assert!(!is_allowed("GET", "it") && !is_allowed("PUT", "it"));
    plane.allow(&account, "leases", "it", &["get"]);
    assert!(is_allowed("GET", "it") && !is_allowed("PUT", "it") && !is_allowed("GET", "another"));
    plane.allow(&account, "leases", "it", &["update"]);
    assert!(!is_allowed("GET", "it") && is_allowed("PUT", "it"));
    plane.revoke(&first);
    wait_until("the token is refused", || !plane.accepts(&first));
    assert!(plane.accepts(&second));

    let user = account.user();
    let requests = || plane.requests().into_iter().filter(|it| it.user == user && it.resource == "leases");
    wait_until("the server has recorded everything", || requests().count() == 7);
    let refused = requests().filter(|it| it.verb == "get" && it.status == Some(403)).count();
    assert_eq!(refused, 3, "{:?}", requests().collect::<Vec<_>>());
}

#[test]
fn objects_survive_restarts_of_the_server_and_of_etcd() {
    let plane = plane();
    plane.add_namespace("outages");
    let before = plane.create("configmaps", "outages", "it", json!({"data": {"a": "b"}}));
    let as_before = || plane.get("configmaps", "outages", "it").is_some_and(|object| object == before);
    plane.kill_server();
    assert!(plane.send("GET", "/version", None).is_err());
    plane.start_server();
    wait_until("the server is back", as_before);
    plane.kill_storage();
    plane.start_storage();
    wait_until("the storage is back", as_before);
    plane.pause_storage();
    plane.resume_storage();
    assert!(as_before());
    plane.forget_history();
    assert!(as_before());
}
