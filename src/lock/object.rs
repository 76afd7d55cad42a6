//! Reads and writes the record in a lock object, and parses watch events.

use super::{LockKind, LockName};
use crate::election::{Purpose, Sight, Version, Write};
use crate::json::{ObjectWriter, Scalar, each_field};
use crate::logging::escape::escaped;
use crate::metadata::{Metadata, cannot_be_read, check_kind};
use crate::record::{
    self, Content, MARK_ANNOTATION, Mark, RECORD_ANNOTATION, Record, SPEC_FIELDS, STEP_DOWN_ANNOTATION,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// A lock object as the API server sent it. A write sends every field back unchanged, except the record's.
///
/// Only the record is parsed; the rest stays one JSON text.
#[derive(Clone, Debug)]
pub struct Object {
    kind: LockKind,
    version: Version,
    content: Content,
    mark: Option<Mark>,
    step_down: Option<Arc<str>>,
    text: Arc<str>,
}

impl Object {
    /// Parses an object from an answer or a watch event.
    ///
    /// The error says why the text is not this lock, or cannot be written back safely. The object must have a uid and a
    /// numeric resourceVersion above 0, since a write without them would be unconditional.
    pub fn parse(lock: &LockName, text: &[u8]) -> Result<Object, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let fields = Fields::of(text)?;
        fields.check_kind(lock.kind)?;
        match fields.other_name(lock) {
            None => Object::of(lock.kind, &fields, text),
            Some(other) => Err(format!("it is {other}, not {}/{}", lock.namespace, lock.name)),
        }
    }

    fn of(kind: LockKind, fields: &Fields, text: &str) -> Result<Object, String> {
        let version = Version { uid: fields.metadata.uid()?, resource_version: fields.metadata.resource_version()? };
        let annotations = Annotations::of(fields.metadata.annotations)?;
        let spec = fields.spec.filter(|_| kind == LockKind::Leases).map_or("null", RawValue::get);
        each_field(spec, |_, _| {}).map_err(|error| cannot_be_read("spec", &error))?;
        let content = match kind {
            LockKind::Endpoints | LockKind::ConfigMaps => match annotations.text(annotations.record) {
                Some(text) => record::from_annotation(&text),
                None => Content::Nothing,
            },
            LockKind::Leases => record::from_lease_spec(spec),
        };
        let mark = annotations.text(annotations.mark).and_then(|text| Mark::from_annotation(&text));
        let step_down = annotations.step_down.and_then(|holder| Scalar::of(holder).text().cloned());
        Ok(Object { kind, version, content, mark, step_down, text: text.into() })
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// What the state machine needs to know of it.
    pub fn sight(&self) -> Sight {
        Sight {
            version: Some(self.version.clone()),
            content: self.content.clone(),
            mark: self.mark.clone(),
            step_down: self.step_down.clone(),
        }
    }

    /// The body that replaces exactly this version of the object, with the record and the mark of `write`. An
    /// acquisition deletes the step-down annotation of the last term.
    pub fn updated(&self, write: &Write) -> Vec<u8> {
        let Write { record, mark, purpose, .. } = write;
        let mark = (MARK_ANNOTATION, Value::from(mark.to_annotation()));
        let dropped = (*purpose == Purpose::Acquire).then_some(STEP_DOWN_ANNOTATION);
        let mut body = Vec::with_capacity(self.text.len() + 2048);
        ObjectWriter::write(&mut body, |object| match self.kind {
            LockKind::Endpoints | LockKind::ConfigMaps => {
                let [metadata] = object.copy_except(&self.text, ["metadata"]);
                let record = (RECORD_ANNOTATION, Value::from(record::to_annotation(record)));
                write_metadata(object, metadata, dropped, [mark, record]);
            }
            LockKind::Leases => {
                let [metadata, spec] = object.copy_except(&self.text, ["metadata", "spec"]);
                write_metadata(object, metadata, dropped, [mark]);
                object.object("spec", |it| {
                    it.copy_except(spec.unwrap_or("null"), SPEC_FIELDS);
                    record::to_lease_spec(record).iter().for_each(|(name, value)| it.value(name, value));
                });
            }
        });
        body
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

/// Copies the metadata without the annotation `dropped`, and with the annotations `new`.
fn write_metadata<const N: usize>(
    object: &mut ObjectWriter,
    metadata: Option<&str>,
    dropped: Option<&str>,
    new: [(&str, Value); N],
) {
    object.object("metadata", |it| {
        let [annotations] = it.copy_except(metadata.unwrap_or("null"), ["annotations"]);
        it.object("annotations", |it| {
            let stays = |name: &str| dropped != Some(name) && new.iter().all(|(other, _)| *other != name);
            it.copy_if(annotations.unwrap_or("null"), stays);
            new.iter().for_each(|(name, value)| it.value(name, value));
        });
    });
}

/// The needed fields of an object.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<&'a RawValue>,
    spec: Option<&'a RawValue>,
    metadata: Metadata<'a>,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Result<Fields<'a>, String> {
        let (mut fields, mut metadata) = (Fields::default(), None);
        let read = each_field(text, |name, value| match name {
            "kind" => fields.kind = Some(value),
            "spec" => fields.spec = Some(value),
            "metadata" => metadata = Some(value),
            _ => {}
        });
        read.map_err(|error| format!("it is not a JSON object: {}", escaped(error.to_string().as_bytes())))?;
        fields.metadata = Metadata::of(metadata)?;
        Ok(fields)
    }

    fn check_kind(&self, kind: LockKind) -> Result<(), String> {
        check_kind(self.kind, kind.api_version_and_kind().1)
    }

    /// The name of the object, if it is not the lock.
    fn other_name(&self, lock: &LockName) -> Option<String> {
        self.metadata.other_name(&lock.namespace, &lock.name)
    }
}

/// The needed annotations, unparsed.
#[derive(Default)]
struct Annotations<'a> {
    record: Option<&'a RawValue>,
    mark: Option<&'a RawValue>,
    step_down: Option<&'a RawValue>,
}

impl<'a> Annotations<'a> {
    fn of(annotations: Option<&'a RawValue>) -> Result<Annotations<'a>, String> {
        let mut found = Annotations::default();
        let read = each_field(annotations.map_or("null", RawValue::get), |name, value| match name {
            RECORD_ANNOTATION => found.record = Some(value),
            MARK_ANNOTATION => found.mark = Some(value),
            STEP_DOWN_ANNOTATION => found.step_down = Some(value),
            _ => {}
        });
        read.map_err(|error| cannot_be_read("annotations", &error))?;
        Ok(found)
    }

    fn text(&self, value: Option<&RawValue>) -> Option<String> {
        serde_json::from_str(value?.get()).ok()
    }
}

/// One line of a watch.
#[derive(Debug)]
pub enum WatchEvent {
    /// The object after a change, or at the start of the watch.
    Object(Object),
    /// The object was deleted, at this resourceVersion.
    Deleted { resource_version: u64 },
    /// No changes up to this resourceVersion.
    Bookmark { resource_version: u64 },
    /// The watch cannot continue; contains the text of the `Status`.
    Error(Vec<u8>),
    /// An event of another object, with its name: a proxy dropped the `fieldSelector`.
    Other(String),
}

impl WatchEvent {
    /// Parses one line of a watch of this lock. The error says what is wrong with it.
    pub fn parse(lock: &LockName, line: &[u8]) -> Result<WatchEvent, String> {
        #[derive(Deserialize)]
        struct Line<'a> {
            r#type: Scalar,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        let not_json = |error: &dyn std::fmt::Display| {
            format!("a watch event is not JSON: {}", escaped(error.to_string().as_bytes()))
        };
        let line = std::str::from_utf8(line).map_err(|error| not_json(&error))?;
        let line: Line = serde_json::from_str(line).map_err(|error| not_json(&error))?;
        let text = line.object.get();
        let kind_of_event = line.r#type.text().map_or("", |text| text);
        match kind_of_event {
            "ERROR" => Ok(WatchEvent::Error(text.as_bytes().to_vec())),
            "BOOKMARK" => Ok(WatchEvent::Bookmark { resource_version: Fields::of(text)?.metadata.resource_version()? }),
            "ADDED" | "MODIFIED" | "DELETED" => {
                let fields = Fields::of(text)?;
                if let Some(other) = fields.other_name(lock) {
                    return Ok(WatchEvent::Other(other));
                }
                fields.check_kind(lock.kind)?;
                if kind_of_event == "DELETED" {
                    return Ok(WatchEvent::Deleted { resource_version: fields.metadata.resource_version()? });
                }
                Object::of(lock.kind, &fields, text).map(WatchEvent::Object)
            }
            other => Err(format!("a watch event is of the unknown type \"{}\"", escaped(other.as_bytes()))),
        }
    }
}
