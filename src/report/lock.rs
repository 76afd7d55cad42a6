//! What is reported about one lock: its content, and failing requests.

use crate::api::{Failure, FailureKind, Verb};
use crate::duration;
use crate::election::Election;
use crate::lock::{LockKind, LockName};
use crate::logging::escape::escaped;
use crate::record::Content;
use crate::report::log_once::LogOnce;
use crate::time::Time;
use log::{debug, error, info, warn};
use std::sync::Arc;

/// The topic of problems with the record. The topics of failing requests are the names of their verbs.
const RECORD: &str = "the record";

/// Remembers what was reported about one lock.
pub(super) struct LockReporter {
    lock: LockName,
    identity: Arc<str>,
    name_taken_by: Option<Content>,
    unreadable: Option<Content>,
    /// Whether the object was there when it was last seen.
    exists: bool,
    log_once: LogOnce,
    /// Why the last write failed; `None` if it succeeded.
    failed_write: Option<String>,
    /// The classes of the current problems by topic, the newest last.
    failing: Vec<(&'static str, &'static str)>,
}

impl LockReporter {
    pub(super) fn new(lock: LockName, identity: Arc<str>) -> LockReporter {
        LockReporter {
            lock,
            identity,
            name_taken_by: None,
            unreadable: None,
            exists: false,
            log_once: LogOnce::default(),
            failed_write: None,
            failing: Vec::new(),
        }
    }

    /// Why the lock was not renewed, if known, as the end of a sentence.
    pub(super) fn why_not_renewed(&self) -> Option<String> {
        match &self.failed_write {
            _ if self.unreadable.is_some() => Some(format!("; the record in {} cannot be read", self.lock)),
            Some(why) => Some(format!("; the last one: {why}")),
            None => None,
        }
    }

    /// This candidate writes nothing for now, so earlier write errors no longer count.
    pub(super) fn clear_write_errors(&mut self) {
        self.resolved(name(Verb::Create));
        self.resolved(name(Verb::Update));
    }

    /// Reports the content of the lock if it changed.
    pub(super) fn content(&mut self, machine: &Election, now: Time) {
        self.existence(machine, now);
        let content = machine.lock().map(|lock| &lock.content);
        let unreadable = content.filter(|content| matches!(content, Content::Unreadable { .. }));
        if unreadable != self.unreadable.as_ref() {
            if let Some(Content::Unreadable { text, why }) = unreadable
                && self.log_once.should_log(RECORD, why, now)
            {
                let text = escaped(text.as_bytes());
                error!(
                    "the record in {} cannot be read ({why}): \"{text}\"; it counts as held until it has not changed \
                     for one lease, and is then overwritten",
                    self.lock
                );
            }
            match unreadable {
                Some(_) => self.failing(RECORD, "unreadable"),
                None => self.resolved(RECORD),
            }
            self.unreadable = unreadable.cloned();
        }
        self.clone_of_this(machine, content.filter(|_| machine.name_is_taken()), now);
    }

    /// A lock that others delete is written again, by its holder at once.
    fn existence(&mut self, machine: &Election, now: Time) {
        let Some(sight) = machine.lock() else { return };
        let existed = std::mem::replace(&mut self.exists, sight.version.is_some());
        if existed && !self.exists && self.log_once.should_log("the object", "", now) {
            let lock = &self.lock;
            let advice = match lock.kind {
                LockKind::Endpoints => format!(
                    "; newer controller managers delete, when they start, Endpoints without a Service of the same name: \
                     create a Service {:?} without a selector, or move to --lock=leases",
                    lock.name
                ),
                LockKind::ConfigMaps | LockKind::Leases => String::new(),
            };
            warn!("somebody deleted {lock}: it is written again{advice}");
        }
    }

    /// S9: a record with this candidate's identity that this process did not write, once or repeatedly.
    fn clone_of_this(&mut self, machine: &Election, record: Option<&Content>, now: Time) {
        if record == self.name_taken_by.as_ref() {
            return;
        }
        let before = std::mem::replace(&mut self.name_taken_by, record.cloned());
        let identity = self.identity.clone();
        match (record, before) {
            (Some(_), None) if machine.claim().is_none() => info!(
                "{} is held under this candidate's own name, {identity:?}, in a record that this process did not write: \
                 it is left alone until its lease expires or its writer is known to be dead",
                self.lock
            ),
            // Each renewal by the other process comes here.
            (Some(_), Some(_)) if self.log_once.should_log("the name", "", now) => error!(
                "another process renews {} under this candidate's own name, {identity:?}: give each replica an --id of \
                 its own (the default, the hostname, is the same for pods that use the host's network)",
                self.lock
            ),
            _ => {}
        }
    }

    /// The end of the program: reports whether others can take over at once or have to wait.
    pub(super) fn left(&self, machine: &Election) {
        let lock = &self.lock;
        match machine.lock().map(|lock| &lock.content) {
            Some(Content::Record(record)) if record.is_free() => info!("{lock} is free; exiting"),
            Some(Content::Record(record)) if record.holder == self.identity && !machine.name_is_taken() => {
                let lease = duration::format(record.lease());
                warn!("{lock} could not be released: others can take it only after its lease of {lease} expires");
            }
            _ => {}
        }
    }

    /// A request succeeded.
    pub(super) fn success(&mut self, verb: Verb) {
        if is_write(verb) {
            self.failed_write = None;
            self.resolved(name(Verb::Create)); // the object exists now
        }
        self.resolved(name(verb));
        if self.log_once.over(name(verb)) {
            info!("{} {} works again", name(verb), self.lock);
        }
    }

    /// A request failed.
    pub(super) fn failure(&mut self, verb: Verb, failure: &Failure, now: Time) {
        let polled = verb == Verb::Watch && failure.kind == FailureKind::Denied;
        let message = failure.message.clone() + if polled { "; until then the lock is polled" } else { "" };
        if is_write(verb) {
            self.failed_write = Some(message.clone());
        }
        if verb == Verb::Get && failure.kind == FailureKind::Absent {
            self.success(verb);
        }
        // A lost race and a missing lock are normal in an election.
        let expected = matches!(failure.kind, FailureKind::Conflict | FailureKind::Expired)
            || failure.kind == FailureKind::Absent && verb != Verb::Create;
        if expected {
            self.resolved(name(verb));
        } else {
            self.failing(name(verb), failure.class().name());
        }
        if expected || !self.log_once.should_log(name(verb), &message, now) {
            debug!("{message}");
        } else {
            warn!("{message}");
        }
    }

    /// The class of the last problem that is not over.
    pub(super) fn last_error(&self) -> Option<&'static str> {
        self.failing.last().map(|(_, class)| *class)
    }

    fn failing(&mut self, topic: &'static str, class: &'static str) {
        self.resolved(topic);
        self.failing.push((topic, class));
    }

    fn resolved(&mut self, topic: &'static str) {
        self.failing.retain(|(failing, _)| *failing != topic);
    }
}

fn is_write(verb: Verb) -> bool {
    matches!(verb, Verb::Create | Verb::Update)
}

fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "getting",
        Verb::Create => "creating",
        Verb::Update => "updating",
        Verb::Watch => "watching",
    }
}
