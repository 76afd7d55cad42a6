//! What each candidate was shown of a lock, and when it may therefore take it.

use super::{Commit, Content, Oracle, Process, ProcessId, State, Writer};

/// How a state of a lock reached a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Watch,
    Read,
    /// The answer to a write that was sent at this moment.
    Write {
        sent: u64,
    },
}

/// What one process wrote to one lock, and was shown of it.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct View {
    /// The last state that it was shown and accepted.
    pub(super) shown: usize,
    /// The last such state in which the object existed.
    pub(super) object_shown: usize,
    /// Watch events up to this state are old. An absent object, as a read shows it, has no resourceVersion.
    pub(super) floor: usize,
    /// The newest state with a foreign record that it was shown.
    pub(super) foreign: usize,
    /// The state of its newest committed write, and when the latest such write was sent.
    pub(super) own: usize,
    pub(super) own_sent: u64,
    /// The newest state that was shown during a claim and did not end it.
    pub(super) kept: usize,
    /// When a change was last shown.
    pub(super) last_change_shown: u64,
    /// The L of the last record with a holder that was shown, or its own L for an unreadable record; local.
    pub(super) last_lease: Option<u64>,
    /// The longest L in all records that were shown.
    pub(super) longest_lease: u64,
    pub(super) removed: Option<Removal>,
    /// Since when the content that was shown is the same, even if the lock had other content in between that was not
    /// shown.
    pub(super) same_since: u64,
    /// Since when the lock has had only changes of other fields.
    pub(super) sure_since: u64,
    /// It was told that there is no object, although there is one.
    pub(super) misled: bool,
    /// It has claimed, and since then was shown nothing but the record of that time and answers to updates of it: it
    /// certainly recognises the record as its own. It may not recognise a creation that was carried out late.
    pub(super) confirmed: bool,
}

/// When a candidate was shown that a holder's record had been removed, and how long it must wait after that, local.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Removal {
    pub(super) at: u64,
    pub(super) wait: u64,
}

impl Oracle {
    /// A candidate was shown a state of the lock, and accepted it. The answer to a write is accepted only if it shows
    /// that write.
    pub fn shown(&mut self, process: ProcessId, lock: usize, now: u64, index: usize, via: Via) {
        let Some(state) = self.locks[lock].get(index) else { return };
        let written = self.written(lock, index);
        if let Via::Write { sent } = via
            && self.locks[lock][written].commit.writer != (Writer::Candidate { process, sent })
        {
            return;
        }
        let own_lease = self.processes[process].facts.lease;
        let removal_wait = self.removal_wait(process, lock, now, state);
        let replaced = written.checked_sub(1).map(|before| &self.locks[lock][before].commit);
        let view = &mut self.processes[process].locks[lock];
        let misled = view.misled;
        let again = via == Via::Read && index == view.floor;
        if index <= view.floor && !again {
            return;
        }
        view.misled = false;
        if via != Via::Read || state.commit.object != 0 {
            view.floor = index;
        }
        let states = &self.locks[lock];
        let before = &states[view.shown];
        if state.commit.content != before.commit.content {
            view.same_since = now;
        }
        let same = |commit: &Commit| commit.record() == before.commit.record();
        let updated = matches!(via, Via::Write { .. }) && replaced.is_some_and(|it| it.object != 0 && same(it));
        view.confirmed &= !misled && (updated || same(&state.commit));
        // The writers of the changes in between are known, but not how the candidate processed them.
        let only_touched = (view.shown..index).all(|n| states[n + 1].commit.touches(&states[n].commit));
        if misled || index < view.shown || !only_touched {
            view.sure_since = now;
        }
        if let Some(wait) = removal_wait {
            view.removed = Some(Removal { at: now, wait });
        }
        if index != view.shown || misled {
            view.last_change_shown = now;
        }
        view.shown = index;
        if state.commit.object != 0 {
            view.object_shown = index;
        }
        match state.commit.content {
            Content::Record { holder, lease, .. } => {
                if state.author != Some(process) {
                    view.foreign = view.foreign.max(index);
                }
                if holder != 0 {
                    view.last_lease = Some(lease);
                    view.longest_lease = view.longest_lease.max(lease);
                }
            }
            Content::Unreadable => view.last_lease = view.last_lease.or(Some(own_lease)),
            Content::Nothing => {}
        }
        self.was_shown_own(process, lock, now);
    }

    /// The state in which the content of this state was written. Since then other fields may have changed.
    pub(super) fn written(&self, lock: usize, state: usize) -> usize {
        let states = &self.locks[lock];
        let touched = |n: &usize| *n > 0 && states[*n].commit.touches(&states[*n - 1].commit);
        (0..=state).rev().find(|n| !touched(n)).unwrap_or(0)
    }

    /// S3: how long the candidate must wait from now on because this state shows that somebody removed a holder's
    /// record.
    fn removal_wait(&self, process: ProcessId, lock: usize, now: u64, state: &State) -> Option<u64> {
        let Process { facts, locks, .. } = &self.processes[process];
        let view = &locks[lock];
        let before = &self.locks[lock][view.shown];
        let unreadable = before.commit.content == Content::Unreadable;
        let held = before.commit.content.is_held_record() && before.author != Some(process);
        let gone = before.commit.object != state.commit.object || state.commit.content == Content::Nothing;
        let removed = held && gone || unreadable && (gone || state.commit.content.is_free_record());
        // An earlier removal may require an even longer wait.
        let left = view.removed.map_or(0, |it| it.wait.saturating_sub(self.elapsed(process, it.at, now)));
        let last_lease = view.last_lease.filter(|_| removed && !view.misled)?;
        Some(last_lease.max(facts.lease).max(left))
    }

    /// A candidate was told that there is no object, although there is one.
    pub fn misled(&mut self, process: ProcessId, lock: usize) {
        self.processes[process].locks[lock].misled = true;
    }
}
