//! The lock: which API object it is, and how the record sits in it.

use crate::election::{Sight, Version};
use crate::printable::printable;
use crate::record::{self, Content, MARK_ANNOTATION, Mark, RECORD_ANNOTATION, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
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

/// What a candidate stands for: one lock object, or two of the same name in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locks {
    pub kinds: &'static [LockKind],
    pub namespace: String,
    pub name: String,
}

/// The values of `--lock`, and the objects that each of them means.
pub const CHOICES: [(&str, &[LockKind]); 5] = [
    ("endpoints", &[LockKind::Endpoints]),
    ("configmaps", &[LockKind::ConfigMaps]),
    ("leases", &[LockKind::Leases]),
    ("endpointsleases", &[LockKind::Endpoints, LockKind::Leases]),
    ("configmapsleases", &[LockKind::ConfigMaps, LockKind::Leases]),
];

impl Locks {
    /// The value of `--lock` that means these.
    pub fn choice(&self) -> &'static str {
        CHOICES.iter().find(|(_, kinds)| *kinds == self.kinds).map_or("", |(choice, _)| choice)
    }

    /// The objects, in their order.
    pub fn names(&self) -> impl Iterator<Item = LockName> {
        let (namespace, name) = (&self.namespace, &self.name);
        self.kinds.iter().map(|kind| LockName { kind: *kind, namespace: namespace.clone(), name: name.clone() })
    }
}

/// `endpointsleases default/example`, as messages name it.
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

/// A lock object as the API server sent it, kept so that it goes back with every field it came with.
///
/// Only what holds the record is taken apart; all else stays the JSON text it was.
#[derive(Clone, Debug)]
pub struct Object {
    kind: LockKind,
    version: Version,
    fields: Fields,
    metadata: Fields,
    annotations: Fields,
    spec: Fields,
}

/// The fields of a JSON object, by name, as the texts they came as.
type Fields = BTreeMap<String, Box<RawValue>>;

impl Object {
    /// Reads an object from an answer or a watch event.
    ///
    /// The error says what keeps the text from being this lock, and an object that can be written back safely: it must
    /// have a uid and a numeric resourceVersion above 0, for a write without them would be unconditional.
    pub fn parse(lock: &LockName, text: &[u8]) -> Result<Object, String> {
        let mut fields = fields_of(text)?;
        let metadata = take(&mut fields, "metadata")?;
        check_kind(lock.kind, &fields)?;
        if let Some(other) = other_name(lock, &metadata) {
            return Err(format!("it is {other}, not {}/{}", lock.namespace, lock.name));
        }
        Object::of(lock.kind, fields, metadata)
    }

    fn of(kind: LockKind, mut fields: Fields, mut metadata: Fields) -> Result<Object, String> {
        let annotations = take(&mut metadata, "annotations")?;
        let spec = if kind == LockKind::Leases { take(&mut fields, "spec")? } else { Fields::new() };
        let version =
            Version { uid: text_of(&metadata, "uid")?.into(), resource_version: resource_version(&metadata)? };
        Ok(Object { kind, version, fields, metadata, annotations, spec })
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// What the state machine sees of it.
    pub fn sight(&self) -> Sight {
        Sight {
            version: Some(self.version.clone()),
            content: self.content(),
            mark: self.annotation(MARK_ANNOTATION).and_then(|text| Mark::from_annotation(&text)),
        }
    }

    fn content(&self) -> Content {
        match self.kind {
            LockKind::Endpoints | LockKind::ConfigMaps => match self.annotation(RECORD_ANNOTATION) {
                Some(text) => record::from_annotation(&text),
                None => Content::Nothing,
            },
            LockKind::Leases => record::from_lease_spec(&to_text(&self.spec)),
        }
    }

    fn annotation(&self, name: &str) -> Option<String> {
        self.annotations.get(name).and_then(|text| serde_json::from_str(text.get()).ok())
    }

    /// The body that replaces this very version of the object with one that holds the record and the mark.
    pub fn updated(&self, record: &Record, mark: &Mark) -> Vec<u8> {
        let (record_text, mark_text) = (raw(&record::to_annotation(record)), raw(&mark.to_annotation()));
        let lease_spec = record::to_lease_spec(record).map(|(name, value)| (name, raw(&value)));
        let (mut fields, mut metadata) = (view(&self.fields), view(&self.metadata));
        let (mut annotations, mut spec) = (view(&self.annotations), view(&self.spec));
        annotations.insert(MARK_ANNOTATION, &mark_text);
        match self.kind {
            LockKind::Endpoints | LockKind::ConfigMaps => {
                annotations.insert(RECORD_ANNOTATION, &record_text);
            }
            LockKind::Leases => spec.extend(lease_spec.iter().map(|(name, value)| (*name, &**value))),
        }
        let (annotations, spec) = (raw(&annotations), raw(&spec));
        metadata.insert("annotations", &annotations);
        let metadata = raw(&metadata);
        fields.insert("metadata", &metadata);
        if self.kind == LockKind::Leases {
            fields.insert("spec", &spec);
        }
        serde_json::to_vec(&fields).unwrap_or_default() // strings and JSON texts always serialise
    }

    /// The body that creates the lock with a record and a mark.
    pub fn created(name: &LockName, record: &Record, mark: &Mark) -> Vec<u8> {
        let (api_version, kind) = name.kind.api_version_and_kind();
        let mut annotations = serde_json::Map::new();
        annotations.insert(MARK_ANNOTATION.into(), mark.to_annotation().into());
        let mut object = serde_json::json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": { "name": name.name, "namespace": name.namespace },
        });
        match name.kind {
            LockKind::Endpoints | LockKind::ConfigMaps => {
                annotations.insert(RECORD_ANNOTATION.into(), record::to_annotation(record).into());
            }
            LockKind::Leases => {
                let spec = record::to_lease_spec(record).into_iter().map(|(name, value)| (name.to_owned(), value));
                object["spec"] = Value::Object(spec.collect());
            }
        }
        object["metadata"]["annotations"] = annotations.into();
        object.to_string().into_bytes()
    }
}

fn fields_of(text: &[u8]) -> Result<Fields, String> {
    serde_json::from_slice(text).map_err(|error| format!("it is not a JSON object: {error}"))
}

/// An object of another kind is an answer to another question, from whoever stands in between.
fn check_kind(kind: LockKind, fields: &Fields) -> Result<(), String> {
    let Some(text) = fields.get("kind") else { return Ok(()) };
    let (_, expected) = kind.api_version_and_kind();
    match serde_json::from_str::<String>(text.get()) {
        Ok(found) if found == expected => Ok(()),
        _ => Err(format!("its kind is {}, not {expected}", text.get().chars().take(60).collect::<String>())),
    }
}

/// What to call an object that is not the lock. An API server gives each a name and a namespace.
fn other_name(lock: &LockName, metadata: &Fields) -> Option<String> {
    match ["namespace", "name"].map(|field| text_of(metadata, field).ok()) {
        [Some(namespace), Some(name)] if namespace == lock.namespace && name == lock.name => None,
        [Some(namespace), Some(name)] => Some(printable(format!("{namespace}/{name}").as_bytes())),
        _ => Some("an object without metadata.name or metadata.namespace".into()),
    }
}

/// Takes a field that must be an object out of its parent; a missing one, or null, is empty.
fn take(parent: &mut Fields, name: &str) -> Result<Fields, String> {
    let Some(text) = parent.remove(name) else { return Ok(Fields::new()) };
    let fields: Option<Fields> =
        serde_json::from_str(text.get()).map_err(|error| format!("its field {name} cannot be read: {error}"))?;
    Ok(fields.unwrap_or_default())
}

/// The same fields without a copy of them: an object may be large, and is written with each renewal.
fn view(fields: &Fields) -> BTreeMap<&str, &RawValue> {
    fields.iter().map(|(name, value)| (name.as_str(), &**value)).collect()
}

/// A value as its JSON text.
fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default() // strings, numbers and JSON texts always serialise
}

fn text_of(metadata: &Fields, name: &str) -> Result<String, String> {
    let text = metadata.get(name).and_then(|text| serde_json::from_str::<String>(text.get()).ok());
    text.filter(|text| !text.is_empty()).ok_or_else(|| format!("it has no metadata.{name}"))
}

fn resource_version(metadata: &Fields) -> Result<u64, String> {
    let text = text_of(metadata, "resourceVersion")?;
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("its resourceVersion {text:?} is not a number above 0")),
        Ok(number) => Ok(number),
    }
}

fn to_text(fields: &Fields) -> String {
    serde_json::to_string(fields).unwrap_or_default() // JSON texts always serialise
}

/// One line of a watch stream.
#[derive(Debug)]
pub enum WatchEvent {
    /// The object as it is after a change, or at the start of the watch.
    Object(Object),
    /// The object was deleted, at this resourceVersion.
    Deleted { resource_version: u64 },
    /// Nothing changed up to this resourceVersion.
    Bookmark { resource_version: u64 },
    /// The watch cannot go on; the text of the Status that says why.
    Error(Vec<u8>),
    /// An event of another object, and what to call that: somebody on the way drops the `fieldSelector`.
    Other(String),
}

impl WatchEvent {
    /// Reads one line of a watch of this lock; the error says what is wrong with it.
    pub fn parse(lock: &LockName, line: &[u8]) -> Result<WatchEvent, String> {
        #[derive(Deserialize)]
        struct Line<'a> {
            r#type: String,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| format!("a watch event is not JSON: {error}"))?;
        let text = line.object.get().as_bytes();
        let object = || -> Result<(Fields, Fields), String> {
            let mut fields = fields_of(text)?;
            let metadata = take(&mut fields, "metadata")?;
            Ok((fields, metadata))
        };
        match line.r#type.as_str() {
            "ERROR" => Ok(WatchEvent::Error(text.to_vec())),
            "BOOKMARK" => Ok(WatchEvent::Bookmark { resource_version: resource_version(&object()?.1)? }),
            r#type @ ("ADDED" | "MODIFIED" | "DELETED") => {
                let (fields, metadata) = object()?;
                if let Some(other) = other_name(lock, &metadata) {
                    return Ok(WatchEvent::Other(other));
                }
                check_kind(lock.kind, &fields)?;
                if r#type == "DELETED" {
                    return Ok(WatchEvent::Deleted { resource_version: resource_version(&metadata)? });
                }
                Object::of(lock.kind, fields, metadata).map(WatchEvent::Object)
            }
            other => Err(format!("a watch event is of the unknown type {other:?}")),
        }
    }
}
