//! The settings of the leader Service: its name, its ports, and the pod's addresses.

use crate::api::ObjectName;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a leader writes for the leader Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// The name of the Service: a DNS label.
    pub service: String,
    /// The namespace of the Service and of its slices.
    pub namespace: String,
    /// The ports of the pod. The Service finds them by name. If there are several, each has a different name.
    pub ports: Vec<Port>,
    pub addresses: Addresses,
    /// The pod, for people and tools that look at the slice.
    pub pod: Pod,
    /// The election that decides who leads. A slice of another election is never written.
    pub election: String,
    pub identity: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Empty for the only port of a Service whose port has no name.
    pub name: String,
    pub number: u16,
}

/// The IP addresses of a pod: at least one, and at most one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub uid: Option<String>,
    /// Without it, a Service with `externalTrafficPolicy: Local` or `internalTrafficPolicy: Local` has no endpoint.
    pub node: Option<String>,
}

/// The IP families, and so the kinds of EndpointSlices that kube-proxy supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The `addressType` of a slice.
    pub(super) fn address_type(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

impl ServiceSpec {
    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.addresses.v4.map(IpAddr::V4),
            Family::V6 => self.addresses.v6.map(IpAddr::V6),
        }
    }

    pub(super) fn slice_name(&self, family: Family) -> SliceName {
        let suffix = match family {
            Family::V4 => "leader",
            Family::V6 => "leader-ipv6",
        };
        SliceName { namespace: self.namespace.clone(), name: format!("{}-{suffix}", self.service) }
    }
}

/// The name of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName for SliceName {
    fn api_group(&self) -> &str {
        "discovery.k8s.io"
    }

    fn resource(&self) -> &str {
        "endpointslices"
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for SliceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpointslices {}/{}", self.namespace, self.name)
    }
}
