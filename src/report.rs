//! What the program tells people: who leads on stdout, what went well or wrong in the log, each thing once. What it
//! tells is also counted.

mod lock;
pub(crate) mod log_once;

use self::lock::LockReport;
use self::log_once::LogOnce;
use crate::api::{Failure, Verb};
use crate::duration;
use crate::election::{Candidacy, Claim, Election};
use crate::lock::Locks;
use crate::logging::say_leader;
use crate::metrics::{Metrics, TermEnd};
use crate::record::STEP_DOWN_ANNOTATION;
use crate::status::Snapshot;
use crate::time::Time;
use log::{debug, error, info, warn};
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// A claim that was found to have ended longer ago than this is a sign that the process stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Remembers what was told, so that only news is.
pub struct Report {
    /// What it stands for.
    locks: Arc<Locks>,
    identity: Arc<str>,
    leader: String,
    claim: Option<Claim>,
    candidacy: Candidacy,
    /// What is checked of the application; empty where nothing is.
    checked: String,
    checks: LogOnce,
    /// What is wrong with the leader Service, in one word.
    service_trouble: Option<&'static str>,
    command_is_over: bool,
    leaving: bool,
    /// One for each of the locks.
    each: Vec<LockReport>,
    metrics: Arc<Metrics>,
}

impl Report {
    pub fn new(locks: Arc<Locks>, identity: Arc<str>, metrics: Arc<Metrics>) -> Report {
        let each = locks.names().map(|lock| LockReport::new(lock, identity.clone())).collect();
        Report {
            locks,
            identity,
            leader: String::new(),
            claim: None,
            candidacy: Candidacy::Standing,
            checked: String::new(),
            checks: LogOnce::default(),
            service_trouble: None,
            command_is_over: false,
            leaving: false,
            each,
            metrics,
        }
    }

    /// Tells what changed since the last call.
    pub fn state(&mut self, machines: &[Election], snapshot: &Snapshot, now: Time) {
        self.leadership(snapshot, now);
        self.candidacy(snapshot.candidacy);
        for (lock, machine) in self.each.iter_mut().zip(machines) {
            lock.content(machine, now);
        }
        let leader = snapshot.leader(now);
        if !leader.is_empty() && !snapshot.leads(now) {
            // Another leads, and nothing is to be written: whether that would work now is not known.
            self.each.iter_mut().for_each(LockReport::writes_are_over);
        }
        if leader != self.leader {
            leader.clone_into(&mut self.leader);
            if !leader.is_empty() {
                self.metrics.transitions.add();
                say_leader(leader);
            }
            match leader {
                "" => info!("nobody is known to lead {}", self.locks),
                _ if *leader == *self.identity => {}
                _ => info!("{leader:?} leads {}", self.locks),
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
            self.term_lost(&old, claim.is_some(), snapshot.candidacy, now);
        }
        if let Some(claim) = claim {
            self.metrics.terms_won.add();
            info!("leading {}, with the fencing token {}", self.locks, claim.fencing_token);
        }
    }

    /// Tells whether this candidate stands, if that has changed; of the end of a term there is more to say.
    fn candidacy(&mut self, candidacy: Candidacy) {
        let before = std::mem::replace(&mut self.candidacy, candidacy);
        match (before, candidacy) {
            (Candidacy::Unhealthy, Candidacy::Standing) => {
                info!("{} is healthy: standing for {}", self.checked, self.locks)
            }
            (Candidacy::StandingBack, Candidacy::Standing) => info!("standing for {} again", self.locks),
            _ => {}
        }
    }

    /// From now on the application is checked there.
    pub fn checks(&mut self, target: String) {
        self.checked = target;
        self.candidacy = Candidacy::Unhealthy;
    }

    /// What is wrong with the leader Service, in one word; `None` when that is over.
    pub fn service_trouble(&mut self, class: Option<&'static str>) {
        self.service_trouble = class;
    }

    pub fn command_started(&mut self, fencing_token: u64, pid: u32) {
        self.command_is_over = false;
        info!("the command runs as process {pid}, with the fencing token {fencing_token}");
    }

    /// The command has ended, and everything that it started; by itself, or because it was told to.
    pub fn command_ended(&mut self, status: ExitStatus, by_itself: bool) {
        self.command_is_over = by_itself;
        match by_itself {
            true => warn!("the command has ended by itself: {status}"),
            false => info!("the command has ended: {status}"),
        }
    }

    pub fn command_cannot_start(&self, error: &io::Error) {
        error!("the command cannot be started: {error}; leaving, so that another candidate can lead");
    }

    /// A check of the application ended.
    pub fn checked(&mut self, result: &Result<(), String>, now: Time) {
        const TOPIC: &str = "the check";
        match result {
            Ok(()) => {
                self.checks.over(TOPIC);
            }
            Err(why) if self.checks.is_news(TOPIC, why, now) => {
                warn!("{} is not healthy: {why}", self.checked);
            }
            Err(why) => debug!("{} is not healthy: {why}", self.checked),
        }
    }

    /// A term has ended; where the next has begun already, that is all there is to say.
    fn term_lost(&self, old: &Claim, leads_again: bool, candidacy: Candidacy, now: Time) {
        let end = match old.until {
            _ if self.leaving => TermEnd::Left,
            until if until.saturating_add(STOOD_STILL) <= now => TermEnd::StoodStill,
            until if until <= now => TermEnd::Expired,
            _ if candidacy == Candidacy::Unhealthy => TermEnd::Unhealthy,
            _ if candidacy == Candidacy::StandingBack => TermEnd::SteppedDown,
            _ => TermEnd::Replaced,
        };
        self.metrics.term_lost(end);
        match end {
            _ if leads_again => {}
            TermEnd::Left => info!("no longer leading {}: told to leave", self.locks),
            TermEnd::StoodStill => warn!(
                "no longer leading {} for {}s already: this process, or its machine, stood still",
                self.locks,
                now.since(old.until).as_secs()
            ),
            TermEnd::Expired => warn!(
                "no longer leading {}: no renewal was acknowledged in time{}",
                self.locks,
                self.each.iter().find_map(LockReport::why_not_renewed).unwrap_or_default()
            ),
            TermEnd::Unhealthy => warn!("no longer leading {}: {} is not healthy", self.locks, self.checked),
            TermEnd::SteppedDown if self.command_is_over => {
                info!("no longer leading {}: the command has ended; not standing for one lease", self.locks);
            }
            TermEnd::SteppedDown => info!(
                "no longer leading {}: asked to step down by the annotation {STEP_DOWN_ANNOTATION}; not standing for one \
                 lease from the release on",
                self.locks
            ),
            TermEnd::Replaced => warn!("no longer leading {}: another record stands in the lock", self.locks),
        }
    }

    /// From now on an end of leadership is as it should be. `release_delay` is that of a lock which is held.
    pub fn leaving(&mut self, release_delay: Option<Duration>) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        match release_delay {
            None => info!("told to leave"),
            Some(Duration::ZERO) => info!("told to leave: releasing {}", self.locks),
            Some(delay) => info!("told to leave: keeping {} for {} more", self.locks, duration::format(delay)),
        }
    }

    /// The end: whether others can take over at once, or have to wait.
    pub fn left(&self, machines: &[Election]) {
        for (lock, machine) in self.each.iter().zip(machines) {
            lock.left(machine);
        }
    }

    /// A request about the lock at `index` worked.
    pub fn success(&mut self, index: usize, verb: Verb) {
        self.each[index].success(verb);
    }

    /// A request about the lock at `index` failed.
    pub fn failure(&mut self, index: usize, verb: Verb, failure: &Failure, now: Time) {
        self.each[index].failure(verb, failure, now);
    }

    /// The class of what went wrong last and is not over.
    pub fn last_error(&self) -> Option<&'static str> {
        let unhealthy = (self.candidacy == Candidacy::Unhealthy).then_some("unhealthy");
        let of_locks = || self.each.iter().rev().find_map(LockReport::last_error);
        unhealthy.or_else(of_locks).or(self.service_trouble)
    }
}
