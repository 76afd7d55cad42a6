//! Candidates, API server, clocks and faults as a [`stateright::Model`].

use crate::rules::Rules;
use crate::state::{
    Broken, Budget, Candidate, History, LateWrite, Lock, Phase, Purpose, Record, Sight, State, UNLIMITED, UnderWay,
    WatchEvent, Write,
};
use stateright::{Model, Property};

/// `C` candidates and `K` locks.
#[derive(Clone, Debug)]
pub struct World<const C: usize, const K: usize> {
    pub rules: Rules,
    /// A clock may miss one tick after this number of ticks that it did not miss; `None`: it misses none.
    pub miss_after: Option<u8>,
    /// For how many ticks after a claim nobody else may claim, unless a stop ended the claim.
    pub gap: u8,
    /// Watch events may be stale.
    pub late_watch: bool,
    /// Writes and their answers may be late.
    pub slow_writes: bool,
    /// Answers to reads may be late.
    pub slow_reads: bool,
    /// Candidates are interchangeable: states that differ only in their order are merged.
    pub symmetric: bool,
    /// States that differ only in what cannot influence the future are merged.
    pub reduced: bool,
    pub edits: &'static [Edit],
    pub budget: Budget,
}

/// What happens next. The numbers are those of the candidate and the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes, except on the clocks of these candidates.
    Tick {
        missed: u8,
    },
    Read(usize, usize),
    Write(usize, usize, Purpose),
    /// A request reaches the API server.
    Arrive(usize, usize),
    /// A write that was given up reaches the API server.
    ArriveLate(usize, usize),
    Answer(usize, usize),
    /// A write is given up. It may have arrived, arrive later, or never arrive.
    GiveUp(usize, usize),
    /// The watch shows the first version that was written after its last event.
    WatchLate(usize, usize),
    /// The watch shows the newest version, and skips the others.
    Watch(usize, usize),
    Crash(usize),
    /// A process starts with this name; `alone`: earlier ones with this name in its network namespace are provably
    /// dead.
    Start {
        candidate: usize,
        alone: bool,
    },
    Stop(usize),
    /// The process ends after a stop.
    Exit(usize),
    /// With two locks: it ends its claim, to give up both.
    Resign(usize),
    Edit(Edit, usize),
}

/// What other clients do to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Writes another version with the same content.
    Touch,
    Delete,
    /// Removes the record from the object.
    RemoveRecord,
    /// Replaces the record by an unreadable one.
    Corrupt,
    /// Writes a free record if there is no readable one.
    Free,
}

impl<const C: usize, const K: usize> World<C, K> {
    pub(crate) fn ticks_between_misses(&self) -> u8 {
        self.miss_after.unwrap_or(0)
    }

    fn compose(&self, state: &mut State<C, K>, number: usize, index: usize, purpose: Purpose) -> Write {
        let writes = state.new_number(number, index);
        let candidate = &state.candidates[number];
        let record = Record {
            writer: number as u8,
            dead: false,
            place: candidate.alone,
            number: writes,
            free: purpose == Purpose::Release,
        };
        let base = candidate.elections[index].observed.and_then(|observed| observed.version); // S2
        Write { base, record, purpose, age: 0 }
    }

    /// The process ends; its writes may still arrive.
    fn end(&self, state: &mut State<C, K>, number: usize) {
        for index in 0..K {
            if let UnderWay::Write { write, done: None, .. } = state.candidates[number].elections[index].under_way {
                state.late_writes[number][index].get_or_insert(LateWrite { base: write.base, record: write.record });
            }
        }
        state.candidates[number] = Candidate::new(Phase::Down, false, self.ticks_between_misses());
        state.mark_dead(number);
    }

    fn tick(&self, state: &mut State<C, K>, missed: u8) {
        for (number, candidate) in state.candidates.iter_mut().enumerate() {
            let protected = &mut state.history.protected[number];
            if !candidate.claims {
                *protected = protected.saturating_sub(1);
            }
            if missed & (1 << number) != 0 {
                candidate.since_miss = 0;
                continue;
            }
            candidate.since_miss = (candidate.since_miss + 1).min(self.ticks_between_misses());
            candidate.advance(&self.rules);
        }
        state.history.removal_wait = state.history.removal_wait.saturating_sub(1);
    }

    /// Carries out everything that follows at once.
    fn settle(&self, state: &mut State<C, K>) {
        for (number, candidate) in state.candidates.iter_mut().enumerate() {
            if let Some(tokens) = candidate.follow_terms(&self.rules) {
                if tokens.iter().zip(&state.history.tokens).any(|(new, before)| new <= before) {
                    state.history.broken = Some(Broken::Token);
                }
                state.history.tokens = tokens;
            }
            if candidate.claims {
                state.history.protected[number] = self.gap;
            }
        }
    }

    fn apply(&self, state: &mut State<C, K>, action: Action) {
        match action {
            Action::Tick { missed } => self.tick(state, missed),
            Action::Read(number, index) => {
                let shown = state.locks[index].sight;
                let candidate = &mut state.candidates[number];
                let releasing = candidate.is_releasing();
                let election = &mut candidate.elections[index];
                if self.slow_reads {
                    election.under_way = UnderWay::Read { shown, crossed: false };
                } else {
                    election.read_answered(&self.rules, releasing, shown, false);
                }
            }
            Action::Write(number, index, purpose) => {
                let write = self.compose(state, number, index, purpose);
                state.candidates[number].keep_for_predecessor(&self.rules, number, index);
                let election = &mut state.candidates[number].elections[index];
                election.under_way = UnderWay::Write { write, void: false, done: None };
                if purpose == Purpose::Release {
                    election.term = None;
                }
                if !self.slow_writes {
                    self.apply(state, Action::Arrive(number, index));
                    self.apply(state, Action::Answer(number, index));
                }
            }
            Action::Arrive(number, index) => {
                if let UnderWay::Write { write, .. } = state.candidates[number].elections[index].under_way {
                    let version = self.arrive(state, index, LateWrite { base: write.base, record: write.record });
                    match &mut state.candidates[number].elections[index].under_way {
                        UnderWay::Write { done, .. } if version.is_some() => *done = version,
                        refused => *refused = UnderWay::Idle,
                    }
                }
            }
            Action::ArriveLate(number, index) => {
                if let Some(late_write) = state.late_writes[number][index].take() {
                    self.arrive(state, index, late_write);
                }
            }
            Action::Answer(number, index) => {
                let candidate = &mut state.candidates[number];
                let releasing = candidate.is_releasing();
                let election = &mut candidate.elections[index];
                match std::mem::replace(&mut election.under_way, UnderWay::Idle) {
                    UnderWay::Read { shown, crossed } => election.read_answered(&self.rules, releasing, shown, crossed),
                    UnderWay::Write { write, void, done: Some(version) } => {
                        election.acknowledged(&self.rules, releasing, write, void, version);
                    }
                    _ => {}
                }
            }
            Action::GiveUp(number, index) => {
                spend(&mut state.budget.doubts);
                let candidate = &mut state.candidates[number];
                let releasing = candidate.is_releasing();
                let election = &mut candidate.elections[index];
                if let UnderWay::Write { write, void, done } =
                    std::mem::replace(&mut election.under_way, UnderWay::Idle)
                {
                    election.doubt(&self.rules, releasing, write, void);
                    if done.is_none() {
                        state.late_writes[number][index]
                            .get_or_insert(LateWrite { base: write.base, record: write.record });
                    }
                }
            }
            Action::WatchLate(number, index) => {
                let candidate = &mut state.candidates[number];
                let releasing = candidate.is_releasing();
                let election = &mut candidate.elections[index];
                if let Some(WatchEvent { resource_version, sight }) = election.watch_event.take() {
                    let is_old = resource_version <= election.floor;
                    election.observe(&self.rules, releasing, resource_version, sight);
                    if is_old && candidate.claims && election.term.is_none() {
                        state.history.broken = Some(Broken::OldNews);
                    }
                }
            }
            Action::Watch(number, index) => {
                let Lock { sight, latest, .. } = state.locks[index];
                let candidate = &mut state.candidates[number];
                let releasing = candidate.is_releasing();
                let election = &mut candidate.elections[index];
                election.watch_event = None;
                election.observe(&self.rules, releasing, latest, sight);
            }
            Action::Crash(number) => {
                spend(&mut state.budget.crashes);
                self.end(state, number);
            }
            Action::Start { candidate, alone } => {
                state.candidates[candidate] = Candidate::new(Phase::Up, alone, self.ticks_between_misses());
            }
            Action::Stop(number) => {
                spend(&mut state.budget.stops);
                if state.candidates[number].claims {
                    state.history.protected[number] = 0;
                }
                state.candidates[number].stop(&self.rules);
            }
            Action::Exit(number) => self.end(state, number),
            Action::Resign(number) => {
                spend(&mut state.budget.resignations);
                state.candidates[number].end_claim(&self.rules);
            }
            Action::Edit(edit, index) => {
                spend(&mut state.budget.edits);
                self.edit(state, edit, index);
            }
        }
    }
}

impl<const C: usize, const K: usize> Model for World<C, K> {
    type State = State<C, K>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<C, K>> {
        let lock = || Lock { sight: Sight::MISSING, latest: 0, latest_uid: 0 };
        vec![State {
            locks: std::array::from_fn(|_| lock()),
            candidates: std::array::from_fn(|_| Candidate::new(Phase::Up, true, self.ticks_between_misses())),
            late_writes: [[None; K]; C],
            budget: self.budget,
            history: History { tokens: [0; K], protected: [0; C], removal_wait: 0, broken: None },
        }]
    }

    fn actions(&self, state: &State<C, K>, actions: &mut Vec<Action>) {
        self.all_actions(state, actions);
    }

    fn next_state(&self, state: &State<C, K>, action: Action) -> Option<State<C, K>> {
        let mut next = state.clone();
        self.apply(&mut next, action);
        self.settle(&mut next);
        self.reduce(&mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<World<C, K>>> {
        self.all_properties()
    }
}

fn spend(left: &mut u8) {
    if *left != UNLIMITED {
        *left -= 1;
    }
}
