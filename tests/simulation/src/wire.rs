//! What goes between candidates and the API server as JSON, through the codecs of the program.
//!
//! The world is typed; in a share of the schedules what the server sends is written down as an API server does it, and read
//! by the program, and what the program writes is read here. Nothing of that is done with the program's own code twice.

use crate::chance::Random;
use crate::server::State;
use leader_elector::election::{Sight, Write};
use leader_elector::lock::{LockKind, LockName, Object, WatchEvent};
use leader_elector::record::{Content, MARK_ANNOTATION, Mark, RECORD_ANNOTATION, Record};
use serde_json::{Map, Value, json};
use std::rc::Rc;

/// The names of the record's fields in a Lease.
const SPEC_FIELDS: [&str; 5] =
    ["holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions"];
/// The same in the annotation.
const ANNOTATION_FIELDS: [&str; 5] =
    ["holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaderTransitions"];

/// The kinds of the two locks of a schedule.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    kinds: [LockKind; 2],
}

/// What a line of a watch shows.
#[derive(Clone, Debug)]
pub enum Shown {
    Object(Rc<Object>),
    Deleted {
        resource_version: u64,
    },
    /// Nothing of this lock.
    Ignored,
}

/// What the program has read of a state of a lock: the same text is the same to everybody.
#[derive(Clone, Debug, Default)]
pub struct AlreadyRead {
    line: Option<Shown>,
    answer: Option<Rc<Object>>,
}

impl Wire {
    pub fn drawn(random: &mut Random, one_lock: bool) -> Wire {
        let core = random.one_of(&[LockKind::Endpoints, LockKind::ConfigMaps]);
        let first = if one_lock && random.happens(0.5) { LockKind::Leases } else { core };
        Wire { kinds: [first, LockKind::Leases] }
    }

    fn name(self, lock: usize) -> LockName {
        LockName { kind: self.kinds[lock], namespace: "default".into(), name: "lock".into() }
    }

    // ---- What the server sends ------------------------------------------------------------------------

    /// The body of an answer that shows this state, as the program reads it.
    pub fn answer(self, lock: usize, state: &State, read: &mut AlreadyRead) -> Result<Rc<Object>, String> {
        if let Some(object) = &read.answer {
            return Ok(object.clone());
        }
        let text = self.object(lock, &state.sight, state, "lock").to_string();
        let object = Rc::new(Object::parse(&self.name(lock), text.as_bytes())?);
        read.answer = Some(object.clone());
        Ok(object)
    }

    /// The body of an answer that shows an object of another name.
    pub fn answer_of_another(self, lock: usize, state: &State) -> Result<Object, String> {
        let text = self.object(lock, &state.sight, state, "another").to_string();
        Object::parse(&self.name(lock), text.as_bytes())
    }

    /// The line of a watch that shows this state, as the program reads it; a deletion shows what was there before.
    pub fn line(self, lock: usize, state: &State, before: &State, read: &mut AlreadyRead) -> Result<Shown, String> {
        if let Some(shown) = &read.line {
            return Ok(shown.clone());
        }
        let (r#type, sight) = match (&state.sight.version, &before.sight.version) {
            (Some(_), None) => ("ADDED", &state.sight),
            (Some(_), Some(_)) => ("MODIFIED", &state.sight),
            (None, _) => ("DELETED", &before.sight),
        };
        let shown =
            self.read_line(lock, json!({ "type": r#type, "object": self.object(lock, sight, state, "lock") }))?;
        read.line = Some(shown.clone());
        Ok(shown)
    }

    /// The line of a watch, from a server that does not heed the selector, that shows an object of another name.
    pub fn line_of_another(self, lock: usize, state: &State, deleted: bool) -> Result<Shown, String> {
        let r#type = if deleted { "DELETED" } else { "MODIFIED" };
        self.read_line(lock, json!({ "type": r#type, "object": self.object(lock, &state.sight, state, "another") }))
    }

    fn read_line(self, lock: usize, line: Value) -> Result<Shown, String> {
        match WatchEvent::parse(&self.name(lock), line.to_string().as_bytes())? {
            WatchEvent::Object(object) => Ok(Shown::Object(Rc::new(object))),
            WatchEvent::Deleted { resource_version } => Ok(Shown::Deleted { resource_version }),
            WatchEvent::Other(_) => Ok(Shown::Ignored),
            other => Err(format!("{line} was read as {other:?}")),
        }
    }

    /// An object that holds what the sight says, at the resourceVersion of this state and with its other fields.
    fn object(self, lock: usize, sight: &Sight, state: &State, name: &str) -> Value {
        let kind = self.kinds[lock];
        let mut object = other_fields(kind, name, state);
        let uid = sight.version.as_ref().map_or("none", |version| &version.uid);
        object["metadata"]["uid"] = uid.into();
        object["metadata"]["resourceVersion"] = state.resource_version.to_string().into();
        let mut annotations = match object["metadata"]["annotations"].take() {
            Value::Object(annotations) => annotations,
            _ => Map::new(),
        };
        if let Some(mark) = &sight.mark {
            annotations.insert(MARK_ANNOTATION.into(), mark_fields(mark).to_string().into());
        }
        // There are ways to say the same.
        let way = state.resource_version % 3;
        match (kind, &sight.content) {
            (LockKind::Leases, content) => {
                let fields = spec(content, way);
                match &mut object["spec"] {
                    Value::Object(spec) => spec.extend(fields),
                    spec if !fields.is_empty() || way == 1 => *spec = Value::Object(fields),
                    _ => {}
                }
            }
            (_, Content::Nothing) => {}
            (_, Content::Record(record)) => {
                let text = Value::Object(record_fields(ANNOTATION_FIELDS, record)).to_string();
                annotations.insert(RECORD_ANNOTATION.into(), text.into());
            }
            (_, Content::Unreadable { text, .. }) => {
                let text = match way {
                    0 => text.to_string(), // a number
                    1 => format!("{{{text}"),
                    _ => json!({ "leaseDurationSeconds": 5, "note": text.to_string() }).to_string(),
                };
                annotations.insert(RECORD_ANNOTATION.into(), text.into());
            }
        }
        if !annotations.is_empty() || way == 2 {
            object["metadata"]["annotations"] = Value::Object(annotations);
        }
        object
    }

    // ---- What the program writes ----------------------------------------------------------------------

    /// The body of a write.
    pub fn body(self, lock: usize, write: &Write, in_hand: Option<&Object>) -> Result<Vec<u8>, String> {
        match (&write.base, in_hand) {
            (None, _) => Ok(Object::created(&self.name(lock), &write.record, &write.mark)),
            (Some(_), Some(object)) => Ok(object.updated(&write.record, &write.mark)),
            (Some(_), None) => Err("there is no object in hand".into()),
        }
    }

    /// Whether the body is that write to the object that was in this state, and changes nothing else in it.
    pub fn check(self, lock: usize, write: &Write, body: &[u8], base: Option<&State>) -> Result<(), String> {
        let kind = self.kinds[lock];
        let mut body: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        let (record, mark) = take_record(kind, &mut body)?;
        let fields = if kind == LockKind::Leases { SPEC_FIELDS } else { ANNOTATION_FIELDS };
        same("record", &record, &Value::Object(record_fields(fields, &write.record)))?;
        same("mark", &mark, &mark_fields(&write.mark))?;
        for time in ["acquireTime", "renewTime"] {
            // An API server takes no other form in a Lease.
            let text = record[time].as_str().unwrap_or_default();
            let is_micro_time = text.len() == "2006-01-02T15:04:05.000000Z".len() && text.ends_with('Z');
            if kind == LockKind::Leases && !is_micro_time && write.record.acquired.text() != text {
                return Err(format!("{time} is {text:?}"));
            }
        }
        let mut expected = match base {
            Some(state) => self.object(lock, &state.sight, state, "lock"),
            None => bare(kind, "lock"),
        };
        let _ = take_record(kind, &mut expected);
        same("rest of the object", &body, &expected)
    }
}

fn same(what: &str, found: &Value, expected: &Value) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("the {what} is {found}, not {expected}")) }
}

/// An object with nothing in it.
fn bare(kind: LockKind, name: &str) -> Value {
    let (api_version, kind) = match kind {
        LockKind::Endpoints => ("v1", "Endpoints"),
        LockKind::ConfigMaps => ("v1", "ConfigMap"),
        LockKind::Leases => ("coordination.k8s.io/v1", "Lease"),
    };
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name, "namespace": "default" } })
}

/// All that is not the record: what others write into the object, known to the program or not.
fn other_fields(kind: LockKind, name: &str, state: &State) -> Value {
    let mut object = bare(kind, name);
    let n = state.foreign_fields;
    object["metadata"]["labels"] = json!({ "touched": n.to_string() });
    if n > 0 {
        object["metadata"]["annotations"] = json!({ "note": format!("\"{n}\" \u{e9}\n") });
        object["metadata"]["managedFields"] = json!([{ "manager": "kubectl", "fieldsV1": { "f:metadata": {} } }]);
        match kind {
            LockKind::Endpoints => object["subsets"] = json!([{ "addresses": [{ "ip": "10.0.0.1" }], "ports": null }]),
            LockKind::ConfigMaps => object["data"] = json!({ "key": "value", "holderIdentity": "nobody" }),
            LockKind::Leases => object["spec"] = json!({ "preferredHolder": "nobody", "strategy": null }),
        }
        object["future"] = json!({ "since": 1.5, "holderIdentity": "nobody" });
    }
    object
}

fn record_fields(names: [&str; 5], record: &Record) -> Map<String, Value> {
    let values = [
        (&*record.holder).into(),
        record.lease_seconds.into(),
        record.acquired.text().into(),
        record.renewed.text().into(),
        record.transitions.into(),
    ];
    names.map(str::to_owned).into_iter().zip(values).collect()
}

fn mark_fields(mark: &Mark) -> Value {
    let mut fields = json!({
        "process": format!("{:032x}", mark.process), "write": mark.write, "holderIdentity": &*mark.holder,
        "renewTime": mark.renewed.text(),
    });
    if let Some(place) = &mark.place {
        fields["boot"] = (&*place.boot).into();
        fields["network"] = (&*place.network).into();
    }
    fields
}

/// The fields that the content has in the spec of a Lease.
fn spec(content: &Content, way: u64) -> Map<String, Value> {
    match content {
        Content::Nothing if way == 2 => SPEC_FIELDS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect(),
        Content::Nothing => Map::new(),
        Content::Record(record) => {
            let mut fields = record_fields(SPEC_FIELDS, record);
            // Nobody holds it: an API server may leave that out.
            match way {
                1 if record.is_free() => drop(fields.remove("holderIdentity")),
                2 if record.is_free() => drop(fields.insert("holderIdentity".into(), Value::Null)),
                _ => {}
            }
            fields
        }
        Content::Unreadable { text, .. } => {
            let seconds = if way == 0 { json!(-5) } else { json!(90_000) };
            let fields = json!({ "holderIdentity": "somebody", "leaseDurationSeconds": seconds, "renewTime": &**text });
            match fields {
                Value::Object(fields) => fields,
                _ => Map::new(),
            }
        }
    }
}

/// Takes the record and the mark out of an object; what is empty then is taken out as well.
fn take_record(kind: LockKind, object: &mut Value) -> Result<(Value, Value), String> {
    let parse = |text: Option<Value>| match text {
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(|error| format!("{text}: {error}")),
        _ => Ok(Value::Null),
    };
    let metadata = object["metadata"].as_object_mut().ok_or("there is no metadata")?;
    let mut annotations = match metadata.remove("annotations") {
        Some(Value::Object(annotations)) => annotations,
        _ => Map::new(),
    };
    let mark = parse(annotations.remove(MARK_ANNOTATION))?;
    let in_annotation = annotations.remove(RECORD_ANNOTATION).filter(|_| kind != LockKind::Leases);
    if !annotations.is_empty() {
        metadata.insert("annotations".into(), Value::Object(annotations));
    }
    if kind != LockKind::Leases {
        // What cannot be read is compared with nothing.
        return Ok((parse(in_annotation).unwrap_or_default(), mark));
    }
    let mut spec = match object.as_object_mut().and_then(|object| object.remove("spec")) {
        Some(Value::Object(spec)) => spec,
        _ => Map::new(),
    };
    let record = SPEC_FIELDS.iter().filter_map(|name| spec.remove_entry(*name)).collect();
    if !spec.is_empty() {
        object["spec"] = Value::Object(spec);
    }
    Ok((Value::Object(record), mark))
}
