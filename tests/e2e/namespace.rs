//! A namespace of one scenario, with a Deployment named `app`.

use crate::cluster::{self, Cluster};
use crate::common::deploy::Overlay;
use crate::common::kubectl;
use crate::sampler::Sampler;
use serde_json::Value;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The timeout of every wait. It is long, because images may have to be pulled, and the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

pub struct TestNamespace<'c> {
    pub cluster: &'c Cluster,
    pub name: String,
}

/// The fields of a pod that the scenarios need.
pub struct Pod {
    pub name: String,
    pub is_ready: bool,
    pub is_terminating: bool,
    pub restarts: u64,
    /// The node of the pod; empty before it is scheduled.
    pub node: String,
}

impl<'c> TestNamespace<'c> {
    pub fn new(cluster: &'c Cluster, name: &str) -> TestNamespace<'c> {
        TestNamespace::with_standard(cluster, name, "restricted")
    }

    /// A namespace that enforces this Pod Security Standard.
    pub fn with_standard(cluster: &'c Cluster, name: &str, standard: &str) -> TestNamespace<'c> {
        let name = format!("leader-elector-e2e-{}-{name}", std::process::id());
        cluster.add_namespace(&name, standard);
        TestNamespace { cluster, name }
    }

    /// A namespace to which `deploy/` with these components was applied, and in which all replicas are ready.
    pub fn with_deploy(cluster: &'c Cluster, name: &str, components: &[&str]) -> TestNamespace<'c> {
        let namespace = TestNamespace::new(cluster, name);
        namespace.apply_deploy(components);
        namespace.wait_for_rollout();
        namespace
    }

    /// Applies `deploy/` with these components.
    pub fn apply_deploy(&self, components: &[&str]) {
        self.apply_overlay(&Overlay::of(components, &self.kustomization_fields()));
    }

    /// Applies a kustomization.
    pub fn apply_overlay(&self, overlay: &Overlay) {
        self.kubectl(&["apply", "--kustomize", overlay.folder()]);
    }

    /// The fields that a user's kustomization must set: the namespace and the image.
    pub fn kustomization_fields(&self) -> String {
        let (name, tag) = self.cluster.image.rsplit_once(':').expect("IMAGE must have a tag");
        let image = format!("{{name: leader-elector, newName: {name}, newTag: {tag:?}}}");
        format!("namespace: {}\nimages: [{image}]\n", self.name)
    }

    /// Runs kubectl in this namespace, which must succeed. Returns its stdout.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl::run(self.kubectl_command(), arguments).0
    }

    /// Applies an object, or a list of them.
    pub fn apply(&self, object: &Value) {
        kubectl::run_with(self.kubectl_command(), &["apply", "--filename=-"], &object.to_string());
    }

    /// kubectl with this namespace, not started yet.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Cluster::kubectl();
        command.arg(format!("--namespace={}", self.name));
        command
    }

    /// Waits until the rollout is complete: all replicas are ready, and no pod is terminating.
    pub fn wait_for_rollout(&self) {
        let timeout = format!("--timeout={}s", TIMEOUT.as_secs());
        self.kubectl(&["rollout", "status", "deployment/app", &timeout]);
        self.wait_until("no pod is terminating", || self.pods().iter().all(|pod| pod.is_ready && !pod.is_terminating));
    }

    /// The pods of the Deployment.
    pub fn pods(&self) -> Vec<Pod> {
        self.pods_with_label("app%3Dapp")
    }

    /// The pods with a label, given as `key%3Dvalue`.
    pub fn pods_with_label(&self, label: &str) -> Vec<Pod> {
        let pods = self.get(&format!("pods?labelSelector={label}"));
        pods["items"].as_array().into_iter().flatten().map(Pod::of).collect()
    }

    /// The answer of the API server for a path in this namespace; null without an answer.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.cluster.get(&format!("/api/v1/namespaces/{}/{path}", self.name));
        answer.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default()
    }

    /// Starts to poll all pods.
    pub fn start_sampler(&self) -> Sampler {
        Sampler::start(self)
    }

    /// Waits for a condition. Panics after the timeout, with the pods and events of the namespace.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition() {
            if Instant::now() > deadline {
                let state = self.kubectl_command().args(["get", "pods,events"]).output().expect("cannot run kubectl");
                panic!(
                    "timed out after {TIMEOUT:?}: {what}; pods and events:\n{}",
                    String::from_utf8_lossy(&state.stdout)
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for TestNamespace<'_> {
    fn drop(&mut self) {
        if !cluster::keeps_namespaces() {
            self.cluster.remove_namespace(&self.name);
        }
    }
}

impl Pod {
    fn of(pod: &Value) -> Pod {
        let status = &pod["status"];
        let containers = ["containerStatuses", "initContainerStatuses"].map(|list| status[list].as_array());
        let conditions = status["conditions"].as_array().into_iter().flatten();
        Pod {
            name: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            is_ready: conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True"),
            is_terminating: pod["metadata"]["deletionTimestamp"].is_string(),
            node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            restarts: containers.into_iter().flatten().flatten().filter_map(|it| it["restartCount"].as_u64()).sum(),
        }
    }
}
