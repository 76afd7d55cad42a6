//! The Service that leads to the leader, as a client in the cluster sees it: through kube-proxy, or what does its work.

use crate::application::ASK;
use crate::cluster::Cluster;
use crate::common::scenarios::{Skipped, Verdict};
use crate::handovers::{few, kill, killable};
use crate::logs::{Line, Logs};
use crate::sampler::figures;
use crate::stage::Stage;
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

pub fn a_service_leads_to_the_leader(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::with_deploy(cluster, "service", &["leader-service"]);
    judge(&stage, cluster.rounds, |leader| drop(stage.kubectl(&["delete", "pod", leader, "--wait=false"])))
}

pub fn a_service_leads_away_from_a_killed_leader(cluster: &Cluster) -> Verdict<String> {
    let stage = killable(&["--ttl=6s", "--leader-service=app:4040"]).start(cluster, "service-kill");
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"}, "spec": {"ports": [{"port": 4040}]},
    }));
    judge(&stage, few(cluster), |leader| kill(&stage, leader))
}

/// Asks the Service all the time while leaders end: each answer comes from who leads, or from who led just before.
fn judge(stage: &Stage, rounds: usize, end: impl Fn(&str)) -> Verdict<String> {
    let service = stage.get("services/app");
    let address = service["spec"]["clusterIP"].as_str().expect("it has one").to_owned();
    start_client(stage, &address);
    let answers = thread::scope(|scope| {
        let logs = Logs::follow_pods(scope, stage, "client", "app%3Dclient");
        let leads = |from: usize| logs.lines()[from..].iter().rev().find_map(leader_of);
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while leads(0).is_none() {
            if std::time::Instant::now() > deadline {
                return Err(Skipped("nothing leads from the Service to pods: there is no kube-proxy"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        for _ in 0..rounds {
            stage.wait_for_rollout();
            let (before, from) = (leads(0).expect("just seen"), logs.lines().len());
            end(&before.0);
            stage.wait_until("the Service leads to another leader", || leads(from).is_some_and(|now| now.1 > before.1));
        }
        Ok(logs.lines())
    })?;
    let mut gaps = Vec::new();
    let mut last: Option<(i64, u64)> = None;
    for (at, token) in answers.iter().filter_map(|line| Some((line.at, leader_of(line)?.1))) {
        if let Some((before, old)) = last {
            assert!(token >= old, "the term {old} was answered after {token}");
            if token != old {
                gaps.push(Duration::from_micros((at - before).unsigned_abs()));
            }
        }
        last = Some((at, token));
    }
    Ok(format!("{}, from answer to answer, in {} answers", figures("gap", gaps), answers.len()))
}

/// Who says that it leads, and its token.
fn leader_of(line: &Line) -> Option<(String, u64)> {
    let status: Value = serde_json::from_str(&line.text).ok()?;
    let token = status["fencingToken"].as_u64()?;
    (status["isLeader"] == true).then(|| (status["id"].as_str().unwrap_or_default().to_owned(), token))
}

fn start_client(stage: &Stage, address: &str) {
    let script = format!(
        "{ASK}\ntrap exit TERM; while :; do ask http://{address}:4040/status || echo none; echo; usleep 5000; done"
    );
    let least = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "labels": {"app": "client"}},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "client", "image": stage.cluster.shell_image, "command": ["sh", "-c", script],
                "securityContext": least,
            }],
        },
    }));
}
