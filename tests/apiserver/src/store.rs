//! The objects: one map, one counter of resourceVersions, one history, and who watches it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::activity::Activity;
use crate::inbox::{Event, Inbox, Signal};
use crate::lock;
use crate::object::{name_suffix, new_uid, same_content, text, validate, version};
use crate::resource::Resource;
use crate::status::Refusal;
use crate::time;
use crate::{Change, ChangeKind};

/// A fresh server starts here, so that small resourceVersions are ones no longer kept.
const FIRST_VERSION: u64 = 1000;

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: Resource,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The objects a list or a watch is about.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) resource: Resource,
    /// None for all.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

impl Selector {
    fn matches(&self, resource: Resource, namespace: &str, name: &str) -> bool {
        self.resource == resource
            && self.namespace.as_deref().is_none_or(|n| n == namespace)
            && self.name.as_deref().is_none_or(|n| n == name)
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// With what exists, and then what changes; `mark_end` asks for a bookmark between the two.
    Existing { mark_end: bool },
    /// With the next change.
    Now,
    /// With the first change after this resourceVersion.
    After(u64),
}

/// All objects. Every method is atomic.
pub(crate) struct Store {
    inner: Mutex<Inner>,
    activity: Arc<Activity>,
}

struct Inner {
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    /// Changes up to this resourceVersion can no longer be watched.
    floor: u64,
    /// How many changes can be watched.
    window: usize,
    /// How many changes are kept for `history`; never fewer than can be watched.
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

impl Store {
    pub(crate) fn new(window: usize, keep: usize, activity: Arc<Activity>) -> Store {
        let inner = Inner {
            objects: BTreeMap::new(),
            version: FIRST_VERSION,
            floor: FIRST_VERSION,
            window,
            keep: keep.max(window),
            changes: VecDeque::new(),
            watches: BTreeMap::new(),
            next_watch: 0,
        };
        Store {
            inner: Mutex::new(inner),
            activity,
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        lock(&self.inner).objects.get(key).cloned()
    }

    /// The objects that match, in order of namespace and name, and the resourceVersion they are at.
    pub(crate) fn list(&self, selector: &Selector) -> (Vec<Arc<Value>>, u64) {
        let inner = lock(&self.inner);
        (inner.matching(selector), inner.version)
    }

    /// Stores a new object, on behalf of the client program `manager`.
    pub(crate) fn create(
        &self,
        resource: Resource,
        namespace: &str,
        mut object: Value,
        manager: &str,
    ) -> Result<Arc<Value>, Refusal> {
        if version(&object)? != 0 {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::internal(why));
        }
        let prefix = text(&object, "generateName");
        if text(&object, "name").is_empty() && !prefix.is_empty() {
            object["metadata"]["name"] = format!("{prefix}{}", name_suffix()).into();
        }
        validate(resource, &object)?;
        let name = text(&object, "name").to_owned();
        let key = Key {
            resource,
            namespace: namespace.to_owned(),
            name,
        };
        let mut inner = lock(&self.inner);
        if inner.objects.contains_key(&key) {
            return Err(Refusal::already_exists(resource, &key.name));
        }
        Ok(self.commit(&mut inner, ChangeKind::Added, key, object, manager))
    }

    /// Replaces an object, or creates it where the resource allows that and `may_create` agrees.
    /// Returns what is stored then, and whether it was created. The order of the checks is the
    /// real server's.
    pub(crate) fn update(
        &self,
        key: Key,
        mut object: Value,
        manager: &str,
        may_create: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let Key {
            resource,
            namespace,
            name,
        } = &key;
        let mut inner = lock(&self.inner);
        let current = inner.objects.get(&key).cloned();
        if current.is_none() && !resource.created_by_update() {
            return Err(Refusal::not_found(*resource, name));
        }
        let stored_uid = current.as_deref().map_or("", |c| text(c, "uid"));
        let given_uid = text(&object, "uid");
        if !given_uid.is_empty() && given_uid != stored_uid {
            return Err(Refusal::other_uid(
                *resource, namespace, name, given_uid, stored_uid,
            ));
        }
        let given_version = version(&object)?;
        let Some(current) = current else {
            validate(*resource, &object)?;
            may_create()?;
            return Ok((
                self.commit(&mut inner, ChangeKind::Added, key, object, manager),
                true,
            ));
        };
        if given_version == 0 && !resource.updated_unconditionally() {
            return Err(Refusal::version_required(*resource, name));
        }
        if given_version != 0 && given_version != version(&current)? {
            return Err(Refusal::modified(*resource, name));
        }
        validate(*resource, &object)?;
        keep_identity(&mut object, &current);
        if same_content(&object, &current) {
            return Ok((current, false));
        }
        Ok((
            self.commit(&mut inner, ChangeKind::Modified, key, object, manager),
            false,
        ))
    }

    /// Removes an object and returns its last state. `uid` and `at`, where given, must match.
    pub(crate) fn delete(
        &self,
        key: &Key,
        uid: Option<&str>,
        at: Option<u64>,
    ) -> Result<Arc<Value>, Refusal> {
        let mut inner = lock(&self.inner);
        let Some(current) = inner.objects.get(key).cloned() else {
            return Err(Refusal::not_found(key.resource, &key.name));
        };
        let stored_uid = text(&current, "uid");
        if let Some(uid) = uid.filter(|&uid| uid != stored_uid) {
            let Key {
                resource,
                namespace,
                name,
            } = key;
            return Err(Refusal::other_uid(
                *resource, namespace, name, uid, stored_uid,
            ));
        }
        if at.is_some_and(|at| version(&current) != Ok(at)) {
            return Err(Refusal::modified(key.resource, &key.name));
        }
        let object = Value::clone(&current);
        Ok(self.record(&mut inner, ChangeKind::Deleted, key.clone(), object))
    }

    /// Creates or replaces an object without any check.
    pub(crate) fn put(&self, key: Key, mut object: Value, manager: &str) -> Arc<Value> {
        let mut inner = lock(&self.inner);
        let kind = match inner.objects.get(&key) {
            Some(current) => {
                keep_identity(&mut object, current);
                ChangeKind::Modified
            }
            None => ChangeKind::Added,
        };
        self.commit(&mut inner, kind, key, object, manager)
    }

    /// Opens a watch, which gets its changes through the inbox returned. Closing it is the
    /// caller's duty. The error is the 410 of a resourceVersion no longer kept.
    pub(crate) fn watch(
        &self,
        selector: Selector,
        start: Start,
        socket: Arc<TcpStream>,
    ) -> io::Result<Result<(u64, Arc<Inbox>), Refusal>> {
        let inbox = Arc::new(Inbox::new(socket)?);
        let mut inner = lock(&self.inner);
        let after = match start {
            Start::After(asked) if asked < inner.floor => {
                return Ok(Err(Refusal::expired(asked, inner.floor)));
            }
            Start::After(asked) => asked,
            Start::Existing { .. } | Start::Now => inner.version,
        };
        inner.send_backlog(&selector, start, after, &inbox);
        inner.next_watch += 1;
        let id = inner.next_watch;
        inner.watches.insert(
            id,
            Watch {
                selector,
                after,
                inbox: Arc::clone(&inbox),
            },
        );
        drop(inner);
        self.activity.happened();
        Ok(Ok((id, inbox)))
    }

    pub(crate) fn close_watch(&self, id: u64) {
        lock(&self.inner).watches.remove(&id);
        self.activity.happened();
    }

    /// Puts a bookmark into the inbox of a watch, behind every change up to it.
    pub(crate) fn bookmark(&self, id: u64) {
        let inner = lock(&self.inner);
        let version = inner.version;
        if let Some(watch) = inner
            .watches
            .get(&id)
            .filter(|watch| watch.after <= version)
        {
            watch.inbox.push(Signal::Bookmark {
                version,
                ends_initial: false,
            });
        }
    }

    pub(crate) fn open_watches(&self) -> usize {
        lock(&self.inner).watches.len()
    }

    /// Ends every open watch, and returns how many there were.
    pub(crate) fn cut_watches(&self, mid_line: bool, reset: bool) -> usize {
        let watches = std::mem::take(&mut lock(&self.inner).watches);
        for watch in watches.values() {
            watch.inbox.cut(mid_line, reset);
        }
        self.activity.happened();
        watches.len()
    }

    /// Sends `line` as it is to every open watch.
    pub(crate) fn send_to_watches(&self, line: &[u8]) {
        let line: Arc<[u8]> = line.into();
        for watch in lock(&self.inner).watches.values() {
            watch.inbox.push(Signal::Line(Arc::clone(&line)));
        }
    }

    pub(crate) fn version(&self) -> u64 {
        lock(&self.inner).version
    }

    pub(crate) fn bump_version(&self, by: u64) {
        let mut inner = lock(&self.inner);
        inner.version = inner.version.saturating_add(by);
    }

    /// Makes every resourceVersion older than the current one too old to watch from.
    pub(crate) fn compact(&self) {
        let mut inner = lock(&self.inner);
        inner.floor = inner.version;
    }

    pub(crate) fn history(&self) -> Vec<Change> {
        lock(&self.inner)
            .changes
            .iter()
            .map(|event| event.change.clone())
            .collect()
    }

    /// Gives the object what the server owns of it, and records the change.
    fn commit(
        &self,
        inner: &mut Inner,
        kind: ChangeKind,
        key: Key,
        mut object: Value,
        manager: &str,
    ) -> Arc<Value> {
        stamp(&mut object, &key, kind, manager);
        self.record(inner, kind, key, object)
    }

    fn record(
        &self,
        inner: &mut Inner,
        kind: ChangeKind,
        key: Key,
        mut object: Value,
    ) -> Arc<Value> {
        inner.version += 1;
        object["metadata"]["resourceVersion"] = inner.version.to_string().into();
        let object = Arc::new(object);
        let change = change(kind, &key, inner.version, &object);
        if kind == ChangeKind::Deleted {
            inner.objects.remove(&key);
        } else {
            inner.objects.insert(key, Arc::clone(&object));
        }
        inner.publish(Arc::new(Event::new(change)));
        self.activity.happened();
        object
    }
}

impl Inner {
    fn matching(&self, selector: &Selector) -> Vec<Arc<Value>> {
        let matches = |key: &Key| selector.matches(key.resource, &key.namespace, &key.name);
        self.objects
            .iter()
            .filter(|(key, _)| matches(key))
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// Fills a new inbox with what the watch missed.
    fn send_backlog(&self, selector: &Selector, start: Start, after: u64, inbox: &Inbox) {
        match start {
            Start::Now => {}
            Start::Existing { mark_end } => {
                for object in self.matching(selector) {
                    inbox.push(Signal::Event(existing(selector.resource, &object)));
                }
                if mark_end {
                    inbox.push(Signal::Bookmark {
                        version: self.version,
                        ends_initial: true,
                    });
                }
            }
            Start::After(_) => {
                let newer = self
                    .changes
                    .partition_point(|event| event.change.resource_version <= after);
                for event in self
                    .changes
                    .range(newer..)
                    .filter(|event| selects(selector, event))
                {
                    inbox.push(Signal::Event(Arc::clone(event)));
                }
            }
        }
    }

    /// Appends to the history and tells who watches.
    fn publish(&mut self, event: Arc<Event>) {
        let version = event.change.resource_version;
        for watch in self.watches.values() {
            if version > watch.after && selects(&watch.selector, &event) {
                watch.inbox.push(Signal::Event(Arc::clone(&event)));
            }
        }
        self.changes.push_back(event);
        if self.changes.len() > self.keep {
            self.changes.pop_front();
        }
        if let Some(last_lost) = self.changes.len().checked_sub(self.window + 1) {
            self.floor = self
                .floor
                .max(self.changes[last_lost].change.resource_version);
        }
    }
}

fn selects(selector: &Selector, event: &Event) -> bool {
    let Change {
        namespace, name, ..
    } = &event.change;
    Resource::named(event.change.resource).is_some_and(|r| selector.matches(r, namespace, name))
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

/// An object that exists already, as the first events of a watch show it.
fn existing(resource: Resource, object: &Arc<Value>) -> Arc<Event> {
    let (namespace, name) = (
        text(object, "namespace").to_owned(),
        text(object, "name").to_owned(),
    );
    let at = version(object).unwrap_or_default();
    let key = Key {
        resource,
        namespace,
        name,
    };
    Arc::new(Event::new(change(ChangeKind::Added, &key, at, object)))
}

/// A replaced object stays the same object.
fn keep_identity(object: &mut Value, current: &Value) {
    for field in ["uid", "creationTimestamp", "namespace"] {
        object["metadata"][field] = current["metadata"][field].clone();
    }
}

/// Sets what only the server sets. `managedFields` is the shortest that clients accept.
fn stamp(object: &mut Value, key: &Key, kind: ChangeKind, manager: &str) {
    let now = time::now();
    object["kind"] = key.resource.kind().into();
    object["apiVersion"] = key.resource.api_version().into();
    let metadata = &mut object["metadata"];
    metadata["namespace"] = key.namespace.as_str().into();
    if kind == ChangeKind::Added {
        metadata["uid"] = new_uid().into();
        metadata["creationTimestamp"] = now.as_str().into();
    }
    metadata["managedFields"] = json!([{
        "manager": manager, "operation": "Update", "apiVersion": key.resource.api_version(),
        "time": now, "fieldsType": "FieldsV1", "fieldsV1": {},
    }]);
}
