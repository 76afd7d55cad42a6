//! From when on the locks of a candidate may be released.

use super::{Claim, RELEASE_LIMIT, Settings};
use crate::time::Time;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct ReleaseTime {
    /// L - D.
    margin: Duration,
    delay: Duration,
    /// The claim after the last step.
    claim: Option<Claim>,
    /// Until when nobody else may lead, because of a claim that was made.
    protected_until: Time,
    /// Until when the release delay lasts.
    kept_until: Time,
    stopped: bool,
    /// After Stop: since when releasing is all that is left to do.
    since: Option<Time>,
}

impl ReleaseTime {
    pub(super) fn new(settings: &Settings) -> ReleaseTime {
        ReleaseTime {
            margin: settings.lease.saturating_sub(settings.renew_deadline),
            delay: settings.release_delay,
            claim: None,
            protected_until: Time::ZERO,
            kept_until: Time::ZERO,
            stopped: false,
            since: None,
        }
    }

    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Returns whether that is new.
    pub(super) fn stop(&mut self) -> bool {
        !std::mem::replace(&mut self.stopped, true)
    }

    /// A claim that has lapsed, whatever happens next.
    pub(super) fn note_lapse(&mut self, now: Time) {
        if let Some(lapsed) = self.claim.take_if(|claim| claim.until <= now) {
            self.protect(lapsed.until);
        }
    }

    /// The claim after a step: one that has ended though it had not lapsed was made until now.
    pub(super) fn note_claim(&mut self, now: Time, claim: Option<Claim>) {
        let before = std::mem::replace(&mut self.claim, claim);
        if before.is_some() && claim.is_none() {
            self.protect(now);
        }
    }

    /// Somebody may have claimed until this moment.
    pub(super) fn protect(&mut self, claimed_until: Time) {
        let until = claimed_until.saturating_add(self.margin);
        self.protected_until = self.protected_until.max(until);
    }

    /// A claim that ends by the own will is protected by the release delay alone; one that had ended before, as ever.
    pub(super) fn end_claim(&mut self, now: Time, holds_all: bool) {
        if holds_all {
            self.kept_until = self.kept_until.max(now.saturating_add(self.delay));
        }
        if self.claim.take().is_some() {
            self.protected_until = Time::ZERO;
        }
    }

    /// Whether no lock may be released yet. `works`: what was started for the leadership goes on.
    pub(super) fn is_to_come(&mut self, now: Time, works: bool) -> bool {
        let to_come = works || now < self.protected_until || now < self.kept_until;
        if self.stopped && !to_come {
            self.since.get_or_insert(now);
        }
        to_come
    }

    /// Until when nobody else may lead, because of a claim that was made.
    pub(super) fn protected_until(&self) -> Time {
        self.protected_until
    }

    /// After Stop: until when the first of two locks waits for the release of the second.
    pub(super) fn second_has_until(&self) -> Option<Time> {
        Some(self.since?.saturating_add(RELEASE_LIMIT / 2))
    }

    /// After Stop: when the releases, all tries together, have taken too long.
    pub(super) fn gives_up_at(&self) -> Option<Time> {
        Some(self.since?.saturating_add(RELEASE_LIMIT))
    }

    /// When time alone lets the locks be released, or ends the attempt.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        let moments = [Some(self.protected_until), Some(self.kept_until), self.gives_up_at()];
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }
}
