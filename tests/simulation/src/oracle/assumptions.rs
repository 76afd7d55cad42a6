//! For the code that injects faults: which edits would break an assumption in docs/guarantees.md.

use super::{Content, Oracle, Process, ProcessId, State};

/// An edit of a lock by somebody who is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    pub content: Content,
    /// The mark beside it.
    pub mark: Option<(u128, u64)>,
    /// In a new object: the existing one is deleted, or there is none.
    pub in_new_object: bool,
}

impl Oracle {
    /// Whether an edit now would let a running candidate of this lock take it too early: before the lease of every
    /// process that may claim has run out.
    pub fn breaks_assumption(&self, lock: usize, edit: Edit) -> bool {
        let state = self.locks[lock].last().expect("there is a first one");
        let longest = self.processes.iter().map(|process| process.facts.lease).max().unwrap_or(0);
        // The L in the record that is removed.
        let present = match state.commit.content {
            Content::Record { holder, lease, .. } if holder != 0 => lease,
            Content::Unreadable => longest,
            Content::Record { .. } | Content::Nothing => 0,
        };
        // A candidate that has not seen the present state, or was told that the object is absent, misunderstands the
        // edit.
        let knows = |process: &Process| process.locks[lock].shown >= state.term && !process.locks[lock].misled;
        let waits = |process: &Process| process.locks[lock].last_lease.map_or(0, |last| last.max(process.facts.lease));
        let never_saw_one =
            |process: &Process| process.locks[lock].last_lease.is_none() && state.commit.content == Content::Nothing;
        // A free record that replaces one with a holder looks like a release.
        let taken_away = edit.in_new_object || !state.commit.content.is_held_record();
        // To a candidate that has not seen what the lock had in between, an equal record in the same object is unchanged.
        let takes_for_unchanged = |process: &Process| {
            let not_seen = &self.locks[lock][process.locks[lock].shown..];
            let same = |earlier: &State| earlier.commit.record() == (edit.content, state.commit.object);
            !edit.in_new_object && not_seen.iter().any(same) && !same(state)
        };
        let writer = self.marked(lock, edit.mark).and_then(|written| written.author);
        let is_safe = |process: &Process| knows(process) && (waits(process) >= longest || never_saw_one(process));
        let waits_too_little = |(id, process): (ProcessId, &Process)| match edit.content {
            _ if takes_for_unchanged(process) => true,
            // It waits for this lease, or takes the lock at once if an earlier process of its own wrote the record, unless
            // it has seen another holder in between.
            Content::Record { holder, lease, .. } if holder != 0 => {
                let may_be_its_own = state.commit.mark != edit.mark && self.may_succeed(id, writer);
                lease.max(process.facts.lease) < longest
                    || may_be_its_own && !state.commit.content.is_free_record() && !is_safe(process)
            }
            Content::Unreadable => process.facts.lease < longest,
            Content::Nothing => !(knows(process) && waits(process) >= present) && (present > 0 || waits(process) > 0),
            Content::Record { .. } if state.commit.content.is_free_record() => false,
            Content::Record { .. } => !(taken_away && is_safe(process)),
        };
        let mut running = self.processes.iter().enumerate().filter(|(_, it)| it.alive && it.facts.locks[lock]);
        running.any(waits_too_little)
    }

    /// Whether this process takes the place of that writer when the writer is dead (S9).
    fn may_succeed(&self, process: ProcessId, writer: Option<ProcessId>) -> bool {
        let of = |process: ProcessId| self.processes[process].facts.candidate();
        writer.is_some_and(|writer| writer != process && of(writer) == of(process))
    }

    pub fn is_misled(&self, process: ProcessId, lock: usize) -> bool {
        self.processes[process].locks[lock].misled
    }

    /// When a candidate was last shown a change of a lock.
    pub fn last_change_shown(&self, process: ProcessId, lock: usize) -> u64 {
        self.processes[process].locks[lock].last_change_shown
    }

    /// The longest local time that a candidate may have to wait for the present lock.
    pub fn longest_wait(&self, process: ProcessId, lock: usize) -> u64 {
        let Process { facts, locks, .. } = &self.processes[process];
        let present = match self.locks[lock].last().expect("there is a first one").commit.content {
            Content::Record { lease, .. } => lease,
            Content::Unreadable | Content::Nothing => 0,
        };
        present.max(facts.lease).max(locks[lock].longest_lease)
    }

    /// When nobody has to wait any more for a claim that exists now, or that can follow from a write sent before now.
    pub fn last_lease_ends(&self, now: u64) -> u64 {
        let lasts =
            |process: &Process| (u128::from(process.facts.lease) << 20).div_ceil(u128::from(process.facts.rate)) as u64;
        now + self.processes.iter().map(lasts).max().unwrap_or(0) + 1
    }
}
