//! The lock: which API object it is, and how it stores the record.

mod object;

pub use self::object::{Object, WatchEvent};
use std::fmt;

/// The kind of the lock object.
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

    fn api_version_and_kind(self) -> (&'static str, &'static str) {
        match self {
            LockKind::Endpoints => ("v1", "Endpoints"),
            LockKind::ConfigMaps => ("v1", "ConfigMap"),
            LockKind::Leases => ("coordination.k8s.io/v1", "Lease"),
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

/// The locks of an election: one lock object, or two of the same name in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locks {
    pub kinds: &'static [LockKind],
    pub namespace: String,
    pub name: String,
}

/// The values of `--lock`, with the objects of each.
pub const CHOICES: [(&str, &[LockKind]); 5] = [
    ("endpoints", &[LockKind::Endpoints]),
    ("configmaps", &[LockKind::ConfigMaps]),
    ("leases", &[LockKind::Leases]),
    ("endpointsleases", &[LockKind::Endpoints, LockKind::Leases]),
    ("configmapsleases", &[LockKind::ConfigMaps, LockKind::Leases]),
];

impl Locks {
    /// The value of `--lock` for these locks.
    pub fn choice(&self) -> &'static str {
        CHOICES.iter().find(|(_, kinds)| *kinds == self.kinds).map_or("", |(choice, _)| choice)
    }

    /// The lock objects in order.
    pub fn names(&self) -> impl Iterator<Item = LockName> {
        let (namespace, name) = (&self.namespace, &self.name);
        self.kinds.iter().map(|kind| LockName { kind: *kind, namespace: namespace.clone(), name: name.clone() })
    }
}

/// As in messages: `endpointsleases default/example`.
impl fmt::Display for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.choice(), self.namespace, self.name)
    }
}

/// One lock object: kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockName {
    pub kind: LockKind,
    pub namespace: String,
    pub name: String,
}

/// As in messages: `endpoints default/example`.
impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.resource(), self.namespace, self.name)
    }
}
