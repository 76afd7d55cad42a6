//! Work that leaders start, each in a process of its own: it can outlive its candidate, continues while the candidate
//! is paused, and ends by the last deadline that it was told.

use crate::clock::MILLI;
use crate::node::Input;
use crate::oracle::ProcessId;
use crate::world::{Occurrence, World};

/// The work of one process for one term.
#[derive(Clone, Debug)]
pub struct Work {
    node: usize,
    process: ProcessId,
    token: u64,
    /// Its deadline, as it was last told.
    until: u64,
    /// When it ends by itself.
    ends_at: u64,
    /// Its claim has ended.
    is_ending: bool,
    over: bool,
    /// It was started by a process that held the socket of its name and network, and inherited that socket.
    holds_socket: bool,
    /// The next scheduled check of its end.
    looks_at: u64,
}

/// What a candidate knows about its work.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// The work of the last claim.
    last: Option<usize>,
    /// How many works have not ended.
    pub going_on: usize,
    /// When it last heard of the end of one.
    pub heard_at: u64,
}

impl World {
    /// Called after the snapshot is published, and before requests are sent: a candidate tells its work the new
    /// deadline, and starts work for a new claim.
    pub fn tell_tasks(&mut self, node: usize) {
        let it = &self.nodes[node];
        if !self.plan.work || !it.running {
            return;
        }
        let (process, tasks, now) = (it.process, it.tasks.clone(), it.clock.at(self.now));
        let claim = it.lock_set.claim().filter(|claim| now < claim.until);
        let until = it.lock_set.work_until().filter(|until| now < *until).map(|until| it.clock.when(until));
        if tasks.going_on > 0 {
            self.oracle.may_work(process, self.now, until);
        }
        let token = claim.map(|claim| claim.fencing_token);
        if let Some(last) = tasks.last {
            // A deadline for a later term does not apply to this one.
            if token.is_none_or(|token| token == self.works[last].token) {
                self.works[last].until = until.unwrap_or(self.now);
            }
            if token != Some(self.works[last].token) {
                self.is_ending(last);
            }
            self.look_at_work(last);
            if token == Some(self.works[last].token) {
                return;
            }
        }
        if let (Some(token), Some(until)) = (token, until) {
            self.begin_work(node, token, until);
        }
    }

    fn begin_work(&mut self, node: usize, token: u64, until: u64) {
        let work = self.works.len();
        self.say(|world| format!("{} begins work {work} for the term {token}", world.name(node)));
        let by_itself = self.now + self.random.below(4 * self.plan.longest_lease);
        let ends_at = if self.random.happens(0.2) && by_itself < self.plan.faults_until { by_itself } else { u64::MAX };
        let it = &mut self.nodes[node];
        it.lock_set.begin_work();
        it.tasks = Tasks { last: Some(work), going_on: it.tasks.going_on + 1, ..it.tasks };
        let (process, holds_socket) = (it.process, it.holds_socket);
        self.works.push(Work {
            node,
            process,
            token,
            until,
            ends_at,
            is_ending: false,
            over: false,
            holds_socket,
            looks_at: u64::MAX,
        });
        self.oracle.work_begins(process, self.now, token);
        self.look_at_work(work);
    }

    /// Its claim has ended: it ends at a random moment, but not after its deadline.
    fn is_ending(&mut self, work: usize) {
        let longest = self.works[work].until.saturating_sub(self.now);
        let longest = if self.random.happens(0.5) { longest } else { self.plan.longest_lease };
        let ends_at = self.now + self.random.below(longest.min(self.plan.longest_lease) + 1);
        let it = &mut self.works[work];
        if !std::mem::replace(&mut it.is_ending, true) {
            it.ends_at = it.ends_at.min(ends_at);
        }
    }

    /// Its candidate has crashed, so it will not be told any more.
    pub fn abandon_works(&mut self, node: usize) {
        let process = self.nodes[node].process;
        for work in 0..self.works.len() {
            if self.works[work].process == process && !self.works[work].over {
                let left = self.works[work].until.saturating_sub(self.now);
                let ends_at = self.now + self.random.below(left + 1);
                self.works[work].is_ending = true;
                self.works[work].ends_at = ends_at;
                self.look_at_work(work);
            }
        }
    }

    /// Ends the work if its time has come, or schedules the next check.
    pub fn look_at_work(&mut self, work: usize) {
        let it = &mut self.works[work];
        if it.over {
            return;
        }
        let end = it.until.min(it.ends_at);
        if end > self.now {
            if end < it.looks_at || it.looks_at <= self.now {
                it.looks_at = end;
                self.schedule(end, Occurrence::WorkMayEnd { work });
            }
            return;
        }
        it.over = true;
        let (process, token) = (it.process, it.token);
        self.say(|_| format!("work {work} of process {process} ends"));
        self.oracle.work_ends(process, self.now, token);
        let wait = self.random.below(MILLI);
        self.schedule(self.now + wait, Occurrence::WorkEnded { work });
    }

    /// Tells its candidate that it has ended. After work that has ended by itself, the candidate stands back or stops.
    pub fn work_ended(&mut self, work: usize) {
        let Work { node, process, is_ending, ends_at, until, .. } = self.works[work];
        let by_itself = !is_ending && ends_at <= until;
        let then = by_itself.then(|| self.random.one_of(&[Some(true), Some(true), Some(false), None])).flatten();
        let then = then.map(|back| if back { Input::StandBack } else { Input::Stop });
        for input in [Some(Input::WorkEnded), then].into_iter().flatten() {
            if self.nodes[node].process == process {
                self.give(node, input);
            }
        }
    }

    /// The candidate learns that work has ended. Returns whether that was the last one.
    pub fn hears_of_end(&mut self, node: usize) -> bool {
        let tasks = &mut self.nodes[node].tasks;
        tasks.going_on -= 1;
        tasks.heard_at = self.now;
        tasks.going_on == 0
    }

    /// S9: whether work of another process with the same name and network still holds their socket.
    pub fn work_holds_socket(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let of = |node: usize| (self.nodes[node].member.identity, self.nodes[node].member.network);
        let holds = |work: &Work| !work.over && work.holds_socket && work.process != it.process;
        self.works.iter().any(|work| holds(work) && of(work.node) == of(node))
    }
}
