//! A Deployment of our own: a shell script with an elector beside it.

use crate::cluster::Cluster;
use crate::stage::Stage;
use serde_json::{Value, json};

/// Does nothing, and ends when it is told to.
pub const IDLE: &str = "trap exit TERM; while :; do sleep 1; done";

/// A function of the shell that prints what is at a URL, with the client that the image has.
pub const ASK: &str = "ask() { if command -v curl >/dev/null; then curl -s -m 1 $1; else wget -q -T 1 -O - $1; fi; }";

/// Prints what comes from a URL as it comes.
pub const STREAM: &str = "stream() { if command -v curl >/dev/null; then curl -sN $1; else wget -q -O - $1; fi; }";

pub struct Application<'a> {
    pub replicas: u32,
    pub script: &'a str,
    /// What the script's container may take of the memory, if it is limited.
    pub memory: Option<&'a str>,
    /// What both containers mount of the volumes in `more`.
    pub mounts: Value,
    /// Beside those that every elector here needs; its lock is a Lease.
    pub flags: &'a [&'a str],
    pub is_native: bool,
    /// The elector's.
    pub port: u16,
    /// More fields of the pod's specification, over those that are there.
    pub more: Value,
}

impl<'a> Application<'a> {
    /// Three replicas of a script, with a plain sidecar.
    pub fn of(script: &'a str, flags: &'a [&'a str]) -> Application<'a> {
        Application {
            replicas: 3,
            script,
            memory: None,
            mounts: json!([]),
            flags,
            is_native: false,
            port: 4040,
            more: Value::Null,
        }
    }

    /// Applies it, with the elector's rights, and waits until all of it is ready.
    pub fn start<'c>(self, cluster: &'c Cluster, name: &str) -> Stage<'c> {
        let stage = Stage::new(cluster, name);
        stage.apply(&rights());
        stage.apply(&self.deployment(cluster));
        stage.wait_for_rollout();
        stage
    }

    fn deployment(&self, cluster: &Cluster) -> Value {
        let application = json!({
            "name": "app", "image": cluster.shell_image, "command": ["sh", "-c", self.script], "securityContext": least(),
            "resources": {"limits": {"memory": self.memory}}, "volumeMounts": self.mounts,
        });
        let mut elector = json!({
            "name": "elector", "image": cluster.image, "securityContext": least(), "volumeMounts": self.mounts, "env": [
                variable("NAMESPACE", "metadata.namespace"), variable("POD_NAME", "metadata.name"),
                variable("POD_IPS", "status.podIPs"),
            ],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": self.port}},
        });
        let http = format!("--http=:{}", self.port);
        let always = ["--election=example", "--election-namespace=$(NAMESPACE)", "--lock=leases", &http];
        elector["args"] = always.iter().chain(self.flags).copied().collect();
        let mut spec = json!({
            "serviceAccountName": "leader-elector",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        });
        if self.is_native {
            elector["restartPolicy"] = "Always".into();
            spec["initContainers"] = json!([elector]);
            spec["containers"] = json!([application]);
        } else {
            spec["containers"] = json!([application, elector]);
        }
        self.more.as_object().into_iter().flatten().for_each(|(name, value)| spec[name] = value.clone());
        let labels = json!({"app": "app"});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
            "spec": {
                "replicas": self.replicas, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        })
    }
}

fn least() -> Value {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

fn variable(name: &str, field: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}})
}

/// What an elector may do: all that it needs for the Leases `example` and `inner`, and for the Service `app`.
fn rights() -> Value {
    let rbac = "rbac.authorization.k8s.io";
    let name = json!({"name": "leader-elector"});
    let (locks, slices) = ("coordination.k8s.io", "discovery.k8s.io");
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": name, "rules": [
            {"apiGroups": [locks], "resources": ["leases"], "resourceNames": ["example", "inner"], "verbs": ["get", "update", "watch"]},
            {"apiGroups": [locks], "resources": ["leases"], "verbs": ["create"]},
            {"apiGroups": [slices], "resources": ["endpointslices"], "verbs": ["get", "update", "create"]},
        ]},
        {"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": name,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "leader-elector"},
            "subjects": [{"kind": "ServiceAccount", "name": "leader-elector"}]},
    ]})
}
