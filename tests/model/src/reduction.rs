//! Removes from a state what cannot influence the future, so that there are fewer states.

use crate::state::{
    Candidate, Content, Election, OTHER_WRITER, Phase, Record, Seen, Sight, State, UnderWay, Version, WatchEvent, Write,
};
use crate::weakened::Weakened;
use crate::world::World;

/// The number of a record that will not be seen again.
const GONE: u8 = 63;

impl<const C: usize, const K: usize> World<C, K> {
    pub(crate) fn reduce(&self, state: &mut State<C, K>) {
        if !self.reduced {
            return state.renumber();
        }
        for number in 0..C {
            if K == 1 && state.budget.stops == 0 && state.candidates[number].phase == Phase::Up {
                state.candidates[number].keep = 0; // it will release nothing
            }
            for index in 0..K {
                self.forget_writes(state, number, index);
                self.forget_stale_event(state, number, index);
                self.forget_belief(state, number, index);
            }
        }
        if self.symmetric {
            state.sort();
        }
        state.renumber();
    }

    /// Removes writes that can no longer be carried out or seen.
    fn forget_writes(&self, state: &mut State<C, K>, number: usize, index: usize) {
        if let Some(late_write) = state.late_writes[number][index]
            && !self.can_be_done(state, index, late_write.base)
        {
            state.late_writes[number][index] = None;
        }
        let late_write = state.late_writes[number][index].map(|late_write| late_write.record);
        let election = &state.candidates[number].elections[index];
        if let UnderWay::Write { write, void, done } = election.under_way {
            let is_over = match done {
                None => !self.can_be_done(state, index, write.base),
                Some(version) => void && version.resource_version <= election.floor,
            };
            if is_over {
                state.candidates[number].elections[index].under_way = UnderWay::Idle;
            }
        }
        let sight = state.locks[index].sight;
        let election = &mut state.candidates[number].elections[index];
        let (watch_event, read) = (election.watch_event, election.under_way);
        for doubt in &mut election.doubts {
            *doubt = doubt.filter(|write| {
                late_write == Some(write.record) || may_show(&sight, &watch_event, &read, &write.record)
            });
        }
        election.doubts.sort_by_key(Option::is_none);
    }

    /// Removes stale watch events, and ages above those that matter.
    fn forget_stale_event(&self, state: &mut State<C, K>, number: usize, index: usize) {
        let latest = state.locks[index].latest;
        let election = &mut state.candidates[number].elections[index];
        if self.rules.lacks(Weakened::StaleEventAccepted) {
            return;
        }
        election.watch_event = election.watch_event.filter(|watch_event| watch_event.resource_version > election.floor);
        if election.floor < latest && !matches!(election.under_way, UnderWay::Read { .. }) {
            election.floor = 0;
        }
    }

    /// Removes an observed version that was replaced since, if nothing else names it.
    fn forget_belief(&self, state: &mut State<C, K>, number: usize, index: usize) {
        let sight = state.locks[index].sight;
        let election = &mut state.candidates[number].elections[index];
        if self.rules.weakened.is_none() && election.seen == Seen::Unreadable {
            election.seen = Seen::Holder;
        }
        let (watch_event, read) = (election.watch_event, election.under_way);
        let Some(observed) = &mut election.observed else { return };
        if observed.version == sight.version || election.under_way != UnderWay::Idle || election.doubts[0].is_some() {
            return;
        }
        if let Some(version) = &mut observed.version {
            version.resource_version = 0;
        }
        if let Content::Record(record) = &mut observed.content
            && record.writer != OTHER_WRITER
            && !may_show(&sight, &watch_event, &read, record)
        {
            record.number = GONE;
        }
    }
}

/// Whether a candidate may still be shown this record.
fn may_show(sight: &Sight, watch_event: &Option<WatchEvent>, under_way: &UnderWay, record: &Record) -> bool {
    let shows = |sight: &Sight| sight.record() == Some(record);
    let read_shows = matches!(under_way, UnderWay::Read { shown, .. } if shows(shown));
    shows(sight) || watch_event.is_some_and(|watch_event| shows(&watch_event.sight)) || read_shows
}

/// A number of which only the order matters, or a record that contains such a number.
enum Part<'a> {
    Version(&'a mut u8),
    Uid(&'a mut u8),
    Record(&'a mut Record),
}

/// The ranks of numbers below 64.
#[derive(Clone, Copy, Default)]
struct Ranks(u64);

impl Ranks {
    fn insert(&mut self, number: u8) {
        self.0 |= 1 << number;
    }

    fn rank(self, number: u8) -> u8 {
        let lower = self.0 & ((1 << number) - 1);
        u8::try_from(lower.count_ones()).unwrap_or(u8::MAX)
    }
}

impl<const C: usize, const K: usize> State<C, K> {
    /// Sorts the candidates.
    fn sort(&mut self) {
        let mut order: [usize; C] = std::array::from_fn(|number| number);
        order.sort_by_cached_key(|number| key(&self.candidates[*number]));
        if order.is_sorted() {
            return;
        }
        let before = self.clone();
        let mut place = [0; C];
        for (number, from) in order.into_iter().enumerate() {
            self.candidates[number] = before.candidates[from].clone();
            self.late_writes[number] = before.late_writes[from];
            self.history.protected[number] = before.history.protected[from];
            place[from] = number as u8;
        }
        for lock in 0..K {
            self.parts(lock, &mut |part| {
                if let Part::Record(record) = part
                    && record.writer != OTHER_WRITER
                {
                    record.writer = place[usize::from(record.writer)];
                }
            });
        }
    }

    /// Replaces versions, uids and numbers of writes by their ranks.
    fn renumber(&mut self) {
        for lock in 0..K {
            let (mut versions, mut uids, mut numbers) = (Ranks(1), Ranks(1), [Ranks(0); C]);
            self.parts(lock, &mut |part| match part {
                Part::Version(version) => versions.insert(*version),
                Part::Uid(uid) => uids.insert(*uid),
                Part::Record(record) if has_number(record) => {
                    numbers[usize::from(record.writer)].insert(record.number);
                }
                Part::Record(_) => {}
            });
            // The last token is only compared.
            let token = &mut self.history.tokens[lock];
            *token = versions.rank(*token + 1) - 1;
            self.parts(lock, &mut |part| match part {
                Part::Version(version) => *version = versions.rank(*version),
                Part::Uid(uid) => *uid = uids.rank(*uid),
                Part::Record(record) if has_number(record) => {
                    record.number = numbers[usize::from(record.writer)].rank(record.number);
                }
                Part::Record(_) => {}
            });
        }
    }

    /// An unused number for a write of this candidate to this lock.
    pub fn new_number(&mut self, candidate: usize, lock: usize) -> u8 {
        let mut next = 0;
        self.parts(lock, &mut |part| {
            if let Part::Record(record) = part
                && usize::from(record.writer) == candidate
                && record.number != GONE
            {
                next = next.max(record.number + 1);
            }
        });
        next
    }

    /// Marks the records and writes of this candidate's process as those of a dead process.
    pub fn mark_dead(&mut self, candidate: usize) {
        for lock in 0..K {
            self.parts(lock, &mut |part| {
                if let Part::Record(record) = part
                    && usize::from(record.writer) == candidate
                {
                    record.dead = true;
                }
            });
        }
    }

    fn parts(&mut self, lock: usize, visit: &mut impl FnMut(Part)) {
        let object = &mut self.locks[lock];
        visit(Part::Version(&mut object.latest));
        visit(Part::Uid(&mut object.latest_uid));
        sight(&mut object.sight, visit);
        for candidate in &mut self.candidates {
            election(&mut candidate.elections[lock], visit);
        }
        for late_write in self.late_writes.iter_mut().filter_map(|late_writes| late_writes[lock].as_mut()) {
            if let Some(base) = &mut late_write.base {
                version(base, visit);
            }
            visit(Part::Record(&mut late_write.record));
        }
    }
}

fn election(election: &mut Election, visit: &mut impl FnMut(Part)) {
    visit(Part::Version(&mut election.floor));
    if let Some(observed) = &mut election.observed {
        sight(observed, visit);
    }
    if let Some(token) = election.term.as_mut().and_then(|term| term.token.as_mut()) {
        visit(Part::Version(token));
    }
    for doubt in election.doubts.iter_mut().flatten() {
        write(doubt, visit);
    }
    match &mut election.under_way {
        UnderWay::Idle => {}
        UnderWay::Read { shown, .. } => sight(shown, visit),
        UnderWay::Write { write: it, done, .. } => {
            write(it, visit);
            if let Some(it) = done {
                version(it, visit);
            }
        }
    }
    if let Some(watch_event) = &mut election.watch_event {
        visit(Part::Version(&mut watch_event.resource_version));
        sight(&mut watch_event.sight, visit);
    }
}

fn sight(sight: &mut Sight, visit: &mut impl FnMut(Part)) {
    if let Some(it) = &mut sight.version {
        version(it, visit);
    }
    if let Content::Record(record) = &mut sight.content {
        visit(Part::Record(record));
    }
}

fn write(write: &mut Write, visit: &mut impl FnMut(Part)) {
    if let Some(base) = &mut write.base {
        version(base, visit);
    }
    visit(Part::Record(&mut write.record));
}

fn version(version: &mut Version, visit: &mut impl FnMut(Part)) {
    visit(Part::Version(&mut version.resource_version));
    visit(Part::Uid(&mut version.uid));
}

fn has_number(record: &Record) -> bool {
    record.writer != OTHER_WRITER && record.number != GONE
}

/// The properties by which candidates are sorted, independent of their numbers.
fn key<const K: usize>(candidate: &Candidate<K>) -> impl Ord + use<K> {
    let of_election = |election: &Election| {
        let Election { age, removal_wait, own, term, floor, .. } = *election;
        let phase = match election.under_way {
            UnderWay::Idle => (0, 0),
            UnderWay::Read { .. } => (1, 0),
            UnderWay::Write { write, done, .. } => (2 + u8::from(done.is_some()), write.age),
        };
        let version = election.observed.and_then(|observed| observed.version).map(|version| version.resource_version);
        (own, term.map(|term| term.left), phase, age, removal_wait, floor, version, election.watch_event.is_some())
    };
    let Candidate { claims, since_miss, keep, alone, .. } = *candidate;
    (candidate.is_up(), claims, since_miss, keep, alone, candidate.elections.each_ref().map(of_election))
}
