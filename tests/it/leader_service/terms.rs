//! The writes at the beginning and at the end of a term. There are none in between.

use super::*;
use crate::common::cluster::{plain_server, wait_for};
use crate::common::deploy::is_there;
use apiserver::Fault;
use serde_json::json;

#[test]
fn a_term_writes_the_address_of_its_pod_and_withdraws_it() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.is_routed(7);
    let shown = slice(&server, V4);
    assert_eq!(shown["addressType"], "IPv4");
    assert_eq!(shown["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(
        shown["endpoints"],
        json!([{
            "addresses": ["10.0.0.1"], "conditions": {"ready": true}, "nodeName": "node-0",
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "web-0", "uid": "uid-of-web-0"},
        }])
    );
    assert_eq!(
        shown["metadata"]["labels"],
        json!({"endpointslice.kubernetes.io/managed-by": "leader-elector", "kubernetes.io/service-name": "web"})
    );
    assert_eq!(
        shown["metadata"]["annotations"],
        json!({
            "leader-elector/election": "example", "leader-elector/fencing-token": "7", "leader-elector/holder": "web-0",
        })
    );
    candidate.withdraws(7);
    let shown = slice(&server, V4);
    assert_eq!((shown["endpoints"].clone(), token(&shown)), (Value::Null, 7));
}

#[test]
fn a_term_is_one_write_at_its_beginning_and_one_at_its_end() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.is_routed(7);
    // The slice is created once, without an address.
    assert_eq!(verbs(&server, V4), ["get", "create", "update"]);
    assert_eq!(addresses(&server.history()[0].object), [""; 0]);
    candidate.withdraws(7);
    assert_eq!(verbs(&server, V4)[3..], ["update"]);

    let other = Candidate::start(&server, "web-1", &["10.0.0.2"]);
    other.is_routed(8);
    assert_eq!(verbs(&server, V4)[4..], ["get", "update"]);
    for _ in 0..3 {
        other.leads(8, never());
    }
    other.withdraws(8);
    assert_eq!(verbs(&server, V4)[6..], ["update"], "the renewals have sent nothing");
    for request in server.requests().iter().filter(|it| it.verb == "update") {
        let metadata = &request.json().unwrap()["metadata"];
        assert!(metadata["uid"].is_string() && metadata["resourceVersion"].is_string(), "{metadata}");
    }
}

#[test]
fn a_look_ahead_spares_the_term_a_read() {
    let server = plain_server();
    Candidate::start(&server, "web-0", &["10.0.0.1"]).is_routed(7);
    server.clear_requests();
    let candidate = Candidate::start(&server, "web-1", &["10.0.0.2"]);
    candidate.service.look_ahead();
    wait_for(&server, "the slice is read", |it| it.requests().iter().any(|request| request.status == Some(200)));
    candidate.is_routed(8);
    assert_eq!(verbs(&server, V4), ["get", "update"]);

    // If the read is outdated, it costs one more write.
    server.clear_requests();
    let late = Candidate::start(&server, "web-2", &["10.0.0.3"]);
    late.service.look_ahead();
    wait_for(&server, "the slice is read", |it| it.requests().iter().any(|request| request.status == Some(200)));
    candidate.withdraws(8);
    late.is_routed(9);
    assert_eq!(verbs(&server, V4), ["get", "update", "update", "get", "update"]);
    assert_eq!(addresses(&slice(&server, V4)), ["10.0.0.3"]);
}

#[test]
fn a_term_that_has_written_nothing_has_nothing_to_withdraw() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.withdraws(7);
    candidate.leads(8, clock::now());
    candidate.withdraws(8);
    assert_eq!(server.requests().len(), 0, "the time for the term was over before it began");
}

#[test]
fn nothing_is_written_once_the_term_may_be_over() {
    let server = plain_server();
    server.fault(on("get", V4), Some(1), Fault::DelayAnswer(Duration::from_millis(300)));
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.leads(7, after(Duration::from_millis(100)));
    wait_for(&server, "the slice is read", |it| !it.requests().is_empty());
    let over = after(Duration::from_millis(400));
    crate::common::wait_until("the answer is there", || clock::now() >= over);
    assert_eq!(verbs(&server, V4), ["get"]);
    // After a late renewal it continues.
    candidate.is_routed(7);
}

#[test]
fn both_families_of_a_pod_have_a_slice() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1", "fd00::1"]);
    candidate.is_routed(7);
    let (v4, v6) = (slice(&server, V4), slice(&server, V6));
    assert_eq!((addresses(&v4), v4["addressType"].as_str()), (vec!["10.0.0.1".to_owned()], Some("IPv4")));
    assert_eq!((addresses(&v6), v6["addressType"].as_str()), (vec!["fd00::1".to_owned()], Some("IPv6")));
    candidate.withdraws(7);
    assert!(addresses(&slice(&server, V4)).is_empty() && addresses(&slice(&server, V6)).is_empty());
}

#[test]
fn the_slice_of_a_family_that_the_pod_lacks_is_emptied() {
    let server = plain_server();
    Candidate::start(&server, "web-0", &["10.0.0.1", "fd00::1"]).is_routed(7);
    let candidate = Candidate::start(&server, "web-1", &["10.0.0.2"]);
    candidate.is_routed(8);
    wait_for(&server, "the other slice is empty", |it| addresses(&slice(it, V6)).is_empty());
    assert_eq!(token(&slice(&server, V6)), 8);
    // No slice is created for this family, but one that somebody creates later is emptied.
    server.delete(SLICES, "default", V6);
    candidate.is_routed(9);
    wait_for(&server, "it is missed", |it| it.requests().last().is_some_and(|last| last.status == Some(404)));
    assert_eq!(slice(&server, V6), Value::Null);
    Candidate::start(&server, "web-0", &["10.0.0.1", "fd00::1"]).is_routed(10);
    candidate.is_routed(11);
    wait_for(&server, "the other slice is empty", |it| addresses(&slice(it, V6)).is_empty());
    assert_eq!(token(&slice(&server, V6)), 11);
}

#[test]
fn kubectl_shows_where_the_service_leads() {
    if !is_there("kubectl", "help") {
        return;
    }
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    let shown = || {
        let mut kubectl = std::process::Command::new("kubectl");
        kubectl.env("HOME", env!("CARGO_TARGET_TMPDIR")).env_remove("KUBECONFIG");
        let output = kubectl.args(["--server", &server.url(), "get", "endpointslices", V4]).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        lines.lines().map(words).collect::<Vec<_>>()
    };
    candidate.is_routed(7);
    let [head, row] = &shown()[..] else { panic!("{:?}", shown()) };
    assert_eq!(*head, ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]);
    assert_eq!(row[..4], [V4, "IPv4", "8080", "10.0.0.1"]);
    candidate.withdraws(7);
    assert_eq!(shown()[1][3], "<unset>");
}

#[test]
fn what_others_wrote_into_the_metadata_stays() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.is_routed(7);
    server.edit(SLICES, "default", V4, |slice| {
        slice["metadata"]["labels"]["team"] = "a".into();
        slice["metadata"]["annotations"]["note"] = "b".into();
        slice["ports"] = json!([{"name": "other", "port": 1, "protocol": "UDP"}]);
    });
    // The write at the end finds another version.
    candidate.withdraws(7);
    let shown = slice(&server, V4);
    assert_eq!(
        (&shown["metadata"]["labels"]["team"], &shown["metadata"]["annotations"]["note"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!((addresses(&shown).len(), &shown["ports"][0]["name"]), (0, &json!("http")));
}
