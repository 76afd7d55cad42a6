//! The leadership passes on, however the leader's pod goes.

use crate::application::{Application, IDLE};
use crate::cluster::Cluster;
use crate::common::kubectl;
use crate::common::scenarios::Verdict;
use crate::sampler::Sampler;
use crate::stage::Stage;
use serde_json::json;
use std::time::Instant;

pub fn a_deleted_leader_hands_over(cluster: &Cluster) -> Verdict<String> {
    one_after_the_other(cluster, "delete", cluster.rounds, |stage, leader| {
        stage.kubectl(&["delete", "pod", leader, "--wait=false"]);
    })
}

/// The object goes at once. The kubelet still ends the containers by SIGTERM, with two seconds of grace.
pub fn a_leader_deleted_by_force_hands_over(cluster: &Cluster) -> Verdict<String> {
    one_after_the_other(cluster, "force", few(cluster), |stage, leader| {
        stage.kubectl(&["delete", "pod", leader, "--force", "--grace-period=0"]);
    })
}

pub fn an_evicted_leader_hands_over(cluster: &Cluster) -> Verdict<String> {
    one_after_the_other(cluster, "evict", few(cluster), |stage, leader| {
        let metadata = json!({"name": leader, "namespace": stage.namespace});
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
        let path = format!("/api/v1/namespaces/{}/pods/{leader}/eviction", stage.namespace);
        kubectl::run_with(stage.program(), &["create", "--raw", &path, "--filename=-"], &eviction.to_string());
    })
}

pub fn a_leader_asked_to_step_down_hands_over(cluster: &Cluster) -> Verdict<String> {
    one_after_the_other(cluster, "annotate", few(cluster), |stage, leader| {
        // Who stepped down before stands back for one lease.
        stage.wait_until("all stand", || stage.pods().iter().all(|pod| candidacy(stage, &pod.name) == "standing"));
        let wish = format!("leader-elector/step-down={leader}");
        stage.kubectl(&["annotate", "--overwrite", "lease", "example", &wish]);
    })
}

fn candidacy(stage: &Stage, pod: &str) -> String {
    stage.get(&format!("pods/{pod}:4040/proxy/status"))["candidacy"].as_str().unwrap_or_default().to_owned()
}

/// Ends each leader in turn once all replicas are ready.
fn one_after_the_other(cluster: &Cluster, name: &str, rounds: usize, end: impl Fn(&Stage, &str)) -> Verdict<String> {
    let stage = Stage::with_deploy(cluster, name, &[]);
    Ok(Sampler::measure(&stage, |sampler| {
        for _ in 0..rounds {
            stage.wait_for_rollout();
            let leader = sampler.leader(&stage);
            end(&stage, &leader.pod);
            sampler.wait_for_next(&stage, &leader);
        }
    }))
}

pub fn a_rollout_restart_hands_over(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::with_deploy(cluster, "restart", &[]);
    Ok(Sampler::measure(&stage, |sampler| {
        for _ in 0..few(cluster) {
            let leader = sampler.leader(&stage);
            stage.kubectl(&["rollout", "restart", "deployment/app"]);
            sampler.wait_for_next(&stage, &leader);
            stage.wait_for_rollout();
        }
        sampler.leader(&stage);
    }))
}

pub fn scaling_down_and_up_keeps_a_leader(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::with_deploy(cluster, "scale", &[]);
    Ok(Sampler::measure(&stage, |sampler| {
        for _ in 0..few(cluster) {
            // The leader is to go, not just any of the three.
            let leader = sampler.leader(&stage).pod;
            stage.kubectl(&["annotate", "pod", &leader, "controller.kubernetes.io/pod-deletion-cost=-1"]);
            for replicas in ["--replicas=1", "--replicas=3"] {
                stage.kubectl(&["scale", "deployment/app", replicas]);
                stage.wait_for_rollout();
                sampler.leader(&stage);
            }
        }
    }))
}

/// Nobody releases the lock. The kubelet starts the container again, and it leads again at once under its own name, or
/// another one when the lease has run out.
pub fn a_leader_whose_process_is_killed_is_replaced(cluster: &Cluster) -> Verdict<String> {
    let stage = killable(&["--ttl=6s"]).start(cluster, "kill");
    let sampler = stage.sample();
    let mut restarts = 0;
    for _ in 0..few(cluster) {
        stage.wait_for_rollout();
        let leader = sampler.leader(&stage);
        let killed = Instant::now();
        kill(&stage, &leader.pod);
        sampler.wait_for_next(&stage, &leader);
        stage.wait_until("the container is started again", || {
            let now: u64 = stage.pods().iter().map(|pod| pod.restarts).sum();
            let is_more = now > restarts;
            restarts = now.max(restarts);
            is_more
        });
        assert!(killed.elapsed().as_secs() < 60, "it took {:?}", killed.elapsed());
    }
    Ok(sampler.judge())
}

/// Electors beside a container of the same user that sees their processes.
pub fn killable<'a>(flags: &'a [&'a str]) -> Application<'a> {
    let more = json!({"shareProcessNamespace": true, "terminationGracePeriodSeconds": 2});
    Application { more, ..Application::of(IDLE, flags) }
}

/// Kills the elector in a pod of [`killable`].
pub fn kill(stage: &Stage, pod: &str) {
    stage.kubectl(&["exec", pod, "--container=app", "--", "killall", "-KILL", "leader-elector"]);
}

/// Measured a few times: each takes as long as a rolling update.
pub fn few(cluster: &Cluster) -> usize {
    cluster.rounds.div_ceil(4)
}
