//! The objects, and the rules for creating, updating and deleting them.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::ChangeKind;
use crate::activity::Activity;
use crate::endpoint_slice;
use crate::history::{History, Selector, Start};
use crate::inbox::{Inbox, Signal};
use crate::lock;
use crate::object::{name_suffix, new_uid, same_content, text, validate, version};
use crate::resource::Resource;
use crate::status::Refusal;
use crate::time;

/// The key of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: Resource,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// All objects. Every method is atomic.
pub(crate) struct Store {
    inner: Mutex<Inner>,
    activity: Arc<Activity>,
}

struct Inner {
    objects: BTreeMap<Key, Arc<Value>>,
    history: History,
}

impl Store {
    pub(crate) fn new(window: usize, keep: usize, activity: Arc<Activity>) -> Store {
        let history = History::new(window, keep);
        let inner = Inner { objects: BTreeMap::new(), history };
        Store { inner: Mutex::new(inner), activity }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        lock(&self.inner).objects.get(key).cloned()
    }

    /// The matching objects, sorted by namespace and name, and their resourceVersion.
    pub(crate) fn list(&self, selector: &Selector) -> (Vec<Arc<Value>>, u64) {
        let inner = lock(&self.inner);
        (inner.matching(selector), inner.history.version())
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
        let key = Key { resource, namespace: namespace.to_owned(), name };
        let mut inner = lock(&self.inner);
        if inner.objects.contains_key(&key) {
            return Err(Refusal::already_exists(resource, &key.name));
        }
        Ok(self.commit(&mut inner, ChangeKind::Added, key, object, manager))
    }

    /// Replaces an object, or creates it if the resource allows that and `may_create` returns true. Returns the stored
    /// object, and whether it was created. The checks are in the order of the real server.
    pub(crate) fn update(
        &self,
        key: Key,
        mut object: Value,
        manager: &str,
        may_create: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let Key { resource, namespace, name } = &key;
        let mut inner = lock(&self.inner);
        let current = inner.objects.get(&key).cloned();
        if current.is_none() && !resource.created_by_update() {
            return Err(Refusal::not_found(*resource, name));
        }
        let stored_uid = current.as_deref().map_or("", |c| text(c, "uid"));
        let given_uid = text(&object, "uid");
        if !given_uid.is_empty() && given_uid != stored_uid {
            return Err(Refusal::other_uid(*resource, namespace, name, given_uid, stored_uid));
        }
        let given_version = version(&object)?;
        let Some(current) = current else {
            validate(*resource, &object)?;
            may_create()?;
            return Ok((self.commit(&mut inner, ChangeKind::Added, key, object, manager), true));
        };
        if given_version == 0 && !resource.updated_unconditionally() {
            return Err(Refusal::version_required(*resource, name));
        }
        if given_version != 0 && given_version != version(&current)? {
            return Err(Refusal::modified(*resource, name));
        }
        validate(*resource, &object)?;
        if *resource == Resource::EndpointSlices {
            endpoint_slice::validate_update(name, &object, &current)?;
        }
        keep_identity(&mut object, &current);
        if same_content(&object, &current) {
            return Ok((current, false));
        }
        Ok((self.commit(&mut inner, ChangeKind::Modified, key, object, manager), false))
    }

    /// Removes an object and returns its last state. `uid` and `at` must match if they are given.
    pub(crate) fn delete(&self, key: &Key, uid: Option<&str>, at: Option<u64>) -> Result<Arc<Value>, Refusal> {
        let mut inner = lock(&self.inner);
        let Some(current) = inner.objects.get(key).cloned() else {
            return Err(Refusal::not_found(key.resource, &key.name));
        };
        let stored_uid = text(&current, "uid");
        if let Some(uid) = uid.filter(|&uid| uid != stored_uid) {
            let Key { resource, namespace, name } = key;
            return Err(Refusal::other_uid(*resource, namespace, name, uid, stored_uid));
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

    /// Changes an object without any check; `None` if there is none.
    pub(crate) fn edit(&self, key: Key, edit: impl FnOnce(&mut Value), manager: &str) -> Option<Arc<Value>> {
        let mut inner = lock(&self.inner);
        let current = inner.objects.get(&key).cloned()?;
        let mut object = Value::clone(&current);
        edit(&mut object);
        keep_identity(&mut object, &current);
        Some(self.commit(&mut inner, ChangeKind::Modified, key, object, manager))
    }

    /// Opens a watch, which gets its changes through the returned inbox. The caller must close it. The error is the 410
    /// for a resourceVersion that is no longer kept.
    pub(crate) fn watch(
        &self,
        selector: Selector,
        start: Start,
        socket: Arc<TcpStream>,
    ) -> io::Result<Result<(u64, Arc<Inbox>), Refusal>> {
        let inbox = Arc::new(Inbox::new(socket)?);
        let mut inner = lock(&self.inner);
        let existing = inner.matching(&selector);
        let id = inner.history.watch(selector, start, &existing, Arc::clone(&inbox));
        drop(inner);
        self.activity.happened();
        Ok(id.map(|id| (id, inbox)))
    }

    pub(crate) fn close_watch(&self, id: u64) {
        self.with_history(|history| history.close_watch(id));
        self.activity.happened();
    }

    /// Ends every open watch, and returns how many there were.
    pub(crate) fn cut_watches(&self, mid_line: bool, reset: bool) -> usize {
        let inboxes = self.with_history(History::take_inboxes);
        for inbox in &inboxes {
            inbox.cut(mid_line, reset);
        }
        self.activity.happened();
        inboxes.len()
    }

    /// Sends `line` unchanged to every open watch.
    pub(crate) fn send_to_watches(&self, line: &[u8]) {
        let line: Arc<[u8]> = line.into();
        self.with_history(|history| {
            for inbox in history.inboxes() {
                inbox.push(Signal::Line(Arc::clone(&line)));
            }
        });
    }

    /// Reads or changes the history while nothing else happens.
    pub(crate) fn with_history<T>(&self, look: impl FnOnce(&mut History) -> T) -> T {
        look(&mut lock(&self.inner).history)
    }

    /// Sets the fields that the server owns, and records the change.
    fn commit(&self, inner: &mut Inner, kind: ChangeKind, key: Key, mut object: Value, manager: &str) -> Arc<Value> {
        stamp(&mut object, &key, kind, manager);
        self.record(inner, kind, key, object)
    }

    fn record(&self, inner: &mut Inner, kind: ChangeKind, key: Key, object: Value) -> Arc<Value> {
        let object = inner.history.record(kind, &key, object);
        if kind == ChangeKind::Deleted {
            inner.objects.remove(&key);
        } else {
            inner.objects.insert(key, Arc::clone(&object));
        }
        self.activity.happened();
        object
    }
}

impl Inner {
    fn matching(&self, selector: &Selector) -> Vec<Arc<Value>> {
        let matching = self.objects.iter().filter(|(key, _)| selector.matches(key));
        matching.map(|(_, object)| Arc::clone(object)).collect()
    }
}

/// A replaced object keeps its identity.
fn keep_identity(object: &mut Value, current: &Value) {
    for field in ["uid", "creationTimestamp", "namespace"] {
        object["metadata"][field] = current["metadata"][field].clone();
    }
}

/// Sets the fields that only the server sets. `managedFields` is the shortest value that clients accept.
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
