//! What the lock shows: whose record it is, since when, and what that says of the writes of this process.

use super::pacing::Retry;
use super::{Claim, Election, Moment, Purpose, Sight, Write};
use crate::time::Time;
use std::sync::Arc;

impl Election {
    pub(super) fn watched(&mut self, now: Time, resource_version: u64, sight: Sight) {
        self.watch.alive(now);
        self.news(now, resource_version, sight);
    }

    /// Takes in what was not asked for, unless it is old.
    pub(super) fn news(&mut self, now: Time, resource_version: u64, sight: Sight) {
        if resource_version <= self.lock.resource_version() {
            return; // S6: not newer than what was acknowledged or read
        }
        self.watch.news(now);
        self.lock.set_resource_version(resource_version);
        self.see(now, sight);
    }

    /// A watch that ends is opened again at once, and shows what was missed: no reason for all to read at once. But one
    /// that shows nothing each time is no better than a silent one.
    pub(super) fn watch_closed(&mut self, moment: Moment) {
        if self.watch.closed() {
            let since = moment.now.min(self.watch.alive_at().saturating_add(self.settings.longest_silence()));
            let poll_at = since.saturating_add(self.settings.jittered_retry_period(moment.jitter));
            self.pacing.poll_at = self.pacing.poll_at.max(poll_at);
        }
    }

    /// Believes a sight: whose record is it, and since when?
    pub(super) fn see(&mut self, now: Time, sight: Sight) {
        let unchanged = self.lock.is_unchanged(&sight);
        if !unchanged || sight.version.is_some() != self.lock.version().is_some() {
            // What was refused before may be possible now.
            self.pacing.write = Retry::default();
        }
        // While the own term lasts, nobody else can have taken the lock.
        let may_have_been_taken = !self.own.is_in_lock() || self.term.is_none();
        let recognised = self.requests.recognise(&sight).or_else(|| self.own.recognise(&sight));
        if let Some(write) = recognised
            && let Some(version) = &sight.version
        {
            self.settle(now, write, version.resource_version);
        } else if !unchanged || !self.own.is_in_lock() {
            self.lose_own(&sight);
        }
        self.lock.see(now, sight, may_have_been_taken, &self.settings);
    }

    /// The own record is not there, or seems not to be: somebody on the way may lie about absence. What was acknowledged
    /// is believed again when it shows in the same object while the term lasts.
    fn lose_own(&mut self, sight: &Sight) {
        self.own.vanish(self.lock.version());
        let is_back = self.term.is_some() && self.own.reappear(sight);
        if !is_back && sight.record().is_some() {
            self.term = None; // S6; gone or unreadable, the claim stands to F
            self.own.forget_vanished();
        }
        self.own.keep_doubts_about(sight);
        self.requests.supersede(sight);
    }

    /// A write of ours is known to have been done, and stood in the lock at this resourceVersion.
    pub(super) fn settle(&mut self, now: Time, write: Arc<Write>, resource_version: u64) {
        let until = write.sent.saturating_add(self.settings.renew_deadline); // S1
        match write.purpose {
            Purpose::Acquire => {
                let counts = now < until && !self.withdrawal.is_releasing();
                self.term = counts.then_some(Claim { until, fencing_token: resource_version }); // S8
            }
            Purpose::Renew { fencing_token } => {
                if let Some(term) = self.term.as_mut().filter(|term| term.fencing_token == fencing_token) {
                    term.until = term.until.max(until);
                }
            }
            Purpose::Release => self.term = None,
        }
        self.own.settle(write);
        self.pacing.write = Retry::default();
    }
}
