//! What must be so without faults: somebody leads within a bound, nothing changes without a reason, and what happens
//! then happens in time.
//!
//! ```text
//!   faults end ─▶ Settling ─ somebody leads ─▶ Resting ─ one lease ─▶ one test ─▶ Judged
//! ```

use crate::clock::{MILLI, SECOND};
use crate::network::{LONGEST_WAY, Outage, WATCH_LAG};
use crate::node::{Input, Watch};
use crate::oracle::{LifeId, Writer};
use crate::plan::Mischief;
use crate::server::{Object, State};
use crate::world::{What, World};
use leader_elector::record::Content;

/// The longest time for which a candidate lets a server be that refuses it, local.
const LONGEST_BACKOFF: u64 = 180 * SECOND;
/// A read, a write and what the watch shows of it.
const ROUND: u64 = 4 * LONGEST_WAY + WATCH_LAG + MILLI;
/// How many looks at the world there are in one longest lease.
const LOOKS: u64 = 8;
/// For how many looks a leader is watched to keep its place: more than a lease.
const KEPT: u64 = 10;
/// A schedule with fewer events, or shorter, goes on for a while.
const LEAST_EVENTS: u64 = 200;
const LEAST_LEASES: u64 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Settling,
    Resting {
        leader: LifeId,
        until: u64,
    },
    /// This life is to lead all the time.
    Keeps {
        leader: LifeId,
        until: u64,
    },
    /// Somebody is to lead by then, and this life no more.
    HandsOver {
        former: LifeId,
        by: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Calm {
    phase: Phase,
    bound: u64,
    not_before: u64,
    checks: u64,
    terms: u64,
    /// When the requests of a leader and its followers began to be counted, and how many each had sent by then.
    since: Option<u64>,
    requests: Vec<(LifeId, u32)>,
    /// Somebody writes another field of the lock at each look.
    touches: bool,
}

impl World {
    pub fn faults_end(&mut self) {
        self.say(|_| "the faults end".to_owned());
        self.peers_end();
        self.network.outage = None;
        self.all_are_well();
        // A server ends silent streams after some minutes.
        self.cut_watches(&[0, 1]);
        for node in 0..self.nodes.len() {
            if !self.nodes[node].running {
                self.schedule(self.now + 2 * MILLI, What::Start { node });
            }
        }
        let slowest = |local: u64| self.nodes.iter().map(|node| node.clock.lasts(local)).max().unwrap_or(local);
        // Rounded up, or edited; and who was told to leave before may be away for as long.
        let lease = self.plan.longest_lease.max(SECOND) + 4 * SECOND;
        let rests = if self.plan.chances.refused > 0.0 { LONGEST_BACKOFF } else { 0 };
        // Of two locks each may have to be waited for, and each may be refused.
        let locks = if self.one_lock() { 1 } else { 3 };
        self.calm.bound =
            self.now.max(self.no_starts_until) + locks * slowest(2 * lease + rests) + slowest(lease) + lease;
        // What was started may have to come to its end, and whoever stands back does so after its release and the delay of that.
        self.calm.bound += lease + slowest(2 * lease + self.longest_recovery());
        // That an object is gone may be learnt only by trying to take it.
        let no_record = |state: &State| matches!(state.sight.content, Content::Nothing | Content::Unreadable { .. });
        let removed = |object: &Object| object.history.iter().skip(1).any(no_record);
        let removed = self.plan.chances.false_absence > 0.0 || self.server.objects.iter().any(removed);
        self.calm.not_before = if removed { self.now + 2 * slowest(lease) } else { 0 };
        self.look_again();
    }

    fn one_lock(&self) -> bool {
        self.nodes.iter().all(|node| node.locks == self.nodes[0].locks && node.locks.len() == 1)
    }

    fn look_again(&mut self) {
        self.look_at(self.now + self.plan.longest_lease / LOOKS);
    }

    fn look_at(&mut self, at: u64) {
        self.calm.checks += 1;
        let number = self.calm.checks;
        self.schedule(at, What::Checks { number });
    }

    /// Everybody is there, and would lead.
    fn all_stand(&self) -> bool {
        self.nodes.iter().all(|node| node.running && node.stands)
    }

    fn leader(&self) -> Option<LifeId> {
        self.oracle.leaders(self.now).next()
    }

    fn node_of(&self, life: LifeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.life == life)
    }

    pub fn checks(&mut self, number: u64) {
        if number != self.calm.checks {
            return;
        }
        match self.calm.phase {
            Phase::Settling => match self.leader() {
                // With everybody there, and none of them on its way out.
                Some(leader) if self.all_stand() => {
                    let until = self.now + self.plan.longest_lease;
                    self.rest(leader, until);
                }
                _ if self.now > self.calm.bound => {
                    return self
                        .fail("nobody leads", format!("{:?} after the faults", self.now - self.plan.faults_until));
                }
                _ => {}
            },
            Phase::Resting { leader, until } => match self.leader() {
                Some(now) if now == leader && !self.all_stand() => {
                    let until = self.now + self.plan.longest_lease / 2;
                    self.calm.phase = Phase::Resting { leader, until };
                }
                Some(now) if now == leader => {
                    // For a lease after its record was removed, a lock is not given over.
                    if self.now >= until.max(self.calm.not_before) {
                        return self.begin_test(leader);
                    }
                }
                // The last candidate that was told to leave may do so now.
                _ => self.calm.phase = Phase::Settling,
            },
            Phase::Keeps { leader, until } => {
                if self.leader() != Some(leader) || self.oracle.terms != self.calm.terms {
                    return self
                        .fail("leadership lost", format!("life {leader} does not lead any more, without a reason"));
                }
                self.show_old_news();
                if self.now >= until.max(LEAST_LEASES * self.plan.longest_lease) && self.events >= LEAST_EVENTS {
                    self.judge_requests(leader);
                    return self.end();
                }
            }
            Phase::HandsOver { former, by } => {
                match self.leader() {
                    Some(leader) if leader != former => {
                        self.calm.terms = self.oracle.terms;
                        self.calm.since = None;
                        self.calm.phase = Phase::Keeps { leader, until: self.now };
                        return self.look_again();
                    }
                    _ if self.now >= by => {
                        return self.fail("handover late", format!("nobody leads in place of life {former}"));
                    }
                    _ => {}
                }
                if self.calm.touches && self.present(0).version.is_some() {
                    self.server.touch(0);
                    self.changed(0, Writer::Stranger);
                }
                return self.look_at(by.min(self.now + self.plan.longest_lease / LOOKS));
            }
        }
        self.look_again();
    }

    /// Watches may show again what they have shown: that costs nobody anything.
    fn show_old_news(&mut self) {
        for node in 0..self.nodes.len() {
            for lock in self.nodes[node].locks {
                let Watch { open, generation, shown, .. } = self.nodes[node].lanes[*lock].watch;
                if open && self.random.happens(0.3) {
                    for state in shown.saturating_sub(3)..shown {
                        self.give(node, Input::Shown { lock: *lock, generation, state });
                    }
                }
            }
        }
    }

    fn rest(&mut self, leader: LifeId, until: u64) {
        self.say(|_| format!("life {leader} leads"));
        self.calm.phase = Phase::Resting { leader, until };
    }

    /// After a lease of rest: what happens then?
    fn begin_test(&mut self, leader: LifeId) {
        self.calm.terms = self.oracle.terms;
        self.network.requests.resize(self.nodes.len(), 0);
        self.calm.since = Some(self.now);
        self.calm.requests =
            self.nodes.iter().map(|node| node.life).zip(self.network.requests.iter().copied()).collect();
        let Some(node) = self.node_of(leader) else {
            return self.fail("nobody leads", "the leader is no node".to_owned());
        };
        let it = self.nodes[node].clone();
        let others = self.nodes.len() > 1;
        let lasts = |local: u64| it.clock.lasts(local);
        let keeps = Phase::Keeps { leader, until: self.now + KEPT * self.plan.longest_lease / LOOKS };
        self.calm.phase = match self.random.below(4) {
            0 => keeps,
            1 if others && !self.plan.breaks_assumptions => {
                self.say(|world| format!("{} crashes", world.name(node)));
                self.ends(node, u64::MAX / 2);
                self.calm.touches = self.random.happens(0.5);
                // Whoever waits the shortest takes it.
                let lease = self.plan.members.iter().map(|member| member.lease).max().unwrap_or(0).div_ceil(SECOND)
                    * SECOND
                    + 2 * SECOND * u64::from(self.plan.mischief.contains(&Mischief::Edit));
                let survivors = self.nodes.iter().filter(|other| other.running);
                let waits = survivors.map(|other| other.clock.lasts(lease));
                let soonest = match (self.one_lock(), self.plan.rolling) {
                    (true, _) => waits.min(),
                    // Of two locks, only who has the first can take the second.
                    (false, false) => waits.max(),
                    // A fleet on the move: the second may be held by somebody else than the first.
                    (false, true) => waits.max().map(|wait| 2 * wait),
                }
                .unwrap_or(u64::MAX / 4);
                Phase::HandsOver { former: leader, by: self.now + soonest + 2 * ROUND }
            }
            2 if others => {
                self.say(|world| format!("{} is told to leave", world.name(node)));
                let delay = lasts(it.lock_set.release_delay().as_nanos() as u64);
                self.give(node, Input::Stop);
                // A fleet on the move: the next one may need a lock that the last one did not hold.
                let waits = self.nodes.iter().map(|other| other.clock.lasts(self.plan.longest_lease + 5 * SECOND));
                let other_lock = if self.plan.rolling { waits.max().unwrap_or(0) } else { 0 };
                let work = if self.plan.work { delay.max(self.plan.longest_lease) } else { delay };
                Phase::HandsOver { former: leader, by: self.now + work + other_lock + 4 * ROUND }
            }
            _ => {
                let spare = it.member.renew_deadline - it.member.retry_period - it.member.request_timeout;
                let outage = self.random.below(lasts(spare).saturating_sub(2 * ROUND));
                let kind = self.random.one_of(&[Outage::Silent, Outage::Refusing]);
                self.say(|_| format!("a short outage, {kind:?}, of {outage} ns"));
                self.network.outage = Some((kind, self.now + outage));
                keeps
            }
        };
        self.look_again();
    }

    /// A follower with a watch asks for nothing, and a leader no more than once in R.
    fn judge_requests(&mut self, leader: LifeId) {
        let Some(since) = self.calm.since.filter(|_| self.network.outage.is_none()) else { return };
        let time = self.now - since;
        for node in 0..self.nodes.len() {
            let it = &self.nodes[node];
            let (life, before) = self.calm.requests[node];
            if it.life != life {
                continue; // it has begun since
            }
            let sent = u64::from(self.network.requests[node] - before);
            let locks = it.locks.len() as u64;
            let holds = it.life == leader || it.lock_set.holds();
            let due = if holds { (it.clock.elapsed(time) / it.member.retry_period + 2) * locks } else { 0 };
            // Where everybody has another idea of how often a leader renews, a follower may ask in between.
            let same_timings = self.plan.members.iter().all(|member| member.retry_period == it.member.retry_period);
            if sent > due && (holds || same_timings && self.plan.fastest == 1.0 && !self.plan.rolling) {
                return self.fail("requests", format!("{} sent {sent} requests, and {due} were due", self.name(node)));
            }
        }
    }
}
