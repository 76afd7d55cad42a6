//! One EndpointSlice: parses what was read, and composes what is sent.

use super::spec::{Family, Pod, Port, ServiceSpec, SliceName};
use crate::json::{ObjectWriter, Scalar, each_field};
use crate::logging::escape::escaped;
use crate::metadata::{Metadata, cannot_be_read, check_kind};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

const KIND: &str = "EndpointSlice";
/// Assigns a slice to its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Says who manages a slice. The controllers of Kubernetes do not touch slices of others.
const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGED_BY: &str = "leader-elector";
/// The fencing token of the term that wrote the slice last.
const TOKEN_ANNOTATION: &str = "leader-elector/fencing-token";
/// The fencing token of a slice that no leader has written yet: less than that of every term.
const NO_TERM: u64 = 0;
/// The election whose leaders write the slice.
const ELECTION_ANNOTATION: &str = "leader-elector/election";
/// The identity of the last writer, for people.
const HOLDER_ANNOTATION: &str = "leader-elector/holder";

/// An EndpointSlice as the API server sent it.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) resource_version: u64,
    pub(super) owner: Owner,
    /// The addresses in the slice.
    addresses: Vec<String>,
    text: Arc<str>,
}

/// Who owns the slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This election owns it. The fencing token is that of the term that wrote it last, or [`NO_TERM`].
    Ours { fencing_token: u64 },
    /// Somebody else, so it must not be written. The text says why, and follows the name of the slice in messages.
    Other(String),
}

impl Slice {
    /// Parses a slice in an answer. The error says why it is not this slice, or why it cannot be replaced safely.
    pub(super) fn parse(spec: &ServiceSpec, name: &SliceName, text: &[u8]) -> Result<Slice, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let (mut kind, mut metadata, mut endpoints) = (None, None, "null");
        let read = each_field(text, |name, value| match name {
            "kind" => kind = Some(value),
            "metadata" => metadata = Some(value),
            "endpoints" => endpoints = value.get(),
            _ => {}
        });
        read.map_err(|error| format!("it is not a JSON object: {}", escaped(error.to_string().as_bytes())))?;
        check_kind(kind, KIND)?;
        let metadata = Metadata::of(metadata)?;
        if let Some(other) = metadata.other_name(&name.namespace, &name.name) {
            return Err(format!("it is {other}, not {}/{}", name.namespace, name.name));
        }
        #[derive(Deserialize)]
        struct Endpoint {
            #[serde(default)]
            addresses: Vec<String>,
        }
        let endpoints: Option<Vec<Endpoint>> =
            serde_json::from_str(endpoints).map_err(|error| cannot_be_read("endpoints", &error))?;
        metadata.uid()?; // it goes back with the rest of the metadata
        Ok(Slice {
            resource_version: metadata.resource_version()?,
            owner: owner(spec, &metadata)?,
            addresses: endpoints.into_iter().flatten().flat_map(|endpoint| endpoint.addresses).collect(),
            text: text.into(),
        })
    }

    /// Whether this term wrote the slice, with exactly this address, or without one.
    pub(super) fn shows(&self, fencing_token: u64, address: Option<IpAddr>) -> bool {
        self.owner == Owner::Ours { fencing_token }
            && self.addresses == address.iter().map(IpAddr::to_string).collect::<Vec<_>>()
    }

    /// Whether traffic is routed to this address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_string())
    }

    /// The body of an update that replaces exactly this version of the slice, and keeps the metadata that is not ours.
    pub(super) fn replaced(
        &self,
        spec: &ServiceSpec,
        family: Family,
        fencing_token: u64,
        address: Option<IpAddr>,
    ) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.text.len() + 1024);
        ObjectWriter::write(&mut body, |object| {
            let ours = ["metadata", "addressType", "endpoints", "ports"];
            let [metadata, ..] = object.copy_except(&self.text, ours);
            object.object("metadata", |it| {
                let [labels, annotations] = it.copy_except(metadata.unwrap_or("null"), ["labels", "annotations"]);
                write_map(it, "labels", labels, own_labels(spec));
                write_map(it, "annotations", annotations, own_annotations(spec, fencing_token));
            });
            write_content(object, spec, family, address);
        });
        body
    }

    /// The body of a create: a slice without an address, which belongs to no term.
    pub(super) fn created(spec: &ServiceSpec, family: Family) -> Vec<u8> {
        let SliceName { namespace, name } = spec.slice_name(family);
        let mut body = Vec::new();
        ObjectWriter::write(&mut body, |object| {
            object.value("apiVersion", &"discovery.k8s.io/v1".into());
            object.value("kind", &KIND.into());
            object.object("metadata", |it| {
                it.value("name", &name.into());
                it.value("namespace", &namespace.into());
                write_map(it, "labels", None, own_labels(spec));
                write_map(it, "annotations", None, own_annotations(spec, NO_TERM));
            });
            write_content(object, spec, family, None);
        });
        body
    }
}

fn owner(spec: &ServiceSpec, metadata: &Metadata) -> Result<Owner, String> {
    let labels = Texts::of("labels", metadata.labels, [MANAGED_BY_LABEL, SERVICE_LABEL])?;
    let annotations = Texts::of("annotations", metadata.annotations, [TOKEN_ANNOTATION, ELECTION_ANNOTATION])?;
    let ([managed_by, service], [token, election]) = (labels.0, annotations.0);
    let other = |what: &str, found: Option<Arc<str>>, own: &str| match found {
        Some(found) if *found == *own => None,
        Some(found) => Some(Owner::Other(format!("has the {what} \"{}\", not \"{own}\"", escaped(found.as_bytes())))),
        None => Some(Owner::Other(format!("has no {what}"))),
    };
    let foreign = other(&format!("label {MANAGED_BY_LABEL}"), managed_by, MANAGED_BY)
        .or_else(|| other(&format!("label {SERVICE_LABEL}"), service, &spec.service))
        .or_else(|| other(&format!("annotation {ELECTION_ANNOTATION}"), election, &spec.election));
    if let Some(foreign) = foreign {
        return Ok(foreign);
    }
    let unreadable = |text: &str| {
        Owner::Other(format!(
            "has the annotation {TOKEN_ANNOTATION} \"{}\", which is no number",
            escaped(text.as_bytes())
        ))
    };
    Ok(match token {
        None => Owner::Ours { fencing_token: NO_TERM },
        Some(text) => text.parse().map_or_else(|_| unreadable(&text), |fencing_token| Owner::Ours { fencing_token }),
    })
}

/// The values with these names in a map of strings. If a name occurs several times, the last one wins.
struct Texts<const N: usize>([Option<Arc<str>>; N]);

impl<const N: usize> Texts<N> {
    fn of(field: &str, map: Option<&RawValue>, names: [&str; N]) -> Result<Texts<N>, String> {
        let mut texts = [const { None }; N];
        let read = each_field(map.map_or("null", RawValue::get), |name, value| {
            if let Some(index) = names.iter().position(|it| *it == name) {
                texts[index] = Scalar::of(value).text().cloned();
            }
        });
        read.map_err(|error| cannot_be_read(field, &error))?;
        Ok(Texts(texts))
    }
}

fn own_labels(spec: &ServiceSpec) -> [(&'static str, String); 2] {
    [(SERVICE_LABEL, spec.service.clone()), (MANAGED_BY_LABEL, MANAGED_BY.to_owned())]
}

fn own_annotations(spec: &ServiceSpec, fencing_token: u64) -> [(&'static str, String); 3] {
    [
        (ELECTION_ANNOTATION, spec.election.clone()),
        (HOLDER_ANNOTATION, spec.identity.clone()),
        (TOKEN_ANNOTATION, fencing_token.to_string()),
    ]
}

/// Writes a map again, and replaces the values with these names.
fn write_map<const N: usize>(object: &mut ObjectWriter, field: &str, map: Option<&str>, own: [(&str, String); N]) {
    object.object(field, |it| {
        it.copy_except(map.unwrap_or("null"), own.each_ref().map(|(name, _)| *name));
        own.iter().for_each(|(name, value)| it.value(name, &Value::from(value.as_str())));
    });
}

fn write_content(object: &mut ObjectWriter, spec: &ServiceSpec, family: Family, address: Option<IpAddr>) {
    object.value("addressType", &family.address_type().into());
    object.value("endpoints", &address.map(|address| endpoint(spec, address)).into_iter().collect());
    let port = |port: &Port| json!({"name": port.name, "port": port.number, "protocol": "TCP"});
    object.value("ports", &spec.ports.iter().map(port).collect());
}

fn endpoint(spec: &ServiceSpec, address: IpAddr) -> Value {
    let Pod { name, uid, node } = &spec.pod;
    let mut pod = json!({"kind": "Pod", "namespace": spec.namespace, "name": name});
    if let Some(uid) = uid {
        pod["uid"] = uid.as_str().into();
    }
    let mut endpoint = json!({"addresses": [address.to_string()], "conditions": {"ready": true}, "targetRef": pod});
    if let Some(node) = node {
        endpoint["nodeName"] = node.as_str().into();
    }
    endpoint
}
