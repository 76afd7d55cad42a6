//! Other clients that write the lock: kubectl, controllers, other electors.

use crate::common::Elector;
use crate::common::cluster::STEADY;
use crate::common::kubectl;
use crate::common::lock::{KINDS, NEVER, RECORD};
use crate::common::wait_until;
use crate::namespace::{ElectionNamespace, NAME};
use crate::{ScenarioResult, Skipped};
use controlplane::ControlPlane;
use serde_json::json;

/// Runs kubectl, which must succeed; returns its stdout and stderr.
pub fn kubectl(namespace: &ElectionNamespace, arguments: &[&str]) -> Result<(String, String), Skipped> {
    let program = namespace.plane.kubectl(&namespace.name).ok_or(Skipped("kubectl is not installed"))?;
    Ok(kubectl::run(program, arguments))
}

pub fn other_fields_of_the_object_are_kept(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("beside-{kind}"), kind);
        let (a, _b) = namespace.start_two(&[STEADY]);
        let began = namespace.record()["acquireTime"].clone();
        kubectl(&namespace, &["annotate", kind, NAME, "note=mine"])?;
        kubectl(&namespace, &["label", kind, NAME, "team=ours"])?;
        namespace.wait_for_renewals(2);
        let object = namespace.object().unwrap();
        assert_eq!(object["metadata"]["annotations"]["note"], "mine");
        assert_eq!(object["metadata"]["labels"]["team"], "ours");
        kubectl(&namespace, &["annotate", kind, NAME, "note-"])?;
        namespace.wait_for_renewals(2);
        assert!(namespace.object().unwrap()["metadata"]["annotations"].get("note").is_none());
        assert!(a.leads() && namespace.record()["acquireTime"] == began, "{}", a.log());
    }
    Ok(())
}

/// The lock is the live Endpoints object of a Service, whose addresses others write.
pub fn fields_that_others_apply_are_kept(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "applied", "endpoints");
    let manifest = |address: &str| {
        let subsets =
            json!([{"addresses": [{"ip": address}], "ports": [{"name": "web", "port": 80, "protocol": "TCP"}]}]);
        let object = json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": NAME, "labels": {"app": "web"}},
            "subsets": subsets,
        });
        namespace.files.write("endpoints.json", &object.to_string());
        subsets
    };
    let file = namespace.files.path("endpoints.json");
    let subsets = manifest("10.1.2.3");
    kubectl(&namespace, &["apply", "--filename", &file])?;
    let (a, _b) = namespace.start_two(&[STEADY]);
    namespace.wait_for_renewals(1);
    let began = namespace.record()["acquireTime"].clone();
    assert_eq!(namespace.object().unwrap()["subsets"], subsets);
    let mut apply_flags: Vec<&[&str]> = vec![&[]];
    if plane.is_real() {
        apply_flags.push(&["--server-side", "--force-conflicts"]);
    }
    for (flags, address) in apply_flags.into_iter().zip(["10.1.2.4", "10.1.2.5"]) {
        let subsets = manifest(address);
        kubectl(&namespace, &[&["apply", "--filename", file.as_str()], flags].concat())?;
        namespace.wait_for_renewals(2);
        let object = namespace.object().unwrap();
        assert_eq!(object["subsets"], subsets, "applied with {flags:?}");
        assert_eq!(object["metadata"]["labels"], json!({"app": "web"}));
        assert!(object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].is_string());
        assert!(a.leads() && namespace.record()["acquireTime"] == began, "{}", a.log());
    }
    Ok(())
}

pub fn a_leader_writes_a_deleted_lock_again(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("deleted-{kind}"), kind);
        let (a, b) = namespace.start_two(&[NEVER]);
        namespace.wait_for_a_watch(2);
        for terms in 2..5 {
            kubectl(&namespace, &["delete", kind, NAME])?;
            wait_until("the lock exists again", || namespace.holder() == "a");
            wait_until("a new term has begun", || a.fencing_tokens().len() == terms);
        }
        let tokens = a.fencing_tokens();
        assert!(tokens.is_sorted_by(|earlier, later| earlier < later), "{tokens:?}");
        b.wait_to_name("a");
        assert!(b.fencing_tokens().is_empty(), "{}", b.log());
    }
    Ok(())
}

/// A controller manager deletes Endpoints without a Service when it starts. A candidate that starts at the same moment
/// cannot know that the lock was held, so it may take it too. Then one of the two leaders stops, and all others agree.
pub fn a_lock_that_is_deleted_while_candidates_start_gets_one_leader(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "deleted-at-start", "endpoints");
    let mut candidates = vec![namespace.start("candidate", &[NEVER])];
    candidates[0].wait_to_lead();
    for round in 0..20 {
        let mut candidate = namespace.spawn(&format!("candidate-{round}"), &[NEVER]);
        // Before, during or after its first read of the lock.
        std::thread::sleep(std::time::Duration::from_millis(round % 10));
        plane.delete("endpoints", &namespace.name, NAME);
        wait_until("the lock exists again", || !namespace.holder().is_empty());
        candidate.wait_to_serve();
        let leader = namespace.holder();
        candidate.wait_to_name(&leader);
        candidates.push(candidate);
        wait_until("only the holder of the lock leads", || candidates.iter().all(|it| it.leads() == (it.id == leader)));
        candidates.retain(Elector::leads);
    }
    Ok(())
}

pub fn a_leader_that_sees_another_holder_stops_at_once(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("edited-{kind}"), kind);
        let a = namespace.start("a", &[NEVER]);
        a.wait_to_lead();
        namespace.wait_for_a_watch(1);
        let put = namespace.edit(|object| {
            let time = "2026-01-01T00:00:00.000000Z";
            let transitions = if kind == "leases" { "leaseTransitions" } else { "leaderTransitions" };
            let record = json!({
                "holderIdentity": "peer", "leaseDurationSeconds": 600, "acquireTime": time, "renewTime": time,
                transitions: 7,
            });
            if kind == "leases" {
                object["spec"] = record;
            } else {
                object["metadata"]["annotations"][RECORD] = record.to_string().into();
            }
        });
        a.wait_to_name("peer");
        a.wait_for_log("no longer leading");
        let version = |object: serde_json::Value| object["metadata"]["resourceVersion"].clone();
        assert_eq!(version(namespace.object().unwrap()), version(put), "the elector wrote the lock again");
    }
    Ok(())
}
