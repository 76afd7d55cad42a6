//! Outages of the API server and of etcd.

use crate::ScenarioResult;
use crate::common::cluster::STEADY;
use crate::common::{Elector, wait_until};
use crate::namespace::ElectionNamespace;
use controlplane::ControlPlane;
use rustix::process::Signal;

/// A lease that does not run out while a server starts, with frequent renewals.
const LONG: &str = "--ttl=300s --retry-period=500ms";

pub fn a_restart_of_the_api_server_does_not_end_the_leadership(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "restarted", "endpoints");
    let (mut a, b) = namespace.start_two(&[LONG]);
    let began = namespace.record()["acquireTime"].clone();
    plane.kill_server();
    a.wait_for_log("cannot update endpoints restarted/example: connection refused");
    assert!(a.leads(), "{}", a.log());
    plane.start_server();
    namespace.wait_for_renewals(2);
    assert!(a.leads() && namespace.record()["acquireTime"] == began, "{}", a.log());
    assert_eq!(a.fencing_tokens().len(), 1);
    a.wait_for_log("updating endpoints restarted/example works again");
    a.signal(Signal::TERM);
    assert!(a.wait_to_end().success(), "{}", a.log());
    b.wait_to_lead();
    Ok(())
}

pub fn a_leader_without_an_api_server_stops_in_time(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "no-server", "leases");
    let (a, b) = namespace.start_two(&[STEADY]);
    plane.kill_server();
    wait_until_nobody_leads(&a, &b);
    plane.start_server();
    wait_until_one_leads(&namespace, &a, &b);
    Ok(())
}

pub fn a_short_pause_of_etcd_does_not_end_the_leadership(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "etcd-pauses", "configmaps");
    // With this lease a request times out after 6.6 s, and a claim ends after 20 s.
    let a = namespace.start("a", &["--ttl=30s --retry-period=500ms"]);
    a.wait_to_lead();
    namespace.wait_for_renewals(2);
    let began = namespace.record()["acquireTime"].clone();
    plane.pause_storage();
    a.wait_for_log("cannot update configmaps etcd-pauses/example: no answer");
    plane.resume_storage();
    namespace.wait_for_renewals(2);
    assert!(a.leads() && namespace.record()["acquireTime"] == began, "{}", a.log());
    assert_eq!(a.fencing_tokens().len(), 1, "{}", a.log());
    Ok(())
}

pub fn a_leader_without_etcd_stops_in_time(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "no-etcd", "endpoints");
    let (a, b) = namespace.start_two(&[STEADY]);
    plane.kill_storage();
    wait_until_nobody_leads(&a, &b);
    plane.start_storage();
    wait_until_one_leads(&namespace, &a, &b);
    Ok(())
}

fn wait_until_nobody_leads(a: &Elector, b: &Elector) {
    a.wait_for_log("no renewal was acknowledged in time");
    for elector in [a, b] {
        elector.wait_to_name("");
        wait_until("/readyz fails", || elector.ask("/readyz").is_ok_and(|(code, _)| code == 503));
        assert_eq!(elector.ask("/healthz").unwrap().0, 200, "the elector itself is healthy");
    }
}

fn wait_until_one_leads(namespace: &ElectionNamespace, a: &Elector, b: &Elector) {
    wait_until("a candidate leads", || a.leads() || b.leads());
    namespace.wait_for_renewals(2);
    let leader = namespace.holder();
    for elector in [a, b] {
        elector.wait_to_name(&leader);
        wait_until("/readyz succeeds", || elector.ask("/readyz").is_ok_and(|(code, _)| code == 200));
    }
}
