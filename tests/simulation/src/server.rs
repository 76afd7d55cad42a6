//! A model of the API server: two objects with compare-and-swap, resourceVersions, and the history that watches replay.
//! Its answers are those that were measured with a real API server.

use crate::oracle::{self, Commit, Writer};
use leader_elector::election::{Purpose, Sight, Version, Write};
use leader_elector::record::{Content, Mark, Record, Stamp};
use std::sync::Arc;

/// The prefix of uids.
const UID: &str = "uid-";

/// One state of an object.
#[derive(Clone, Debug, Hash)]
pub struct State {
    /// The resourceVersion of the object, or of its deletion.
    pub resource_version: u64,
    pub sight: Sight,
    /// The fields that the sight does not show, as a number.
    pub foreign_fields: u64,
}

/// The fields of an object beside record and mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherFields {
    pub step_down: Option<Arc<str>>,
    /// All remaining fields, as a number.
    pub foreign_fields: u64,
}

impl OtherFields {
    /// The fields after a candidate's write: it keeps those of the object that it replaces.
    pub fn after(self, write: &Write) -> OtherFields {
        let step_down = self.step_down.filter(|_| write.purpose != Purpose::Acquire);
        OtherFields { step_down, ..self }
    }
}

impl State {
    pub fn other_fields(&self) -> OtherFields {
        OtherFields { step_down: self.sight.step_down.clone(), foreign_fields: self.foreign_fields }
    }
}

/// One object, with all its states. In the first state it does not exist.
#[derive(Clone, Debug, Hash)]
pub struct Object {
    pub history: Vec<State>,
}

impl Object {
    pub fn present(&self) -> &State {
        self.history.last().expect("there is a first one")
    }
}

#[derive(Clone, Debug, Hash)]
pub struct Server {
    pub objects: [Object; 2],
    /// The last resourceVersion of each object: one counter for both, or one for each.
    resource_versions: [u64; 2],
    one_store: bool,
    uids: u64,
    creates_on_update: bool,
    foreign_writes: i64,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx, with the new object.
    Done,
    NotFound,
    Conflict,
}

impl Server {
    pub fn new(creates_on_update: bool, one_store: bool) -> Server {
        let missing = State { resource_version: 0, sight: Sight::MISSING, foreign_fields: 0 };
        let mut history = Vec::with_capacity(256);
        history.push(missing.clone());
        Server {
            objects: [Object { history }, Object { history: vec![missing] }],
            resource_versions: [100, 70],
            one_store,
            uids: 0,
            creates_on_update,
            foreign_writes: 0,
        }
    }

    /// The longest lease in all records that the lock has had.
    pub fn longest_lease(&self, lock: usize) -> u64 {
        let lease = |state: &State| match &state.sight.content {
            Content::Record(record) => record.lease().as_nanos() as u64,
            Content::Unreadable { .. } | Content::Nothing => 0,
        };
        self.objects[lock].history.iter().map(lease).max().unwrap_or(0)
    }

    /// A candidate's write, whose body has these other fields.
    pub fn write(&mut self, lock: usize, write: &Write, fields: &OtherFields) -> Verdict {
        let present = self.objects[lock].present();
        let uid = match (&write.base, &present.sight.version) {
            (None, None) => self.new_uid(),
            (None, Some(_)) => return Verdict::Conflict,
            // Without a uid an update creates a missing object; without a resourceVersion it replaces any version.
            (Some(base), None) if !base.uid.is_empty() => return Verdict::Conflict,
            (Some(_), None) if self.creates_on_update => self.new_uid(),
            (Some(_), None) => return Verdict::NotFound,
            (Some(base), Some(version)) => {
                let other_object = !base.uid.is_empty() && base.uid != version.uid;
                let other_version = base.resource_version != 0 && base.resource_version != version.resource_version;
                if other_object || other_version {
                    return Verdict::Conflict;
                }
                let unchanged = matches!(&present.sight.content, Content::Record(record) if *record == write.record)
                    && present.sight.mark.as_ref() == Some(&write.mark)
                    && present.other_fields() == *fields;
                if unchanged {
                    return Verdict::Done; // with the old resourceVersion, and no watch shows it
                }
                version.uid.clone()
            }
        };
        let content = Content::Record(write.record.clone());
        self.commit(lock, Some(uid), content, Some(write.mark.clone()), fields.clone());
        Verdict::Done
    }

    fn new_uid(&mut self) -> Arc<str> {
        self.uids += 1;
        format!("{UID}{}", self.uids).into()
    }

    fn commit(
        &mut self,
        lock: usize,
        uid: Option<Arc<str>>,
        content: Content,
        mark: Option<Mark>,
        OtherFields { step_down, foreign_fields }: OtherFields,
    ) {
        let counter = &mut self.resource_versions[if self.one_store { 0 } else { lock }];
        *counter += 1;
        let resource_version = *counter;
        let version = uid.map(|uid| Version { uid, resource_version });
        let sight = Sight { version, content, mark, step_down };
        self.objects[lock].history.push(State { resource_version, sight, foreign_fields });
    }

    // ---- What others do to the object -----------------------------------------------------------------

    /// Writes a field that is not the record.
    pub fn touch(&mut self, lock: usize) {
        let OtherFields { step_down, foreign_fields } = self.objects[lock].present().other_fields();
        self.touch_with(lock, OtherFields { step_down, foreign_fields: foreign_fields + 1 });
    }

    /// Asks a holder to step down.
    pub fn ask_to_step_down(&mut self, lock: usize, holder: Arc<str>) {
        let fields = self.objects[lock].present().other_fields();
        self.touch_with(lock, OtherFields { step_down: Some(holder), ..fields });
    }

    fn touch_with(&mut self, lock: usize, fields: OtherFields) {
        let Sight { version, content, mark, .. } = self.objects[lock].present().sight.clone();
        if let Some(version) = version {
            self.commit(lock, Some(version.uid), content, mark, fields);
        }
    }

    pub fn delete(&mut self, lock: usize) {
        if self.objects[lock].present().sight.version.is_some() {
            self.commit(lock, None, Content::Nothing, None, OtherFields::default());
        }
    }

    /// Replaces or removes record and mark; creates the object if necessary.
    pub fn put(&mut self, lock: usize, content: Content, mark: Option<Mark>) {
        let fields = self.objects[lock].present().other_fields();
        let version = self.objects[lock].present().sight.version.clone();
        let uid = version.map_or_else(|| self.new_uid(), |version| version.uid);
        self.commit(lock, Some(uid), content, mark, fields);
    }

    /// A time stamp that no candidate would write.
    pub fn foreign_stamp(&mut self) -> Stamp {
        self.foreign_writes += 1;
        Stamp::Text(format!("{}", self.foreign_writes).into())
    }
}

/// A state in the oracle's terms.
pub fn commit_of(state: &State, writer: Writer) -> Commit {
    let uid = state.sight.version.as_ref().and_then(|version| version.uid.strip_prefix(UID));
    let object = uid.map_or(0, |number| number.parse().expect("a number"));
    let content = content_of(&state.sight.content);
    let mark = state.sight.mark.as_ref().map(|mark| (mark.process, mark.write));
    let step_down = state.sight.step_down.as_ref().and_then(|holder| holder.as_bytes().first().copied()).unwrap_or(0);
    let State { resource_version, foreign_fields, .. } = *state;
    Commit { object, resource_version, content, mark, writer, step_down, foreign_fields }
}

/// The content of a lock in the oracle's terms.
pub fn content_of(content: &Content) -> oracle::Content {
    match content {
        Content::Nothing => oracle::Content::Nothing,
        Content::Unreadable { .. } => oracle::Content::Unreadable,
        Content::Record(record) => oracle::Content::Record {
            holder: record.holder.as_bytes().first().copied().unwrap_or(0),
            lease: u64::from(record.lease_seconds) * crate::clock::SECOND,
            acquired: number(&record.acquired),
            renewed: number(&record.renewed),
            transitions: record.transitions,
        },
    }
}

fn number(stamp: &Stamp) -> i64 {
    match stamp {
        Stamp::Micros(micros) => *micros,
        // Lower than all numbers that candidates write.
        Stamp::Text(text) => -1 - text.parse::<i64>().unwrap_or(0),
    }
}

/// A record as people and other implementations write it. Names are told apart by their first letter, so `holder` must
/// not begin with that of a candidate (a, b, c, …).
pub fn record(holder: &str, lease_seconds: u32, acquired: Stamp, renewed: Stamp, transitions: u32) -> Content {
    Content::Record(Record { holder: holder.into(), lease_seconds, acquired, renewed, transitions })
}
