//! The API server, its storage or the node are taken away, and come back.
//!
//! Nothing can be asked through an API server that is away. So an application beside each elector asks it all the time
//! and prints the answers; afterwards its log tells who led when, by the clocks of the nodes.

use crate::application::{ASK, Application};
use crate::cluster::{self, Cluster};
use crate::common::deploy::Overlay;
use crate::common::scenarios::Verdict;
use crate::handovers::few;
use crate::logs::{self, Line, Logs};
use crate::sampler::{self, Term};
use crate::stage::Stage;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// Prints a line before it asks, then the answer.
const WITNESS: &str =
    "trap exit TERM; while :; do echo asks; ask http://127.0.0.1:4040/status; echo; usleep 50000; done";

/// F is 80 s after a renewal was sent: longer than any outage of these scenarios, the time included that an API server
/// needs to find etcd again.
const LONG: &[&str] = &["--ttl=2m", "--retry-period=2s"];

pub fn an_api_server_that_is_restarted_costs_no_leadership(cluster: &Cluster) -> Verdict<String> {
    let restart = Cluster::control_plane(&["restart", "kube-apiserver"])?;
    keep_the_leader(cluster, "restart-api", || assert!(cluster::run(&restart), "{restart:?} failed"))
}

pub fn an_etcd_that_is_away_for_less_than_f_costs_no_leadership(cluster: &Cluster) -> Verdict<String> {
    let (stop, start) = stop_and_start_etcd()?;
    keep_the_leader(cluster, "etcd-short", || {
        let undo = cluster.will_undo(&words(&start));
        assert!(cluster::run(&stop), "{stop:?} failed");
        thread::sleep(Duration::from_secs(5)); // the outage
        drop(undo);
    })
}

/// What is taken away comes back before F: the leader stays the same, in the same term.
fn keep_the_leader(cluster: &Cluster, name: &str, take_away: impl Fn()) -> Verdict<String> {
    let stage = witnesses(LONG).start(cluster, name);
    let mut outages = Vec::new();
    for _ in 0..few(cluster).min(2) {
        let leader = stage.sample().leader(&stage);
        let began = Instant::now();
        take_away();
        wait_for_api_server(&stage);
        outages.push(began.elapsed());
        stage.wait_for_rollout();
        let now = stage.sample().leader(&stage);
        let log = || stage.kubectl(&["logs", &leader.pod, "--container=elector"]);
        assert_eq!((leader.token, &leader.pod), (now.token, &now.pod), "after {outages:?}: {}", log());
    }
    let (terms, answers) = told(&stage);
    assert_eq!(terms.len(), 1, "there was another term: {terms:?}");
    Ok(format!("the same term, {}; no two leaders in {answers} answers", sampler::figures("outage", outages)))
}

pub fn an_etcd_that_is_away_for_more_than_f_ends_the_leadership(cluster: &Cluster) -> Verdict<String> {
    let (stop, start) = stop_and_start_etcd()?;
    let stage = witnesses(&["--ttl=6s"]).start(cluster, "etcd-long");
    let mut ended = Vec::new();
    for _ in 0..few(cluster).min(2) {
        let leader = stage.sample().leader(&stage);
        let undo = cluster.will_undo(&words(&start));
        thread::scope(|scope| {
            let logs = Logs::follow(scope, &stage, "app");
            let count = |leading: bool| leaders(&logs.lines()).values().filter(|&&leads| leads == leading).count();
            stage.wait_until("all are followed", || (count(true), count(false)) == (1, 2));
            let stopped = Instant::now();
            assert!(cluster::run(&stop), "{stop:?} failed");
            stage.wait_until("nobody leads", || count(true) == 0);
            ended.push(stopped.elapsed());
        });
        thread::sleep(Duration::from_secs(6)); // one lease more
        drop(undo);
        wait_for_api_server(&stage);
        stage.sample().wait_for_next(&stage, &leader);
        stage.wait_for_rollout();
    }
    let (terms, answers) = told(&stage);
    Ok(format!("{}; {}", sampler::figures("ended after", ended), sampler::judge(&terms, answers)))
}

fn stop_and_start_etcd() -> Verdict<(Vec<String>, Vec<String>)> {
    Ok((Cluster::control_plane(&["stop", "etcd"])?, Cluster::control_plane(&["start", "etcd"])?))
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn wait_for_api_server(stage: &Stage) {
    stage.wait_until("the API server is ready", || stage.cluster.is_ready());
}

fn witnesses<'a>(flags: &'a [&'a str]) -> Application<'a> {
    Application::of(script(), flags)
}

fn script() -> &'static str {
    static SCRIPT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{ASK}\n{WITNESS}"));
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

/// The terms that the applications were told of, and the number of answers, from the start of the pods that there are.
fn told(stage: &Stage) -> (Vec<Term>, usize) {
    let mut terms = BTreeMap::<u64, Term>::new();
    let mut answers = 0;
    let (start, now) = (logs::now(), Instant::now());
    // Only differences count.
    let instant = |at: i64| now + Duration::from_secs(24 * 3600) - Duration::from_micros((start - at).unsigned_abs());
    for pod in stage.pods() {
        let mut asked = None;
        for line in logs::so_far(stage, &pod.name, "app") {
            if line.text == "asks" {
                asked = Some(line.at);
            }
            let Some((asked, answer)) = asked.zip(answer(&line)) else { continue };
            answers += 1;
            let (true, Some(token)) = (answer["isLeader"] == true, answer["fencingToken"].as_u64()) else { continue };
            let (pod, began_by, lasted_to) = (pod.name.clone(), instant(line.at), instant(asked));
            let term = terms.entry(token).or_insert(Term { pod: pod.clone(), token, began_by, lasted_to });
            assert_eq!(term.pod, pod, "two had the token {token}");
            term.lasted_to = lasted_to;
        }
    }
    (terms.into_values().collect(), answers)
}

/// On a single node the budget stops the drain after the first pod: its replacement has nowhere to go. A second drain
/// deletes them all, and whoever comes back leads.
pub fn a_drained_node_has_one_leader_or_none(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::new(cluster, "drain");
    let labels = json!([{"pairs": {cluster::LABEL: stage.namespace}, "includeTemplates": true}]);
    stage.apply_overlay(&Overlay::of(&[], &format!("{}labels: {labels}\n", stage.fields())));
    stage.wait_for_rollout();
    let sampler = stage.sample();
    let leader = sampler.leader(&stage).pod;
    let node = stage.pods().into_iter().find(|pod| pod.name == leader).expect("it leads").node;
    let uncordon = cluster.will_undo(&["kubectl", "uncordon", &node]);
    let pods = format!("--pod-selector={}={}", cluster::LABEL, stage.namespace);
    let drain = ["drain", &node, &pods, "--ignore-daemonsets", "--delete-emptydir-data"];
    let mut fewest_ready = 3;
    let is_drained = thread::scope(|scope| {
        let drain = scope.spawn(|| stage.program().args(drain).arg("--timeout=12s").output());
        while !drain.is_finished() {
            fewest_ready = fewest_ready.min(stage.pods().iter().filter(|pod| pod.is_ready && !pod.is_leaving).count());
            thread::sleep(Duration::from_millis(20));
        }
        drain.join().expect("it does not panic").is_ok_and(|output| output.status.success())
    });
    assert!(fewest_ready >= 2, "the budget left {fewest_ready} of 3");
    sampler.leader(&stage);
    if is_drained {
        drop(uncordon);
        return Ok(format!("drained, at least {fewest_ready} were ready; {}", sampler.judge()));
    }
    stage.kubectl(&[&drain[..], &["--disable-eviction", "--timeout=60s"]].concat());
    stage.wait_until("the node is empty", || stage.pods().iter().all(|pod| pod.node != node));
    let last = sampler.terms().pop().expect("there was one");
    let begun = Instant::now();
    drop(uncordon);
    let next = sampler.wait_for_next(&stage, &last);
    let back = next.began_by.saturating_duration_since(begun).as_secs_f64();
    stage.wait_for_rollout();
    let verdict = sampler.judge();
    Ok(format!("the budget kept {fewest_ready}; all gone, one led {back:.1} s after the uncordon; {verdict}"))
}
