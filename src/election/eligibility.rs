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
    /// For how long it has left the locks to others since its last acquisition.
    left_for: Duration,
    /// Until when it leaves the locks to others.
    back_until: Time,
}

impl Eligibility {
    pub(super) fn new(settings: &Settings) -> Eligibility {
        Eligibility {
            lease: settings.lease,
            gate: Gate::new(settings.health_failures, settings.retry_period),
            leaves: None,
            left_for: Duration::ZERO,
            back_until: Time::ZERO,
        }
    }

    /// Whether it would lead if the locks were free, unless it was told to stop.
    pub(super) fn candidacy(&self, now: Time) -> Candidacy {
        match self.leaves {
            _ if !self.gate.is_open() => Candidacy::Unhealthy,
            Some(_) => Candidacy::StandingBack,
            None if now < self.back_until => Candidacy::StandingBack,
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

    /// Whether it is giving the locks up.
    pub(super) fn leaves(&self) -> bool {
        self.leaves.is_some()
    }

    /// It gives up the locks, and then leaves them to others for `back`.
    pub(super) fn leave(&mut self, back: Duration) {
        self.leaves = Some(back.max(self.leaves.unwrap_or_default()));
    }

    /// Notes whether it holds a lock. When it holds none, the time begins in which it leaves them to others. It begins
    /// again if the candidate turns out to hold one: then an unanswered write had put the own record into the lock, and
    /// others could not take it.
    pub(super) fn note_holding(&mut self, now: Time, holds: bool) {
        if !holds && let Some(back) = self.leaves.take() {
            self.left_for = self.left_for.max(back);
            self.back_until = self.back_until.max(now.saturating_add(back));
        } else if holds && !self.left_for.is_zero() {
            self.leave(self.left_for);
        }
    }

    /// It sends an acquisition.
    pub(super) fn acquires(&mut self) {
        self.left_for = Duration::ZERO;
    }

    pub(super) fn back_until(&self) -> Time {
        self.back_until
    }
}
