//! The kind and the metadata of an API object.

use crate::json::{Scalar, each_field};
use crate::logging::escape::escaped;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The needed part of an object's metadata.
#[derive(Default)]
pub(crate) struct Metadata<'a> {
    name: Option<Scalar>,
    namespace: Option<Scalar>,
    uid: Option<Scalar>,
    resource_version: Option<Scalar>,
    /// A map as unparsed text, like `annotations`.
    pub(crate) labels: Option<&'a RawValue>,
    pub(crate) annotations: Option<&'a RawValue>,
}

impl<'a> Metadata<'a> {
    /// Parses the value of the field `metadata`.
    pub(crate) fn of(value: Option<&'a RawValue>) -> Result<Metadata<'a>, String> {
        let mut metadata = Metadata::default();
        let read = each_field(value.map_or("null", RawValue::get), |name, value| match name {
            "labels" => metadata.labels = Some(value),
            "annotations" => metadata.annotations = Some(value),
            "name" => metadata.name = Some(Scalar::of(value)),
            "namespace" => metadata.namespace = Some(Scalar::of(value)),
            "uid" => metadata.uid = Some(Scalar::of(value)),
            "resourceVersion" => metadata.resource_version = Some(Scalar::of(value)),
            _ => {}
        });
        read.map_err(|error| cannot_be_read("metadata", &error))?;
        Ok(metadata)
    }

    /// The name of the object if it is not the expected one. An API server gives each object a name and a namespace.
    pub(crate) fn other_name(&self, namespace: &str, name: &str) -> Option<String> {
        match [&self.namespace, &self.name].map(|field| non_empty(field)) {
            [Some(its_namespace), Some(its_name)] if **its_namespace == *namespace && **its_name == *name => None,
            [Some(namespace), Some(name)] => Some(escaped(format!("{namespace}/{name}").as_bytes())),
            _ => Some("an object without metadata.name or metadata.namespace".into()),
        }
    }

    pub(crate) fn uid(&self) -> Result<Arc<str>, String> {
        non_empty(&self.uid).cloned().ok_or_else(|| "it has no metadata.uid".into())
    }

    /// A number above 0. Without it a write would be unconditional.
    pub(crate) fn resource_version(&self) -> Result<u64, String> {
        let text = non_empty(&self.resource_version).ok_or("it has no metadata.resourceVersion")?;
        match text.parse() {
            Ok(0) | Err(_) => Err(format!("its resourceVersion {text:?} is not a number above 0")),
            Ok(number) => Ok(number),
        }
    }
}

/// An object of another kind does not answer this request; a proxy may have sent it.
pub(crate) fn check_kind(found: Option<&RawValue>, expected: &str) -> Result<(), String> {
    let Some(found) = found else { return Ok(()) };
    match Scalar::of(found).text() {
        Some(kind) if **kind == *expected => Ok(()),
        _ => Err(format!("its kind is {}, not {expected}", found.get().chars().take(60).collect::<String>())),
    }
}

pub(crate) fn cannot_be_read(field: &str, error: &serde_json::Error) -> String {
    format!("its field {field} cannot be read: {}", escaped(error.to_string().as_bytes()))
}

fn non_empty(field: &Option<Scalar>) -> Option<&Arc<str>> {
    field.as_ref().and_then(Scalar::text).filter(|text| !text.is_empty())
}
