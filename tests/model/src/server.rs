//! The API server: the history of each lock, compare-and-swap, and the watch.

use crate::state::{Broken, Content, LateWrite, OTHER_WRITER, Record, Sight, State, Version, WatchEvent};
use crate::weakened::Weakened;
use crate::world::{Edit, World};

impl<const C: usize, const K: usize> World<C, K> {
    /// S2: whether the API server accepts a write that replaces this version.
    pub(crate) fn can_be_done(&self, state: &State<C, K>, index: usize, base: Option<Version>) -> bool {
        base == state.locks[index].sight.version || self.rules.lacks(Weakened::NoResourceVersion)
    }

    /// The API server accepts or refuses a write.
    pub(crate) fn arrive(&self, state: &mut State<C, K>, index: usize, late_write: LateWrite) -> Option<Version> {
        if !self.can_be_done(state, index, late_write.base) {
            return None;
        }
        let before = state.locks[index].sight;
        let is_own =
            |record: &Record| record.writer == late_write.record.writer && record.dead == late_write.record.dead;
        if late_write.record.free && !before.record().is_some_and(|record| is_own(record) && !record.free) {
            state.history.broken = Some(Broken::Release);
        }
        Some(self.put(state, index, Content::Record(late_write.record)))
    }

    fn put(&self, state: &mut State<C, K>, index: usize, content: Content) -> Version {
        let lock = &mut state.locks[index];
        let uid = lock.sight.uid().unwrap_or(lock.latest_uid + 1);
        let version = Version { uid, resource_version: lock.latest + 1 };
        self.change(state, index, Sight { version: Some(version), content });
        version
    }

    fn change(&self, state: &mut State<C, K>, index: usize, sight: Sight) {
        let lock = &mut state.locks[index];
        lock.latest += 1;
        lock.latest_uid = sight.uid().unwrap_or(lock.latest_uid);
        lock.sight = sight;
        let watch_event = WatchEvent { resource_version: lock.latest, sight };
        for candidate in state.candidates.iter_mut().filter(|candidate| self.late_watch && candidate.is_up()) {
            candidate.elections[index].watch_event.get_or_insert(watch_event);
        }
    }

    pub(crate) fn edit(&self, state: &mut State<C, K>, edit: Edit, index: usize) {
        let before = state.locks[index].sight;
        let takes_away = matches!(edit, Edit::Delete | Edit::RemoveRecord | Edit::Corrupt);
        if takes_away && before.content != Content::Nothing {
            state.history.removal_wait = self.longest_claim() + self.gap;
        }
        let free = Record { writer: OTHER_WRITER, dead: false, place: false, number: 0, free: true };
        let content = match edit {
            Edit::Delete => return self.change(state, index, Sight::MISSING),
            Edit::Touch => before.content,
            Edit::RemoveRecord => Content::Nothing,
            Edit::Corrupt => Content::Unreadable,
            Edit::Free => Content::Record(free),
        };
        self.put(state, index, content);
    }

    /// For how many ticks a claim may last after its last write was sent.
    fn longest_claim(&self) -> u8 {
        let deadline = self.rules.renew_deadline;
        deadline + self.miss_after.map_or(0, |ticks| deadline.div_ceil(ticks))
    }
}
