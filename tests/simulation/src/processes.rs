//! The processes of the candidates: they start, process inputs, carry out what the state machine says, are paused, and
//! end.

use crate::clock::{Clock, MILLI};
use crate::node::{Input, LockWorker, Node};
use crate::oracle::{Claim, Facts, Named};
use crate::plan::{LockChoice, Member};
use crate::work::Tasks;
use crate::world::{Occurrence, World};
use leader_elector::election::lock_set::{LockSet, LockSetOutput};
use leader_elector::election::{Candidacy, CandidateEvent, Event, Moment};

impl World {
    pub fn new_node(&mut self, member: Member) -> Node {
        let settings = member.settings(&mut self.random);
        let fastest = self.plan.fastest;
        let rate = (fastest * fastest).powf(self.random.unit()) / fastest;
        let clock = Clock::new(self.random.below(1_000_000) * MILLI, rate);
        let locks: &'static [usize] = match member.locks {
            LockChoice::First => &[0],
            LockChoice::Second => &[1],
            LockChoice::Both => &[0, 1],
        };
        let process = self.oracle.add_process(Facts {
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
            next_locks: member.locks,
            member,
            process,
            running: false,
            stopped_at: None,
            clock,
            lock_set,
            workers: [LockWorker::of(process), LockWorker::of(process)],
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
            return self.schedule(self.no_starts_until, Occurrence::Start { node });
        }
        if self.nodes[node].running {
            return;
        }
        self.say(|world| format!("{} starts as process {}", world.name(node), world.nodes[node].process));
        self.nodes[node].running = true;
        self.nodes[node].sound_since = self.now;
        self.oracle.started(self.nodes[node].process);
        self.take_socket(node);
        for lock in self.nodes[node].locks {
            let wait = self.random.below(5 * MILLI);
            let generation = self.nodes[node].workers[*lock].watch.generation;
            self.schedule(self.now + wait, Occurrence::OpensWatch { node, lock: *lock, generation });
        }
        self.begin_checks(node);
    }

    pub fn name(&self, node: usize) -> String {
        format!("{}/{}", self.nodes[node].member.identity as char, node)
    }

    /// What `src/candidate.rs` does at its start, and as long as another process has its name.
    fn take_socket(&mut self, node: usize) {
        let it = &self.nodes[node];
        let taken = self.nodes.iter().any(|other| {
            other.running
                && other.holds_socket
                && (other.member.identity, other.member.network) == (it.member.identity, it.member.network)
        });
        let taken = taken || self.work_holds_socket(node);
        self.nodes[node].holds_socket = !taken;
        self.step(node, 0, Event::SoleInstance(!taken));
    }

    /// A process exits or is killed, and another one replaces it at `next_start`.
    pub fn ends(&mut self, node: usize, next_start: u64) {
        self.say(|world| format!("{} ends", world.name(node)));
        self.oracle.died(self.nodes[node].process, self.now);
        self.abandon_works(node);
        if self.nodes[node].next_locks != self.nodes[node].member.locks {
            self.stage_ended = self.now;
        }
        let member = Member { locks: self.nodes[node].next_locks, ..self.nodes[node].member.clone() };
        let healthy = self.nodes[node].healthy;
        self.nodes[node] = Node { healthy, ..self.new_node(member) };
        self.schedule(next_start, Occurrence::Start { node });
    }

    pub fn resume(&mut self, node: usize) {
        if self.now < self.nodes[node].paused_until {
            return;
        }
        self.nodes[node].sound_since = self.now;
        // What clients are told before the candidate's thread runs again.
        self.tell_oracle(node);
        while let Some(input) = self.nodes[node].inbox.pop_front() {
            self.handle(node, input);
            if self.now < self.nodes[node].paused_until {
                return;
            }
        }
    }

    /// Passes an input to a candidate, or queues it while the candidate is paused.
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
                self.nodes[node].stopped_at.get_or_insert(self.now);
                self.oracle.stopped(self.nodes[node].process, self.now);
                self.step(node, 0, Event::Stop);
            }
            Input::WorkEnded => {
                if self.hears_of_end(node) {
                    self.step_candidate(node, CandidateEvent::WorkEnded);
                }
            }
            Input::StandBack => {
                self.oracle.stands_back(self.nodes[node].process, self.now);
                self.step_candidate(node, CandidateEvent::StandBack);
            }
            Input::Checked { healthy } => {
                self.oracle.checked(self.nodes[node].process, self.now, healthy);
                self.step_candidate(node, CandidateEvent::Checked { healthy });
            }
            Input::Answered { message, answer, state } => self.answered(node, message, *answer, state),
            Input::Shown { lock, generation, state } => {
                if self.nodes[node].workers[lock].watch.generation == generation {
                    self.shown(node, lock, state);
                }
            }
            Input::WatchOpened { lock, generation } => {
                if self.nodes[node].workers[lock].watch.generation == generation {
                    self.step(node, lock, Event::WatchOpened);
                }
            }
            Input::WatchClosed { lock, generation } => {
                if self.nodes[node].workers[lock].watch.generation == generation {
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
        let output = self.step_machine(node, lock, event);
        self.follow(node, output);
    }

    /// The same for an event of the candidate itself.
    fn step_candidate(&mut self, node: usize, event: CandidateEvent) {
        let text = self.trace.then(|| format!("{event:?}"));
        let output = self.run_machine(node, text, |lock_set, moment| lock_set.step_candidate(moment, event));
        self.follow(node, output);
    }

    /// Only the step of the state machine. So the caller can tell the oracle what reached the candidate before the
    /// oracle sees the candidate's new claims.
    pub fn step_machine(&mut self, node: usize, lock: usize, event: Event) -> LockSetOutput {
        let text = self.trace.then(|| format!("lock {lock}: {event:?}"));
        let machine = self.nodes[node].machine_of(lock);
        self.run_machine(node, text, |lock_set, moment| lock_set.step(moment, machine, event))
    }

    fn run_machine(
        &mut self,
        node: usize,
        text: Option<String>,
        step: impl FnOnce(&mut LockSet, Moment) -> LockSetOutput,
    ) -> LockSetOutput {
        let moment = self.moment(node);
        let now = self.now;
        let it = &mut self.nodes[node];
        let output = step(&mut it.lock_set, moment);
        // Only a standing candidate can take the lock; the previous value may have been true until just now.
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
                format!("{} ({at:.6}) {text}\n    {output:?}\n    claim {claim:?}", world.name(node))
            });
        }
        output
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

    /// What `src/candidate.rs` does after a step: it publishes the snapshot, informs its work, and then sends requests
    /// (S5).
    pub fn follow(&mut self, node: usize, output: LockSetOutput) {
        self.tell_oracle(node);
        self.tell_tasks(node);
        self.carry_out(node, output);
    }

    /// Tells the oracle what the candidate says from now on.
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
        self.oracle.says(it.process, self.now, claim, other);
    }

    fn carry_out(&mut self, node: usize, output: LockSetOutput) {
        let locks = self.nodes[node].locks;
        for (lock, lock_output) in locks.iter().zip(output.locks) {
            if lock_output.reopen_watch {
                self.reopens_watch(node, *lock);
            }
            if let Some(request) = lock_output.request {
                self.send(node, *lock, request);
            }
        }
        if output.finished {
            self.oracle.finishes(self.nodes[node].process, self.now);
            let pause = self.random.below(self.plan.longest_lease);
            return self.ends(node, self.now + 1 + pause);
        }
        let it = &mut self.nodes[node];
        if let Some(deadline) = output.deadline {
            it.wakes_at = it.clock.when(deadline).max(self.now + 1);
            self.look_later(node);
        }
    }

    /// Schedules a check of the deadline. A deadline usually moves before it is reached, so checks are not cancelled;
    /// one that is too early schedules the next.
    pub fn look_later(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.wakes_at < it.looks_at {
            it.looks_at = it.wakes_at;
            let (at, process) = (it.wakes_at, it.process);
            self.schedule(at, Occurrence::Wake { node, process });
        }
    }
}
