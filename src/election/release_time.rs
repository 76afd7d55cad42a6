//! From when on the locks of a candidate may be released.

use super::{Claim, RELEASE_LIMIT, Settings};
use crate::time::Time;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct ReleaseTime {
    /// L - D.
    margin: Duration,
    delay: Duration,
    /// The claim after the previous step.
    claim: Option<Claim>,
    /// Until when nobody else may lead, because of an earlier claim.
    protected_until: Time,
    /// The end of the release delay.
    kept_until: Time,
    stopped: bool,
    /// After Stop: since when only the release is left to do.
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

    /// Notes the end of a claim whose F has passed. Called before the event is processed.
    pub(super) fn note_lapse(&mut self, now: Time) {
        if let Some(lapsed) = self.claim.take_if(|claim| claim.until <= now) {
            self.protect(lapsed.until);
        }
    }

    /// Notes the claim after a step, and so the end of a claim before its F.
    pub(super) fn note_claim(&mut self, now: Time, claim: Option<Claim>) {
        let before = std::mem::replace(&mut self.claim, claim);
        if before.is_some() && claim.is_none() {
            self.protect(now);
        }
    }

    /// Somebody may have relied on a claim until this moment: nobody else may lead for L - D after it.
    pub(super) fn protect(&mut self, claimed_until: Time) {
        let until = claimed_until.saturating_add(self.margin);
        self.protected_until = self.protected_until.max(until);
    }

    /// Ends the claim by choice: from now on only the release delay protects it. The protection of a claim that had
    /// already ended does not change.
    pub(super) fn end_claim(&mut self, now: Time, holds_all: bool) {
        if holds_all {
            self.kept_until = self.kept_until.max(now.saturating_add(self.delay));
        }
        self.claim = None;
    }

    /// Whether no lock may be released yet. `works`: the work that was started for the leadership has not ended.
    pub(super) fn keeps_locks(&mut self, now: Time, works: bool) -> bool {
        let keeps = self.renews_locks(now, works) || now < self.protected_until;
        if self.stopped && !keeps {
            self.since.get_or_insert(now);
        }
        keeps
    }

    /// Whether the locks must be kept even if nobody claims any more: others wait for L - D on their own.
    pub(super) fn renews_locks(&self, now: Time, works: bool) -> bool {
        works || now < self.kept_until
    }

    /// After Stop: until when the first of two locks waits for the release of the second.
    pub(super) fn second_has_until(&self) -> Option<Time> {
        Some(self.since?.saturating_add(RELEASE_LIMIT / 2))
    }

    /// After Stop: when the releases are given up, all attempts included.
    pub(super) fn gives_up_at(&self) -> Option<Time> {
        Some(self.since?.saturating_add(RELEASE_LIMIT))
    }

    /// The next moment at which the locks may be released, or at which the release is given up.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        let moments = [Some(self.protected_until), Some(self.kept_until), self.gives_up_at()];
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }
}
