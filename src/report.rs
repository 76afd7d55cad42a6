//! What the program reports: the leader on stdout, events and problems in the log, each once, and the metrics of both.

mod lock;
pub(crate) mod log_once;

use self::lock::LockReporter;
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

/// A claim that ended longer ago than this means that the process was paused.
const PAUSED: Duration = Duration::from_secs(1);

const COMMAND_CHECKED: &str = "; if the command itself is checked, no candidate will ever lead, because the command runs only on \
                               the leader";

/// Remembers what was reported, so that only changes are.
pub struct Reporter {
    /// The locks it competes for.
    locks: Arc<Locks>,
    identity: Arc<str>,
    leader: String,
    claim: Option<Claim>,
    candidacy: Candidacy,
    /// The address of the health check; empty if there is none.
    checked: String,
    checks: LogOnce,
    /// In run mode.
    runs_command: bool,
    /// The class of the problem with the leader Service.
    service_problem: Option<&'static str>,
    command_is_over: bool,
    leaving: bool,
    /// One for each lock.
    each: Vec<LockReporter>,
    metrics: Arc<Metrics>,
}

impl Reporter {
    pub fn new(locks: Arc<Locks>, identity: Arc<str>, metrics: Arc<Metrics>) -> Reporter {
        let each = locks.names().map(|lock| LockReporter::new(lock, identity.clone())).collect();
        Reporter {
            locks,
            identity,
            leader: String::new(),
            claim: None,
            candidacy: Candidacy::Standing,
            checked: String::new(),
            checks: LogOnce::default(),
            runs_command: false,
            service_problem: None,
            command_is_over: false,
            leaving: false,
            each,
            metrics,
        }
    }

    /// Reports what changed since the last call.
    pub fn state(&mut self, machines: &[Election], snapshot: &Snapshot, now: Time) {
        self.leadership(snapshot, now);
        self.candidacy(snapshot.candidacy);
        for (lock, machine) in self.each.iter_mut().zip(machines) {
            lock.content(machine, now);
        }
        let leader = snapshot.leader(now);
        if !leader.is_empty() && !snapshot.leads(now) {
            // Another candidate leads and this one writes nothing, so it is not known whether a write would succeed
            // now.
            self.each.iter_mut().for_each(LockReporter::clear_write_errors);
        }
        if leader != self.leader {
            leader.clone_into(&mut self.leader);
            if !leader.is_empty() {
                self.metrics.transitions.add();
                say_leader(leader);
            }
            match leader {
                "" => info!("{} has no known leader", self.locks),
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

    /// Reports that this candidate stands again. The end of a term is reported by `term_lost`.
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

    /// The application at `target` is checked from now on.
    pub fn checks(&mut self, target: String) {
        self.checked = target;
        self.candidacy = Candidacy::Unhealthy;
    }

    /// A command runs while this candidate leads.
    pub fn runs_command(&mut self) {
        self.runs_command = true;
    }

    /// The class of the problem with the leader Service; `None` when it is over.
    pub fn service_problem(&mut self, class: Option<&'static str>) {
        self.service_problem = class;
    }

    pub fn command_started(&mut self, fencing_token: u64, pid: u32) {
        self.command_is_over = false;
        info!("the command runs as process {pid}, with the fencing token {fencing_token}");
    }

    /// The command and all processes that it started have ended, `by_itself` or because they were stopped.
    pub fn command_ended(&mut self, status: ExitStatus, by_itself: bool) {
        self.command_is_over = by_itself;
        match by_itself {
            true => warn!("the command has ended by itself: {status}"),
            false => info!("the command has ended: {status}"),
        }
    }

    pub fn command_cannot_start(&self, error: &io::Error) {
        error!("cannot start the command: {error}; stopping, so that another candidate can lead");
    }

    /// A health check of the application ended.
    pub fn checked(&mut self, result: &Result<(), String>, now: Time) {
        const TOPIC: &str = "the check";
        match result {
            Ok(()) => {
                self.checks.over(TOPIC);
            }
            Err(why) if self.checks.should_log(TOPIC, why, now) => {
                let waits_for_command = self.runs_command && self.claim.is_none();
                let advice = if waits_for_command { COMMAND_CHECKED } else { "" };
                warn!("{} is not healthy: {why}{advice}", self.checked);
            }
            Err(why) => debug!("{} is not healthy: {why}", self.checked),
        }
    }

    /// A term has ended. If the next one has already begun, only counts it.
    fn term_lost(&self, old: &Claim, leads_again: bool, candidacy: Candidacy, now: Time) {
        let end = match old.until {
            _ if self.leaving => TermEnd::Left,
            until if until.saturating_add(PAUSED) <= now => TermEnd::StoodStill,
            until if until <= now => TermEnd::Expired,
            _ if candidacy == Candidacy::Unhealthy => TermEnd::Unhealthy,
            _ if candidacy == Candidacy::StandingBack => TermEnd::SteppedDown,
            _ => TermEnd::Replaced,
        };
        self.metrics.term_lost(end);
        match end {
            _ if leads_again => {}
            TermEnd::Left => info!("no longer leading {}: stopping", self.locks),
            TermEnd::StoodStill => warn!(
                "no longer leading {}: the claim ended {}s ago, while this process or its machine was paused",
                self.locks,
                now.since(old.until).as_secs()
            ),
            TermEnd::Expired => warn!(
                "no longer leading {}: no renewal was acknowledged in time{}",
                self.locks,
                self.each.iter().find_map(LockReporter::why_not_renewed).unwrap_or_default()
            ),
            TermEnd::Unhealthy => warn!("no longer leading {}: {} is not healthy", self.locks, self.checked),
            TermEnd::SteppedDown if self.command_is_over => {
                info!("no longer leading {}: the command has ended; not standing for one lease", self.locks);
            }
            TermEnd::SteppedDown => info!(
                "no longer leading {}: asked to step down by the annotation {STEP_DOWN_ANNOTATION}; not standing until \
                 one lease after the release",
                self.locks
            ),
            TermEnd::Replaced => warn!("no longer leading {}: the lock holds another record", self.locks),
        }
    }

    /// The program stops: the end of a term is expected from now on. `release_delay` is set if a lock is held.
    pub fn leaving(&mut self, release_delay: Option<Duration>) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        match release_delay {
            None => info!("stopping"),
            Some(Duration::ZERO) => info!("stopping: releasing {}", self.locks),
            Some(delay) => info!("stopping: keeping {} for {} more", self.locks, duration::format(delay)),
        }
    }

    /// The end of the program: reports whether others can take over at once or have to wait.
    pub fn left(&self, machines: &[Election]) {
        for (lock, machine) in self.each.iter().zip(machines) {
            lock.left(machine);
        }
    }

    /// A request for the lock at `index` succeeded.
    pub fn success(&mut self, index: usize, verb: Verb) {
        self.each[index].success(verb);
    }

    /// A request for the lock at `index` failed.
    pub fn failure(&mut self, index: usize, verb: Verb, failure: &Failure, now: Time) {
        self.each[index].failure(verb, failure, now);
    }

    /// The class of the last problem that is not over.
    pub fn last_error(&self) -> Option<&'static str> {
        let unhealthy = (self.candidacy == Candidacy::Unhealthy).then_some("unhealthy");
        let of_locks = || self.each.iter().rev().find_map(LockReporter::last_error);
        unhealthy.or_else(of_locks).or(self.service_problem)
    }
}
