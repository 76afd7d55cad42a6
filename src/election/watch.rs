//! Whether the watch is open, and when it last showed something.

use crate::time::Time;

#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct WatchState {
    open: bool,
    opened_at: Time,
    /// When the watch, or a read in its place, last showed the lock.
    alive_at: Time,
    /// When it last showed something new.
    changed_at: Option<Time>,
}

impl WatchState {
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// When there last was a sign that the watch works, or that none was needed.
    pub(super) fn last_sign(&self) -> Time {
        self.alive_at.max(self.opened_at)
    }

    /// When it, or a read in its place, last showed the lock.
    pub(super) fn alive_at(&self) -> Time {
        self.alive_at
    }

    /// Whether it showed something new at this moment or later.
    pub(super) fn has_changed_since(&self, sent: Time) -> bool {
        self.changed_at.is_some_and(|changed_at| sent <= changed_at)
    }

    pub(super) fn opened(&mut self, now: Time) {
        self.open = true;
        self.opened_at = now;
    }

    /// Whether it was open.
    pub(super) fn closed(&mut self) -> bool {
        std::mem::replace(&mut self.open, false)
    }

    pub(super) fn alive(&mut self, now: Time) {
        self.alive_at = now;
    }

    /// A read that was sent at this moment showed the lock.
    pub(super) fn read(&mut self, sent: Time) {
        self.alive_at = self.alive_at.max(sent);
    }

    pub(super) fn changed(&mut self, now: Time) {
        self.changed_at = Some(now);
    }
}
