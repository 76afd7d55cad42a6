//! A Deployment whose application is a shell script, with an elector as a sidecar.

use crate::cluster::Cluster;
use crate::namespace::TestNamespace;
use serde_json::{Value, json};

/// A script that does nothing, and exits on SIGTERM.
pub const IDLE: &str = "trap exit TERM; while :; do sleep 1; done";

/// A shell function that prints the body of an HTTP answer, with whichever client the image has.
pub const FETCH: &str =
    "fetch() { if command -v curl >/dev/null; then curl -s -m 1 $1; else wget -q -T 1 -O - $1; fi; }";

/// A shell function that prints the body of an HTTP answer as it arrives.
pub const STREAM: &str = "stream() { if command -v curl >/dev/null; then curl -sN $1; else wget -q -O - $1; fi; }";

pub struct Application<'a> {
    pub replicas: u32,
    pub script: &'a str,
    /// The memory limit of the script's container.
    pub memory_limit: Option<&'a str>,
    /// The volume mounts of both containers; `pod_fields` has the volumes.
    pub mounts: Value,
    /// Flags of the elector, in addition to those that every elector here has. The lock is the Lease `example`.
    pub flags: &'a [&'a str],
    /// Whether the elector is a native sidecar, an init container that keeps running.
    pub has_native_sidecar: bool,
    /// The elector's HTTP port.
    pub port: u16,
    /// Fields of the pod's `spec`. They replace the default ones.
    pub pod_fields: Value,
}

impl<'a> Application<'a> {
    /// Three replicas of a script, whose elector is a normal container.
    pub fn of(script: &'a str, flags: &'a [&'a str]) -> Application<'a> {
        Application {
            replicas: 3,
            script,
            memory_limit: None,
            mounts: json!([]),
            flags,
            has_native_sidecar: false,
            port: 4040,
            pod_fields: Value::Null,
        }
    }

    /// Applies the Deployment and the elector's rights, and waits until all replicas are ready.
    pub fn start<'c>(self, cluster: &'c Cluster, name: &str) -> TestNamespace<'c> {
        let namespace = TestNamespace::new(cluster, name);
        namespace.apply(&rights());
        namespace.apply(&self.deployment(cluster));
        namespace.wait_for_rollout();
        namespace
    }

    fn deployment(&self, cluster: &Cluster) -> Value {
        let application = json!({
            "name": "app", "image": cluster.shell_image, "command": ["sh", "-c", self.script], "securityContext": restricted(),
            "resources": {"limits": {"memory": self.memory_limit}}, "volumeMounts": self.mounts,
        });
        let mut elector = json!({
            "name": "elector", "image": cluster.image, "securityContext": restricted(), "volumeMounts": self.mounts, "env": [
                variable("NAMESPACE", "metadata.namespace"), variable("POD_NAME", "metadata.name"),
                variable("POD_IPS", "status.podIPs"),
            ],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": self.port}},
        });
        let http = format!("--http=:{}", self.port);
        let common = ["--election=example", "--election-namespace=$(NAMESPACE)", "--lock=leases", &http];
        elector["args"] = common.iter().chain(self.flags).copied().collect();
        let mut spec = json!({
            "serviceAccountName": "leader-elector",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        });
        if self.has_native_sidecar {
            elector["restartPolicy"] = "Always".into();
            spec["initContainers"] = json!([elector]);
            spec["containers"] = json!([application]);
        } else {
            spec["containers"] = json!([application, elector]);
        }
        self.pod_fields.as_object().into_iter().flatten().for_each(|(name, value)| spec[name] = value.clone());
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

fn restricted() -> Value {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

fn variable(name: &str, field: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}})
}

/// The elector's RBAC objects: for the Leases `example` and `inner`, and for the leader Service `app`.
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
