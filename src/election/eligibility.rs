//! Whether this candidate stands for its locks: while its application is well, and while it leaves them to nobody else.

use super::gate::Gate;
use super::{Candidacy, Settings};
use crate::time::Time;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Eligibility {
    lease: Duration,
    gate: Gate,
    /// It gives the locks up, and does not stand before it has; for how long it then leaves them to others.
    leaves: Option<Duration>,
    /// Until when others may try.
    back_until: Time,
}

impl Eligibility {
    pub(super) fn new(settings: &Settings) -> Eligibility {
        Eligibility {
            lease: settings.lease,
            gate: Gate::new(settings.health_failures, settings.retry_period),
            leaves: None,
            back_until: Time::ZERO,
        }
    }

    /// Whether it would lead if the locks were free, unless it has been told to stop.
    pub(super) fn candidacy(&self, now: Time) -> Candidacy {
        match self.leaves {
            _ if !self.gate.is_open() => Candidacy::Unhealthy,
            Some(_) => Candidacy::StandingBack,
            None if now < self.back_until => Candidacy::StandingBack,
            None => Candidacy::Standing,
        }
    }

    /// Takes in a check of the application. Returns whether the candidate has to give its locks up because of it.
    pub(super) fn checked(&mut self, now: Time, healthy: bool, leads: bool) -> bool {
        let was_open = self.gate.is_open();
        self.gate.checked(now, healthy, leads);
        was_open && !self.gate.is_open()
    }

    /// Whether it is giving the locks up.
    pub(super) fn leaves(&self) -> bool {
        self.leaves.is_some()
    }

    /// It gives the locks up, and leaves them to others for `back` from then on.
    pub(super) fn leave(&mut self, back: Duration) {
        self.leaves = Some(back.max(self.leaves.unwrap_or_default()));
    }

    /// It holds no lock. If it was to give them up, others may try from now on.
    pub(super) fn holds_nothing(&mut self, now: Time) {
        if let Some(back) = self.leaves.take() {
            self.back_until = self.back_until.max(now.saturating_add(back));
        }
    }

    /// It releases a lock. A write that nobody had answered may have put the own record into a lock that seemed to be given up:
    /// then others can try only now.
    pub(super) fn releases(&mut self, now: Time) {
        if now < self.back_until {
            self.stand_back(now);
        }
    }

    /// It leaves the locks to others for one lease.
    pub(super) fn stand_back(&mut self, from: Time) {
        self.back_until = from.saturating_add(self.lease);
    }

    pub(super) fn back_until(&self) -> Time {
        self.back_until
    }
}
