//! A fleet of leader-elector 0.5 becomes one of ours, and moves from Endpoints to Leases, as docs/migrating.md says.

use crate::cluster::Cluster;
use crate::common::deploy::{self, Overlay};
use crate::common::scenarios::Verdict;
use crate::stage::Stage;
use serde_json::{Value, json};
use std::time::Duration;

/// Plays 0.5 where `PEER_IMAGE` names no image of it.
const PEER: &str = include_str!("peer.py");

/// The lease of both, as `deploy/` has it by default.
const LEASE: Duration = Duration::from_secs(10);

/// A hole may seem longer than it is: the pods are asked through the API server, on machines that are busy.
const SLACK: Duration = Duration::from_secs(5);

pub fn a_fleet_of_0_5_moves_to_leases_by_rolling_updates(cluster: &Cluster) -> Verdict<String> {
    const BOTH: &str = "lock-endpointsleases";
    let stage = Stage::new(cluster, "move");
    stage.apply_overlay(&Overlay::of(&["lock-endpoints"], &format!("{}{}", stage.fields(), peers(&stage))));
    stage.wait_for_rollout();
    let blocks = deploy::yaml_in("docs/migrating.md");
    let (_, last) =
        blocks[0].split_once("components: [../deploy/lock-endpointsleases]\n").expect("it keeps the rights");
    let sampler = stage.sample();
    stage.wait_until("a peer leads", || sampler.peer_leads());
    for (component, more) in [("lock-endpoints", ""), (BOTH, ""), (BOTH, last)] {
        stage.apply_overlay(&Overlay::of(&[component], &format!("{}{more}", stage.fields())));
        stage.wait_for_rollout();
        sampler.leader(&stage);
    }
    let leader = sampler.leader(&stage).pod;
    let holder = stage.kubectl(&["get", "lease", "example", "--output=jsonpath={.spec.holderIdentity}"]);
    assert_eq!(holder, leader);
    let longest = sampler.longest_without_leader();
    assert!(longest < LEASE + SLACK, "nobody led for {longest:?}");
    let verdict = sampler.judge();
    Ok(format!("never without a leader for longer than {:.1} s, of ours {verdict}", longest.as_secs_f64()))
}

/// A patch that puts 0.5 into the place of the containers of `deploy/`.
fn peers(stage: &Stage) -> String {
    let least = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsUser": 65534});
    let mut container = json!({
        "name": "peer", "securityContext": least,
        "readinessProbe": {"httpGet": {"port": 4040}, "periodSeconds": 1, "initialDelaySeconds": 1},
    });
    match std::env::var("PEER_IMAGE") {
        Ok(image) if !image.is_empty() => {
            let namespace = format!("--election-namespace={}", stage.namespace);
            container["image"] = image.into();
            container["args"] = json!(["--election=example", namespace, "--ttl=10s", "--http=0.0.0.0:4040"]);
        }
        _ => {
            let lease = LEASE.as_secs().to_string();
            container["image"] = "python:3.13-alpine".into();
            container["command"] = json!(["python3", "-u", "-c", PEER, stage.namespace, lease]);
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
