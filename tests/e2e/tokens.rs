//! Service account tokens of the kubelet, which expire and are replaced.

use crate::application::{Application, IDLE};
use crate::cluster::Cluster;
use crate::common::kubectl;
use crate::common::scenarios::{ScenarioResult, Skipped};
use crate::namespace::TestNamespace;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// The shortest lifetime that the API server accepts.
const LIFETIME: Duration = Duration::from_secs(600);

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The leader stays in the same term after its first token has expired.
pub fn an_expired_token_does_not_end_the_leadership(cluster: &Cluster) -> ScenarioResult<String> {
    if std::env::var_os("LONG").is_none() {
        return Err(Skipped("it takes eleven minutes, and runs only with LONG=1"));
    }
    let issuer = cluster.get("/.well-known/openid-configuration").map(|(_, body)| body).unwrap_or_default();
    let issuer: Value = serde_json::from_str(&issuer).unwrap_or_default();
    let audience = issuer["issuer"].clone();
    let volume = json!({"name": "account", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFETIME.as_secs(), "audience": audience}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]}});
    let mounts = json!([{"name": "account", "mountPath": ACCOUNT, "readOnly": true}]);
    let pod_fields = json!({"automountServiceAccountToken": false, "volumes": [volume]});
    let namespace = Application { mounts, pod_fields, ..Application::of(IDLE, &[]) }.start(cluster, "token");
    let start = Instant::now();
    let leader = namespace.start_sampler().leader(&namespace);
    let read =
        || namespace.kubectl(&["exec", &leader.pod, "--container=app", "--", "cat", &format!("{ACCOUNT}/token")]);
    let first = read();
    assert!(is_valid(&namespace, &first), "the first token is not valid");
    while is_valid(&namespace, &first) {
        assert!(start.elapsed() < 3 * LIFETIME, "the first token did not expire");
        thread::sleep(Duration::from_secs(5));
    }
    let sampler = namespace.start_sampler();
    let now = sampler.leader(&namespace);
    assert_eq!((now.pod, now.token), (leader.pod.clone(), leader.token));
    assert!(is_valid(&namespace, &read()), "the present token is not valid");
    // Renewals and watches now use the new token: the log must stay free of warnings.
    thread::sleep(Duration::from_secs(20));
    let log = namespace.kubectl(&["logs", &leader.pod, "--container=elector"]);
    assert!(!log.contains("no longer leading") && !log.contains(" WARN "), "{log}");
    Ok(format!("the same term after {} s; {}", start.elapsed().as_secs(), sampler.finish()))
}

fn is_valid(namespace: &TestNamespace, token: &str) -> bool {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let arguments = ["create", "--filename=-", "--output=jsonpath={.status.authenticated}"];
    kubectl::run_with(namespace.kubectl_command(), &arguments, &review.to_string()).0 == "true"
}
