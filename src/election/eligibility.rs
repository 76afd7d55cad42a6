//! Whether this candidate tries to take the locks at all: not while its application is unhealthy, nor while it leaves them
//! to others.

use super::gate::Gate;
use super::{Candidacy, Settings};
use crate::time::Time;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Eligibility {
    lease: Duration,
    gate: Gate,
    /// Set while it is giving the locks up: for how long it leaves them to others when it no longer holds any.
    leaves: Option<Duration>,
    /// When it last began to leave the locks to others, for L, because it held none any more.
    left_at: Option<Time>,
}

impl Eligibility {
    pub(super) fn new(settings: &Settings) -> Eligibility {
        Eligibility {
            lease: settings.lease,
            gate: Gate::new(settings.health_failures, settings.retry_period),
            leaves: None,
            left_at: None,
        }
    }

    /// Whether it would lead if the locks were free, unless it was told to stop.
    pub(super) fn candidacy(&self, now: Time) -> Candidacy {
        match self.leaves {
            _ if !self.gate.is_open() => Candidacy::Unhealthy,
            Some(_) => Candidacy::StandingBack,
            None if self.back_until().is_some_and(|until| now < until) => Candidacy::StandingBack,
            None => Candidacy::Standing,
        }
    }

    /// Processes the result of a health check. Returns whether the candidate must give up its locks because of it.
    pub(super) fn checked(&mut self, now: Time, healthy: bool, leads: bool) -> bool {
        let was_open = self.gate.is_open();
        self.gate.checked(now, healthy, leads);
        was_open && !self.gate.is_open()
    }

    /// L.
    pub(super) fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether it is giving the locks up to leave them to others.
    pub(super) fn leaves_to_others(&self) -> bool {
        self.leaves.is_some_and(|back| !back.is_zero())
    }

    /// It gives up the locks, and then leaves them to others for `back`, which is L or nothing.
    pub(super) fn leave(&mut self, back: Duration) {
        self.leaves = Some(back.max(self.leaves.unwrap_or_default()));
    }

    /// It holds no lock. If it gave them up, the time begins in which it leaves them to others.
    pub(super) fn holds_none(&mut self, now: Time) {
        if self.leaves_to_others() {
            self.left_at = Some(now);
        }
        self.leaves = None;
    }

    /// Whether a record in a lock, which this candidate wrote at `sent`, is one that it had left to others: an unanswered
    /// write was carried out late, and others could not take the lock.
    pub(super) fn had_left(&self, sent: Time) -> bool {
        self.left_at.is_some_and(|left_at| sent <= left_at)
    }

    /// Until when it leaves the locks to others.
    pub(super) fn back_until(&self) -> Option<Time> {
        self.left_at.map(|left_at| left_at.saturating_add(self.lease))
    }
}
