//! Failures of the leader Service: they are reported, requests are repeated, and nothing else is delayed.

use super::*;
use crate::common::cluster::plain_server;
use apiserver::{Fault, Options, Rule};
use leader_elector::api::{Failure, FailureKind, Verb};
use leader_elector::leader_service::Family;
use leader_elector::leader_service::reconciler::{Goal, Next, SliceProblem, SliceReconciler, SliceRequest};
use serde_json::json;

const EVERYBODY: &str = "system:anonymous";

#[test]
fn a_missing_right_is_reported_and_the_request_repeated() {
    let server = Server::start(Options { rules: vec![Rule::new(EVERYBODY, &["get"], "leases")], ..Options::default() });
    let server = server.unwrap();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.leads(7, never());
    assert_eq!(candidate.next(), ServiceReport::Problem(Some("forbidden")));
    server.set_rules(vec![Rule::new(EVERYBODY, &["get", "create", "update"], SLICES)]);
    // The order depends on which of the two slices is tried first.
    let reports = [candidate.next(), candidate.next()];
    assert!(
        reports.contains(&ServiceReport::Problem(None))
            && reports.contains(&ServiceReport::Routed { fencing_token: 7 })
    );
    // A term that could write nothing has nothing to withdraw.
    server.set_rules(vec![Rule::new(EVERYBODY, &["get"], SLICES)]);
    let other = Candidate::start(&server, "web-1", &["10.0.0.2"]);
    other.leads(8, never());
    assert_eq!(other.next(), ServiceReport::Problem(Some("forbidden")));
    server.clear_requests();
    other.ends(8, never());
    assert_eq!(other.next(), ServiceReport::Problem(None));
    assert_eq!(other.next(), ServiceReport::Withdrawn { fencing_token: 8 });
    assert_eq!(verbs(&server, V4), [""; 0]);
}

#[test]
fn a_missing_right_is_logged_with_its_rule() {
    let server = Server::start(Options { rules: vec![Rule::new(EVERYBODY, &["get"], "leases")], ..Options::default() });
    let server = server.unwrap();
    let (api, name) = (client(&server), name(V4));
    let message = |reply: Result<Vec<u8>, Failure>| reply.unwrap_err().message;
    let got = message(api.get(&name, LONG));
    assert!(
        got.starts_with(
            "cannot read endpointslices default/web-leader: 403 forbidden (endpointslices.discovery.k8s.io"
        )
    );
    assert!(
        got.ends_with(
            "; grant the verb \"get\" on \"endpointslices\" named \"web-leader\" in namespace \"default\" to \
             \"system:anonymous\": - {apiGroups: [\"discovery.k8s.io\"], resources: [\"endpointslices\"], resourceNames: \
             [\"web-leader\"], verbs: [\"get\", \"update\"]}"
        ),
        "{got}"
    );
    let created = message(api.create(&name, b"{}", LONG));
    assert!(
        created.ends_with("{apiGroups: [\"discovery.k8s.io\"], resources: [\"endpointslices\"], verbs: [\"create\"]}")
    );
}

#[test]
fn a_slice_of_another_owner_is_not_written_until_it_is_gone() {
    for (field, name, value, told) in [
        ("labels", "endpointslice.kubernetes.io/managed-by", json!("staff"), "foreign"),
        ("labels", "endpointslice.kubernetes.io/managed-by", Value::Null, "foreign"),
        ("labels", "kubernetes.io/service-name", json!("other"), "foreign"),
        ("annotations", "leader-elector/election", json!("other"), "foreign"),
        ("annotations", "leader-elector/fencing-token", json!("x"), "foreign"),
    ] {
        let server = plain_server();
        Candidate::start(&server, "web-0", &["10.0.0.1"]).is_routed(7);
        let foreign = server.edit(SLICES, "default", V4, |slice| slice["metadata"][field][name] = value);
        let candidate = Candidate::start(&server, "web-1", &["10.0.0.2"]);
        candidate.leads(8, never());
        assert_eq!(candidate.next(), ServiceReport::Problem(Some(told)));
        assert_eq!(slice(&server, V4), foreign);
        server.delete(SLICES, "default", V4);
        candidate.wait_for(ServiceReport::Routed { fencing_token: 8 });
    }
}

#[test]
fn a_slice_of_the_wrong_family_is_reported() {
    let server = plain_server();
    let labels =
        json!({"endpointslice.kubernetes.io/managed-by": "leader-elector", "kubernetes.io/service-name": "web"});
    let annotations = json!({"leader-elector/election": "example"});
    let metadata = json!({"name": V4, "labels": labels, "annotations": annotations});
    server.put(SLICES, "default", json!({"metadata": metadata, "addressType": "IPv6"}));
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.leads(7, never());
    assert_eq!(candidate.next(), ServiceReport::Problem(Some("invalid")));
}

#[test]
fn one_family_goes_on_without_the_other() {
    let server = plain_server();
    let denied = server.fault(on("get", V4), None, Fault::Status { code: 403, retry_after: None });
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1", "fd00::1"]);
    candidate.leads(7, never());
    assert_eq!(candidate.next(), ServiceReport::Problem(Some("forbidden")));
    assert_eq!(addresses(&slice(&server, V6)), ["fd00::1"]);
    denied.remove();
    candidate.wait_for(ServiceReport::Routed { fencing_token: 7 });
}

#[test]
fn a_withdrawal_that_takes_too_long_is_given_up() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.is_routed(7);
    server.freeze();
    candidate.ends(7, after(Duration::from_millis(200)));
    candidate.wait_for(ServiceReport::GaveUp { fencing_token: 7 });
    server.thaw();
}

/// A proxy may have sent a write twice, and answer with the refusal of the second copy.
#[test]
fn a_refused_write_that_was_carried_out_is_withdrawn() {
    for code in [403, 409, 429] {
        let server = plain_server();
        let refusal = Fault::Status { code, retry_after: None };
        server.fault(on("update", V4), Some(1), Fault::Committed(Box::new(refusal)));
        let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
        candidate.is_routed(7);
        assert_eq!(addresses(&slice(&server, V4)), ["10.0.0.1"], "{code}");
        candidate.withdraws(7);
        assert_eq!(addresses(&slice(&server, V4)), [""; 0], "{code}");
    }
}

#[test]
fn a_write_in_doubt_is_looked_for_when_the_term_ends() {
    for (kind, looks) in [
        (FailureKind::Unknown, true),
        (FailureKind::Conflict, true),
        (FailureKind::Denied, false),
        (FailureKind::Busy, false),
    ] {
        let (mut route, now) = (route(), clock::now());
        let get = request(&mut route, now);
        route.answered(&get, Ok(own_slice().to_string().into_bytes()), now, 0.0);
        let update = request(&mut route, now);
        assert_eq!(update.verb, Verb::Update);
        route.answered(&update, failed(kind, None), now, 0.0);
        route.pursue(Goal::Withdraw { fencing_token: 7 }, never());
        assert_eq!(matches!(route.next(now), Next::Send(_)), looks, "{kind:?}");
    }
}

#[test]
fn a_hanging_request_is_aborted_when_the_term_ends() {
    let server = plain_server();
    let hung = server.fault(on("get", V4), Some(1), Fault::HangRequest);
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.leads(7, never());
    crate::common::wait_until("the read hangs", || hung.hits() == 1);
    candidate.withdraws(7); // requests may take a minute here, longer than this test waits
    assert_eq!(verbs(&server, V4), ["get"], "nothing was written");
}

#[test]
fn a_hanging_look_ahead_is_aborted_when_the_term_ends() {
    let server = plain_server();
    let hung = server.fault(on("get", V4), Some(1), Fault::HangRequest);
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.service.look_ahead();
    crate::common::wait_until("the read hangs", || hung.hits() == 1);
    candidate.leads(7, never());
    candidate.withdraws(7); // requests may take a minute here, longer than this test waits
    assert_eq!(verbs(&server, V4), ["get"], "nothing was written");
}

/// A route with `Goal::Lead`, for invented answers.
fn route() -> SliceReconciler {
    let mut route = SliceReconciler::new(Arc::new(spec("web-0", &["10.0.0.1"])), Family::V4);
    route.pursue(Goal::Lead { fencing_token: 7 }, never());
    route
}

/// A slice of this election, without an address.
fn own_slice() -> Value {
    let metadata = json!({
        "name": V4, "namespace": "default", "uid": "u", "resourceVersion": "9",
        "labels": {"endpointslice.kubernetes.io/managed-by": "leader-elector", "kubernetes.io/service-name": "web"},
        "annotations": {"leader-elector/election": "example", "leader-elector/fencing-token": "1"},
    });
    json!({"kind": "EndpointSlice", "metadata": metadata, "endpoints": null})
}

fn request(route: &mut SliceReconciler, now: Time) -> SliceRequest {
    match route.next(now) {
        Next::Send(request) => request,
        other => panic!("{other:?}"),
    }
}

fn failed(kind: FailureKind, retry_after: Option<Duration>) -> Result<Vec<u8>, Failure> {
    Err(Failure { kind, code: None, message: "it failed".to_owned(), retry_after })
}

/// How long the route waits after each of these answers, without jitter.
fn pauses(answers: impl IntoIterator<Item = Result<Vec<u8>, Failure>>) -> Vec<Duration> {
    let (mut route, mut now) = (route(), clock::now());
    let mut pause = |reply| {
        let request = request(&mut route, now);
        route.answered(&request, reply, now, 0.0);
        let after = match route.next(now) {
            Next::At(after) => after.since(now),
            _ => Duration::ZERO,
        };
        now = now.saturating_add(after);
        after
    };
    answers.into_iter().map(&mut pause).collect()
}

#[test]
fn a_failed_request_is_repeated_at_once_and_then_with_growing_pauses() {
    let millis = |times: &[u64]| times.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
    let unknown = || failed(FailureKind::Unknown, None);
    assert_eq!(pauses((0..5).map(|_| unknown())), millis(&[0, 50, 100, 200, 400]));
    assert_eq!(pauses((0..20).map(|_| unknown())).last(), Some(&Duration::from_secs(5)));
    let denied = || failed(FailureKind::Denied, None);
    assert_eq!(pauses((0..4).map(|_| denied())), millis(&[1000, 2000, 4000, 8000]));
    assert_eq!(pauses((0..20).map(|_| denied())).last(), Some(&Duration::from_secs(180)));
    let busy = |seconds| failed(FailureKind::Busy, Some(Duration::from_secs(seconds)));
    assert_eq!(pauses([busy(2), busy(3600)]), millis(&[2000, 180_000]));
}

#[test]
fn nothing_is_sent_when_the_time_is_over() {
    let (mut route, now) = (route(), clock::now());
    let until = now.saturating_add(Duration::from_secs(1));
    route.pursue(Goal::Lead { fencing_token: 7 }, until);
    assert!(matches!(route.next(now), Next::Send(_)));
    assert!(matches!(route.next(until), Next::Over));
    route.pursue(Goal::Lead { fencing_token: 7 }, until.saturating_add(Duration::from_secs(1)));
    assert!(matches!(route.next(until), Next::Send(_)), "it was renewed");
}

#[test]
fn a_slice_that_is_refused_is_named_with_what_to_do() {
    let told = |annotation: &str, value: &str| -> SliceProblem {
        let mut route = route();
        let get = request(&mut route, clock::now());
        let mut slice = own_slice();
        slice["metadata"]["annotations"][annotation] = value.into();
        route.answered(&get, Ok(slice.to_string().into_bytes()), clock::now(), 0.0).expect("it is refused")
    };
    let SliceProblem { message, expected, .. } = told("leader-elector/election", "other");
    assert_eq!(
        message,
        "cannot update endpointslices default/web-leader: it has the annotation leader-elector/election \"other\", not \
         \"example\", so it belongs to somebody else; delete it, or use another Service"
    );
    assert!(!expected);
    assert_eq!(
        told("leader-elector/fencing-token", "8").message,
        "cannot update endpointslices default/web-leader: it carries the fencing token 8, this term has 7; either there is \
         a newer leader already, or it was restored from a backup: then delete it"
    );
}
