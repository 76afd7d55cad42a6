//! The migration in docs/migrating.md: from leader-elector 0.5 to this version, and from Endpoints to Leases.

use crate::cluster::Cluster;
use crate::common::deploy::{self, Overlay};
use crate::common::scenarios::ScenarioResult;
use crate::namespace::TestNamespace;
use serde_json::{Value, json};
use std::time::Duration;

/// A script that behaves like 0.5, for when `PEER_IMAGE` does not name an image of 0.5.
const SCRIPT_OF_0_5: &str = include_str!("leader_elector_0_5.py");

/// The lease of both versions, which is the default.
const LEASE: Duration = Duration::from_secs(10);

/// A gap may look longer than it is, because answers come through a busy API server.
const TOLERANCE: Duration = Duration::from_secs(5);

pub fn candidates_of_0_5_move_to_leases_by_rolling_updates(cluster: &Cluster) -> ScenarioResult<String> {
    const BOTH: &str = "lock-endpointsleases";
    let namespace = TestNamespace::new(cluster, "move");
    namespace.apply_overlay(&Overlay::of(
        &["lock-endpoints"],
        &format!("{}{}", namespace.kustomization_fields(), patch_to_0_5(&namespace)),
    ));
    namespace.wait_for_rollout();
    let blocks = deploy::yaml_in("docs/migrating.md");
    let (_, last) = blocks[0]
        .split_once("components: [../deploy/lock-endpointsleases]\n")
        .expect("the first YAML block of docs/migrating.md keeps the component lock-endpointsleases");
    let sampler = namespace.start_sampler();
    namespace.wait_until("a candidate of 0.5 leads", || sampler.has_leader_of_0_5());
    for (component, added_fields) in [("lock-endpoints", ""), (BOTH, ""), (BOTH, last)] {
        namespace
            .apply_overlay(&Overlay::of(&[component], &format!("{}{added_fields}", namespace.kustomization_fields())));
        namespace.wait_for_rollout();
        sampler.leader(&namespace);
    }
    let leader = sampler.leader(&namespace).pod;
    let holder = namespace.kubectl(&["get", "lease", "example", "--output=jsonpath={.spec.holderIdentity}"]);
    assert_eq!(holder, leader);
    let longest = sampler.longest_without_leader();
    assert!(longest < LEASE + TOLERANCE, "there was no leader for {longest:?}");
    let summary = sampler.finish();
    Ok(format!("never without a leader for longer than {:.1} s; this version: {summary}", longest.as_secs_f64()))
}

/// A kustomize patch that replaces the containers of `deploy/` by leader-elector 0.5.
fn patch_to_0_5(namespace: &TestNamespace) -> String {
    let security_context =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsUser": 65534});
    let mut container = json!({
        "name": "peer", "securityContext": security_context,
        "readinessProbe": {"httpGet": {"port": 4040}, "periodSeconds": 1, "initialDelaySeconds": 1},
    });
    match std::env::var("PEER_IMAGE") {
        Ok(image) if !image.is_empty() => {
            let namespace_flag = format!("--election-namespace={}", namespace.name);
            container["image"] = image.into();
            container["args"] = json!(["--election=example", namespace_flag, "--ttl=10s", "--http=0.0.0.0:4040"]);
        }
        _ => {
            let lease = LEASE.as_secs().to_string();
            container["image"] = "python:3.13-alpine".into();
            container["command"] = json!(["python3", "-u", "-c", SCRIPT_OF_0_5, namespace.name, lease]);
        }
    }
    let operation = |op: &str, path: &str, value: Value| json!({"op": op, "path": path, "value": value});
    let spec = |field: &str| format!("/spec/template/spec/{field}");
    let patch = json!([
        operation("replace", &spec("containers"), json!([container])),
        operation("replace", &spec("initContainers"), json!([])),
        operation("add", &spec("terminationGracePeriodSeconds"), json!(3)),
    ]);
    let patches = json!([{"target": {"kind": "Deployment", "name": "app"}, "patch": patch.to_string()}]);
    format!("patches: {patches}\n")
}
