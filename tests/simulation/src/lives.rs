//! The candidates' lives: they start, take in what reaches them, do what the machine says, stand still, and end.

use crate::clock::{Clock, MILLI};
use crate::node::{Input, Lane, Node};
use crate::oracle::{Claim, Facts, Named};
use crate::plan::{Member, Stands};
use crate::work::Tasks;
use crate::world::{What, World};
use leader_elector::election::lock_set::{LockSet, Outcome};
use leader_elector::election::{Candidacy, CandidateEvent, Event, Moment};

impl World {
    pub fn new_node(&mut self, member: Member) -> Node {
        let settings = member.settings(&mut self.random);
        let fastest = self.plan.fastest;
        let rate = (fastest * fastest).powf(self.random.unit()) / fastest;
        let clock = Clock::new(self.random.below(1_000_000) * MILLI, rate);
        let locks: &'static [usize] = match member.stands {
            Stands::First => &[0],
            Stands::Second => &[1],
            Stands::Both => &[0, 1],
        };
        let life = self.oracle.born(Facts {
            identity: member.identity,
            network: member.network,
            lease: member.lease,
            renew_deadline: member.renew_deadline,
            release_delay: settings.release_delay.as_nanos() as u64,
            retry_period: member.retry_period,
            health_failures: settings.health_failures,
            rate: clock.elapsed(1 << 20),
            locks: [locks.contains(&0), locks.contains(&1)],
        });
        let lock_set = if locks.len() == 2 { LockSet::dual(settings) } else { LockSet::single(settings) };
        Node {
            next_stands: member.stands,
            member,
            life,
            running: false,
            stopped: false,
            clock,
            lock_set,
            lanes: [Lane::of(life), Lane::of(life)],
            locks,
            inbox: std::collections::VecDeque::new(),
            paused_until: 0,
            sound_since: 0,
            wakes_at: u64::MAX,
            looks_at: u64::MAX,
            holds_socket: false,
            tasks: Tasks::default(),
            healthy: self.random.happens(0.8),
            stands: false,
            not_standing_at: None,
            wall_offset: self.random.below(1 << 40) as i64,
        }
    }

    pub fn start(&mut self, node: usize) {
        if self.now < self.no_starts_until {
            return self.schedule(self.no_starts_until, What::Start { node });
        }
        if self.nodes[node].running {
            return;
        }
        self.say(|world| format!("{} starts as life {}", world.name(node), world.nodes[node].life));
        self.nodes[node].running = true;
        self.nodes[node].sound_since = self.now;
        self.oracle.started(self.nodes[node].life);
        self.take_socket(node);
        for lock in self.nodes[node].locks {
            let wait = self.random.below(5 * MILLI);
            let generation = self.nodes[node].lanes[*lock].watch.generation;
            self.schedule(self.now + wait, What::OpensWatch { node, lock: *lock, generation });
        }
        self.begin_checks(node);
    }

    pub fn name(&self, node: usize) -> String {
        format!("{}/{}", self.nodes[node].member.identity as char, node)
    }

    /// What `src/candidate.rs` does at its start, and as long as somebody else has its name.
    fn take_socket(&mut self, node: usize) {
        let it = &self.nodes[node];
        let taken = self.nodes.iter().any(|other| {
            other.running
                && other.holds_socket
                && (other.member.identity, other.member.network) == (it.member.identity, it.member.network)
        });
        let taken = taken || self.work_holds_socket(node);
        self.nodes[node].holds_socket = !taken;
        self.step(node, 0, Event::Alone(!taken));
    }

    /// A process ends, by itself or not, and another takes its place at that moment.
    pub fn ends(&mut self, node: usize, next_start: u64) {
        self.say(|world| format!("{} ends", world.name(node)));
        self.oracle.died(self.nodes[node].life, self.now);
        self.abandon_works(node);
        if self.nodes[node].next_stands != self.nodes[node].member.stands {
            self.stage_ended = self.now;
        }
        let member = Member { stands: self.nodes[node].next_stands, ..self.nodes[node].member.clone() };
        let healthy = self.nodes[node].healthy;
        self.nodes[node] = Node { healthy, ..self.new_node(member) };
        self.schedule(next_start, What::Start { node });
    }

    pub fn resume(&mut self, node: usize) {
        if self.now < self.nodes[node].paused_until {
            return;
        }
        self.nodes[node].sound_since = self.now;
        // What others are told before the candidate's thread has run again.
        self.tell_oracle(node);
        while let Some(input) = self.nodes[node].inbox.pop_front() {
            self.handle(node, input);
            if self.now < self.nodes[node].paused_until {
                return;
            }
        }
    }

    /// Hands an input to a candidate, or puts it where it waits until the candidate goes on.
    pub fn give(&mut self, node: usize, input: Input) {
        if !self.nodes[node].running {
            return;
        }
        if self.now < self.nodes[node].paused_until {
            self.nodes[node].inbox.push_back(input);
        } else {
            self.handle(node, input);
        }
    }

    fn handle(&mut self, node: usize, input: Input) {
        match input {
            Input::Tick => self.step(node, 0, Event::Tick),
            Input::Stop => {
                self.nodes[node].stopped = true;
                self.oracle.stopped(self.nodes[node].life, self.now);
                self.step(node, 0, Event::Stop);
            }
            Input::WorkEnded => {
                if self.hears_of_end(node) {
                    self.step_candidate(node, CandidateEvent::WorkEnded);
                }
            }
            Input::StandBack => {
                self.oracle.stands_back(self.nodes[node].life, self.now);
                self.step_candidate(node, CandidateEvent::StandBack);
            }
            Input::Checked { healthy } => {
                self.oracle.checked(self.nodes[node].life, self.now, healthy);
                self.step_candidate(node, CandidateEvent::Checked { healthy });
            }
            Input::Answered { message, answer, state } => self.answered(node, message, *answer, state),
            Input::Shown { lock, generation, state } => {
                if self.nodes[node].lanes[lock].watch.generation == generation {
                    self.shown(node, lock, state);
                }
            }
            Input::WatchOpened { lock, generation } => {
                if self.nodes[node].lanes[lock].watch.generation == generation {
                    self.step(node, lock, Event::WatchOpened);
                }
            }
            Input::WatchClosed { lock, generation } => {
                if self.nodes[node].lanes[lock].watch.generation == generation {
                    self.step(node, lock, Event::WatchClosed);
                }
            }
        }
        let it = &self.nodes[node];
        if it.running && !it.holds_socket && it.lock_set.name_is_taken() {
            self.take_socket(node);
        }
    }

    pub fn step(&mut self, node: usize, lock: usize, event: Event) {
        let outcome = self.step_machine(node, lock, event);
        self.follow(node, outcome);
    }

    /// The same for what happened to no lock.
    fn step_candidate(&mut self, node: usize, event: CandidateEvent) {
        let text = self.trace.then(|| format!("{event:?}"));
        let outcome = self.run_machine(node, text, |lock_set, moment| lock_set.step_candidate(moment, event));
        self.follow(node, outcome);
    }

    /// The machine's step alone: what reached it can be told to the oracle before what it says then is.
    pub fn step_machine(&mut self, node: usize, lock: usize, event: Event) -> Outcome {
        let text = self.trace.then(|| format!("lock {lock}: {event:?}"));
        let machine = self.nodes[node].machine_of(lock);
        self.run_machine(node, text, |lock_set, moment| lock_set.step(moment, machine, event))
    }

    fn run_machine(
        &mut self,
        node: usize,
        text: Option<String>,
        step: impl FnOnce(&mut LockSet, Moment) -> Outcome,
    ) -> Outcome {
        let moment = self.moment(node);
        let now = self.now;
        let it = &mut self.nodes[node];
        let outcome = step(&mut it.lock_set, moment);
        // Only who stands can take the lock; and what it was before may have been so until just now.
        let stands = it.lock_set.candidacy(moment.now) == Candidacy::Standing;
        if !(stands && it.stands) {
            it.sound_since = now;
        }
        it.stands = stands;
        if !stands {
            it.not_standing_at = Some(now);
        }
        let claim = it.lock_set.claim();
        if let Some(text) = text {
            self.say(|world| {
                let at = moment.now.uptime().as_secs_f64();
                format!("{} ({at:.6}) {text}\n    {outcome:?}\n    claim {claim:?}", world.name(node))
            });
        }
        outcome
    }

    fn moment(&mut self, node: usize) -> Moment {
        let wall_micros = if self.plan.frozen_wall_clock {
            1_000
        } else if self.plan.wild_wall_clock && self.random.happens(0.1) {
            self.random.below(1 << 50) as i64 - (1 << 49)
        } else {
            self.now as i64 / 1_000 + self.nodes[node].wall_offset
        };
        let jitter = self.random.unit();
        Moment { now: self.nodes[node].clock.at(self.now), wall_micros, jitter }
    }

    /// What `src/candidate.rs` does after a step: it publishes what it says, tells what it started, and then obeys (S5).
    pub fn follow(&mut self, node: usize, outcome: Outcome) {
        self.tell_oracle(node);
        self.tell_tasks(node);
        self.obey(node, outcome);
    }

    /// What it would say from now on.
    fn tell_oracle(&mut self, node: usize) {
        let it = &self.nodes[node];
        if !it.running {
            return;
        }
        let claim =
            it.lock_set.claim().map(|claim| Claim { until: it.clock.when(claim.until), token: claim.fencing_token });
        let now = it.clock.at(self.now);
        let other = it.lock_set.others().find(|holder| now < holder.until);
        let other =
            other.map(|holder| Named { identity: holder.identity.as_bytes()[0], until: it.clock.when(holder.until) });
        self.oracle.says(it.life, self.now, claim, other);
    }

    fn obey(&mut self, node: usize, outcome: Outcome) {
        let locks = self.nodes[node].locks;
        for (lock, order) in locks.iter().zip(outcome.orders) {
            if order.reopen_watch {
                self.reopens_watch(node, *lock);
            }
            if let Some(request) = order.request {
                self.send(node, *lock, request);
            }
        }
        if outcome.finished {
            self.oracle.finishes(self.nodes[node].life, self.now);
            let pause = self.random.below(self.plan.longest_lease);
            return self.ends(node, self.now + 1 + pause);
        }
        let it = &mut self.nodes[node];
        if let Some(deadline) = outcome.deadline {
            it.wakes_at = it.clock.when(deadline).max(self.now + 1);
            self.look_later(node);
        }
    }

    /// A deadline mostly moves on before it comes: no look at it is taken back, but a vain one leads to the next.
    pub fn look_later(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.wakes_at < it.looks_at {
            it.looks_at = it.wakes_at;
            let (at, life) = (it.wakes_at, it.life);
            self.schedule(at, What::Wake { node, life });
        }
    }
}
