//! What the lock shows: whose record it is, since when, and what that says of the writes of this process.

use super::pacing::Retry;
use super::{Call, Claim, Election, Fate, Moment, Purpose, Sight, Write};
use crate::record::Content;
use crate::time::Time;
use std::sync::Arc;

impl Election {
    pub(super) fn watched(&mut self, now: Time, resource_version: u64, sight: Sight) {
        self.watch.alive_at = now;
        self.news(now, resource_version, sight);
    }

    /// Takes in what was not asked for, unless it is old.
    pub(super) fn news(&mut self, now: Time, resource_version: u64, sight: Sight) {
        if resource_version <= self.floor {
            return; // S6: not newer than what was acknowledged or read
        }
        self.watch.news_at = Some(now);
        self.floor = resource_version;
        self.see(now, sight);
    }

    /// A watch that ends is opened again at once, and shows what was missed: no reason for all to read at once. But one
    /// that shows nothing each time is no better than a silent one.
    pub(super) fn watch_closed(&mut self, moment: Moment) {
        if std::mem::replace(&mut self.watch.open, false) {
            let since = moment.now.min(self.watch.alive_at.saturating_add(self.longest_silence()));
            let poll_at = since.saturating_add(self.jittered_retry_period(moment.jitter));
            self.pacing.poll_at = self.pacing.poll_at.max(poll_at);
        }
    }

    /// Believes a sight: whose record is it, and since when?
    pub(super) fn see(&mut self, now: Time, sight: Sight) {
        self.heard_at = now;
        let unchanged = self.lock.as_ref().is_some_and(|lock| sight.unchanged_since(lock));
        if !unchanged {
            self.since = now;
        }
        // While the own term lasts, nobody else can have taken the lock.
        let may_have_been_taken = self.own.is_none() || self.term.is_none();
        if let Some(last_lease) = self.last_lease
            && may_have_been_taken
            && sight.lacks(self.lock.as_ref())
        {
            let until = now.saturating_add(last_lease.max(self.settings.lease));
            self.robbed_until = self.robbed_until.max(until); // a longer lease may have been taken away before
        }
        if !unchanged || sight.version.is_some() != self.lock.as_ref().is_some_and(|lock| lock.version.is_some()) {
            // What was refused before may be possible now.
            self.pacing.write = Retry::default();
        }
        let still_own = unchanged && self.own.is_some();
        let recognised = self.recognise(&sight);
        match &sight.content {
            Content::Record(record) => {
                self.next_transitions = record.next_transitions();
                if !record.is_free() {
                    self.last_lease = Some(record.lease());
                }
            }
            // S10: whoever wrote it may lead.
            Content::Unreadable { .. } => self.last_lease = self.last_lease.or(Some(self.settings.lease)),
            Content::Nothing => {}
        }
        if let Some(write) = recognised
            && let Some(version) = &sight.version
        {
            self.settle(now, write, version.resource_version);
        } else if !still_own {
            self.lose_own(&sight);
        }
        self.lock = Some(sight);
    }

    /// The own record is not there, or seems not to be: somebody on the way may lie about absence. What was acknowledged
    /// is believed again when it shows in the same object while the term lasts.
    fn lose_own(&mut self, sight: &Sight) {
        if let Some(own) = self.own.take()
            && let Some(version) = self.lock.as_ref().and_then(|lock| lock.version.as_ref())
        {
            self.vanished = Some((version.uid.clone(), own));
        }
        let uid = sight.version.as_ref().map(|version| &version.uid);
        let is_back = |(of, own): &mut (Arc<str>, Arc<Write>)| Some(&*of) == uid && own.made(sight);
        if self.term.is_some()
            && let Some((_, own)) = self.vanished.take_if(is_back)
        {
            self.own = Some(own);
        } else if sight.record().is_some() {
            self.term = None; // S6; gone or unreadable, the claim stands to F
            self.vanished = None;
        }
        self.keep_doubts_about(sight);
    }

    /// S7: the write of this process that a sight shows, if it was in doubt or not yet answered.
    fn recognise(&mut self, sight: &Sight) -> Option<Arc<Write>> {
        if let Some(under_way) = self.under_way.as_mut().filter(|it| it.fate == Fate::Open)
            && let Call::Write(write) = &under_way.request.call
            && write.made(sight)
        {
            under_way.fate = Fate::Done;
            return Some(write.clone());
        }
        self.doubts.iter().find(|write| write.made(sight)).cloned()
    }

    /// S7: of what was sent, only what replaces the very version that is seen can still be done.
    fn keep_doubts_about(&mut self, sight: &Sight) {
        self.doubts.retain(|write| write.base == sight.version);
        if let Some(under_way) = &mut self.under_way
            && let Call::Write(write) = &under_way.request.call
            && write.base != sight.version
        {
            under_way.fate = Fate::Void;
        }
    }

    /// A write of ours is known to have been done, and stood in the lock at this resourceVersion.
    pub(super) fn settle(&mut self, now: Time, write: Arc<Write>, resource_version: u64) {
        let until = write.sent.saturating_add(self.settings.renew_deadline); // S1
        match write.purpose {
            Purpose::Acquire => {
                let counts = now < until && self.withdrawal.releasing.is_none();
                self.term = counts.then_some(Claim { until, fencing_token: resource_version }); // S8
            }
            Purpose::Renew { fencing_token } => {
                if let Some(term) = self.term.as_mut().filter(|term| term.fencing_token == fencing_token) {
                    term.until = term.until.max(until);
                }
            }
            Purpose::Release => self.term = None,
        }
        self.own = (write.purpose != Purpose::Release).then_some(write);
        self.vanished = None;
        self.doubts.clear(); // each of them names a version that is no more
        self.pacing.write = Retry::default();
    }
}
