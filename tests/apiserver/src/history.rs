//! The changes in order, and the open watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::inbox::{Event, Inbox, Signal};
use crate::object::{text, version};
use crate::resource::Resource;
use crate::status::Refusal;
use crate::store::Key;
use crate::{Change, ChangeKind};

/// The first resourceVersion, so that small ones are no longer kept.
const FIRST_VERSION: u64 = 1000;

/// The objects of a list or a watch.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) resource: Resource,
    /// None for all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

impl Selector {
    pub(crate) fn matches(&self, key: &Key) -> bool {
        self.matches_parts(key.resource.plural(), &key.namespace, &key.name)
    }

    fn selects(&self, event: &Event) -> bool {
        let change = &event.change;
        self.matches_parts(change.resource, &change.namespace, &change.name)
    }

    fn matches_parts(&self, plural: &str, namespace: &str, name: &str) -> bool {
        self.resource.plural() == plural
            && self.namespace.as_deref().is_none_or(|n| n == namespace)
            && self.name.as_deref().is_none_or(|n| n == name)
    }
}

/// The beginning of a watch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// With the existing objects, and then the changes; `mark_end` adds a bookmark between them.
    Existing { mark_end: bool },
    /// With the next change.
    Now,
    /// With the first change after this resourceVersion.
    After(u64),
}

/// The counter of resourceVersions, the changes, and the open watches.
pub(crate) struct History {
    version: u64,
    /// Changes up to this resourceVersion can no longer be watched.
    floor: u64,
    /// How many changes can be watched.
    window: usize,
    /// How many changes are kept; never fewer than can be watched.
    keep: usize,
    changes: VecDeque<Arc<Event>>,
    watches: BTreeMap<u64, Watch>,
    next_watch: u64,
}

struct Watch {
    selector: Selector,
    /// Only what is newer is sent.
    after: u64,
    inbox: Arc<Inbox>,
}

impl History {
    pub(crate) fn new(window: usize, keep: usize) -> History {
        History {
            version: FIRST_VERSION,
            floor: FIRST_VERSION,
            window,
            keep: keep.max(window),
            changes: VecDeque::new(),
            watches: BTreeMap::new(),
            next_watch: 0,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn bump(&mut self, by: u64) {
        self.version = self.version.saturating_add(by);
    }

    pub(crate) fn compact(&mut self) {
        self.floor = self.version;
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        let changes = self.changes.iter();
        changes.map(|event| event.change.clone()).collect()
    }

    /// Records a change, gives the object its resourceVersion, and informs the watches.
    pub(crate) fn record(&mut self, kind: ChangeKind, key: &Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let event = Arc::new(Event::new(change(kind, key, self.version, &object)));
        for watch in self.watches.values() {
            if self.version > watch.after && watch.selector.selects(&event) {
                watch.inbox.push(Signal::Event(Arc::clone(&event)));
            }
        }
        self.append(event);
        object
    }

    fn append(&mut self, event: Arc<Event>) {
        self.changes.push_back(event);
        if self.changes.len() > self.window {
            let last_lost = self.changes.len() - self.window - 1;
            let lost_version = self.changes[last_lost].change.resource_version;
            self.floor = self.floor.max(lost_version);
        }
        if self.changes.len() > self.keep {
            self.changes.pop_front();
        }
    }

    /// Opens a watch and returns its number. `existing` are the objects that match. The error is the 410 for a
    /// resourceVersion that is no longer kept.
    pub(crate) fn watch(
        &mut self,
        selector: Selector,
        start: Start,
        existing: &[Arc<Value>],
        inbox: Arc<Inbox>,
    ) -> Result<u64, Refusal> {
        let after = match start {
            Start::After(asked) if asked < self.floor => {
                return Err(Refusal::expired(asked, self.floor));
            }
            Start::After(asked) => asked,
            Start::Existing { .. } | Start::Now => self.version,
        };
        match start {
            Start::Now => {}
            Start::Existing { mark_end } => {
                self.send_existing(selector.resource, existing, mark_end, &inbox);
            }
            Start::After(_) => self.send_missed(&selector, after, &inbox),
        }
        self.next_watch += 1;
        let watch = Watch { selector, after, inbox };
        self.watches.insert(self.next_watch, watch);
        Ok(self.next_watch)
    }

    fn send_existing(&self, resource: Resource, objects: &[Arc<Value>], mark_end: bool, inbox: &Inbox) {
        for object in objects {
            inbox.push(Signal::Event(existing(resource, object)));
        }
        if mark_end {
            inbox.push(Signal::Bookmark { version: self.version, ends_initial: true });
        }
    }

    fn send_missed(&self, selector: &Selector, after: u64, inbox: &Inbox) {
        let is_old = |event: &Arc<Event>| event.change.resource_version <= after;
        let missed = self.changes.range(self.changes.partition_point(is_old)..);
        for event in missed.filter(|event| selector.selects(event)) {
            inbox.push(Signal::Event(Arc::clone(event)));
        }
    }

    pub(crate) fn close_watch(&mut self, id: u64) {
        self.watches.remove(&id);
    }

    /// Puts a bookmark into the inbox of a watch, after all changes up to it. A watch from a future version gets none.
    pub(crate) fn bookmark(&self, id: u64) {
        let version = self.version;
        if let Some(watch) = self.watches.get(&id).filter(|watch| watch.after <= version) {
            watch.inbox.push(Signal::Bookmark { version, ends_initial: false });
        }
    }

    /// The inboxes of all open watches.
    pub(crate) fn inboxes(&self) -> impl ExactSizeIterator<Item = &Inbox> {
        self.watches.values().map(|watch| &*watch.inbox)
    }

    /// Closes all open watches, and returns their inboxes.
    pub(crate) fn take_inboxes(&mut self) -> Vec<Arc<Inbox>> {
        let watches = std::mem::take(&mut self.watches);
        watches.into_values().map(|watch| watch.inbox).collect()
    }
}

fn change(kind: ChangeKind, key: &Key, resource_version: u64, object: &Arc<Value>) -> Change {
    Change {
        when: Instant::now(),
        kind,
        resource: key.resource.plural(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        resource_version,
        object: Arc::clone(object),
    }
}

/// An existing object, as an initial event of a watch.
fn existing(resource: Resource, object: &Arc<Value>) -> Arc<Event> {
    let namespace = text(object, "namespace").to_owned();
    let key = Key { resource, namespace, name: text(object, "name").to_owned() };
    let at = version(object).unwrap_or_default();
    Arc::new(Event::new(change(ChangeKind::Added, &key, at, object)))
}
