//! The object of a request, for its path and for messages.

use crate::lock::LockName;
use std::fmt;

/// The name of an object of one resource in one namespace. `Display` prints it like `endpoints default/example`.
pub trait ObjectName: fmt::Display {
    /// The API group, empty for the core group. Its version is always `v1`.
    fn api_group(&self) -> &str;

    /// The plural resource name in paths and in RBAC rules.
    fn resource(&self) -> &str;

    fn namespace(&self) -> &str;

    fn name(&self) -> &str;
}

/// The path of the collection, for create and watch.
pub(super) fn collection_path(object: &dyn ObjectName) -> String {
    let prefix = match object.api_group() {
        "" => "/api".to_owned(),
        group => format!("/apis/{group}"),
    };
    format!("{prefix}/v1/namespaces/{}/{}", object.namespace(), object.resource())
}

/// The path of the object itself.
pub(super) fn path(object: &dyn ObjectName) -> String {
    format!("{}/{}", collection_path(object), object.name())
}

impl ObjectName for LockName {
    fn api_group(&self) -> &str {
        self.kind.api_group()
    }

    fn resource(&self) -> &str {
        self.kind.resource()
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }
}
