//! Candidates, API server, clocks and faults as a [`stateright::Model`].

use crate::rules::Rules;
use crate::state::{
    Broken, Budget, Candidate, Content, History, Life, Lock, News, Purpose, Record, STRANGER, Seen, Sight, State,
    Stray, UNLIMITED, UnderWay, Version, Write,
};
use crate::weakened::Weakened;
use stateright::{Model, Property};

/// `C` candidates and `K` locks.
#[derive(Clone, Debug)]
pub struct World<const C: usize, const K: usize> {
    pub rules: Rules,
    /// A clock may miss one tick after as many that it did not; `None`: it misses none.
    pub steady: Option<u8>,
    /// For how many ticks after a claim nobody else may claim, unless a stop ended it.
    pub gap: u8,
    /// What the watch shows may be old.
    pub late_news: bool,
    /// Writes may arrive late, and their answers.
    pub slow_writes: bool,
    /// Answers to reads may be late.
    pub slow_reads: bool,
    /// Which candidate is which makes no difference: states count as one that differ in nothing else.
    pub symmetric: bool,
    /// States count as one that differ only in what makes no difference any more.
    pub reduced: bool,
    pub deeds: &'static [Deed],
    pub budget: Budget,
}

/// What happens next. The numbers are those of the candidate and of the lock.
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
    /// A write that was given up does.
    ArriveLate(usize, usize),
    Answer(usize, usize),
    /// A write is given up. It may arrive later or never, or has done so.
    GiveUp(usize, usize),
    /// The watch shows the first version that was written since it showed the last.
    WatchLate(usize, usize),
    /// The watch shows the newest version. Others may never be shown.
    Watch(usize, usize),
    Crash(usize),
    /// A process starts under this name; `alone`: earlier ones of this place are provably dead.
    Start {
        candidate: usize,
        alone: bool,
    },
    Stop(usize),
    /// After a stop, the process ends.
    Exit(usize),
    /// With two locks: it ends its claim, to give both back.
    Resign(usize),
    Deed(Deed, usize),
}

/// What strangers do to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Another version of the same content.
    Touch,
    Delete,
    /// The record is taken out of the object.
    Strip,
    /// The record is replaced by one that cannot be read.
    Corrupt,
    /// A free record is put where none is that can be read.
    Free,
}

impl<const C: usize, const K: usize> World<C, K> {
    pub(crate) fn steady(&self) -> u8 {
        self.steady.unwrap_or(0)
    }

    /// For how many ticks a claim may last after the sending of its last write.
    fn longest_claim(&self) -> u8 {
        let deadline = self.rules.renew_deadline;
        deadline + self.steady.map_or(0, |steady| deadline.div_ceil(steady))
    }

    fn may_miss(&self, candidate: &Candidate<K>) -> bool {
        let timed = || {
            candidate.keep > 0
                || matches!(candidate.life, Life::Stopping { delay } if delay > 0)
                || candidate.elections.iter().any(|election| election.is_timed(&self.rules))
        };
        self.steady.is_some_and(|steady| candidate.steady >= steady) && timed()
    }

    /// Whether no candidate can be fooled by this deed that never saw the holder: that is assumed.
    fn is_allowed(&self, state: &State<C, K>, deed: Deed, index: usize) -> bool {
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
        // Who missed a holder, and is shown what it saw before the holder came, cannot tell either.
        let sees_change = |belief: Sight| match belief.content {
            Content::Record(_) => true,
            Content::Unreadable => deed != Deed::Corrupt,
            Content::Nothing => false,
        };
        let all_saw_it =
            || others().all(|election| election.seen != Seen::NoHolder && election.belief.is_some_and(sees_change));
        match (deed, &sight.content) {
            (Deed::Touch, _) => sight.version.is_some(),
            (Deed::Delete, Content::Nothing) => sight.version.is_some(),
            (Deed::Delete | Deed::Strip | Deed::Corrupt, Content::Record(_))
            | (Deed::Delete | Deed::Strip, Content::Unreadable) => all_saw_it(),
            // Of an object that lost its record while somebody did not look, nobody can tell that it did.
            (Deed::Free, Content::Nothing | Content::Unreadable) => {
                sight.version.is_none() || others().all(|election| election.belief == Some(*sight))
            }
            _ => false,
        }
    }

    /// Who starts after the holder's record was taken away cannot know of it: that is assumed.
    fn may_start(&self, state: &State<C, K>) -> bool {
        let shows_holder = |lock: &Lock| match lock.sight.content {
            Content::Record(record) => !record.free,
            Content::Unreadable => true,
            Content::Nothing => false,
        };
        state.history.robbed == 0 || state.locks.iter().all(shows_holder)
    }

    fn writes(&self, state: &State<C, K>, number: usize, index: usize, actions: &mut Vec<Action>) {
        let candidate = &state.candidates[number];
        let election = &candidate.elections[index];
        let Some(belief) = &election.belief else { return };
        if self.reduced && !self.can_be_done(state, index, belief.version) {
            return; // It would be refused, which tells nothing.
        }
        let releasing = candidate.is_releasing();
        let has_term = election.term.is_some();
        let may_release = releasing || K == 2 && candidate.life == Life::Up && !candidate.claims && candidate.keep == 0;
        if may_release && (election.own || releasing && self.blind_release(belief)) {
            actions.push(Action::Write(number, index, Purpose::Release)); // S4
        }
        if releasing {
            return;
        }
        if let Some(term) = election.term
            && election.own
        {
            // R is a tick at least.
            if term.left < self.rules.renew_deadline {
                actions.push(Action::Write(number, index, Purpose::Renew));
            }
            return;
        }
        // The holder writes it anew. A record that outlived its term begins another one.
        let again = has_term && belief.content == Content::Nothing;
        let is_wanted = index == 0 || candidate.elections[0].term.is_some_and(|term| term.token.is_some());
        let takeable = is_wanted && (election.own || election.is_takeable(&self.rules, number, candidate.alone));
        if again || candidate.life == Life::Up && takeable {
            actions.push(Action::Write(number, index, Purpose::Acquire));
        }
    }

    fn blind_release(&self, belief: &Sight) -> bool {
        self.rules.lacks(Weakened::ReleaseOverAnything) && belief.record().is_some_and(|record| !record.free)
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
        let base = candidate.elections[index].belief.and_then(|belief| belief.version); // S2
        Write { base, record, purpose, age: 0 }
    }

    /// S2: whether the API server takes a write that replaces this version.
    pub(crate) fn can_be_done(&self, state: &State<C, K>, index: usize, base: Option<Version>) -> bool {
        base == state.locks[index].sight.version || self.rules.lacks(Weakened::NoResourceVersion)
    }

    /// The API server takes a write, or refuses it.
    fn arrive(&self, state: &mut State<C, K>, index: usize, stray: Stray) -> Option<Version> {
        if !self.can_be_done(state, index, stray.base) {
            return None;
        }
        let before = state.locks[index].sight;
        if stray.record.free && before.record().is_none_or(|record| record.free || record.writer != stray.record.writer)
        {
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

    fn deed(&self, state: &mut State<C, K>, deed: Deed, index: usize) {
        let before = state.locks[index].sight;
        let takes_away = matches!(deed, Deed::Delete | Deed::Strip | Deed::Corrupt);
        if takes_away && before.content != Content::Nothing {
            state.history.robbed = self.longest_claim() + self.gap;
        }
        let free = Record { writer: STRANGER, dead: false, place: false, number: 0, free: true };
        let content = match deed {
            Deed::Delete => return self.change(state, index, Sight::MISSING),
            Deed::Touch => before.content,
            Deed::Strip => Content::Nothing,
            Deed::Corrupt => Content::Unreadable,
            Deed::Free => Content::Record(free),
        };
        self.put(state, index, content);
    }

    /// The process is gone; what it sent may still arrive.
    fn end(&self, state: &mut State<C, K>, number: usize) {
        for index in 0..K {
            if let UnderWay::Write { write, done: None, .. } = state.candidates[number].elections[index].under_way {
                state.strays[number][index].get_or_insert(Stray { base: write.base, record: write.record });
            }
        }
        state.candidates[number] = Candidate::new(Life::Down, false, self.steady());
        state.mark_dead(number);
    }

    fn tick(&self, state: &mut State<C, K>, missed: u8) {
        for (number, candidate) in state.candidates.iter_mut().enumerate() {
            let protected = &mut state.history.protected[number];
            if !candidate.claims {
                *protected = protected.saturating_sub(1);
            }
            if missed & (1 << number) != 0 {
                candidate.steady = 0;
                continue;
            }
            candidate.steady = (candidate.steady + 1).min(self.steady());
            candidate.advance(&self.rules);
        }
        state.history.robbed = state.history.robbed.saturating_sub(1);
    }

    /// What follows at once from what has happened.
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
                    let version = self.arrive(state, index, Stray { base: write.base, record: write.record });
                    match &mut state.candidates[number].elections[index].under_way {
                        UnderWay::Write { done, .. } if version.is_some() => *done = version,
                        refused => *refused = UnderWay::Idle,
                    }
                }
            }
            Action::ArriveLate(number, index) => {
                if let Some(stray) = state.strays[number][index].take() {
                    self.arrive(state, index, stray);
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
                        state.strays[number][index].get_or_insert(Stray { base: write.base, record: write.record });
                    }
                }
            }
            Action::WatchLate(number, index) => {
                let candidate = &mut state.candidates[number];
                let releasing = candidate.is_releasing();
                let election = &mut candidate.elections[index];
                if let Some(News { resource_version, sight }) = election.news.take() {
                    let is_old = resource_version <= election.floor;
                    election.news(&self.rules, releasing, resource_version, sight);
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
                election.news = None;
                election.news(&self.rules, releasing, latest, sight);
            }
            Action::Crash(number) => {
                spend(&mut state.budget.crashes);
                self.end(state, number);
            }
            Action::Start { candidate, alone } => {
                state.candidates[candidate] = Candidate::new(Life::Up, alone, self.steady());
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
            Action::Deed(deed, index) => {
                spend(&mut state.budget.strangers);
                self.deed(state, deed, index);
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
        if candidate.life == Life::Down {
            if self.may_start(state) {
                actions.extend([true, false].map(|alone| Action::Start { candidate: number, alone }));
            }
            return;
        }
        if state.budget.crashes > 0 {
            actions.push(Action::Crash(number));
        }
        if candidate.life == Life::Up && state.budget.stops > 0 {
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
                    // Later ones are like news of the watch, where they are not slow.
                    let tells = election.belief != Some(lock.sight) && (self.slow_reads || election.belief.is_none());
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
            if election.news.is_some_and(|news| news.resource_version < lock.latest) {
                actions.push(Action::WatchLate(number, index));
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
            candidates: std::array::from_fn(|_| Candidate::new(Life::Up, true, self.steady())),
            strays: [[None; K]; C],
            budget: self.budget,
            history: History { tokens: [0; K], protected: [0; C], robbed: 0, broken: None },
        }]
    }

    fn actions(&self, state: &State<C, K>, actions: &mut Vec<Action>) {
        if state.history.broken.is_some() {
            return;
        }
        self.ticks(state, actions);
        for number in 0..C {
            self.actions_of(state, number, actions);
            for index in 0..K {
                if state.strays[number][index].is_some() {
                    actions.push(Action::ArriveLate(number, index));
                }
            }
        }
        if state.budget.strangers > 0 {
            for index in 0..K {
                let allowed = self.deeds.iter().filter(|deed| self.is_allowed(state, **deed, index));
                actions.extend(allowed.map(|deed| Action::Deed(*deed, index)));
            }
        }
    }

    fn next_state(&self, state: &State<C, K>, action: Action) -> Option<State<C, K>> {
        let mut next = state.clone();
        self.apply(&mut next, action);
        self.settle(&mut next);
        self.reduce(&mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<World<C, K>>> {
        let mut properties = vec![
            Property::always(ONE_LEADER, |_, state: &State<C, K>| {
                state.candidates.iter().filter(|candidate| candidate.claims).count() <= 1
            }),
            Property::always(GAP, |_, state: &State<C, K>| {
                let claims = |except: usize| (0..C).any(|number| number != except && state.candidates[number].claims);
                (0..C).all(|number| state.history.protected[number] == 0 || !claims(number))
            }),
            Property::always(TOKENS, |_, state: &State<C, K>| state.history.broken != Some(Broken::Token)),
            Property::always(RELEASES, |_, state: &State<C, K>| state.history.broken != Some(Broken::Release)),
            Property::always(OLD_NEWS, |_, state: &State<C, K>| state.history.broken != Some(Broken::OldNews)),
            Property::always(OWN_RECORD, |_, state: &State<C, K>| {
                let foreign = |candidate: &Candidate<K>| {
                    let is_foreign = |sight: Sight| sight.record().is_some();
                    candidate.elections.iter().any(|election| !election.own && election.belief.is_some_and(is_foreign))
                };
                !state.candidates.iter().any(|candidate| candidate.claims && foreign(candidate))
            }),
            Property::sometimes("somebody leads", |_, state: &State<C, K>| {
                state.candidates.iter().any(|candidate| candidate.claims)
            }),
        ];
        if self.budget.stops > 0 {
            properties.push(Property::sometimes("somebody leads after a release", |_, state: &State<C, K>| {
                leads_after(state, crate::state::After::Release)
            }));
        }
        if self.budget.crashes > 0 {
            properties.push(Property::sometimes("somebody leads after a crash", |_, state: &State<C, K>| {
                leads_after(state, crate::state::After::Crash)
            }));
        }
        properties
    }
}

pub const ONE_LEADER: &str = "at most one candidate leads";
pub const GAP: &str = "nobody else leads within the gap after a claim";
pub const TOKENS: &str = "fencing tokens grow";
pub const RELEASES: &str = "a release replaces the own last write";
pub const OLD_NEWS: &str = "old news ends no claim";
pub const OWN_RECORD: &str = "nobody claims who sees a record that is not its own";

fn leads_after<const C: usize, const K: usize>(state: &State<C, K>, after: crate::state::After) -> bool {
    let began = |candidate: &Candidate<K>| {
        candidate.elections.iter().all(|election| election.term.is_some_and(|term| term.after == after))
    };
    state.candidates.iter().any(|candidate| candidate.claims && began(candidate))
}

fn spend(left: &mut u8) {
    if *left != UNLIMITED {
        *left -= 1;
    }
}
