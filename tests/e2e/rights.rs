//! RBAC rights that are revoked and granted again while the electors run.

use crate::application::{Application, IDLE};
use crate::cluster::Cluster;
use crate::common::scenarios::ScenarioResult;
use serde_json::{Value, json};
use std::time::Instant;

pub fn revoked_rights_end_the_leadership_and_granted_rights_restore_it(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = Application::of(IDLE, &["--ttl=6s"]).start(cluster, "rights");
    let sampler = namespace.start_sampler();
    let leader = sampler.leader(&namespace);
    let role = namespace.kubectl(&["get", "role/leader-elector", "--output=json"]);
    let role: Value = serde_json::from_str(&role).expect("kubectl prints JSON");
    namespace.kubectl(&["patch", "role/leader-elector", "--type=merge", "--patch={\"rules\":[]}"]);
    let revoked = Instant::now();
    namespace.wait_until("nobody leads", || {
        sampler.terms().last().is_some_and(|it| it.lasted_until.elapsed().as_secs() >= 1)
    });
    let ended = sampler.terms().last().expect("the wait above has seen it").lasted_until - revoked;
    namespace.wait_until("the log names the missing rule", || {
        namespace.kubectl(&["logs", &leader.pod, "--container=elector"]).contains("grant the verb")
    });
    let granted = Instant::now();
    namespace.kubectl(&[
        "patch",
        "role/leader-elector",
        "--type=merge",
        "--patch",
        &json!({"rules": role["rules"]}).to_string(),
    ]);
    let next = sampler.wait_for_next(&namespace, &leader);
    let begun = next.began_by - granted;
    let summary = sampler.finish();
    Ok(format!("ended after {:.1} s, led again after {:.1} s; {summary}", ended.as_secs_f64(), begun.as_secs_f64()))
}
