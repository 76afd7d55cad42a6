//! Processes observations of the lock: whose record it is, since when, and which own writes it proves.

use super::pacing::{REWRITE_PACE, Retry};
use super::{Claim, Election, Moment, Purpose, Sight, Write};
use crate::time::Time;
use std::sync::Arc;

impl Election {
    pub(super) fn watched(&mut self, now: Time, resource_version: u64, sight: Sight) {
        self.watch.alive(now);
        self.observe(now, resource_version, sight);
    }

    /// Processes an observation, unless it is old.
    pub(super) fn observe(&mut self, now: Time, resource_version: u64, sight: Sight) {
        if resource_version <= self.lock.resource_version() {
            return; // S6: not newer than the last acknowledged write or read
        }
        self.watch.changed(now);
        self.lock.set_resource_version(resource_version);
        self.see(now, sight);
    }

    /// The watch is opened again at once, and shows what was missed. So there is no need to read at once, which would
    /// make all candidates read at the same time. But a watch that shows nothing each time is treated like a silent
    /// one.
    pub(super) fn watch_closed(&mut self, moment: Moment) {
        if self.watch.closed() {
            let since = moment.now.min(self.watch.alive_at().saturating_add(self.settings.longest_silence()));
            let poll_at = since.saturating_add(self.settings.jittered_retry_period(moment.jitter));
            self.pacing.poll_at = self.pacing.poll_at.max(poll_at);
        }
    }

    /// Accepts an observation: whose record it shows, and since when.
    pub(super) fn see(&mut self, now: Time, sight: Sight) {
        let unchanged = self.lock.is_unchanged(&sight);
        if !unchanged || sight.version.is_some() != self.lock.version().is_some() {
            // A write that was refused before may succeed now.
            self.pacing.write = Retry::default();
        }
        // During the own term nobody else can have taken the lock.
        let may_have_been_taken = !self.own.is_in_lock() || self.term.is_none();
        let recognised = self.requests.recognise(&sight).or_else(|| self.own.recognise(&sight));
        if let Some(write) = recognised
            && let Some(version) = &sight.version
        {
            self.settle(now, write, version.resource_version);
        } else if !unchanged || !self.own.is_in_lock() {
            self.lose_own(&sight);
        }
        self.lock.see(now, sight, may_have_been_taken, &self.settings, self.sole_instance);
    }

    /// The lock does not show the own record. A proxy may have reported wrongly that it is gone. So if the acknowledged
    /// record shows again in the same object during the term, the term continues.
    fn lose_own(&mut self, sight: &Sight) {
        self.own.vanish(self.lock.version());
        let is_back = self.term.is_some() && self.own.reappear(sight);
        if !is_back && sight.record().is_some() {
            self.term = None; // S6; if the record is gone or unreadable, the claim is kept until F
            self.own.forget_vanished();
        }
        self.own.keep_doubts_about(sight);
        if !is_back {
            self.requests.supersede(sight);
        }
    }

    /// An own write has been carried out, and was in the lock at this resourceVersion.
    pub(super) fn settle(&mut self, now: Time, write: Arc<Write>, resource_version: u64) {
        let until = write.sent.saturating_add(self.settings.renew_deadline); // S1
        match write.purpose {
            Purpose::Acquire => {
                if self.term.is_some() {
                    let pace = self.settings.pace_of_leader().min(REWRITE_PACE);
                    self.pacing.rewrite_after = write.sent.saturating_add(pace);
                }
                let counts = now < until && !self.withdrawal.is_releasing();
                self.term = counts.then_some(Claim { until, fencing_token: resource_version }); // S8
            }
            Purpose::Renew { fencing_token } => {
                if let Some(term) = self.term.as_mut().filter(|term| term.fencing_token == fencing_token) {
                    term.until = term.until.max(until);
                }
            }
            Purpose::Keep => {}
            Purpose::Release => self.term = None,
        }
        self.own.settle(write);
        self.pacing.write = Retry::default();
    }
}
