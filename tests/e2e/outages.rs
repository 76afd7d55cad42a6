//! Outages of the API server, of etcd and of a node.
//!
//! The sampler cannot reach the pods while the API server is down. So the application in each pod polls its elector and
//! prints the answers. After the outage, the applications' logs show who led when, by the clocks of the nodes.

use crate::application::{Application, FETCH};
use crate::cluster::{self, Cluster};
use crate::common::deploy::Overlay;
use crate::common::scenarios::ScenarioResult;
use crate::handovers::few_rounds;
use crate::logs::{self, Line, Logs};
use crate::namespace::TestNamespace;
use crate::sampler::{self, Term};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// Prints the line `request` before each request, and then the answer.
const POLL: &str =
    "trap exit TERM; while :; do echo request; fetch http://127.0.0.1:4040/status; echo; usleep 50000; done";

/// With this lease F is 80 s after a renewal was sent. No outage of these scenarios takes so long, including the time
/// that the API server needs to reconnect to etcd.
const LONG_LEASE: &[&str] = &["--ttl=2m", "--retry-period=2s"];

pub fn a_restart_of_the_api_server_does_not_end_the_leadership(cluster: &Cluster) -> ScenarioResult<String> {
    let restart = Cluster::control_plane(&["restart", "kube-apiserver"])?;
    check_leader_stays(cluster, "restart-api", || assert!(cluster::run(&restart), "{restart:?} failed"))
}

pub fn an_outage_of_etcd_shorter_than_f_does_not_end_the_leadership(cluster: &Cluster) -> ScenarioResult<String> {
    let (stop, start) = stop_and_start_etcd()?;
    check_leader_stays(cluster, "etcd-short", || {
        let undo = cluster.register_undo(&words(&start));
        assert!(cluster::run(&stop), "{stop:?} failed");
        thread::sleep(Duration::from_secs(5)); // the outage
        drop(undo);
    })
}

/// Runs `outage`, which ends before F, and checks that the same pod leads in the same term.
fn check_leader_stays(cluster: &Cluster, name: &str, outage: impl Fn()) -> ScenarioResult<String> {
    let namespace = polling_application(LONG_LEASE).start(cluster, name);
    let mut durations = Vec::new();
    for _ in 0..few_rounds(cluster).min(2) {
        let leader = namespace.start_sampler().leader(&namespace);
        let began = Instant::now();
        outage();
        wait_for_api_server(&namespace);
        durations.push(began.elapsed());
        namespace.wait_for_rollout();
        let now = namespace.start_sampler().leader(&namespace);
        let log = || namespace.kubectl(&["logs", &leader.pod, "--container=elector"]);
        assert_eq!((leader.token, &leader.pod), (now.token, &now.pod), "after outages of {durations:?}: {}", log());
    }
    let (terms, answers) = terms_in_logs(&namespace);
    assert_eq!(terms.len(), 1, "there was another term: {terms:?}");
    Ok(format!("the same term, {}; no two leaders in {answers} answers", sampler::percentiles("outage", durations)))
}

pub fn an_outage_of_etcd_longer_than_f_ends_the_leadership(cluster: &Cluster) -> ScenarioResult<String> {
    let (stop, start) = stop_and_start_etcd()?;
    let namespace = polling_application(&["--ttl=6s"]).start(cluster, "etcd-long");
    let mut ended = Vec::new();
    for _ in 0..few_rounds(cluster).min(2) {
        let leader = namespace.start_sampler().leader(&namespace);
        let undo = cluster.register_undo(&words(&start));
        thread::scope(|scope| {
            let logs = Logs::follow(scope, &namespace, "app");
            let count = |leading: bool| leaders(&logs.lines()).values().filter(|&&leads| leads == leading).count();
            namespace.wait_until("the logs of all pods show one leader and two followers", || {
                (count(true), count(false)) == (1, 2)
            });
            let stopped = Instant::now();
            assert!(cluster::run(&stop), "{stop:?} failed");
            namespace.wait_until("nobody leads", || count(true) == 0);
            ended.push(stopped.elapsed());
        });
        thread::sleep(Duration::from_secs(6)); // another lease
        drop(undo);
        wait_for_api_server(&namespace);
        namespace.start_sampler().wait_for_next(&namespace, &leader);
        namespace.wait_for_rollout();
    }
    let (terms, answers) = terms_in_logs(&namespace);
    Ok(format!("{}; {}", sampler::percentiles("ended after", ended), sampler::check_terms(&terms, answers)))
}

fn stop_and_start_etcd() -> ScenarioResult<(Vec<String>, Vec<String>)> {
    Ok((Cluster::control_plane(&["stop", "etcd"])?, Cluster::control_plane(&["start", "etcd"])?))
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn wait_for_api_server(namespace: &TestNamespace) {
    namespace.wait_until("the API server is ready", || namespace.cluster.is_ready());
}

fn polling_application<'a>(flags: &'a [&'a str]) -> Application<'a> {
    Application::of(script(), flags)
}

fn script() -> &'static str {
    static SCRIPT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{FETCH}\n{POLL}"));
    &SCRIPT
}

/// Whether each pod's last answer was that it leads.
fn leaders(lines: &[Line]) -> BTreeMap<String, bool> {
    let answers = lines.iter().filter_map(|line| Some((line.pod.clone(), answer(line)?["isLeader"] == true)));
    answers.collect()
}

fn answer(line: &Line) -> Option<Value> {
    line.text.starts_with('{').then(|| serde_json::from_str(&line.text).ok())?
}

/// The terms in the answers that the applications printed, and the number of answers, for all pods that exist now.
fn terms_in_logs(namespace: &TestNamespace) -> (Vec<Term>, usize) {
    let mut terms = BTreeMap::<u64, Term>::new();
    let mut answers = 0;
    let (start, now) = (logs::now(), Instant::now());
    // Only differences of these instants are used.
    let instant = |at: i64| now + Duration::from_secs(24 * 3600) - Duration::from_micros((start - at).unsigned_abs());
    for pod in namespace.pods() {
        let mut sent = None;
        for line in logs::printed(namespace, &pod.name, "app") {
            if line.text == "request" {
                sent = Some(line.at);
            }
            let Some((sent, answer)) = sent.zip(answer(&line)) else { continue };
            answers += 1;
            let (true, Some(token)) = (answer["isLeader"] == true, answer["fencingToken"].as_u64()) else { continue };
            let (pod, began_by, lasted_until) = (pod.name.clone(), instant(line.at), instant(sent));
            let term = terms.entry(token).or_insert(Term { pod: pod.clone(), token, began_by, lasted_until });
            assert_eq!(term.pod, pod, "two pods had the fencing token {token}");
            term.lasted_until = lasted_until;
        }
    }
    (terms.into_values().collect(), answers)
}

/// With a single node the PodDisruptionBudget stops the drain after the first pod, because its replacement cannot be
/// scheduled. A second drain deletes all pods without eviction; after the uncordon one of the new pods leads.
pub fn a_drained_node_has_one_leader_or_none(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = TestNamespace::new(cluster, "drain");
    let labels = json!([{"pairs": {cluster::LABEL: namespace.name}, "includeTemplates": true}]);
    namespace.apply_overlay(&Overlay::of(&[], &format!("{}labels: {labels}\n", namespace.kustomization_fields())));
    namespace.wait_for_rollout();
    let sampler = namespace.start_sampler();
    let leader = sampler.leader(&namespace).pod;
    let node = namespace.pods().into_iter().find(|pod| pod.name == leader).expect("the leader is one of the pods").node;
    let uncordon = cluster.register_undo(&["kubectl", "uncordon", &node]);
    let pods = format!("--pod-selector={}={}", cluster::LABEL, namespace.name);
    let drain = ["drain", &node, &pods, "--ignore-daemonsets", "--delete-emptydir-data"];
    let mut fewest_ready = 3;
    let is_drained = thread::scope(|scope| {
        let drain = scope.spawn(|| namespace.kubectl_command().args(drain).arg("--timeout=12s").output());
        while !drain.is_finished() {
            fewest_ready =
                fewest_ready.min(namespace.pods().iter().filter(|pod| pod.is_ready && !pod.is_terminating).count());
            thread::sleep(Duration::from_millis(20));
        }
        drain.join().expect("the thread does not panic").is_ok_and(|output| output.status.success())
    });
    assert!(fewest_ready >= 2, "the PodDisruptionBudget left only {fewest_ready} of 3 pods ready");
    sampler.leader(&namespace);
    if is_drained {
        drop(uncordon);
        return Ok(format!("drained; at least {fewest_ready} pods stayed ready; {}", sampler.finish()));
    }
    namespace.kubectl(&[&drain[..], &["--disable-eviction", "--timeout=60s"]].concat());
    namespace.wait_until("the node is empty", || namespace.pods().iter().all(|pod| pod.node != node));
    let last = sampler.terms().pop().expect("there was a leader");
    let uncordoned = Instant::now();
    drop(uncordon);
    let next = sampler.wait_for_next(&namespace, &last);
    let back = next.began_by.saturating_duration_since(uncordoned).as_secs_f64();
    namespace.wait_for_rollout();
    let summary = sampler.finish();
    Ok(format!(
        "the PodDisruptionBudget kept {fewest_ready} pods ready; one led {back:.1} s after the uncordon; {summary}"
    ))
}
