//! The leader Service, and stepping down.

use crate::common::Elector;
use crate::common::cluster::STEADY;
use crate::common::lock::{KINDS, NEVER};
use crate::common::wait_until;
use crate::namespace::{ElectionNamespace, NAME};
use crate::third_parties::kubectl;
use crate::{ScenarioResult, Skipped};
use controlplane::ControlPlane;
use rustix::process::Signal;
use serde_json::{Value, json};

const SLICES: &str = "endpointslices";
const SLICE: &str = "web-leader";
const TOKEN: &str = "leader-elector/fencing-token";
const STEP_DOWN: &str = "leader-elector/step-down";

/// A namespace whose account has these rights on the slice.
fn namespace<'p>(plane: &'p ControlPlane, name: &str, verbs: &[&str]) -> ElectionNamespace<'p> {
    let namespace = ElectionNamespace::new(plane, name, "leases");
    plane.allow(&namespace.account, SLICES, SLICE, verbs);
    if plane.is_real() {
        plane.create("services", name, "web", json!({"spec": {"ports": [{"port": 8080}]}}));
    }
    namespace
}

fn start(namespace: &ElectionNamespace, id: &str, address: &str) -> Elector {
    namespace.start(id, &[NEVER, "--leader-service=web:8080", &format!("--pod-ip={address}")])
}

/// The address in a slice, and its fencing token.
fn route(slice: Option<&Value>) -> (Option<String>, Option<u64>) {
    let address = slice.and_then(|it| it["endpoints"][0]["addresses"][0].as_str()).map(str::to_owned);
    let token = slice.and_then(|it| it["metadata"]["annotations"][TOKEN].as_str()?.parse().ok());
    (address, token)
}

fn wait_for_route(namespace: &ElectionNamespace, address: &str) {
    let is_there = || route(namespace.plane.get(SLICES, &namespace.name, SLICE).as_ref()).0.as_deref() == Some(address);
    wait_until(&format!("the Service routes to {address}"), is_there);
}

pub fn the_service_routes_to_the_leader(plane: &ControlPlane) -> ScenarioResult {
    let namespace = namespace(plane, "service", &["get", "update", "create"]);
    let mut a = start(&namespace, "a", "10.1.0.1");
    wait_for_route(&namespace, "10.1.0.1");
    let b = start(&namespace, "b", "10.1.0.2");
    b.wait_to_name("a");
    a.signal(Signal::TERM);
    wait_for_route(&namespace, "10.1.0.2");
    assert!(a.wait_to_end().success(), "{}", a.log());
    wait_until("the server has recorded all writes of the slice", || plane.commits(SLICES, "service").len() >= 4);
    let routes: Vec<_> = plane.commits(SLICES, "service").iter().map(|it| route(it.object.as_ref())).collect();
    let addresses: Vec<_> = routes.iter().map(|(address, _)| address.as_deref()).collect();
    assert_eq!(addresses, [None, Some("10.1.0.1"), None, Some("10.1.0.2")]);
    let tokens: Vec<u64> = routes.iter().filter_map(|(_, token)| *token).collect();
    assert!(tokens.is_sorted() && tokens.last() == b.fencing_tokens().last(), "{tokens:?}");
    for log in [a.log(), b.log()] {
        // The right on the slice of the other IP family is missing.
        let problems = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
        assert_eq!(problems.filter(|line| !line.contains("web-leader-ipv6")).count(), 0, "{log}");
    }
    Ok(())
}

pub fn a_slice_with_a_greater_token_or_another_owner_is_not_written(plane: &ControlPlane) -> ScenarioResult {
    let namespace = namespace(plane, "service-of-others", &["get", "update", "create"]);
    let mut before = start(&namespace, "before", "10.1.0.1");
    wait_for_route(&namespace, "10.1.0.1");
    before.signal(Signal::TERM);
    before.wait_to_end();
    let put = plane.edit(SLICES, &namespace.name, SLICE, |slice| {
        slice["metadata"]["annotations"][TOKEN] = u64::MAX.to_string().into();
    });
    let version = |slice: Option<Value>| slice.unwrap()["metadata"]["resourceVersion"].clone();
    let mut a = start(&namespace, "a", "10.1.0.2");
    a.wait_to_lead();
    a.wait_for_log(&format!("it carries the fencing token {}", u64::MAX));
    assert_eq!(version(plane.get(SLICES, &namespace.name, SLICE)), version(Some(put)));
    a.signal(Signal::TERM);
    a.wait_to_end();

    let put = plane.edit(SLICES, &namespace.name, SLICE, |slice| {
        slice["metadata"]["annotations"][TOKEN] = "1".into();
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "somebody-else".into();
    });
    let b = start(&namespace, "b", "10.1.0.3");
    b.wait_to_lead();
    b.wait_for_log("so it belongs to somebody else");
    assert_eq!(version(plane.get(SLICES, &namespace.name, SLICE)), version(Some(put)));
    Ok(())
}

pub fn a_missing_right_on_the_slices_does_not_end_the_leadership(plane: &ControlPlane) -> ScenarioResult {
    let namespace = namespace(plane, "service-later", &[]);
    let mut a = start(&namespace, "a", "10.1.0.1");
    a.wait_to_lead();
    a.wait_for_log("grant the verb \"get\" on \"endpointslices\" named \"web-leader\"");
    plane.allow(&namespace.account, SLICES, SLICE, &["get", "update", "create"]);
    a.signal(Signal::TERM);
    a.wait_to_end();
    let _b = start(&namespace, "b", "10.1.0.2");
    wait_for_route(&namespace, "10.1.0.2");
    Ok(())
}

pub fn kubectl_asks_a_leader_to_step_down(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("step-down-{kind}"), kind);
        let (a, b) = namespace.start_two(&[STEADY]);
        kubectl(&namespace, &["annotate", kind, NAME, &format!("{STEP_DOWN}=nobody")])?;
        namespace.wait_for_renewals(2);
        assert!(a.leads(), "a stepped down, although another candidate was named: {}", a.log());
        kubectl(&namespace, &["annotate", "--overwrite", kind, NAME, &format!("{STEP_DOWN}=a")])?;
        b.wait_to_lead();
        a.wait_for_log("asked to step down");
        let object = namespace.object().ok_or(Skipped("the lock was deleted"))?;
        assert!(object["metadata"]["annotations"].get(STEP_DOWN).is_none(), "{object}");
        wait_until("the server has recorded the handover", || namespace.holders() == ["a", "", "b"]);
    }
    Ok(())
}
