//! Service account tokens as the kubelet hands them out: they expire, and others take their place.

use crate::application::{Application, IDLE};
use crate::cluster::Cluster;
use crate::common::kubectl;
use crate::common::scenarios::{Skipped, Verdict};
use crate::stage::Stage;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// The shortest life that the API server grants.
const LIFE: Duration = Duration::from_secs(600);

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The leader goes on in the same term when its first token is no longer valid.
pub fn a_token_that_expires_costs_no_leadership(cluster: &Cluster) -> Verdict<String> {
    if std::env::var_os("LONG").is_none() {
        return Err(Skipped("it takes eleven minutes: say LONG=1"));
    }
    let issuer = cluster.get("/.well-known/openid-configuration").map(|(_, body)| body).unwrap_or_default();
    let issuer: Value = serde_json::from_str(&issuer).unwrap_or_default();
    let audience = issuer["issuer"].clone();
    let volume = json!({"name": "account", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFE.as_secs(), "audience": audience}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]}});
    let mounts = json!([{"name": "account", "mountPath": ACCOUNT, "readOnly": true}]);
    let more = json!({"automountServiceAccountToken": false, "volumes": [volume]});
    let stage = Application { mounts, more, ..Application::of(IDLE, &[]) }.start(cluster, "token");
    let begun = Instant::now();
    let leader = stage.sample().leader(&stage);
    let read = || stage.kubectl(&["exec", &leader.pod, "--container=app", "--", "cat", &format!("{ACCOUNT}/token")]);
    let first = read();
    assert!(is_valid(&stage, &first), "the first token");
    while is_valid(&stage, &first) {
        assert!(begun.elapsed() < 3 * LIFE, "the first token never expired");
        thread::sleep(Duration::from_secs(5));
    }
    let sampler = stage.sample();
    let now = sampler.leader(&stage);
    assert_eq!((now.pod, now.token), (leader.pod.clone(), leader.token));
    assert!(is_valid(&stage, &read()), "the token now");
    // Renewals, and the watches of the others, go on with the new one.
    thread::sleep(Duration::from_secs(20));
    let log = stage.kubectl(&["logs", &leader.pod, "--container=elector"]);
    assert!(!log.contains("no longer leading") && !log.contains(" WARN "), "{log}");
    Ok(format!("the same term after {} s; {}", begun.elapsed().as_secs(), sampler.judge()))
}

fn is_valid(stage: &Stage, token: &str) -> bool {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let arguments = ["create", "--filename=-", "--output=jsonpath={.status.authenticated}"];
    kubectl::run_with(stage.program(), &arguments, &review.to_string()).0 == "true"
}
