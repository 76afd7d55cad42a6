//! One candidate's contest for one lock, or for two in a fixed order.
//!
//! With one lock it is that lock's machine and nothing else. With two it leads while it leads both, so that it excludes
//! those who know only the first lock as well as those who know only the second. Both are observed always; only what
//! is written follows an order:
//!
//! - It stands for the first only while it could stand for the second: while that is readable, and writing it is not
//!   refused.
//! - It stands for the second only while it leads the first. So two candidates never hold one lock each and wait for
//!   the other's.
//! - Who leads the first and cannot come to lead the second gives the first up, and lets others try for one lease.
//! - Each term needs a new term of both locks, so that the greater of their two fencing tokens grows, even where the
//!   API server counts the versions of the two kinds apart.
//! - A release goes the other way: the second, then the first.

use crate::clock::Time;
use crate::election::{Election, Event, Moment, Output, Request, Settings};
use crate::status::{Claim, Holder};
use std::time::Duration;

/// The locks of a contest, in their order.
pub const MOST_LOCKS: usize = 2;

/// The release delay of the first of two locks: it is kept until the second has come to its end.
const UNTIL_TOLD: Duration = Duration::from_secs(u32::MAX as u64);

/// The machines of a candidate's locks, and what binds them together.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Contest {
    locks: Vec<Election>,
    /// What the machines asked for last, as far as it has not been passed on.
    outputs: [Output; MOST_LOCKS],
    binding: Binding,
}

/// What binds the two locks together.
#[derive(Clone, Debug, PartialEq, Hash)]
struct Binding {
    lease: Duration,
    release_delay: Duration,
    /// Whether each lock was last said to be wanted.
    stands: [bool; MOST_LOCKS],
    /// The fencing tokens of the two terms that make up the present term, and those that made up the last one.
    tokens: Option<[u64; MOST_LOCKS]>,
    spent: [u64; MOST_LOCKS],
    /// Since when it has led the first lock with nobody in its way on the second, and does not lead that.
    stuck_since: Option<Time>,
    /// Until when others may try.
    back_until: Time,
    /// After Stop: when the release delay is over.
    release_at: Option<Time>,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// For each lock, in their order.
    pub orders: [Order; MOST_LOCKS],
    /// Call again with [`Event::Tick`] at this moment, if nothing happens before.
    pub deadline: Option<Time>,
    /// After Stop: there is nothing left to do.
    pub finished: bool,
}

/// What to do about one lock; see [`Output`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    pub request: Option<Request>,
    pub reopen_watch: bool,
}

impl Contest {
    /// A contest for one lock.
    pub fn single(settings: Settings) -> Contest {
        Contest::new(&settings, vec![Election::new(settings.clone())])
    }

    /// A contest for two locks at once.
    pub fn dual(settings: Settings) -> Contest {
        let first = Settings { release_delay: UNTIL_TOLD, ..settings.clone() };
        Contest::new(&settings, vec![Election::new(first), Election::new(settings.clone())])
    }

    fn new(settings: &Settings, locks: Vec<Election>) -> Contest {
        let binding = Binding {
            lease: settings.lease,
            release_delay: settings.release_delay,
            stands: [true; MOST_LOCKS],
            tokens: None,
            spent: [0; MOST_LOCKS],
            stuck_since: None,
            back_until: Time::ZERO,
            release_at: None,
        };
        Contest { locks, outputs: Default::default(), binding }
    }

    /// How long the lock is kept after Stop, if it is held.
    pub fn release_delay(&self) -> Duration {
        self.binding.release_delay
    }

    /// The machines, in the order of the locks.
    pub fn locks(&self) -> &[Election] {
        &self.locks
    }

    /// This candidate's leadership; whoever is told must compare `until` with the clock (S1).
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

    /// The other candidate that leads, until its lease runs out by this clock: the holder of the second lock, if it has
    /// one, else that of the first.
    pub fn other(&self) -> Option<Holder> {
        self.locks.iter().rev().find_map(Election::other)
    }

    /// The machine of the lock that says who leads: the last one that this candidate, or another one, holds.
    pub fn decisive(&self) -> Option<&Election> {
        let held = |machine: &&Election| machine.claim().is_some() || machine.other().is_some();
        self.locks.iter().rfind(held).or(self.locks.last())
    }

    /// Whether others still have to wait for this candidate.
    pub fn holds(&self) -> bool {
        self.locks.iter().any(Election::holds)
    }

    /// Whether a lock bears this candidate's name in a record that this process did not write (S9).
    pub fn name_is_taken(&self) -> bool {
        self.locks.iter().any(Election::name_is_taken)
    }

    /// Takes in what happened to the lock at `index`, or to the candidate itself, and says what to do next.
    pub fn step(&mut self, moment: Moment, index: usize, event: Event) -> Outcome {
        match event {
            Event::Tick | Event::Alone(_) => {
                (0..self.locks.len()).for_each(|index| self.tell(moment, index, event.clone()));
            }
            Event::Stop if self.binding.release_at.is_some() => {}
            Event::Stop => {
                let leads = self.locks.iter().all(Election::holds);
                let delay = if leads { self.binding.release_delay } else { Duration::ZERO };
                self.binding.release_at = Some(moment.now.saturating_add(delay));
                (0..self.locks.len()).for_each(|index| self.tell(moment, index, Event::Stop));
            }
            _ => self.tell(moment, index, event),
        }
        if self.locks.len() == MOST_LOCKS {
            self.bind(moment);
        }
        self.outcome(moment.now)
    }

    fn tell(&mut self, moment: Moment, index: usize, event: Event) {
        let Some(lock) = self.locks.get_mut(index) else { return };
        let output = lock.step(moment, event);
        let before = &mut self.outputs[index];
        // A request that was not sent yet has been given up, if there is a newer one.
        let request = output.request.or(before.request.take());
        *before = Output { request, reopen_watch: output.reopen_watch || before.reopen_watch, ..output };
    }

    /// Lets each of the two machines know what follows for it from the other one.
    fn bind(&mut self, moment: Moment) {
        // The first may have to go because of the second, and the second then because of the first.
        for _ in 0..MOST_LOCKS {
            self.note_term(moment.now);
            if let Some(release_at) = self.binding.release_at {
                self.bind_leaving(moment, release_at);
            } else {
                self.want(moment, 0, self.wants_first(moment.now));
                self.want(moment, 1, self.wants_second());
            }
        }
    }

    /// Both were told to leave, and the first keeps its lock until it is told again.
    fn bind_leaving(&mut self, moment: Moment, release_at: Time) {
        if self.outputs[1].finished && release_at <= moment.now {
            self.tell(moment, 0, Event::Stop);
        }
    }

    fn want(&mut self, moment: Moment, index: usize, wanted: bool) {
        if std::mem::replace(&mut self.binding.stands[index], wanted) != wanted {
            self.tell(moment, index, Event::Stand(wanted));
        }
    }

    /// Keeps account of the terms, and of how long the second lock has kept one from beginning.
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
        let too_long = binding.stuck_since.is_some_and(|since| since.saturating_add(binding.lease) <= now);
        if first.claim().is_some() && (too_long || second.refused_until().is_some_and(|until| now < until)) {
            binding.back_until = now.saturating_add(binding.lease);
            binding.stuck_since = None;
        }
    }

    fn wants_first(&self, now: Time) -> bool {
        let (first, second) = (&self.locks[0], &self.locks[1]);
        let spent = first.claim().is_some_and(|claim| claim.fencing_token <= self.binding.spent[0]);
        let refused = second.refused_until().is_some_and(|until| now < until);
        !spent && !refused && self.binding.back_until <= now && second.is_readable(now)
    }

    fn wants_second(&self) -> bool {
        let spent = self.locks[1].claim().is_some_and(|claim| claim.fencing_token <= self.binding.spent[1]);
        !spent && self.locks[0].claim().is_some()
    }

    /// When time alone changes what is wanted.
    fn binding_deadline(&self, now: Time) -> Option<Time> {
        let [_, second] = &self.locks[..] else { return None };
        let stuck = self.binding.stuck_since.map(|since| since.saturating_add(self.binding.lease));
        let moments = [
            self.binding.release_at,
            Some(self.binding.back_until),
            second.refused_until(),
            Some(second.unreadable_at()),
            stuck,
        ];
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn outcome(&mut self, now: Time) -> Outcome {
        let deadlines = self.outputs[..self.locks.len()].iter().filter_map(|output| output.deadline);
        let deadline = deadlines.chain(self.binding_deadline(now)).min();
        let finished = self.outputs[..self.locks.len()].iter().all(|output| output.finished);
        let order = |output: &mut Output| Order {
            request: output.request.take(),
            reopen_watch: std::mem::take(&mut output.reopen_watch),
        };
        Outcome { orders: self.outputs.each_mut().map(order), deadline, finished }
    }
}
