//! The resources of this server, and their differences.

/// One of the resources served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    Endpoints,
    ConfigMaps,
    Leases,
    EndpointSlices,
}

impl Resource {
    pub(crate) const ALL: [Resource; 4] =
        [Resource::Endpoints, Resource::ConfigMaps, Resource::Leases, Resource::EndpointSlices];

    /// The resource with this plural name, as in paths and rules.
    pub(crate) fn named(plural: &str) -> Option<Resource> {
        Resource::ALL.into_iter().find(|r| r.plural() == plural)
    }

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Resource::Endpoints => "endpoints",
            Resource::ConfigMaps => "configmaps",
            Resource::Leases => "leases",
            Resource::EndpointSlices => "endpointslices",
        }
    }

    pub(crate) fn singular(self) -> &'static str {
        match self {
            Resource::Endpoints => "endpoints",
            Resource::ConfigMaps => "configmap",
            Resource::Leases => "lease",
            Resource::EndpointSlices => "endpointslice",
        }
    }

    pub(crate) fn short_names(self) -> &'static [&'static str] {
        match self {
            Resource::Endpoints => &["ep"],
            Resource::ConfigMaps => &["cm"],
            Resource::Leases | Resource::EndpointSlices => &[],
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Resource::Endpoints => "Endpoints",
            Resource::ConfigMaps => "ConfigMap",
            Resource::Leases => "Lease",
            Resource::EndpointSlices => "EndpointSlice",
        }
    }

    /// The API group; empty for the core group.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Resource::Endpoints | Resource::ConfigMaps => "",
            Resource::Leases => "coordination.k8s.io",
            Resource::EndpointSlices => "discovery.k8s.io",
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Resource::Endpoints | Resource::ConfigMaps => "v1",
            Resource::Leases => "coordination.k8s.io/v1",
            Resource::EndpointSlices => "discovery.k8s.io/v1",
        }
    }

    /// `name` with the group after it, as in messages.
    pub(crate) fn with_group(self, name: &str) -> String {
        match self.group() {
            "" => name.to_owned(),
            group => format!("{name}.{group}"),
        }
    }

    /// Its path in etcd, which appears in messages.
    pub(crate) fn registry(self) -> &'static str {
        match self {
            Resource::Endpoints => "/registry/services/endpoints",
            Resource::ConfigMaps => "/registry/configmaps",
            Resource::Leases => "/registry/leases",
            Resource::EndpointSlices => "/registry/endpointslices",
        }
    }

    /// Whether an update of a missing object creates it.
    pub(crate) fn created_by_update(self) -> bool {
        matches!(self, Resource::Endpoints | Resource::Leases)
    }

    /// Whether an update without resourceVersion overwrites any version.
    pub(crate) fn updated_unconditionally(self) -> bool {
        self != Resource::Leases
    }

    /// The `Warning` header of every answer for it.
    pub(crate) fn warning(self) -> Option<&'static str> {
        match self {
            Resource::Endpoints => {
                Some("299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"")
            }
            _ => None,
        }
    }
}
