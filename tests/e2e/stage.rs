//! A namespace of the cluster, with one Deployment in it.

use crate::cluster::{self, Cluster};
use crate::common::deploy::Overlay;
use crate::common::kubectl;
use crate::sampler::Sampler;
use serde_json::Value;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take: images may have to be pulled, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stage<'c> {
    pub cluster: &'c Cluster,
    pub namespace: String,
}

/// What the API server says of a pod.
pub struct Pod {
    pub name: String,
    pub is_ready: bool,
    pub is_leaving: bool,
    pub restarts: u64,
    /// Where it runs; empty before that is decided.
    pub node: String,
}

impl<'c> Stage<'c> {
    pub fn new(cluster: &'c Cluster, name: &str) -> Stage<'c> {
        Stage::at_level(cluster, name, "restricted")
    }

    /// One where pods keep to this standard.
    pub fn at_level(cluster: &'c Cluster, name: &str, level: &str) -> Stage<'c> {
        let namespace = format!("leader-elector-e2e-{}-{name}", std::process::id());
        cluster.add_namespace(&namespace, level);
        Stage { cluster, namespace }
    }

    /// A stage with `deploy/` on it, these components included, and all replicas ready.
    pub fn with_deploy(cluster: &'c Cluster, name: &str, components: &[&str]) -> Stage<'c> {
        let stage = Stage::new(cluster, name);
        stage.apply_deploy(components);
        stage.wait_for_rollout();
        stage
    }

    /// Applies `deploy/` with these components.
    pub fn apply_deploy(&self, components: &[&str]) {
        self.apply_overlay(&Overlay::of(components, &self.fields()));
    }

    /// Applies a kustomization.
    pub fn apply_overlay(&self, overlay: &Overlay) {
        self.kubectl(&["apply", "--kustomize", overlay.folder()]);
    }

    /// What a user's own kustomization has to say: the namespace and the image.
    pub fn fields(&self) -> String {
        let (name, tag) = self.cluster.image.rsplit_once(':').expect("IMAGE has a tag");
        let image = format!("{{name: leader-elector, newName: {name}, newTag: {tag:?}}}");
        format!("namespace: {}\nimages: [{image}]\n", self.namespace)
    }

    /// What kubectl prints; it has to succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl::run(self.program(), arguments).0
    }

    /// Applies an object, or a list of them.
    pub fn apply(&self, object: &Value) {
        kubectl::run_with(self.program(), &["apply", "--filename=-"], &object.to_string());
    }

    /// kubectl in this namespace.
    pub fn program(&self) -> Command {
        let mut command = Cluster::program();
        command.arg(format!("--namespace={}", self.namespace));
        command
    }

    /// Waits until all replicas are new and ready, and no pod is on its way out.
    pub fn wait_for_rollout(&self) {
        let patience = format!("--timeout={}s", PATIENCE.as_secs());
        self.kubectl(&["rollout", "status", "deployment/app", &patience]);
        self.wait_until("no pod is leaving", || self.pods().iter().all(|pod| pod.is_ready && !pod.is_leaving));
    }

    /// The pods of the Deployment.
    pub fn pods(&self) -> Vec<Pod> {
        self.pods_of("app%3Dapp")
    }

    /// The pods with a label, written as in a URL.
    pub fn pods_of(&self, label: &str) -> Vec<Pod> {
        let pods = self.get(&format!("pods?labelSelector={label}"));
        pods["items"].as_array().into_iter().flatten().map(Pod::of).collect()
    }

    /// What is at a path of this namespace; null if nothing is.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.cluster.get(&format!("/api/v1/namespaces/{}/{path}", self.namespace));
        answer.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default()
    }

    /// Begins to ask all pods, all the time.
    pub fn sample(&self) -> Sampler {
        Sampler::start(self)
    }

    /// Waits for a condition; says what the pods are up to if it never comes.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            if Instant::now() > deadline {
                let shown = self.program().args(["get", "pods,events"]).output().expect("it could be run before");
                panic!("waited {PATIENCE:?} in vain: {what}; there was\n{}", String::from_utf8_lossy(&shown.stdout));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !cluster::is_kept() {
            self.cluster.remove_namespace(&self.namespace);
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
            is_leaving: pod["metadata"]["deletionTimestamp"].is_string(),
            node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            restarts: containers.into_iter().flatten().flatten().filter_map(|it| it["restartCount"].as_u64()).sum(),
        }
    }
}
