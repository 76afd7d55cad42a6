//! Handovers after each kind of end of the leader's pod: deletion, eviction, rollout, scaling, a kill.

use crate::application::{Application, IDLE};
use crate::cluster::Cluster;
use crate::common::kubectl;
use crate::common::scenarios::ScenarioResult;
use crate::namespace::TestNamespace;
use crate::sampler::Sampler;
use serde_json::json;
use std::time::Instant;

pub fn a_deleted_leader_hands_over(cluster: &Cluster) -> ScenarioResult<String> {
    hand_over_repeatedly(cluster, "delete", cluster.rounds, |namespace, leader| {
        namespace.kubectl(&["delete", "pod", leader, "--wait=false"]);
    })
}

/// The pod object is deleted at once. The kubelet still sends SIGTERM, and SIGKILL two seconds later.
pub fn a_leader_deleted_by_force_hands_over(cluster: &Cluster) -> ScenarioResult<String> {
    hand_over_repeatedly(cluster, "force", few_rounds(cluster), |namespace, leader| {
        namespace.kubectl(&["delete", "pod", leader, "--force", "--grace-period=0"]);
    })
}

pub fn an_evicted_leader_hands_over(cluster: &Cluster) -> ScenarioResult<String> {
    hand_over_repeatedly(cluster, "evict", few_rounds(cluster), |namespace, leader| {
        let metadata = json!({"name": leader, "namespace": namespace.name});
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
        let path = format!("/api/v1/namespaces/{}/pods/{leader}/eviction", namespace.name);
        kubectl::run_with(
            namespace.kubectl_command(),
            &["create", "--raw", &path, "--filename=-"],
            &eviction.to_string(),
        );
    })
}

pub fn a_leader_asked_to_step_down_hands_over(cluster: &Cluster) -> ScenarioResult<String> {
    hand_over_repeatedly(cluster, "annotate", few_rounds(cluster), |namespace, leader| {
        // A candidate that stepped down stands back for one lease.
        namespace.wait_until("all candidates are standing", || {
            namespace.pods().iter().all(|pod| candidacy(namespace, &pod.name) == "standing")
        });
        let annotation = format!("leader-elector/step-down={leader}");
        namespace.kubectl(&["annotate", "--overwrite", "lease", "example", &annotation]);
    })
}

fn candidacy(namespace: &TestNamespace, pod: &str) -> String {
    namespace.get(&format!("pods/{pod}:4040/proxy/status"))["candidacy"].as_str().unwrap_or_default().to_owned()
}

/// Ends the leader `rounds` times, each time when all replicas are ready.
fn hand_over_repeatedly(
    cluster: &Cluster,
    name: &str,
    rounds: usize,
    end: impl Fn(&TestNamespace, &str),
) -> ScenarioResult<String> {
    let namespace = TestNamespace::with_deploy(cluster, name, &[]);
    Ok(Sampler::measure(&namespace, |sampler| {
        for _ in 0..rounds {
            namespace.wait_for_rollout();
            let leader = sampler.leader(&namespace);
            end(&namespace, &leader.pod);
            sampler.wait_for_next(&namespace, &leader);
        }
    }))
}

pub fn a_rollout_restart_hands_over(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = TestNamespace::with_deploy(cluster, "restart", &[]);
    Ok(Sampler::measure(&namespace, |sampler| {
        for _ in 0..few_rounds(cluster) {
            let leader = sampler.leader(&namespace);
            namespace.kubectl(&["rollout", "restart", "deployment/app"]);
            sampler.wait_for_next(&namespace, &leader);
            namespace.wait_for_rollout();
        }
        sampler.leader(&namespace);
    }))
}

pub fn scaling_down_and_up_keeps_a_leader(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = TestNamespace::with_deploy(cluster, "scale", &[]);
    Ok(Sampler::measure(&namespace, |sampler| {
        for _ in 0..few_rounds(cluster) {
            // The ReplicaSet controller deletes the pod with the lowest deletion cost first.
            let leader = sampler.leader(&namespace).pod;
            namespace.kubectl(&["annotate", "pod", &leader, "controller.kubernetes.io/pod-deletion-cost=-1"]);
            for replicas in ["--replicas=1", "--replicas=3"] {
                namespace.kubectl(&["scale", "deployment/app", replicas]);
                namespace.wait_for_rollout();
                sampler.leader(&namespace);
            }
        }
    }))
}

/// The lock is not released. The kubelet restarts the container: either it leads again at once, because it has the same
/// identity, or another candidate leads after the lease.
pub fn a_leader_whose_process_is_killed_is_replaced(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = killable(&["--ttl=6s"]).start(cluster, "kill");
    let sampler = namespace.start_sampler();
    let mut restarts = 0;
    for _ in 0..few_rounds(cluster) {
        namespace.wait_for_rollout();
        let leader = sampler.leader(&namespace);
        let killed = Instant::now();
        kill(&namespace, &leader.pod);
        sampler.wait_for_next(&namespace, &leader);
        namespace.wait_until("the kubelet has restarted the container", || {
            let count: u64 = namespace.pods().iter().map(|pod| pod.restarts).sum();
            let has_grown = count > restarts;
            restarts = count.max(restarts);
            has_grown
        });
        assert!(killed.elapsed().as_secs() < 60, "the replacement took {:?}", killed.elapsed());
    }
    Ok(sampler.finish())
}

/// Pods in which the application's container sees the elector's process and may kill it.
pub fn killable<'a>(flags: &'a [&'a str]) -> Application<'a> {
    let pod_fields = json!({"shareProcessNamespace": true, "terminationGracePeriodSeconds": 2});
    Application { pod_fields, ..Application::of(IDLE, flags) }
}

/// Kills the elector in a pod of [`killable`].
pub fn kill(namespace: &TestNamespace, pod: &str) {
    namespace.kubectl(&["exec", pod, "--container=app", "--", "killall", "-KILL", "leader-elector"]);
}

/// The number of rounds for slow scenarios, in which each round takes as long as a rolling update.
pub fn few_rounds(cluster: &Cluster) -> usize {
    cluster.rounds.div_ceil(4)
}
