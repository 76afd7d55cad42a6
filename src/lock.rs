//! The lock: which API object it is, and how the record sits in it.

use std::fmt;

/// What kind of object the lock is, as `--lock` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    Endpoints,
    ConfigMaps,
    Leases,
}

impl LockKind {
    /// The plural resource name in paths and in RBAC rules.
    pub fn resource(self) -> &'static str {
        match self {
            LockKind::Endpoints => "endpoints",
            LockKind::ConfigMaps => "configmaps",
            LockKind::Leases => "leases",
        }
    }

    /// The API group, empty for the core group.
    pub fn api_group(self) -> &'static str {
        match self {
            LockKind::Endpoints | LockKind::ConfigMaps => "",
            LockKind::Leases => "coordination.k8s.io",
        }
    }
}

/// One lock object: kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockName {
    pub kind: LockKind,
    pub namespace: String,
    pub name: String,
}

impl LockName {
    /// The path of all objects of this kind in the namespace: where one is created or watched.
    pub fn collection_path(&self) -> String {
        let prefix = match self.kind {
            LockKind::Endpoints | LockKind::ConfigMaps => "/api/v1",
            LockKind::Leases => "/apis/coordination.k8s.io/v1",
        };
        format!("{prefix}/namespaces/{}/{}", self.namespace, self.kind.resource())
    }

    /// The path of the object itself.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection_path(), self.name)
    }
}

/// `endpoints default/example`, as messages name it.
impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.resource(), self.namespace, self.name)
    }
}
