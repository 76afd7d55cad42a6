//! The messages between candidates and the API server as JSON, through the program's codecs. Messages in the simulation
//! are Rust types. In a share of the schedules this module also writes the server's messages as JSON, like an API
//! server, and the program must read them correctly. What the program writes must be the JSON that this module expects.

use crate::random::Random;
use crate::server::{OtherFields, State};
use leader_elector::election::{Sight, Write};
use leader_elector::lock::{LockKind, LockName, Object, WatchEvent};
use leader_elector::record::{Content, MARK_ANNOTATION, Mark, RECORD_ANNOTATION, Record, STEP_DOWN_ANNOTATION};
use std::rc::Rc;

/// The kinds of the two locks of a schedule.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    kinds: [LockKind; 2],
}

/// The content of a line of a watch.
#[derive(Clone, Debug)]
pub enum Shown {
    Object(Box<Read>),
    Deleted {
        resource_version: u64,
    },
    /// Nothing that concerns this lock.
    Ignored,
}

/// An object that the program has read: the object to write back, and the sight for the state machine.
#[derive(Clone, Debug)]
pub struct Read {
    pub object: Rc<Object>,
    pub sight: Sight,
}

/// The results of reading a state of a lock, so that the same text is parsed only once.
#[derive(Clone, Debug, Default)]
pub struct AlreadyRead {
    line: Option<Shown>,
    answer: Option<Read>,
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

    /// The body of an answer with this state, as the program reads it.
    pub fn answer(self, lock: usize, state: &State, before: &mut AlreadyRead) -> Result<Read, String> {
        if let Some(read) = &before.answer {
            return Ok(read.clone());
        }
        let text = self.text_of(lock, "lock", state, &state.sight);
        let read = Read::of(Object::parse(&self.name(lock), text.as_bytes())?);
        before.answer = Some(read.clone());
        Ok(read)
    }

    /// The body of an answer with an object of another name, as the program reads it.
    pub fn answer_of_another(self, lock: usize, state: &State) -> Result<Read, String> {
        let text = self.text_of(lock, "another", state, &state.sight);
        Object::parse(&self.name(lock), text.as_bytes()).map(Read::of)
    }

    /// The line of a watch for this state, as the program reads it. The line of a deletion contains the deleted object.
    pub fn line(self, lock: usize, state: &State, replaced: &State, before: &mut AlreadyRead) -> Result<Shown, String> {
        if let Some(shown) = &before.line {
            return Ok(shown.clone());
        }
        let (kind, sight) = match (&state.sight.version, &replaced.sight.version) {
            (Some(_), None) => ("ADDED", &state.sight),
            (Some(_), Some(_)) => ("MODIFIED", &state.sight),
            (None, _) => ("DELETED", &replaced.sight),
        };
        let shown = self.read_line(lock, kind, &self.text_of(lock, "lock", state, sight))?;
        before.line = Some(shown.clone());
        Ok(shown)
    }

    /// The line of a watch for an object of another name, because a proxy drops the field selector.
    pub fn line_of_another(self, lock: usize, state: &State, deleted: bool) -> Result<Shown, String> {
        let kind = if deleted { "DELETED" } else { "MODIFIED" };
        self.read_line(lock, kind, &self.text_of(lock, "another", state, &state.sight))
    }

    fn read_line(self, lock: usize, kind: &str, object: &str) -> Result<Shown, String> {
        let line = format!(r#"{{"type":"{kind}","object":{object}}}"#);
        match WatchEvent::parse(&self.name(lock), line.as_bytes())? {
            WatchEvent::Object(object) => Ok(Shown::Object(Box::new(Read::of(object)))),
            WatchEvent::Deleted { resource_version } => Ok(Shown::Deleted { resource_version }),
            WatchEvent::Other(_) => Ok(Shown::Ignored),
            other => Err(format!("{line} was read as {other:?}")),
        }
    }

    /// An object with the content of the sight, and the resourceVersion and other fields of the state.
    fn text_of(self, lock: usize, name: &str, state: &State, sight: &Sight) -> String {
        // There are several ways to write the same content.
        let way = state.resource_version % 3;
        let uid = sight.version.as_ref().map_or("", |version| &version.uid);
        let there = There { uid, resource_version: state.resource_version, other_fields: state.foreign_fields };
        let annotations = (sight.mark.as_ref(), sight.step_down.as_deref());
        object_text(self.kinds[lock], name, Some(there), &sight.content, annotations, way)
    }

    // ---- What the program writes ----------------------------------------------------------------------

    /// The body of a write.
    pub fn body(self, lock: usize, write: &Write, in_hand: Option<&Object>) -> Result<Vec<u8>, String> {
        match (&write.base, in_hand) {
            (None, _) => Ok(Object::created(&self.name(lock), &write.record, &write.mark)),
            (Some(_), Some(object)) => Ok(object.updated(write)),
            (Some(_), None) => Err("there is no object in hand".into()),
        }
    }

    /// Checks that the body is that write, with these other fields and no others.
    pub fn check(self, lock: usize, write: &Write, fields: &OtherFields, body: &[u8]) -> Result<(), String> {
        let there = write.base.as_ref().map(|base| There {
            uid: &base.uid,
            resource_version: base.resource_version,
            other_fields: fields.foreign_fields,
        });
        let content = Content::Record(write.record.clone());
        let annotations = (Some(&write.mark), fields.step_down.as_deref());
        let expected = object_text(self.kinds[lock], "lock", there, &content, annotations, 0);
        if body == expected.as_bytes() || is_same_json(body, expected.as_bytes()) {
            return Ok(());
        }
        Err(format!("the body is {}, not {expected}", String::from_utf8_lossy(body)))
    }
}

impl Read {
    fn of(object: Object) -> Read {
        Read { sight: object.sight(), object: Rc::new(object) }
    }
}

fn is_same_json(a: &[u8], b: &[u8]) -> bool {
    let [a, b] = [a, b].map(|text| serde_json::from_slice::<serde_json::Value>(text).ok());
    a.is_some() && a == b
}

/// The fields that an API server or other clients add to an object.
#[derive(Clone, Copy)]
struct There<'a> {
    uid: &'a str,
    resource_version: u64,
    other_fields: u64,
}

/// An object as an API server writes it, with its fields sorted by name.
fn object_text(
    kind: LockKind,
    name: &str,
    there: Option<There>,
    content: &Content,
    (mark, step_down): (Option<&Mark>, Option<&str>),
    way: u64,
) -> String {
    let (version, kind_name) = match kind {
        LockKind::Endpoints => ("v1", "Endpoints"),
        LockKind::ConfigMaps => ("v1", "ConfigMap"),
        LockKind::Leases => ("coordination.k8s.io/v1", "Lease"),
    };
    let others = there.is_some_and(|there| there.other_fields > 0);
    let mut text = Text::object();
    text.string("apiVersion", version);
    if others && kind == LockKind::ConfigMaps {
        text.raw("data", r#"{"holderIdentity":"nobody"}"#);
    }
    if others {
        text.raw("future", r#"{"since":1.50,"holderIdentity":"nobody"}"#);
    }
    text.string("kind", kind_name);
    text.open("metadata");
    if mark.is_some() || step_down.is_some() || others || kind != LockKind::Leases && *content != Content::Nothing {
        text.open("annotations");
        if kind != LockKind::Leases {
            write_annotation(&mut text, content, way);
        }
        if let Some(mark) = mark {
            text.string(MARK_ANNOTATION, &mark_text(mark));
        }
        if let Some(holder) = step_down {
            text.string(STEP_DOWN_ANNOTATION, holder);
        }
        if others {
            text.raw("note", r#""é \"1\"\n""#);
        }
        text.close();
    }
    if let Some(there) = there {
        text.open("labels");
        text.string("touched", &there.other_fields.to_string());
        text.close();
    }
    if others {
        text.raw("managedFields", r#"[{"manager":"kubectl","fieldsV1":{"f:metadata":{}}}]"#);
    }
    text.string("name", name);
    text.string("namespace", "default");
    if let Some(there) = there {
        text.string("resourceVersion", &there.resource_version.to_string());
        text.string("uid", there.uid);
    }
    text.close();
    if kind == LockKind::Leases && (others || *content != Content::Nothing || way > 0) {
        text.open("spec");
        write_spec(&mut text, content, way, others);
        text.close();
    }
    if others && kind == LockKind::Endpoints {
        text.raw("subsets", r#"[{"addresses":[{"ip":"10.0.0.1"}]}]"#);
    }
    text.close();
    text.0
}

/// The annotation that holds the record, if there is one.
fn write_annotation(text: &mut Text, content: &Content, way: u64) {
    match content {
        Content::Nothing => {}
        Content::Record(record) => text.string(RECORD_ANNOTATION, &record_text(record)),
        Content::Unreadable { text: what, .. } => {
            let what = match way {
                0 => what.to_string(), // a number
                1 => format!("{{{what}"),
                _ => format!(r#"{{"leaseDurationSeconds":5,"note":"{what}"}}"#),
            };
            text.string(RECORD_ANNOTATION, &what);
        }
    }
}

/// The fields of the spec of a Lease.
fn write_spec(text: &mut Text, content: &Content, way: u64, others: bool) {
    if let Content::Record(record) = content {
        text.string("acquireTime", &record.acquired.text());
        // If nobody holds the lock, the holder may be omitted.
        match way {
            1 if record.is_free() => {}
            2 if record.is_free() => text.raw("holderIdentity", "null"),
            _ => text.string("holderIdentity", &record.holder),
        }
        text.raw("leaseDurationSeconds", &record.lease_seconds.to_string());
        text.raw("leaseTransitions", &record.transitions.to_string());
    } else if let Content::Unreadable { .. } = content {
        text.string("holderIdentity", "somebody");
        text.raw("leaseDurationSeconds", if way == 0 { "-5" } else { "90000" });
    } else if way == 2 {
        text.raw("holderIdentity", "null");
    }
    if others {
        text.string("preferredHolder", "nobody");
    }
    match content {
        Content::Record(record) => text.string("renewTime", &record.renewed.text()),
        Content::Unreadable { text: what, .. } => text.string("renewTime", what),
        Content::Nothing => {}
    }
    if others {
        text.raw("strategy", "null");
    }
}

fn record_text(record: &Record) -> String {
    let mut text = Text::object();
    text.string("holderIdentity", &record.holder);
    text.raw("leaseDurationSeconds", &record.lease_seconds.to_string());
    text.string("acquireTime", &record.acquired.text());
    text.string("renewTime", &record.renewed.text());
    text.raw("leaderTransitions", &record.transitions.to_string());
    text.close();
    text.0
}

fn mark_text(mark: &Mark) -> String {
    let mut text = Text::object();
    text.string("process", &format!("{:032x}", mark.process));
    text.raw("write", &mark.write.to_string());
    text.string("holderIdentity", &mark.holder);
    text.string("renewTime", &mark.renewed.text());
    if let Some(host) = &mark.host {
        text.string("boot", &host.boot);
        text.string("network", &host.network);
    }
    text.close();
    text.0
}

/// A JSON object that is being written.
struct Text(String);

impl Text {
    fn object() -> Text {
        let mut text = String::with_capacity(1_000);
        text.push('{');
        Text(text)
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn open(&mut self, name: &str) {
        self.name(name);
        self.0.push('{');
    }

    fn close(&mut self) {
        self.0.push('}');
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.push_str(json);
    }

    fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push('"');
        for part in value.split_inclusive(['"', '\\']) {
            let end = part.len() - usize::from(part.ends_with(['"', '\\']));
            self.0.push_str(&part[..end]);
            if end < part.len() {
                self.0.push('\\');
                self.0.push_str(&part[end..]);
            }
        }
        self.0.push('"');
    }
}
