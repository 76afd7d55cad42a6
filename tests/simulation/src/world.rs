//! The simulated world: true time, the queue of occurrences, and the candidates.

use crate::node::{Input, Node};
use crate::oracle::{Oracle, Violation, Writer};
use crate::peer::Peer;
use crate::plan::{Faults, Plan};
use crate::random::Random;
use crate::server::{Server, commit_of};
use crate::work::Work;
use crate::{network, recovery};
use leader_elector::record::Content;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::AddAssign;

/// More events than this mean an endless loop.
const MOST_EVENTS: u64 = 200_000;

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Occurrence {
    /// A process starts on a node.
    Start {
        node: usize,
    },
    Wake {
        node: usize,
        process: usize,
    },
    Resume {
        node: usize,
    },
    /// A message arrives at the server.
    Arrives {
        message: usize,
    },
    /// An answer arrives at the candidate.
    Returns {
        message: usize,
        answer: usize,
    },
    TimesOut {
        message: usize,
    },
    OpensWatch {
        node: usize,
        lock: usize,
        generation: u64,
    },
    WatchEnds {
        node: usize,
        lock: usize,
        generation: u64,
    },
    Shows {
        node: usize,
        lock: usize,
        generation: u64,
    },
    PeerActs {
        peer: usize,
    },
    /// Work may have to end.
    WorkMayEnd {
        work: usize,
    },
    /// A candidate learns that its work has ended.
    WorkEnded {
        work: usize,
    },
    HealthCheck {
        node: usize,
        process: usize,
    },
    /// An application becomes healthy again.
    Recovers {
        node: usize,
    },
    Disruption,
    Edits {
        lock: usize,
    },
    /// Somebody asks the holder to step down.
    AsksToStepDown {
        lock: usize,
    },
    /// A check whether a free lock should have been taken.
    Looks,
    FaultsEnd,
    /// A check during the recovery, or the end of the schedule.
    Checks {
        number: u64,
    },
}

pub struct World {
    pub plan: Plan,
    pub random: Random,
    pub now: u64,
    pub server: Server,
    pub nodes: Vec<Node>,
    pub peers: Vec<Peer>,
    pub works: Vec<Work>,
    pub oracle: Oracle,
    pub network: network::Network,
    pub recovery: recovery::Recovery,
    queue: BinaryHeap<Reverse<(u64, u64, Occurrence)>>,
    scheduled: u64,
    pub events: u64,
    /// Until then no process may start, because one that never saw the lock might take it too early.
    pub no_starts_until: u64,
    /// When a candidate was last replaced by one with other locks.
    pub stage_ended: u64,
    /// When each lock was last written to.
    pub changed_at: [u64; 2],
    pub trace: bool,
    over: bool,
}

/// The statistics of a schedule without a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub events: u64,
    /// True time, in nanoseconds.
    pub time: u64,
    pub terms: u64,
    pub exemptions: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.events += other.events;
        self.time += other.time;
        self.terms += other.terms;
        self.exemptions += other.exemptions;
    }
}

impl World {
    pub fn new(seed: u64, faults: Faults, trace: bool) -> World {
        let mut random = Random::new(seed);
        let plan = Plan::drawn(&mut random, faults);
        let mut world = World {
            server: Server::new(plan.creates_on_update, plan.one_store),
            now: 0,
            nodes: Vec::with_capacity(plan.members.len()),
            peers: Vec::new(),
            works: Vec::new(),
            oracle: Oracle::new(),
            network: network::Network::default(),
            recovery: recovery::Recovery::default(),
            queue: BinaryHeap::with_capacity(256),
            scheduled: 0,
            events: 0,
            no_starts_until: 0,
            stage_ended: 0,
            changed_at: [0; 2],
            trace,
            over: false,
            plan,
            random,
        };
        world.say(|world| format!("{:#?}", world.plan));
        for index in 0..world.plan.members.len() {
            let member = world.plan.members[index].clone();
            let node = world.new_node(member);
            world.nodes.push(node);
            let at = if world.random.happens(0.7) { 0 } else { world.random.below(world.plan.longest_lease) };
            world.schedule(at, Occurrence::Start { node: index });
        }
        for implementation in world.plan.peers.clone() {
            world.add_peer(implementation);
        }
        for lock in 0..if world.plan.bare_objects { 2 } else { 0 } {
            world.server.put(lock, Content::Nothing, None);
            world.changed(lock, Writer::Foreign);
        }
        if !world.plan.disruptions.is_empty() {
            world.schedule(0, Occurrence::Disruption);
        }
        if world.plan.fault_rates.refused == 0.0 && !world.plan.rolling {
            world.schedule(world.plan.longest_lease, Occurrence::Looks);
        }
        world.schedule(world.plan.faults_until, Occurrence::FaultsEnd);
        world
    }

    pub fn schedule(&mut self, at: u64, what: Occurrence) {
        self.scheduled += 1;
        self.queue.push(Reverse((at.max(self.now), self.scheduled, what)));
    }

    pub fn say(&self, text: impl FnOnce(&World) -> String) {
        if self.trace {
            println!("{:>12.6} {}", self.now as f64 / 1e9, text(self));
        }
    }

    pub fn faulty(&self) -> bool {
        self.now < self.plan.faults_until
    }

    /// Runs the schedule to its end, or to the first violation.
    pub fn run(mut self) -> Result<Summary, Violation> {
        while !self.over {
            let Some(Reverse((at, _, what))) = self.queue.pop() else { break };
            self.now = at;
            self.events += 1;
            self.happen(what);
            if self.events > MOST_EVENTS {
                self.fail("storm", "events without end".to_owned());
            }
            if let Some(violation) = self.oracle.violation.take() {
                self.say(|_| format!("VIOLATION {violation}"));
                return Err(violation);
            }
        }
        let exemptions = self.oracle.exemptions.two_leaders;
        Ok(Summary { events: self.events, time: self.now, terms: self.oracle.terms, exemptions })
    }

    pub fn fail(&mut self, rule: &'static str, what: String) {
        let at = self.now;
        self.oracle.violation.get_or_insert(Violation { rule, at, what });
    }

    pub fn end(&mut self) {
        self.over = true;
    }

    fn happen(&mut self, what: Occurrence) {
        match what {
            Occurrence::Start { node } => self.start(node),
            Occurrence::Wake { node, process } => {
                let it = &mut self.nodes[node];
                if it.process == process && it.looks_at == self.now {
                    it.looks_at = u64::MAX;
                    if it.wakes_at <= self.now {
                        self.give(node, Input::Tick);
                    } else {
                        self.look_later(node);
                    }
                }
            }
            Occurrence::Resume { node } => self.resume(node),
            Occurrence::Arrives { message } => self.arrives(message),
            Occurrence::Returns { message, answer } => self.returns(message, answer),
            Occurrence::TimesOut { message } => self.times_out(message),
            Occurrence::OpensWatch { node, lock, generation } => self.opens_watch(node, lock, generation),
            Occurrence::WatchEnds { node, lock, generation } => {
                self.give(node, Input::WatchClosed { lock, generation })
            }
            Occurrence::Shows { node, lock, generation } => self.shows(node, lock, generation),
            Occurrence::PeerActs { peer } => self.peer_acts(peer),
            Occurrence::WorkMayEnd { work } => self.look_at_work(work),
            Occurrence::WorkEnded { work } => self.work_ended(work),
            Occurrence::HealthCheck { node, process } => self.health_check(node, process),
            Occurrence::Disruption => self.disrupt(),
            Occurrence::Edits { lock } => self.edits_now(lock),
            Occurrence::Recovers { node } => self.set_health(node, true),
            Occurrence::AsksToStepDown { lock } => self.asks_to_step_down(lock),
            Occurrence::Looks => self.looks(),
            Occurrence::FaultsEnd => self.faults_end(),
            Occurrence::Checks { number } => self.checks(number),
        }
    }

    /// The server has changed an object: tells the oracle, and schedules the change in all watches.
    pub fn changed(&mut self, lock: usize, writer: Writer) {
        let commit = commit_of(self.server.objects[lock].present(), writer);
        self.say(|_| format!("server: lock {lock} is {commit:?}"));
        self.oracle.committed(lock, self.now, commit);
        self.changed_at[lock] = self.now;
        self.show_to_all(lock);
        if matches!(writer, Writer::Candidate { .. }) {
            self.edits_soon(lock);
        }
    }
}
