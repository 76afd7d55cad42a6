//! The locks of one candidate: one, or two in a fixed order.
//!
//! With one lock it passes everything to that lock's state machine. With two, the candidate leads only while it leads
//! both locks. So it excludes candidates that use only the first lock as well as those that use only the second. Both
//! locks are observed all the time; writes follow an order:
//!
//! - It tries to take the first lock only while it could take the second: while that is readable, and the server does
//!   not refuse to write it.
//! - It tries to take the second lock only while it leads the first. So two candidates never hold one lock each and
//!   wait for the other one.
//! - A candidate that leads the first lock and cannot take the second releases the first, and leaves it to others for
//!   one lease.
//! - Each term needs a new term of both locks, so that the greater of their two fencing tokens grows even if the two
//!   kinds have separate resourceVersions.
//! - The second lock is released before the first.
//!
//! A candidate does not try to take any lock while its application is unhealthy, or for one lease after it was asked to
//! step down. If it holds locks then, it ends the claim and renews the locks until the work that was started for the
//! leadership has ended (S5). Then it releases them.
//!
//! For L - D after the end of a claim no lock is released, so that nobody else leads. The exception is a claim that the
//! candidate ends by choice: because of Stop, a step-down, or an unhealthy application.

use crate::election::eligibility::Eligibility;
use crate::election::release_time::ReleaseTime;
use crate::election::{
    Candidacy, CandidateEvent, Claim, Election, Event, Holder, LockRequest, Moment, Output, Settings,
};
use crate::record::Mark;
use crate::time::Time;
use std::time::Duration;

/// The greatest number of locks.
pub const MOST_LOCKS: usize = 2;

/// The state machines of a candidate's locks, and the state that they share.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct LockSet {
    locks: Vec<Election>,
    /// The last outputs of the state machines. A request is taken out when it is passed on.
    outputs: [Output; MOST_LOCKS],
    eligibility: Eligibility,
    work: Work,
    release_time: ReleaseTime,
    binding: Binding,
    /// For each lock, the mark of the last record of a dead predecessor.
    left_behind: [Option<Mark>; MOST_LOCKS],
}

/// Work that was started for the leadership: a command, or the address in the leader Service.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
struct Work {
    goes_on: bool,
    /// The fencing tokens of the terms for which it was started, while all of these terms last.
    tokens: Option<[Option<u64>; MOST_LOCKS]>,
}

/// How two locks depend on each other.
#[derive(Clone, Debug, PartialEq, Hash)]
struct Binding {
    /// The last [`Event::Wanted`] for each lock.
    wanted: [bool; MOST_LOCKS],
    /// The fencing tokens of the two terms that make up the current term, and of those that made up the previous one.
    tokens: Option<[u64; MOST_LOCKS]>,
    spent: [u64; MOST_LOCKS],
    /// Since when it leads the first lock, and not the second although that is free.
    stuck_since: Option<Time>,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LockSetOutput {
    /// For each lock, in their order.
    pub locks: [LockOutput; MOST_LOCKS],
    /// Call again with [`Event::Tick`] at this moment, if nothing happens before.
    pub deadline: Option<Time>,
    /// After Stop: there is nothing left to do.
    pub finished: bool,
}

/// What to do for one lock; see [`Output`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LockOutput {
    pub request: Option<LockRequest>,
    pub reopen_watch: bool,
}

impl LockSet {
    /// One lock.
    pub fn single(settings: Settings) -> LockSet {
        LockSet::new(&settings, vec![Election::new(settings.clone())])
    }

    /// Two locks at once.
    pub fn dual(settings: Settings) -> LockSet {
        LockSet::new(&settings, vec![Election::new(settings.clone()), Election::new(settings.clone())])
    }

    fn new(settings: &Settings, locks: Vec<Election>) -> LockSet {
        let binding = Binding { wanted: [true; MOST_LOCKS], tokens: None, spent: [0; MOST_LOCKS], stuck_since: None };
        LockSet {
            locks,
            outputs: Default::default(),
            eligibility: Eligibility::new(settings),
            work: Work::default(),
            release_time: ReleaseTime::new(settings),
            binding,
            left_behind: Default::default(),
        }
    }

    /// How long the lock is kept after Stop, if it is held.
    pub fn release_delay(&self) -> Duration {
        self.release_time.delay()
    }

    /// Whether this candidate would lead if the locks were free.
    pub fn candidacy(&self, now: Time) -> Candidacy {
        if self.release_time.is_stopped() { Candidacy::Leaving } else { self.eligibility.candidacy(now) }
    }

    /// Call before work is started for the leadership: no lock is released until [`CandidateEvent::WorkEnded`] (S5).
    pub fn begin_work(&mut self) {
        self.work.goes_on = true;
    }

    /// Until when the work for the last claim may continue, unless the locks are renewed: F of the terms for which it
    /// was started, also after the claim has ended. `None` if one of these terms is over: then no work may continue.
    pub fn work_until(&self) -> Option<Time> {
        self.work.tokens?;
        self.locks.iter().filter_map(Election::term).map(|term| term.until).min()
    }

    /// The state machines, in the order of the locks.
    pub fn locks(&self) -> &[Election] {
        &self.locks
    }

    /// This candidate's claim. Callers must compare `until` with the clock (S1).
    pub fn claim(&self) -> Option<Claim> {
        match &self.locks[..] {
            [first, second] => {
                let (first, second) = (first.claim()?, second.claim()?);
                self.binding.tokens?;
                Some(Claim {
                    until: first.until.min(second.until),
                    fencing_token: first.fencing_token.max(second.fencing_token),
                })
            }
            locks => locks.first().and_then(Election::claim),
        }
    }

    /// The other candidates that hold a lock, each until its lease runs out by this clock. The first one whose lease
    /// has not run out is the leader: the holder of the second lock, or else that of the first.
    pub fn others(&self) -> impl Iterator<Item = Holder> {
        self.locks.iter().rev().filter_map(Election::other)
    }

    /// Whether this candidate holds a lock, so that others must wait.
    pub fn holds(&self) -> bool {
        self.locks.iter().any(Election::holds)
    }

    /// Whether a lock has this candidate's name in a record that this process did not write (S9).
    pub fn name_is_taken(&self) -> bool {
        self.locks.iter().any(Election::name_is_taken)
    }

    /// Processes an event of the lock at `index`, or one for all locks, and returns what to do next.
    pub fn step(&mut self, moment: Moment, index: usize, event: Event) -> LockSetOutput {
        let now = moment.now;
        self.release_time.note_lapse(now);
        if event == Event::Stop && self.release_time.stop() {
            self.end_claim(now);
        }
        self.hold(now);
        match event {
            Event::Tick | Event::SoleInstance(_) | Event::Stop => {
                (0..self.locks.len()).for_each(|index| self.tell(moment, index, event.clone()));
            }
            _ => self.tell(moment, index, event),
        }
        // With two locks, also before it leads both. Also when the term is over and the own record is still in the
        // lock.
        if !self.eligibility.leaves_to_others() && self.locks.iter().any(Election::is_asked_to_step_down) {
            self.leave(moment, self.eligibility.lease());
        }
        self.settle(moment)
    }

    /// Processes an event of the candidate itself, and returns what to do next.
    pub fn step_candidate(&mut self, moment: Moment, event: CandidateEvent) -> LockSetOutput {
        let now = moment.now;
        self.release_time.note_lapse(now);
        match event {
            CandidateEvent::Checked { healthy } => {
                let leads = self.claim().is_some_and(|claim| now < claim.until);
                if self.eligibility.checked(now, healthy, leads) {
                    self.leave(moment, Duration::ZERO);
                }
            }
            CandidateEvent::WorkEnded => self.work.goes_on = false,
            CandidateEvent::StandBack => self.leave(moment, self.eligibility.lease()),
        }
        self.hold(now);
        (0..self.locks.len()).for_each(|index| self.tell(moment, index, Event::Tick));
        self.settle(moment)
    }

    /// Ends the claim by choice, gives up the locks, and then leaves them to others for `back`.
    fn leave(&mut self, moment: Moment, back: Duration) {
        if self.release_time.is_stopped() {
            return;
        }
        self.eligibility.leave(back);
        self.end_claim(moment.now);
        self.hold(moment.now);
        (0..self.locks.len()).for_each(|index| self.want(moment, index, false));
    }

    fn settle(&mut self, moment: Moment) -> LockSetOutput {
        let now = moment.now;
        // A change of the second lock may affect the first, and that may affect the second again.
        for _ in 0..self.locks.len() {
            self.note_term(now);
            self.release_time.note_claim(now, self.claim());
            for (index, changed) in self.hold(now).into_iter().enumerate() {
                if changed {
                    self.tell(moment, index, Event::Tick);
                }
            }
            if !self.holds() {
                self.eligibility.holds_none(now);
            }
            self.bind(moment);
        }
        self.note_work();
        self.output(now)
    }

    /// Work for a claim may continue only while the terms of that claim last.
    fn note_work(&mut self) {
        let token = |index: usize| Some(self.locks.get(index)?.term()?.fencing_token);
        let tokens: [Option<u64>; MOST_LOCKS] = std::array::from_fn(token);
        if self.claim().is_some() || self.work.tokens == Some(tokens) {
            self.work.tokens = tokens.iter().take(self.locks.len()).all(Option::is_some).then_some(tokens);
        } else {
            self.work.tokens = None;
        }
    }

    fn end_claim(&mut self, now: Time) {
        self.release_time.end_claim(now, self.locks.iter().all(Election::holds));
    }

    /// Tells each state machine whether its lock must be kept. Returns for which of them this changed.
    fn hold(&mut self, now: Time) -> [bool; MOST_LOCKS] {
        let held = self.release_time.keeps_locks(now, self.work.goes_on);
        let renewed = self.release_time.renews_locks(now, self.work.goes_on);
        let of_each = [held || self.waits_for_second(now), held];
        let mut changed = [false; MOST_LOCKS];
        for (index, lock) in self.locks.iter_mut().enumerate() {
            changed[index] = lock.hold(of_each[index], renewed);
        }
        changed
    }

    /// After Stop: whether the first lock waits for the release of the second.
    fn waits_for_second(&self, now: Time) -> bool {
        self.second_has_until().is_some_and(|until| !self.outputs[1].finished && now < until)
    }

    /// Until when the first lock waits for the release of the second.
    fn second_has_until(&self) -> Option<Time> {
        self.locks.get(1).and(self.release_time.second_has_until())
    }

    fn tell(&mut self, moment: Moment, index: usize, event: Event) {
        let Some(lock) = self.locks.get_mut(index) else { return };
        let mut output = lock.process(moment, event);
        // Before it decides, because it would acquire the lock again at once.
        if lock.written_at().is_some_and(|sent| self.eligibility.had_left(sent)) {
            self.eligibility.leave(self.eligibility.lease());
            self.binding.wanted[index] = false;
            lock.want(false);
        }
        lock.decide(moment, &mut output);
        // S9: the claim of the dead process may have lasted until just now. Only once for each of its records: otherwise
        // each failed request would protect it for longer, and a process that stops would never end.
        let known = &mut self.left_behind[index];
        if let Some(mark) = lock.mark_left_behind().filter(|mark| known.as_ref() != Some(*mark)) {
            *known = Some(mark.clone());
            self.release_time.protect(moment.now);
        }
        let before = &mut self.outputs[index];
        // A newer request replaces one that was not sent yet.
        let request = output.request.or(before.request.take());
        *before = Output { request, reopen_watch: output.reopen_watch || before.reopen_watch, ..output };
    }

    /// Tells each state machine whether its lock is wanted, which may depend on the other lock.
    fn bind(&mut self, moment: Moment) {
        if self.release_time.is_stopped() {
            return;
        }
        self.want(moment, 0, self.wants_first(moment.now));
        if self.locks.len() == MOST_LOCKS {
            self.want(moment, 1, self.wants_second());
        }
    }

    fn want(&mut self, moment: Moment, index: usize, wanted: bool) {
        if std::mem::replace(&mut self.binding.wanted[index], wanted) != wanted {
            self.tell(moment, index, Event::Wanted(wanted));
        }
    }

    /// Keeps track of the terms, and of how long the second lock has prevented one.
    fn note_term(&mut self, now: Time) {
        let [first, second] = &self.locks[..] else { return };
        let binding = &mut self.binding;
        let tokens = [first, second].map(|lock| lock.claim().map(|claim| claim.fencing_token));
        let new = match tokens {
            [Some(a), Some(b)] if a > binding.spent[0] && b > binding.spent[1] => Some([a, b]),
            _ => None,
        };
        if let Some(over) = binding.tokens
            && new != Some(over)
        {
            binding.spent = over;
            binding.tokens = None;
        } else {
            binding.tokens = new;
        }
        let free = second.free_from().is_none_or(|at| at <= now);
        let stuck = first.claim().is_some() && second.claim().is_none() && free;
        binding.stuck_since = stuck.then(|| binding.stuck_since.unwrap_or(now));
        let too_long = binding.stuck_since.is_some_and(|since| since.saturating_add(self.eligibility.lease()) <= now);
        if first.claim().is_some() && (too_long || second.refused_until().is_some_and(|until| now < until)) {
            self.eligibility.leave(self.eligibility.lease());
            binding.stuck_since = None;
        }
    }

    fn wants_first(&self, now: Time) -> bool {
        let stands = self.candidacy(now) == Candidacy::Standing;
        let [first, second] = &self.locks[..] else { return stands };
        let spent = first.claim().is_some_and(|claim| claim.fencing_token <= self.binding.spent[0]);
        let refused = second.refused_until().is_some_and(|until| now < until);
        stands && !spent && !refused && second.is_readable(now)
    }

    fn wants_second(&self) -> bool {
        let spent = self.locks[1].claim().is_some_and(|claim| claim.fencing_token <= self.binding.spent[1]);
        !spent && self.locks[0].claim().is_some()
    }

    /// The next moment at which [`LockSet::bind`] may have to change something.
    fn binding_deadline(&self, now: Time) -> Option<Time> {
        let second = self.locks.get(1);
        let stuck = self.binding.stuck_since.map(|since| since.saturating_add(self.eligibility.lease()));
        let moments = [
            self.second_has_until(),
            self.eligibility.back_until(),
            second.and_then(Election::refused_until),
            second.map(Election::unreadable_at),
            stuck,
        ];
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn output(&mut self, now: Time) -> LockSetOutput {
        let outputs = &self.outputs[..self.locks.len()];
        let deadlines = outputs.iter().filter_map(|output| output.deadline);
        let deadline = deadlines.chain(self.binding_deadline(now)).chain(self.release_time.deadline(now)).min();
        let released = outputs.iter().all(|output| output.finished);
        let finished = !self.work.goes_on && (released || self.release_time.gives_up_at().is_some_and(|at| at <= now));
        let lock = |output: &mut Output| LockOutput {
            request: output.request.take(),
            reopen_watch: std::mem::take(&mut output.reopen_watch),
        };
        LockSetOutput { locks: self.outputs.each_mut().map(lock), deadline, finished }
    }
}
