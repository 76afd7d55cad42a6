//! The three kinds of object this server keeps, and in what they differ.

/// One of the resources served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    Endpoints,
    ConfigMaps,
    Leases,
}

impl Resource {
    pub(crate) const ALL: [Resource; 3] = [Resource::Endpoints, Resource::ConfigMaps, Resource::Leases];

    /// The resource of that plural name, as paths and rules have it.
    pub(crate) fn named(plural: &str) -> Option<Resource> {
        Resource::ALL.into_iter().find(|r| r.plural() == plural)
    }

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Resource::Endpoints => "endpoints",
            Resource::ConfigMaps => "configmaps",
            Resource::Leases => "leases",
        }
    }

    pub(crate) fn singular(self) -> &'static str {
        match self {
            Resource::Endpoints => "endpoints",
            Resource::ConfigMaps => "configmap",
            Resource::Leases => "lease",
        }
    }

    pub(crate) fn short_names(self) -> &'static [&'static str] {
        match self {
            Resource::Endpoints => &["ep"],
            Resource::ConfigMaps => &["cm"],
            Resource::Leases => &[],
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Resource::Endpoints => "Endpoints",
            Resource::ConfigMaps => "ConfigMap",
            Resource::Leases => "Lease",
        }
    }

    /// The API group; empty for the core group.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Resource::Leases => "coordination.k8s.io",
            _ => "",
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Resource::Leases => "coordination.k8s.io/v1",
            _ => "v1",
        }
    }

    /// `name` with the group behind it, as messages write it.
    pub(crate) fn with_group(self, name: &str) -> String {
        match self.group() {
            "" => name.to_owned(),
            group => format!("{name}.{group}"),
        }
    }

    /// Where etcd would hold it; shows up in messages.
    pub(crate) fn registry(self) -> &'static str {
        match self {
            Resource::Endpoints => "/registry/services/endpoints",
            Resource::ConfigMaps => "/registry/configmaps",
            Resource::Leases => "/registry/leases",
        }
    }

    /// Whether an update of a missing object creates it.
    pub(crate) fn created_by_update(self) -> bool {
        self != Resource::ConfigMaps
    }

    /// Whether an update without resourceVersion overwrites whatever is there.
    pub(crate) fn updated_unconditionally(self) -> bool {
        self != Resource::Leases
    }

    /// The `Warning` header of every answer about it.
    pub(crate) fn warning(self) -> Option<&'static str> {
        match self {
            Resource::Endpoints => {
                Some("299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"")
            }
            _ => None,
        }
    }
}
