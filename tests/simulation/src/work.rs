//! What leaders start for their leadership, each a process of its own: it outlives its candidate, goes on while that one is
//! paused, and is over by the last moment that it was told.

use crate::clock::MILLI;
use crate::node::Input;
use crate::oracle::LifeId;
use crate::world::{What, World};

/// One work: that of one life, for one term.
#[derive(Clone, Debug)]
pub struct Work {
    node: usize,
    life: LifeId,
    token: u64,
    /// Until when it may go on, as far as it was told.
    until: u64,
    /// When it ends by itself.
    ends_at: u64,
    /// Its claim has ended.
    winds_down: bool,
    over: bool,
    /// It was started by a process that held the socket of its name and network, and holds it as well.
    holds_socket: bool,
    /// When somebody looks next whether it is over.
    looks_at: u64,
}

/// What a candidate knows of its works.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// The one of the last claim.
    last: Option<usize>,
    /// How many have not ended.
    going_on: usize,
}

impl World {
    /// Once what it says is published, and before it sends anything: a candidate tells what it has started until when that may
    /// go on, and starts something for a new claim.
    pub fn tell_tasks(&mut self, node: usize) {
        let it = &self.nodes[node];
        if !self.plan.work || !it.running {
            return;
        }
        let (life, tasks, now) = (it.life, it.tasks.clone(), it.clock.at(self.now));
        let claim = it.lock_set.claim().filter(|claim| now < claim.until);
        let until = it.lock_set.work_until().filter(|until| now < *until).map(|until| it.clock.when(until));
        if tasks.going_on > 0 {
            self.oracle.may_work(life, self.now, until);
        }
        let token = claim.map(|claim| claim.fencing_token);
        if let Some(last) = tasks.last {
            // What is told for a later term says nothing about this one.
            if token.is_none_or(|token| token == self.works[last].token) {
                self.works[last].until = until.unwrap_or(self.now);
            }
            if token != Some(self.works[last].token) {
                self.winds_down(last);
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
        it.tasks = Tasks { last: Some(work), going_on: it.tasks.going_on + 1 };
        let (life, holds_socket) = (it.life, it.holds_socket);
        self.works.push(Work {
            node,
            life,
            token,
            until,
            ends_at,
            winds_down: false,
            over: false,
            holds_socket,
            looks_at: u64::MAX,
        });
        self.oracle.work_begins(life, self.now, token);
        self.look_at_work(work);
    }

    /// Its claim has ended: it comes to its end at a random moment, if it has the time.
    fn winds_down(&mut self, work: usize) {
        let longest = self.works[work].until.saturating_sub(self.now);
        let longest = if self.random.happens(0.5) { longest } else { self.plan.longest_lease };
        let ends_at = self.now + self.random.below(longest.min(self.plan.longest_lease) + 1);
        let it = &mut self.works[work];
        if !std::mem::replace(&mut it.winds_down, true) {
            it.ends_at = it.ends_at.min(ends_at);
        }
    }

    /// Its candidate has crashed, and cannot tell it anything any more.
    pub fn abandon_works(&mut self, node: usize) {
        let life = self.nodes[node].life;
        for work in 0..self.works.len() {
            if self.works[work].life == life && !self.works[work].over {
                let left = self.works[work].until.saturating_sub(self.now);
                let ends_at = self.now + self.random.below(left + 1);
                self.works[work].winds_down = true;
                self.works[work].ends_at = ends_at;
                self.look_at_work(work);
            }
        }
    }

    /// Whether it is over, and if not, when to look again.
    pub fn look_at_work(&mut self, work: usize) {
        let it = &mut self.works[work];
        if it.over {
            return;
        }
        let end = it.until.min(it.ends_at);
        if end > self.now {
            if end < it.looks_at || it.looks_at <= self.now {
                it.looks_at = end;
                self.schedule(end, What::WorkMayEnd { work });
            }
            return;
        }
        it.over = true;
        let (life, token) = (it.life, it.token);
        self.say(|_| format!("work {work} of life {life} ends"));
        self.oracle.work_ends(life, self.now, token);
        let wait = self.random.below(MILLI);
        self.schedule(self.now + wait, What::WorkEnded { work });
    }

    /// Its candidate hears of it. What has ended by itself is followed by another candidate's, or is not wanted any more.
    pub fn work_ended(&mut self, work: usize) {
        let Work { node, life, winds_down, ends_at, until, .. } = self.works[work];
        let by_itself = !winds_down && ends_at <= until;
        let then = by_itself.then(|| self.random.one_of(&[Some(true), Some(true), Some(false), None])).flatten();
        let then = then.map(|back| if back { Input::StandBack } else { Input::Stop });
        for input in [Some(Input::WorkEnded), then].into_iter().flatten() {
            if self.nodes[node].life == life {
                self.give(node, input);
            }
        }
    }

    /// The candidate takes in that something it started has ended; whether that was the last of it.
    pub fn hears_of_end(&mut self, node: usize) -> bool {
        let tasks = &mut self.nodes[node].tasks;
        tasks.going_on -= 1;
        tasks.going_on == 0
    }

    /// S9: whether something that another process of the same name and network started holds their socket still.
    pub fn work_holds_socket(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let of = |node: usize| (self.nodes[node].member.identity, self.nodes[node].member.network);
        let holds = |work: &Work| !work.over && work.holds_socket && work.life != it.life;
        self.works.iter().any(|work| holds(work) && of(work.node) == of(node))
    }
}
