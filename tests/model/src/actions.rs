//! The possible actions in a state.

use crate::state::{Candidate, Content, Lock, Phase, Purpose, Seen, Sight, State, UnderWay};
use crate::weakened::Weakened;
use crate::world::{Action, Edit, World};

impl<const C: usize, const K: usize> World<C, K> {
    pub(crate) fn all_actions(&self, state: &State<C, K>, actions: &mut Vec<Action>) {
        if state.history.broken.is_some() {
            return;
        }
        self.ticks(state, actions);
        for number in 0..C {
            self.actions_of(state, number, actions);
            for index in 0..K {
                if state.late_writes[number][index].is_some() {
                    actions.push(Action::ArriveLate(number, index));
                }
            }
        }
        if state.budget.edits > 0 {
            for index in 0..K {
                let allowed = self.edits.iter().filter(|edit| self.is_allowed(state, **edit, index));
                actions.extend(allowed.map(|edit| Action::Edit(*edit, index)));
            }
        }
    }

    fn ticks(&self, state: &State<C, K>, actions: &mut Vec<Action>) {
        let can_miss: u8 =
            (0..C).filter(|number| self.may_miss(&state.candidates[*number])).map(|number| 1 << number).sum();
        let subsets = (0..1 << C).filter(|missed| missed & !can_miss == 0);
        actions.extend(subsets.map(|missed| Action::Tick { missed }));
    }

    fn actions_of(&self, state: &State<C, K>, number: usize, actions: &mut Vec<Action>) {
        let candidate = &state.candidates[number];
        if candidate.phase == Phase::Down {
            if self.may_start(state) {
                actions.extend([true, false].map(|alone| Action::Start { candidate: number, alone }));
            }
            return;
        }
        if state.budget.crashes > 0 {
            actions.push(Action::Crash(number));
        }
        if candidate.phase == Phase::Up && state.budget.stops > 0 {
            actions.push(Action::Stop(number));
        }
        if candidate.is_releasing() {
            actions.push(Action::Exit(number));
        }
        if candidate.claims && state.budget.resignations > 0 {
            actions.push(Action::Resign(number));
        }
        for (index, election) in candidate.elections.iter().enumerate() {
            let lock = &state.locks[index];
            match election.under_way {
                UnderWay::Idle => {
                    // Later ones are like watch events, if requests are not slow.
                    let tells =
                        election.observed != Some(lock.sight) && (self.slow_reads || election.observed.is_none());
                    if tells {
                        actions.push(Action::Read(number, index));
                    }
                    self.writes(state, number, index, actions);
                }
                UnderWay::Read { .. } => actions.push(Action::Answer(number, index)),
                UnderWay::Write { done, .. } => {
                    let is_there = done.is_some();
                    actions.push(if is_there { Action::Answer(number, index) } else { Action::Arrive(number, index) });
                    if state.budget.doubts > 0 {
                        actions.push(Action::GiveUp(number, index));
                    }
                }
            }
            if election.floor < lock.latest {
                actions.push(Action::Watch(number, index));
            }
            if election.watch_event.is_some_and(|watch_event| watch_event.resource_version < lock.latest) {
                actions.push(Action::WatchLate(number, index));
            }
        }
    }

    fn may_miss(&self, candidate: &Candidate<K>) -> bool {
        let timed = || {
            candidate.keep > 0
                || matches!(candidate.phase, Phase::Stopping { delay } if delay > 0)
                || candidate.elections.iter().any(|election| election.is_timed(&self.rules))
        };
        self.miss_after.is_some_and(|ticks| candidate.since_miss >= ticks) && timed()
    }

    /// Whether no candidate that never saw the holder takes the lock too early after this edit. This is an assumption.
    fn is_allowed(&self, state: &State<C, K>, edit: Edit, index: usize) -> bool {
        let sight = &state.locks[index].sight;
        let others = || {
            state
                .candidates
                .iter()
                .enumerate()
                .filter(|(number, candidate)| {
                    let wrote_it = sight.record().is_some_and(|record| usize::from(record.writer) == *number);
                    candidate.is_up() && !wrote_it
                })
                .map(|(_, candidate)| &candidate.elections[index])
        };
        // A candidate that missed a holder, and is shown the state that it saw before, cannot notice that either.
        let sees_change = |observed: Sight| match observed.content {
            Content::Record(_) => true,
            Content::Unreadable => edit != Edit::Corrupt,
            Content::Nothing => false,
        };
        let all_saw_it =
            || others().all(|election| election.seen != Seen::NoHolder && election.observed.is_some_and(sees_change));
        match (edit, &sight.content) {
            (Edit::Touch, _) => sight.version.is_some(),
            (Edit::Delete, Content::Nothing) => sight.version.is_some(),
            (Edit::Delete | Edit::RemoveRecord | Edit::Corrupt, Content::Record(_))
            | (Edit::Delete | Edit::RemoveRecord, Content::Unreadable) => all_saw_it(),
            // A candidate that did not see the record cannot notice that it was removed.
            (Edit::Free, Content::Nothing | Content::Unreadable) => {
                sight.version.is_none() || others().all(|election| election.observed == Some(*sight))
            }
            _ => false,
        }
    }

    /// A candidate that starts after the holder's record was removed cannot know of it. This is an assumption.
    fn may_start(&self, state: &State<C, K>) -> bool {
        let shows_holder = |lock: &Lock| match lock.sight.content {
            Content::Record(record) => !record.free,
            Content::Unreadable => true,
            Content::Nothing => false,
        };
        state.history.removal_wait == 0 || state.locks.iter().all(shows_holder)
    }

    fn writes(&self, state: &State<C, K>, number: usize, index: usize, actions: &mut Vec<Action>) {
        let candidate = &state.candidates[number];
        let election = &candidate.elections[index];
        let Some(observed) = &election.observed else { return };
        if self.reduced && !self.can_be_done(state, index, observed.version) {
            return; // it would be refused, which changes nothing
        }
        let releasing = candidate.is_releasing();
        let has_term = election.term.is_some();
        let may_release =
            releasing || K == 2 && candidate.phase == Phase::Up && !candidate.claims && candidate.keep == 0;
        if may_release && (election.own || releasing && self.blind_release(observed)) {
            actions.push(Action::Write(number, index, Purpose::Release)); // S4
        }
        if releasing {
            return;
        }
        if let Some(term) = election.term
            && election.own
        {
            // R is at least one tick.
            if term.left < self.rules.renew_deadline {
                actions.push(Action::Write(number, index, Purpose::Renew));
            }
            return;
        }
        // The holder writes its record again. If its record is still in the lock after the term, this begins another
        // term.
        let again = has_term && observed.content == Content::Nothing;
        let is_wanted = index == 0 || candidate.elections[0].term.is_some_and(|term| term.token.is_some());
        let takeable = is_wanted && (election.own || election.is_takeable(&self.rules, number, candidate.alone));
        if again || candidate.phase == Phase::Up && takeable {
            actions.push(Action::Write(number, index, Purpose::Acquire));
        }
    }

    fn blind_release(&self, observed: &Sight) -> bool {
        self.rules.lacks(Weakened::ReleaseOverAnything) && observed.record().is_some_and(|record| !record.free)
    }
}
