//! What people are told of one lock: what is in it, and which requests fail.

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

/// The topic of troubles with what the lock holds; those of requests are named after their verbs.
const RECORD: &str = "the record";

/// Remembers what was told of one lock.
pub(super) struct LockReport {
    lock: LockName,
    identity: Arc<str>,
    name_taken_by: Option<Content>,
    unreadable: Option<Content>,
    /// Whether the object was there when it was last seen.
    exists: bool,
    log_once: LogOnce,
    /// Why the last write failed, if the last one did.
    failed_write: Option<String>,
    /// What is wrong and not over, by topic, the newest last, in one word each.
    wrong: Vec<(&'static str, &'static str)>,
}

impl LockReport {
    pub(super) fn new(lock: LockName, identity: Arc<str>) -> LockReport {
        LockReport {
            lock,
            identity,
            name_taken_by: None,
            unreadable: None,
            exists: false,
            log_once: LogOnce::default(),
            failed_write: None,
            wrong: Vec::new(),
        }
    }

    /// Why the lock could not be renewed, as far as is known, to be put behind a sentence.
    pub(super) fn why_not_renewed(&self) -> Option<String> {
        match &self.failed_write {
            _ if self.unreadable.is_some() => Some(format!("; the record in {} cannot be read", self.lock)),
            Some(why) => Some(format!("; the last one: {why}")),
            None => None,
        }
    }

    /// Nothing is to be written for now: whether that would work is not known.
    pub(super) fn writes_are_over(&mut self) {
        self.right(name(Verb::Create));
        self.right(name(Verb::Update));
    }

    /// Tells what stands in the lock, if that is news.
    pub(super) fn content(&mut self, machine: &Election, now: Time) {
        self.existence(machine, now);
        let content = machine.lock().map(|lock| &lock.content);
        let unreadable = content.filter(|content| matches!(content, Content::Unreadable { .. }));
        if unreadable != self.unreadable.as_ref() {
            if let Some(Content::Unreadable { text, why }) = unreadable
                && self.log_once.is_news(RECORD, why, now)
            {
                let text = escaped(text.as_bytes());
                error!(
                    "the record in {} cannot be read ({why}): \"{text}\"; it counts as held until it has not changed \
                     for one lease, then it is overwritten",
                    self.lock
                );
            }
            match unreadable {
                Some(_) => self.wrong(RECORD, "unreadable"),
                None => self.right(RECORD),
            }
            self.unreadable = unreadable.cloned();
        }
        self.clone_of_this(machine, content.filter(|_| machine.name_is_taken()), now);
    }

    /// A lock that others delete is written anew, by its holder at once.
    fn existence(&mut self, machine: &Election, now: Time) {
        let Some(sight) = machine.lock() else { return };
        let existed = std::mem::replace(&mut self.exists, sight.version.is_some());
        if existed && !self.exists && self.log_once.is_news("the object", "", now) {
            let lock = &self.lock;
            let advice = match lock.kind {
                LockKind::Endpoints => format!(
                    "; newer controller managers delete, when they start, Endpoints without a Service of the same name: \
                     create a Service {:?} without a selector, or move to --lock=leases",
                    lock.name
                ),
                LockKind::ConfigMaps | LockKind::Leases => String::new(),
            };
            warn!("somebody deleted {lock}: it is written anew{advice}");
        }
    }

    /// S9: a record under the own name that this process did not write, once or again and again.
    fn clone_of_this(&mut self, machine: &Election, record: Option<&Content>, now: Time) {
        if record == self.name_taken_by.as_ref() {
            return;
        }
        let before = std::mem::replace(&mut self.name_taken_by, record.cloned());
        let identity = self.identity.clone();
        match (record, before) {
            (Some(_), None) if machine.claim().is_none() => info!(
                "{} is held under this candidate's own name, {identity:?}, in a record that this process did not write: \
                 it is left alone until its lease has run out, or its writer is known to be dead",
                self.lock
            ),
            // Each of its renewals comes here.
            (Some(_), Some(_)) if self.log_once.is_news("the name", "", now) => error!(
                "another process renews {} under this candidate's own name, {identity:?}: give each replica an --id of \
                 its own (the default, the hostname, is the same for pods that use the host's network)",
                self.lock
            ),
            _ => {}
        }
    }

    /// The end: whether others can take over at once, or have to wait.
    pub(super) fn left(&self, machine: &Election) {
        let lock = &self.lock;
        match machine.lock().map(|lock| &lock.content) {
            Some(Content::Record(record)) if record.is_free() => info!("nobody holds {lock} any more: leaving"),
            Some(Content::Record(record)) if record.holder == self.identity && !machine.name_is_taken() => {
                let lease = duration::format(record.lease());
                warn!("{lock} could not be released: it can be taken only when its lease of {lease} has run out");
            }
            _ => {}
        }
    }

    /// A request worked.
    pub(super) fn success(&mut self, verb: Verb) {
        if is_write(verb) {
            self.failed_write = None;
            self.right(name(Verb::Create)); // the object that could not be created is there
        }
        self.right(name(verb));
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
        // To lose a race, or to find the lock gone, is part of an election.
        let expected = matches!(failure.kind, FailureKind::Conflict | FailureKind::Expired)
            || failure.kind == FailureKind::Absent && verb != Verb::Create;
        if expected {
            self.right(name(verb));
        } else {
            self.wrong(name(verb), failure.class().name());
        }
        if expected || !self.log_once.is_news(name(verb), &message, now) {
            debug!("{message}");
        } else {
            warn!("{message}");
        }
    }

    /// The class of what went wrong last and is not over.
    pub(super) fn last_error(&self) -> Option<&'static str> {
        self.wrong.last().map(|(_, class)| *class)
    }

    fn wrong(&mut self, topic: &'static str, class: &'static str) {
        self.right(topic);
        self.wrong.push((topic, class));
    }

    fn right(&mut self, topic: &'static str) {
        self.wrong.retain(|(wrong, _)| *wrong != topic);
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
