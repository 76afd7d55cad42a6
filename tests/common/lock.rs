//! One lock on an API server of its own: its candidates, its content, and its history.

use super::{Elector, PATIENCE, leader_and_follower};
use apiserver::{Change, ChangeKind, Options, Server};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// The kinds of locks.
pub const KINDS: [&str; 3] = ["endpoints", "configmaps", "leases"];

/// The annotation with the record in Endpoints and ConfigMaps.
pub const RECORD: &str = "control-plane.alpha.kubernetes.io/leader";

/// The annotation with the mark, in every kind.
pub const MARK: &str = "leader-elector/mark";

/// A lease that is longer than every test: a takeover in the test did not wait for it to run out.
pub const NEVER: &str = "--ttl=10m";

/// The lock `example` of one kind, on a server of its own.
pub struct Lock {
    pub server: Server,
    pub kind: &'static str,
}

impl Lock {
    pub fn new(kind: &'static str) -> Lock {
        Lock { server: Server::start(Options::default()).expect("a port is free"), kind }
    }

    /// The flags that every candidate needs, and more.
    pub fn flags(&self, more: &[&str]) -> Vec<String> {
        let mut flags = vec![format!("--server={}", self.server.url()), format!("--lock={}", self.kind)];
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        flags
    }

    /// Starts a candidate, and waits until it serves its port.
    pub fn start(&self, id: &str, more: &[&str]) -> Elector {
        let flags = self.flags(more);
        Elector::start(id, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a leader named a, and a follower b.
    pub fn start_two(&self, more: &[&str]) -> (Elector, Elector) {
        leader_and_follower(|id| self.start(id, more))
    }

    /// Starts a candidate without waiting.
    pub fn spawn(&self, id: &str, more: &[&str]) -> Elector {
        let flags = self.flags(more);
        Elector::spawn(Elector::program(), id, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A command for a candidate whose standard streams the test sets up.
    pub fn command(&self, id: &str, more: &[&str]) -> Command {
        let mut command = Elector::program();
        command.arg(format!("--id={id}")).arg("--election=example").args(self.flags(more));
        command
    }

    /// The present object.
    pub fn object(&self) -> Option<Value> {
        self.server.get(self.kind, "default", "example")
    }

    /// The present record; null if there is none that can be read.
    pub fn record(&self) -> Value {
        self.object().map_or(Value::Null, |object| record_of(&object))
    }

    /// The holder; empty if nobody holds the lock.
    pub fn holder(&self) -> String {
        holder_of(&self.record())
    }

    /// Creates or replaces the object unconditionally, as another client.
    pub fn put(&self, mut object: Value) -> Value {
        object["metadata"]["name"] = "example".into();
        self.server.put(self.kind, "default", object)
    }

    /// Changes the object as another client that undoes no write of a candidate.
    pub fn edit(&self, edit: impl FnOnce(&mut Value)) -> Value {
        self.server.edit(self.kind, "default", "example", edit)
    }

    /// Writes a record into the object; creates the object if it is missing. In Endpoints and ConfigMaps the record is
    /// the text of the annotation.
    pub fn put_record(&self, record: &Value) -> Value {
        let mut object = self.object().unwrap_or_else(|| json!({"metadata": {}}));
        if self.kind == "leases" {
            object["spec"] = record.clone();
        } else {
            let text = record.as_str().map_or_else(|| record.to_string(), str::to_owned);
            object["metadata"]["annotations"][RECORD] = text.into();
        }
        self.put(object)
    }

    /// A record of another implementation for this kind of lock, with this renewTime.
    pub fn peer(&self, holder: &str, lease_seconds: u64, renewed: &str) -> Value {
        let transitions = if self.kind == "leases" { "leaseTransitions" } else { "leaderTransitions" };
        json!({
            "holderIdentity": holder, "leaseDurationSeconds": lease_seconds, "acquireTime": renewed,
            "renewTime": renewed, transitions: 0,
        })
    }

    /// All states that the object has had, each with its holder.
    pub fn changes(&self) -> Vec<(Change, String)> {
        let holder = |change: &Change| match change.kind {
            ChangeKind::Deleted => String::new(),
            ChangeKind::Added | ChangeKind::Modified => holder_of(&record_of(&change.object)),
        };
        self.server.history().into_iter().map(|change| (change.clone(), holder(&change))).collect()
    }

    /// How many states the object has had.
    pub fn version(&self) -> usize {
        self.server.history().len()
    }

    /// When this candidate first took the lock after the change with this index.
    pub fn taken(&self, id: &str, after: usize) -> Option<Instant> {
        self.changes().iter().skip(after + 1).find(|(_, holder)| holder == id).map(|(change, _)| change.when)
    }

    /// Waits until this candidate holds the lock. Returns the time between this change and the one before it, after
    /// which the candidate had to wait.
    pub fn wait_for_takeover(&self, candidate: &Elector) -> Duration {
        let id = candidate.id.as_str();
        self.wait(&format!("{id} takes the lock; it logged:\n{}", candidate.log()), || self.holder() == id);
        let changes = self.changes();
        let taken = changes.iter().position(|(_, holder)| holder == id).expect("it holds the lock");
        let before = taken.checked_sub(1).expect("something was there before");
        changes[taken].0.when.duration_since(changes[before].0.when)
    }

    /// Waits until the lock was written `more` times.
    pub fn wait_for_changes(&self, more: usize) {
        let goal = self.version() + more;
        self.wait("the lock changes", || self.version() >= goal);
    }

    /// Waits for a condition, which is evaluated whenever something has happened on the server.
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        assert!(self.server.wait_until(PATIENCE, |_| condition()), "timed out after {PATIENCE:?}: {what}");
    }
}

/// The record in an object; null if there is none that can be read.
pub fn record_of(object: &Value) -> Value {
    if object["kind"] == "Lease" {
        return object["spec"].clone();
    }
    let text = object["metadata"]["annotations"][RECORD].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

pub fn holder_of(record: &Value) -> String {
    record["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// The number of transitions in the record.
pub fn transitions_of(record: &Value) -> u64 {
    let number = record.get("leaderTransitions").or_else(|| record.get("leaseTransitions"));
    number.and_then(Value::as_u64).unwrap_or_default()
}
