//! The current observation of the lock: what it shows, and since when.

use super::{Holder, Settings, Sight, Version};
use crate::record::{Content, Mark, Record};
use crate::time::Time;
use std::time::Duration;

/// What was last seen of the lock, and when it may be taken. Nothing in it depends on what this candidate does.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct LockState {
    /// The newest accepted observation; `None` before the first.
    sight: Option<Sight>,
    /// When its record, or its absence, was first seen.
    since: Time,
    /// When the lock was last seen.
    heard_at: Time,
    /// If a record was removed, and not replaced by the next holder's: until when its holder may still claim to lead.
    removed_holder_until: Time,
    /// The same if a holder's record was replaced by one that will turn out to be left behind, if its writer is dead. It
    /// was alive if it releases the lock.
    put_back_until: Time,
    /// The L of the last record with a holder; `None` if no holder was ever seen.
    last_lease: Option<Duration>,
    /// `leaseTransitions` for the next term.
    next_transitions: u32,
    /// Observations up to this resourceVersion are old.
    resource_version: u64,
}

impl LockState {
    pub(super) fn sight(&self) -> Option<&Sight> {
        self.sight.as_ref()
    }

    pub(super) fn content(&self) -> Option<&Content> {
        self.sight.as_ref().map(|sight| &sight.content)
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.sight.as_ref()?.record()
    }

    /// What a write must name to replace the object (S2); `None` if there is no object.
    pub(super) fn version(&self) -> Option<&Version> {
        self.sight.as_ref()?.version.as_ref()
    }

    pub(super) fn resource_version(&self) -> u64 {
        self.resource_version
    }

    pub(super) fn next_transitions(&self) -> u32 {
        self.next_transitions
    }

    /// The other candidate that holds the lock, until its lease runs out by this clock.
    pub(super) fn other(&self, identity: &str) -> Option<Holder> {
        let record = self.record()?;
        let foreign = !record.is_free() && &*record.holder != identity;
        foreign.then(|| Holder { identity: record.holder.clone(), until: self.since.saturating_add(record.lease()) })
    }

    /// Whether somebody holds the lock; an unreadable record counts as held (S10).
    pub(super) fn is_held(&self) -> bool {
        match self.content() {
            Some(Content::Record(record)) => !record.is_free(),
            Some(Content::Unreadable { .. }) => true,
            Some(Content::Nothing) | None => false,
        }
    }

    /// From when on the lock counts as unreadable, if it is not seen again.
    pub(super) fn unreadable_at(&self, settings: &Settings) -> Time {
        self.heard_at.saturating_add(settings.lease)
    }

    /// Whether this sight shows the record that was seen last, with no write in between.
    pub(super) fn is_unchanged(&self, sight: &Sight) -> bool {
        self.sight.as_ref().is_some_and(|earlier| sight.unchanged_since(earlier))
    }

    /// From now on, exactly the observations up to this resourceVersion are old.
    pub(super) fn set_resource_version(&mut self, resource_version: u64) {
        self.resource_version = resource_version;
    }

    /// Accepts an observation. `may_have_been_taken`: another candidate may have taken the lock since the last one.
    pub(super) fn see(
        &mut self,
        now: Time,
        sight: Sight,
        may_have_been_taken: bool,
        settings: &Settings,
        sole_instance: bool,
    ) {
        self.heard_at = now;
        if !self.is_unchanged(&sight) {
            self.since = now;
        }
        if let Some(last_lease) = self.last_lease
            && may_have_been_taken
        {
            let until = now.saturating_add(last_lease.max(settings.lease));
            // An earlier removed record may have had a longer lease.
            let is_put_back = self.dead_record_replaces_holder(&sight, settings);
            if sight.lacks(self.sight.as_ref()) || is_put_back && sole_instance {
                self.removed_holder_until = self.removed_holder_until.max(until);
            } else if is_put_back {
                self.put_back_until = self.put_back_until.max(until);
            }
        }
        match &sight.content {
            Content::Record(record) => self.take_from(record),
            // S10: whoever wrote it may lead.
            Content::Unreadable { .. } => self.last_lease = self.last_lease.or(Some(settings.lease)),
            Content::Nothing => {}
        }
        self.sight = Some(sight);
    }

    /// Accepts what the answer to a write of this candidate shows.
    pub(super) fn acknowledged(&mut self, now: Time, written: &Record, sight: Sight) {
        self.take_from(written);
        self.since = now;
        self.heard_at = now;
        self.sight = Some(sight);
    }

    fn take_from(&mut self, record: &Record) {
        self.next_transitions = record.next_transitions();
        if !record.is_free() {
            self.last_lease = Some(record.lease());
        }
    }

    /// S3, S9, S10: from when on the lock may be taken; `None` before it was seen.
    pub(super) fn free_at(&self, settings: &Settings, sole_instance: bool) -> Option<Time> {
        let last_lease = self.last_lease.unwrap_or_default().max(settings.lease);
        let free_at = match self.content()? {
            Content::Record(record) if record.is_free() => self.since,
            Content::Record(_) if self.mark_left_behind(settings, sole_instance).is_some() => self.since,
            Content::Record(record) => self.since.saturating_add(record.lease().max(settings.lease)),
            Content::Nothing if self.last_lease.is_none() => self.since.saturating_add(settings.creation_delay),
            Content::Nothing | Content::Unreadable { .. } => self.since.saturating_add(last_lease),
        };
        // A process that releases the lock was alive, so its record had not been put back.
        let is_free = self.record().is_some_and(Record::is_free);
        let free_at = if is_free { free_at } else { free_at.max(self.put_back_until) };
        // A holder whose record was removed may still claim to lead, whatever the lock shows now.
        Some(free_at.max(self.removed_holder_until))
    }

    /// S9: the mark of the record in the lock, if an earlier process of this candidate wrote it and is provably dead.
    pub(super) fn mark_left_behind(&self, settings: &Settings, sole_instance: bool) -> Option<&Mark> {
        self.sight.as_ref()?.mark_left_behind(settings, sole_instance)
    }

    /// Whether this sight shows the record of a dead process in place of the record of a holder. A dead process has not
    /// taken the lock from that holder: somebody else has put its record back, or its write was very late. Whether it
    /// is dead may turn out later, when this process gets the socket of its identity.
    fn dead_record_replaces_holder(&self, sight: &Sight, settings: &Settings) -> bool {
        let is_left_behind = |sight: &Sight| sight.mark_left_behind(settings, true).is_some();
        self.is_held() && is_left_behind(sight) && !self.sight.as_ref().is_some_and(is_left_behind)
    }
}
