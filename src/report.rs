//! What the program tells people: who leads on stdout, what went well or wrong in the log, each thing once. What it
//! tells is also counted.

use crate::api::{Failure, FailureKind, Verb};
use crate::clock::Time;
use crate::duration;
use crate::election::Election;
use crate::lock::LockName;
use crate::logging::say_leader;
use crate::metrics::{Metrics, TermEnd};
use crate::record::Content;
use crate::status::{Claim, Snapshot};
use crate::troubles::Troubles;
use log::{debug, error, info, warn};
use std::sync::Arc;
use std::time::Duration;

/// A claim that was found to have ended longer ago than this is a sign that the process stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// The topic of troubles with what the lock holds; those of requests are named after their verbs.
const RECORD: &str = "the record";

/// Remembers what was told, so that only news is.
pub struct Report {
    lock: LockName,
    identity: Arc<str>,
    leader: String,
    claim: Option<Claim>,
    leaving: bool,
    name_taken_by: Option<Content>,
    unreadable: Option<Content>,
    troubles: Troubles,
    /// Why the last write failed, if the last one did.
    failed_write: Option<String>,
    /// What is wrong and not over, by topic, the newest last, in one word each.
    wrong: Vec<(&'static str, &'static str)>,
    metrics: Arc<Metrics>,
}

impl Report {
    pub fn new(lock: LockName, identity: Arc<str>, metrics: Arc<Metrics>) -> Report {
        Report {
            lock,
            identity,
            leader: String::new(),
            claim: None,
            leaving: false,
            name_taken_by: None,
            unreadable: None,
            troubles: Troubles::default(),
            failed_write: None,
            wrong: Vec::new(),
            metrics,
        }
    }

    /// Tells what changed since the last call.
    pub fn state(&mut self, machine: &Election, snapshot: &Snapshot, now: Time) {
        self.leadership(snapshot, now);
        self.lock_content(machine, now);
        let leader = snapshot.leader(now);
        if !leader.is_empty() && !snapshot.leads(now) {
            // Another leads, and nothing is to be written: whether that would work now is not known.
            self.right(name(Verb::Create));
            self.right(name(Verb::Update));
        }
        if leader != self.leader {
            leader.clone_into(&mut self.leader);
            if !leader.is_empty() {
                self.metrics.transitions.add();
                say_leader(leader);
            }
            match leader {
                "" => info!("nobody is known to lead {}", self.lock),
                _ if *leader == *self.identity => {}
                _ => info!("{leader:?} leads {}", self.lock),
            }
        }
    }

    fn leadership(&mut self, snapshot: &Snapshot, now: Time) {
        let claim = snapshot.claim_at(now);
        let old = std::mem::replace(&mut self.claim, claim);
        let token = |claim: &Claim| claim.fencing_token;
        if claim.as_ref().map(token) == old.as_ref().map(token) {
            return;
        }
        if let Some(old) = old {
            self.term_lost(&old, claim.is_some(), now);
        }
        if let Some(claim) = claim {
            self.metrics.terms_won.add();
            info!("leading {}, with the fencing token {}", self.lock, claim.fencing_token);
        }
    }

    /// A term has ended; where the next has begun already, that is all there is to say.
    fn term_lost(&self, old: &Claim, leads_again: bool, now: Time) {
        let end = match old.until {
            _ if self.leaving => TermEnd::Left,
            until if until.saturating_add(STOOD_STILL) <= now => TermEnd::StoodStill,
            until if until <= now => TermEnd::Expired,
            _ => TermEnd::Replaced,
        };
        self.metrics.term_lost(end);
        match end {
            _ if leads_again => {}
            TermEnd::Left => info!("no longer leading {}: told to leave", self.lock),
            TermEnd::StoodStill => warn!(
                "no longer leading {} for {}s already: this process, or its machine, stood still",
                self.lock,
                now.saturating_sub(old.until).as_secs()
            ),
            TermEnd::Expired => warn!(
                "no longer leading {}: no renewal was acknowledged in time{}",
                self.lock,
                match &self.failed_write {
                    _ if self.unreadable.is_some() => "; the record in the lock cannot be read".to_owned(),
                    Some(why) => format!("; the last one: {why}"),
                    None => String::new(),
                }
            ),
            TermEnd::Replaced => warn!("no longer leading {}: another record stands in the lock", self.lock),
        }
    }

    fn lock_content(&mut self, machine: &Election, now: Time) {
        let content = machine.lock().map(|lock| &lock.content);
        let unreadable = content.filter(|content| matches!(content, Content::Unreadable { .. }));
        if unreadable != self.unreadable.as_ref() {
            if let Some(Content::Unreadable { text, why }) = unreadable
                && self.troubles.is_news(RECORD, why, now)
            {
                let text: String = text.escape_debug().take(200).collect();
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
            (Some(_), Some(_)) if self.troubles.is_news("the name", "", now) => error!(
                "another process renews {} under this candidate's own name, {identity:?}: give each replica an --id of \
                 its own (the default, the hostname, is the same for pods that use the host's network)",
                self.lock
            ),
            _ => {}
        }
    }

    /// From now on an end of leadership is as it should be. `release_delay` is that of a lock which is held.
    pub fn leaving(&mut self, release_delay: Option<Duration>) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        match release_delay {
            None => info!("told to leave"),
            Some(Duration::ZERO) => info!("told to leave: releasing {}", self.lock),
            Some(delay) => info!("told to leave: keeping {} for {} more", self.lock, duration::format(delay)),
        }
    }

    /// The end: whether others can take over at once, or have to wait.
    pub fn left(&self, machine: &Election) {
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
    pub fn success(&mut self, verb: Verb) {
        if is_write(verb) {
            self.failed_write = None;
            self.right(name(Verb::Create)); // the object that could not be created is there
        }
        self.right(name(verb));
        if self.troubles.over(name(verb)) {
            info!("{} {} works again", name(verb), self.lock);
        }
    }

    /// A request failed.
    pub fn failure(&mut self, verb: Verb, failure: &Failure, now: Time) {
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
        if expected || !self.troubles.is_news(name(verb), &message, now) {
            debug!("{message}");
        } else {
            warn!("{message}");
        }
    }

    /// The class of what went wrong last and is not over.
    pub fn last_error(&self) -> Option<&'static str> {
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
