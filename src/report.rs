//! What the program tells people: who leads on stdout, what went well or wrong in the log, each thing once.

use crate::api::{Failure, FailureKind, Verb};
use crate::clock::Time;
use crate::duration;
use crate::election::Election;
use crate::lock::LockName;
use crate::logging::say_leader;
use crate::record::Content;
use crate::status::{Claim, Snapshot};
use log::{debug, error, info, warn};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A trouble that lasts is told again after this long.
const REMIND_AFTER: Duration = Duration::from_secs(300);
/// What fails now and then does not work again: it must have worked for this long.
const CALM: Duration = Duration::from_secs(30);
/// So many different messages on one topic are told within [`REMIND_AFTER`].
const MOST_MESSAGES: usize = 5;
/// A claim that was found to have ended longer ago than this is a sign that the process stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Remembers what was told, so that only news is.
pub struct Report {
    lock: LockName,
    identity: Arc<str>,
    leader: String,
    claim: Option<Claim>,
    leaving: bool,
    name_taken_by: Option<Content>,
    unreadable: Option<Content>,
    troubles: HashMap<&'static str, Trouble>,
}

/// What went wrong with one kind of request, or one thing about the lock.
#[derive(Default)]
struct Trouble {
    /// The messages told lately, and when.
    told: Vec<(String, Time)>,
    /// When it last went wrong.
    at: Time,
    /// It worked since.
    works: bool,
}

impl Report {
    pub fn new(lock: LockName, identity: Arc<str>) -> Report {
        Report {
            lock,
            identity,
            leader: String::new(),
            claim: None,
            leaving: false,
            name_taken_by: None,
            unreadable: None,
            troubles: HashMap::new(),
        }
    }

    /// Tells what changed since the last call.
    pub fn state(&mut self, machine: &Election, snapshot: &Snapshot, now: Time) {
        self.leadership(snapshot, now);
        self.lock_content(machine, now);
        self.recoveries(now);
        let leader = snapshot.leader(now);
        if leader != self.leader {
            leader.clone_into(&mut self.leader);
            if !leader.is_empty() {
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
        let claim = snapshot.claim.filter(|claim| now < claim.until);
        let token = |claim: &Claim| claim.fencing_token;
        if claim.as_ref().map(token) != self.claim.as_ref().map(token) {
            match (claim, self.claim) {
                (Some(claim), _) => info!("leading {}, with the fencing token {}", self.lock, claim.fencing_token),
                (None, Some(_)) if self.leaving => info!("no longer leading {}: told to leave", self.lock),
                (None, Some(old)) if old.until.saturating_add(STOOD_STILL) <= now => warn!(
                    "no longer leading {} for {}s already: this process, or its machine, stood still",
                    self.lock,
                    now.saturating_sub(old.until).as_secs()
                ),
                (None, Some(old)) if old.until <= now => {
                    warn!("no longer leading {}: no renewal was acknowledged in time", self.lock);
                }
                (None, Some(_)) => warn!("no longer leading {}: another record stands in the lock", self.lock),
                (None, None) => {}
            }
        }
        self.claim = claim;
    }

    fn lock_content(&mut self, machine: &Election, now: Time) {
        let content = machine.lock().map(|lock| &lock.content);
        let unreadable = content.filter(|content| matches!(content, Content::Unreadable { .. }));
        if unreadable != self.unreadable.as_ref() {
            if let Some(Content::Unreadable { text, why }) = unreadable
                && self.is_news("the record", why, now)
            {
                let text: String = text.escape_debug().take(200).collect();
                error!(
                    "the record in {} cannot be read ({why}): \"{text}\"; it counts as held until it has not changed \
                     for one lease, then it is overwritten",
                    self.lock
                );
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
            (Some(_), Some(_)) if self.is_news("the name", "", now) => error!(
                "another process renews {} under this candidate's own name, {identity:?}: give each replica an --id of \
                 its own (the default, the hostname, is the same for pods that use the host's network)",
                self.lock
            ),
            _ => {}
        }
    }

    /// From now on an end of leadership is as it should be.
    pub fn leaving(&mut self, signal_delay: Duration) {
        self.leaving = true;
        match signal_delay {
            Duration::ZERO => info!("told to leave: releasing {}", self.lock),
            delay => info!("told to leave: keeping {} for {} more", self.lock, duration::format(delay)),
        }
    }

    /// A request worked.
    pub fn success(&mut self, verb: Verb) {
        if let Some(trouble) = self.troubles.get_mut(name(verb)) {
            trouble.works = true;
        }
    }

    fn recoveries(&mut self, now: Time) {
        let lock = &self.lock;
        self.troubles.retain(|topic, trouble| {
            let over = trouble.works && now >= trouble.at.saturating_add(CALM);
            if over {
                info!("{topic} {lock} works again");
            }
            !over
        });
    }

    /// A request failed.
    pub fn failure(&mut self, verb: Verb, failure: &Failure, now: Time) {
        let message = failure.message.as_str();
        // To lose a race, or to find the lock gone, is part of an election.
        let expected = matches!(failure.kind, FailureKind::Conflict | FailureKind::Expired)
            || failure.kind == FailureKind::Absent && verb != Verb::Create;
        match !expected && self.is_news(name(verb), message, now) {
            true => warn!("{message}"),
            false => debug!("{message}"),
        }
    }

    /// Whether this message was not told on this topic lately. Nobody can flood the log with ever new messages.
    fn is_news(&mut self, topic: &'static str, message: &str, now: Time) -> bool {
        let trouble = self.troubles.entry(topic).or_default();
        trouble.at = now;
        trouble.works = false;
        trouble.told.retain(|(_, at)| now < at.saturating_add(REMIND_AFTER));
        let news = trouble.told.len() < MOST_MESSAGES && trouble.told.iter().all(|(told, _)| told != message);
        if news {
            trouble.told.push((message.to_owned(), now));
        }
        news
    }
}

fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "getting",
        Verb::Create => "creating",
        Verb::Update => "updating",
        Verb::Watch => "watching",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FailureKind;
    use crate::lock::LockKind;

    const START: Time = Time::from_secs(1000);

    fn report() -> Report {
        let lock = LockName { kind: LockKind::Leases, namespace: "default".into(), name: "x".into() };
        Report::new(lock, "me".into())
    }

    fn fail(report: &mut Report, now: Time) {
        let failure = Failure::new(FailureKind::Unknown, Verb::Update, &report.lock, "lost");
        report.failure(Verb::Update, &failure, now);
    }

    #[test]
    fn a_trouble_is_over_when_it_has_worked_for_some_time() {
        let mut report = report();
        fail(&mut report, START);
        report.recoveries(START + 2 * CALM);
        assert_eq!(report.troubles.len(), 1, "nothing has worked since");
        report.success(Verb::Get);
        report.success(Verb::Update);
        report.recoveries(START + CALM / 2);
        assert_eq!(report.troubles.len(), 1, "it has not worked for long");
        fail(&mut report, START + CALM / 2);
        report.success(Verb::Update);
        report.recoveries(START + CALM);
        assert_eq!(report.troubles.len(), 1, "it failed meanwhile");
        report.recoveries(START + CALM / 2 + CALM);
        assert_eq!(report.troubles.len(), 0);
    }

    #[test]
    fn a_trouble_that_lasts_is_told_again_and_a_new_one_at_once() {
        let mut report = report();
        assert!(report.is_news("updating", "lost", START));
        assert!(!report.is_news("updating", "lost", START + REMIND_AFTER / 2));
        assert!(report.is_news("updating", "refused", START + REMIND_AFTER / 2));
        assert!(report.is_news("watching", "lost", START + REMIND_AFTER / 2));
        assert!(report.is_news("updating", "lost", START + REMIND_AFTER));
        let told = (0..100).filter(|n| report.is_news("getting", &n.to_string(), START)).count();
        assert_eq!(told, MOST_MESSAGES);
    }
}
