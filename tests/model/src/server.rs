//! The API server: one history of each lock, compare-and-swap, and the watch.

use crate::state::{Broken, Content, News, Record, STRANGER, Sight, State, Stray, Version};
use crate::weakened::Weakened;
use crate::world::{Edit, World};

impl<const C: usize, const K: usize> World<C, K> {
    /// S2: whether the API server takes a write that replaces this version.
    pub(crate) fn can_be_done(&self, state: &State<C, K>, index: usize, base: Option<Version>) -> bool {
        base == state.locks[index].sight.version || self.rules.lacks(Weakened::NoResourceVersion)
    }

    /// The API server takes a write, or refuses it.
    pub(crate) fn arrive(&self, state: &mut State<C, K>, index: usize, stray: Stray) -> Option<Version> {
        if !self.can_be_done(state, index, stray.base) {
            return None;
        }
        let before = state.locks[index].sight;
        let is_own = |record: &Record| record.writer == stray.record.writer && record.dead == stray.record.dead;
        if stray.record.free && !before.record().is_some_and(|record| is_own(record) && !record.free) {
            state.history.broken = Some(Broken::Release);
        }
        Some(self.put(state, index, Content::Record(stray.record)))
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
        let news = News { resource_version: lock.latest, sight };
        for candidate in state.candidates.iter_mut().filter(|candidate| self.late_news && candidate.is_up()) {
            candidate.elections[index].news.get_or_insert(news);
        }
    }

    pub(crate) fn edit(&self, state: &mut State<C, K>, edit: Edit, index: usize) {
        let before = state.locks[index].sight;
        let takes_away = matches!(edit, Edit::Delete | Edit::Strip | Edit::Corrupt);
        if takes_away && before.content != Content::Nothing {
            state.history.removal_wait = self.longest_claim() + self.gap;
        }
        let free = Record { writer: STRANGER, dead: false, place: false, number: 0, free: true };
        let content = match edit {
            Edit::Delete => return self.change(state, index, Sight::MISSING),
            Edit::Touch => before.content,
            Edit::Strip => Content::Nothing,
            Edit::Corrupt => Content::Unreadable,
            Edit::Free => Content::Record(free),
        };
        self.put(state, index, content);
    }

    /// For how many ticks a claim may last after the sending of its last write.
    fn longest_claim(&self) -> u8 {
        let deadline = self.rules.renew_deadline;
        deadline + self.miss_after.map_or(0, |ticks| deadline.div_ceil(ticks))
    }
}
