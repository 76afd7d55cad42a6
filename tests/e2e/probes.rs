//! Queries by people and by the kubelet: `kubectl exec`, `kubectl logs`, the API server's proxy, and an exec probe.

use crate::application::{Application, IDLE};
use crate::cluster::Cluster;
use crate::common::scenarios::ScenarioResult;
use crate::namespace::TestNamespace;
use serde_json::json;

pub fn kubectl_and_exec_probes_query_the_elector(cluster: &Cluster) -> ScenarioResult<String> {
    let probe = json!({"exec": {"command": ["/leader-elector", "--check"]}, "periodSeconds": 1});
    let namespace = Application::of(IDLE, &[]).start(cluster, "probes");
    let sampler = namespace.start_sampler();
    let leader = sampler.leader(&namespace).pod;
    let answer = format!("{{\"name\":\"{leader}\"}}");
    let mut leaders = 0;
    for pod in namespace.pods() {
        let check = ["exec", &pod.name, "--container=elector", "--", "/leader-elector", "--check"];
        let output = namespace.kubectl_command().args(check).output().expect("cannot run kubectl");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), answer);
        leaders += usize::from(output.status.success());
        assert_eq!(output.status.success(), pod.name == leader, "{output:?}");
        let log = namespace.kubectl(&["logs", &pod.name, "--container=elector"]);
        assert!(log.contains(&format!("{leader} is the leader")), "{log}");
        let path = format!("/api/v1/namespaces/{}/pods/{}:4040/proxy/", namespace.name, pod.name);
        assert_eq!(namespace.kubectl(&["get", "--raw", &path]).trim(), answer);
    }
    assert_eq!(leaders, 1);
    // With `--check` as the readiness probe only the leader's pod becomes ready, so the rollout cannot complete.
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "elector", "livenessProbe": null, "startupProbe": null,
        "readinessProbe": {"httpGet": null, "exec": probe["exec"], "periodSeconds": 1}}]}}}});
    namespace.kubectl(&["patch", "deployment/app", "--patch", &patch.to_string()]);
    namespace.wait_until("a new pod runs and is not ready", || has_unready_pod(&namespace));
    Ok(String::new())
}

fn has_unready_pod(namespace: &TestNamespace) -> bool {
    namespace.pods().iter().filter(|pod| !pod.is_ready && !pod.is_terminating).count() >= 1
}
