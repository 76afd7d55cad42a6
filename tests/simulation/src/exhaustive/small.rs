//! A small world: its state, the choices of what happens next, and their effects.

use super::Start;
use crate::clock::SECOND;
use crate::network::purpose_of;
use crate::node::believes;
use crate::oracle::{Claim, Facts, Named, Oracle, Via, Writer};
use crate::server::{Server, Verdict, commit_of};
use leader_elector::election::lock_set::{LockSet, LockSetOutput};
use leader_elector::election::{Answer, Call, Event, LockRequest, Moment, Settings};
use leader_elector::record::Host;
use leader_elector::time::Time;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A request arrives at the server.
    Arrive(usize),
    /// Its answer arrives at the candidate.
    Return(usize),
    /// A watch shows a candidate the next change.
    Show {
        node: usize,
        lock: usize,
    },
    /// Time advances to this candidate's deadline.
    Wait(usize),
    // Faults:
    LoseRequest(usize),
    LoseAnswer(usize),
    /// A request arrives at the server twice.
    Twice(usize),
    Crash(usize),
    Stop(usize),
    Touch,
    CutWatch {
        node: usize,
        lock: usize,
    },
}

#[derive(Clone, Debug, Hash)]
struct Message {
    node: usize,
    process: usize,
    lock: usize,
    request: LockRequest,
    sent: u64,
    answer: Option<(Answer, usize)>,
    /// The candidate no longer waits for it.
    given_up: bool,
}

#[derive(Clone, Debug, Hash)]
struct Node {
    process: usize,
    lock_set: LockSet,
    deadline: Option<u64>,
    /// For each lock, how many states the watch has shown, while there is one.
    shown: [Option<usize>; 2],
    stopped: bool,
    gone: bool,
}

#[derive(Clone, Debug)]
pub struct Small {
    start: Start,
    now: u64,
    server: Server,
    nodes: Vec<Node>,
    messages: Vec<Message>,
    pub oracle: Oracle,
    faults_left: u32,
    processes: u8,
}

const LEASE: u64 = 10 * SECOND;

fn at(nanos: u64) -> Time {
    Time::after_boot(Duration::from_nanos(nanos))
}

fn nanos(at: Time) -> u64 {
    at.uptime().as_nanos() as u64
}

fn settings(identity: &str, network: &str, process: u128) -> Settings {
    Settings {
        identity: identity.into(),
        process,
        host: Some(Host { boot: "boot".into(), network: network.into() }),
        lease: Duration::from_nanos(LEASE),
        renew_deadline: Duration::from_secs(6),
        retry_period: Duration::from_secs(2),
        request_timeout: Duration::from_millis(1_800),
        release_delay: Duration::ZERO,
        creation_delay: Duration::ZERO,
        health_failures: None,
    }
}

impl Small {
    pub fn new(start: Start, faults: u32) -> Small {
        let mut world = Small {
            start,
            now: SECOND,
            server: Server::new(true, true),
            nodes: Vec::new(),
            messages: Vec::new(),
            oracle: Oracle::new(),
            faults_left: faults,
            processes: 0,
        };
        for node in 0..2 {
            let new = world.new_node(node);
            world.nodes.push(new);
        }
        world.begin(0);
        if start != Start::Empty {
            // Without faults, until the first candidate leads.
            while world.oracle.leaders(world.now).next().is_none() {
                world.choose(world.choices()[0]);
            }
        }
        world.begin(1);
        world
    }

    fn new_node(&mut self, node: usize) -> Node {
        let clones = self.start == Start::Clones;
        let identity = if clones { "a" } else { ["a", "b"][node] };
        let settings = settings(identity, identity, u128::from(self.processes) + 1);
        self.processes += 1;
        let dual = self.start == Start::Dual;
        let process = self.oracle.add_process(Facts {
            identity: identity.as_bytes()[0],
            network: identity.as_bytes()[0],
            lease: LEASE,
            renew_deadline: settings.renew_deadline.as_nanos() as u64,
            release_delay: 0,
            retry_period: settings.retry_period.as_nanos() as u64,
            health_failures: None,
            rate: 1 << 20,
            locks: [true, dual],
        });
        let lock_set = if dual { LockSet::dual(settings) } else { LockSet::single(settings) };
        Node { process, lock_set, deadline: None, shown: [None; 2], stopped: false, gone: false }
    }

    /// Starts a process; its watches open at once.
    fn begin(&mut self, node: usize) {
        self.oracle.started(self.nodes[node].process);
        // In one network namespace only the first process of a name gets the socket.
        let is_sole = self.start != Start::Clones || self.nodes[1 - node].gone || node == 0;
        self.step(node, 0, Event::SoleInstance(is_sole));
        for lock in 0..self.nodes[node].lock_set.locks().len() {
            self.open_watch(node, lock);
        }
    }

    fn open_watch(&mut self, node: usize, lock: usize) {
        let history = &self.server.objects[lock].history;
        let there = history[history.len() - 1].sight.version.is_some();
        self.nodes[node].shown[lock] = Some(if there { history.len() - 1 } else { history.len() });
        self.step(node, lock, Event::WatchOpened);
    }

    /// A hash of the state: equal states have equal hashes.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.nodes, &self.messages, &self.server, &self.oracle, self.now, self.faults_left).hash(&mut hasher);
        hasher.finish()
    }

    pub fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (index, message) in self.messages.iter().enumerate() {
            if message.answer.is_some() {
                choices.push(Choice::Return(index));
            } else {
                choices.push(Choice::Arrive(index));
            }
        }
        for (node, it) in self.nodes.iter().enumerate().filter(|(_, it)| !it.gone) {
            for lock in 0..it.lock_set.locks().len() {
                if it.shown[lock].is_some_and(|shown| shown < self.server.objects[lock].history.len()) {
                    choices.push(Choice::Show { node, lock });
                }
            }
        }
        for (node, it) in self.nodes.iter().enumerate() {
            if !it.gone && it.deadline.is_some() {
                choices.push(Choice::Wait(node));
            }
        }
        if self.faults_left > 0 {
            for (index, message) in self.messages.iter().enumerate() {
                choices.push(if message.answer.is_some() {
                    Choice::LoseAnswer(index)
                } else {
                    Choice::LoseRequest(index)
                });
                if message.answer.is_none() && message.request.call != Call::Read {
                    choices.push(Choice::Twice(index));
                }
            }
            for (node, it) in self.nodes.iter().enumerate().filter(|(_, it)| !it.gone) {
                choices.push(Choice::Crash(node));
                if !it.stopped {
                    choices.push(Choice::Stop(node));
                }
                for lock in 0..it.lock_set.locks().len() {
                    if it.shown[lock].is_some() {
                        choices.push(Choice::CutWatch { node, lock });
                    }
                }
            }
            choices.push(Choice::Touch);
        }
        choices
    }

    pub fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Arrive(message) => self.arrive(message),
            Choice::Return(message) => {
                let Message { node, process, lock, request, sent, answer, given_up } = self.messages.remove(message);
                if let Some((answer, state)) = answer
                    && !given_up
                    && self.nodes[node].process == process
                {
                    let via = match &request.call {
                        Call::Read => Via::Read,
                        Call::Write(_) => Via::Write { sent },
                    };
                    let seen = match &answer {
                        Answer::Seen(sight) => Some(sight.version.as_ref().map(|version| version.resource_version)),
                        _ => None,
                    };
                    let output = self.step_machine(node, lock, Event::Answered { request: request.number, answer });
                    let took = Duration::from_nanos(self.now - sent);
                    let it = &self.nodes[node];
                    if seen.is_some_and(|shown| believes(&it.lock_set, lock, &request, took, it.stopped, shown)) {
                        self.oracle.shown(process, lock, self.now, state, via);
                    }
                    self.settle(node, output);
                }
            }
            Choice::Show { node, lock } => {
                let index = self.nodes[node].shown[lock].expect("there is a watch");
                self.nodes[node].shown[lock] = Some(index + 1);
                let state = &self.server.objects[lock].history[index];
                let event = Event::Watched { resource_version: state.resource_version, sight: state.sight.clone() };
                let output = self.step_machine(node, lock, event);
                self.oracle.shown(self.nodes[node].process, lock, self.now, index, Via::Watch);
                self.settle(node, output);
            }
            Choice::Wait(node) => {
                self.now = self.now.max(self.nodes[node].deadline.expect("there is one"));
                self.step(node, 0, Event::Tick);
            }
            fault => {
                self.faults_left -= 1;
                self.fault(fault);
            }
        }
    }

    fn fault(&mut self, fault: Choice) {
        match fault {
            Choice::LoseRequest(message) | Choice::LoseAnswer(message) => {
                let Message { node, process, lock, request, given_up, .. } = self.messages.remove(message);
                if !given_up && self.nodes[node].process == process {
                    self.step(node, lock, Event::Answered { request: request.number, answer: Answer::Unknown });
                }
            }
            Choice::Twice(message) => {
                let mut copy = self.messages[message].clone();
                copy.given_up = true;
                self.messages.push(copy);
                self.arrive(message);
            }
            Choice::Crash(node) => {
                self.oracle.died(self.nodes[node].process, self.now);
                self.nodes[node].gone = true;
                self.nodes[node] = self.new_node(node);
                self.begin(node);
            }
            Choice::Stop(node) => {
                self.oracle.stopped(self.nodes[node].process, self.now);
                self.nodes[node].stopped = true;
                self.step(node, 0, Event::Stop);
            }
            Choice::Touch => {
                let before = self.server.objects[0].history.len();
                self.server.touch(0);
                if self.server.objects[0].history.len() > before {
                    self.oracle.committed(0, self.now, commit_of(self.server.objects[0].present(), Writer::Foreign));
                }
            }
            Choice::CutWatch { node, lock } => {
                self.nodes[node].shown[lock] = None;
                self.step(node, lock, Event::WatchClosed);
                self.open_watch(node, lock);
            }
            _ => {}
        }
    }

    fn arrive(&mut self, index: usize) {
        let Message { process, lock, ref request, sent, .. } = self.messages[index];
        let verdict = match &request.call {
            Call::Read => Verdict::Done,
            Call::Write(write) => {
                let history = &self.server.objects[lock].history;
                let (before, fields) = (history.len(), self.server.objects[lock].present().other_fields());
                let verdict = self.server.write(lock, write, &fields.after(write));
                if self.server.objects[lock].history.len() > before {
                    let commit = commit_of(self.server.objects[lock].present(), Writer::Candidate { process, sent });
                    self.oracle.committed(lock, self.now, commit);
                }
                verdict
            }
        };
        let answer = match verdict {
            Verdict::Done => Answer::Seen(self.server.objects[lock].present().sight.clone()),
            Verdict::NotFound => Answer::Absent,
            Verdict::Conflict => Answer::Conflict,
        };
        self.messages[index].answer = Some((answer, self.server.objects[lock].history.len() - 1));
    }

    fn step(&mut self, node: usize, lock: usize, event: Event) {
        let output = self.step_machine(node, lock, event);
        self.settle(node, output);
    }

    fn step_machine(&mut self, node: usize, lock: usize, event: Event) -> LockSetOutput {
        let now = at(self.now);
        let moment = Moment { now, wall_micros: (self.now / 1_000) as i64, jitter: 0.5 };
        self.nodes[node].lock_set.step(moment, lock, event)
    }

    /// Processes the output of a step: the claims of the candidate, and its requests.
    fn settle(&mut self, node: usize, output: LockSetOutput) {
        let it = &mut self.nodes[node];
        it.deadline = output.deadline.map(nanos);
        let process = it.process;
        let claim = it.lock_set.claim();
        let claim = claim.map(|claim| Claim { until: nanos(claim.until), token: claim.fencing_token });
        let now = at(self.now);
        let other = it.lock_set.others().find(|holder| now < holder.until);
        let other = other.map(|holder| Named { identity: holder.identity.as_bytes()[0], until: nanos(holder.until) });
        self.oracle.says(process, self.now, claim, other);
        for (lock, lock_output) in output.locks.into_iter().enumerate() {
            if let Some(request) = lock_output.request {
                for message in self.messages.iter_mut().filter(|it| (it.node, it.lock) == (node, lock)) {
                    message.given_up = true;
                }
                if let Call::Write(write) = &request.call {
                    let base = write.base.as_ref().map(|base| (base.resource_version, !base.uid.is_empty()));
                    self.oracle.sends(process, lock, self.now, base, purpose_of(write.purpose));
                }
                self.messages.push(Message {
                    node,
                    process,
                    lock,
                    request,
                    sent: self.now,
                    answer: None,
                    given_up: false,
                });
            }
        }
        if output.finished {
            self.oracle.died(process, self.now);
            self.nodes[node].gone = true;
        }
    }
}
