//! The leader Service, used by a client in the cluster through kube-proxy or its replacement.

use crate::application::FETCH;
use crate::cluster::Cluster;
use crate::common::scenarios::{ScenarioResult, Skipped};
use crate::handovers::{few_rounds, kill, killable};
use crate::logs::{Line, Logs};
use crate::namespace::TestNamespace;
use crate::sampler::percentiles;
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

pub fn the_service_routes_to_the_leader(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = TestNamespace::with_deploy(cluster, "service", &["leader-service"]);
    end_leaders(&namespace, cluster.rounds, |leader| {
        drop(namespace.kubectl(&["delete", "pod", leader, "--wait=false"]))
    })
}

pub fn the_service_stops_routing_to_a_killed_leader(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = killable(&["--ttl=6s", "--leader-service=app:4040"]).start(cluster, "service-kill");
    namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"}, "spec": {"ports": [{"port": 4040}]},
    }));
    end_leaders(&namespace, few_rounds(cluster), |leader| kill(&namespace, leader))
}

/// Polls the Service while leaders end. Checks that no answer of an earlier term comes after one of a later term.
fn end_leaders(namespace: &TestNamespace, rounds: usize, end: impl Fn(&str)) -> ScenarioResult<String> {
    let service = namespace.get("services/app");
    let address = service["spec"]["clusterIP"].as_str().expect("the Service has a cluster IP").to_owned();
    start_client(namespace, &address);
    let answers = thread::scope(|scope| {
        let logs = Logs::follow_pods(scope, namespace, "client", "app%3Dclient");
        let leads = |from: usize| logs.lines()[from..].iter().rev().find_map(leader_of);
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while leads(0).is_none() {
            if std::time::Instant::now() > deadline {
                return Err(Skipped("the Service does not route to pods; kube-proxy is probably missing"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        for _ in 0..rounds {
            namespace.wait_for_rollout();
            let (before, from) = (leads(0).expect("the wait above has seen it"), logs.lines().len());
            end(&before.0);
            namespace
                .wait_until("the Service routes to another leader", || leads(from).is_some_and(|now| now.1 > before.1));
        }
        Ok(logs.lines())
    })?;
    let mut gaps = Vec::new();
    let mut last: Option<(i64, u64)> = None;
    for (at, token) in answers.iter().filter_map(|line| Some((line.at, leader_of(line)?.1))) {
        if let Some((before, old)) = last {
            assert!(token >= old, "an answer of term {old} came after one of term {token}");
            if token != old {
                gaps.push(Duration::from_micros((at - before).unsigned_abs()));
            }
        }
        last = Some((at, token));
    }
    Ok(format!(
        "{}, from the last answer of a leader to the first of the next one, in {} answers",
        percentiles("gap", gaps),
        answers.len()
    ))
}

/// The pod that names itself in an answer, and its fencing token.
fn leader_of(line: &Line) -> Option<(String, u64)> {
    let status: Value = serde_json::from_str(&line.text).ok()?;
    let token = status["fencingToken"].as_u64()?;
    (status["isLeader"] == true).then(|| (status["id"].as_str().unwrap_or_default().to_owned(), token))
}

fn start_client(namespace: &TestNamespace, address: &str) {
    let script = format!(
        "{FETCH}\ntrap exit TERM; while :; do fetch http://{address}:4040/status || echo none; echo; usleep 5000; done"
    );
    let security_context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "labels": {"app": "client"}},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "client", "image": namespace.cluster.shell_image, "command": ["sh", "-c", script],
                "securityContext": security_context,
            }],
        },
    }));
}
