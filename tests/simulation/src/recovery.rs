//! Checks the time after the faults: somebody leads within a bound, nothing changes without a reason, and handovers
//! take no longer than they may.
//!
//! ```text
//!   faults end ─▶ Settling ─ somebody leads ─▶ Resting ─ one lease ─▶ one test ─▶ Judged
//! ```

use crate::clock::{MILLI, SECOND};
use crate::network::{LONGEST_WAY, Outage, WATCH_LAG};
use crate::node::{Input, Node, Watch};
use crate::oracle::{ProcessId, Writer};
use crate::plan::Disruption;
use crate::server::{Object, State};
use crate::world::{Occurrence, World};
use leader_elector::record::Content;

/// The longest time that a candidate waits after a refusal, local.
const LONGEST_BACKOFF: u64 = 180 * SECOND;
/// The time for a read, a write, and the watch event of the write.
const ROUND: u64 = 4 * LONGEST_WAY + WATCH_LAG + MILLI;
/// How many checks there are in one longest lease.
const LOOKS: u64 = 8;
/// For how many checks a leader must keep leading: longer than a lease.
const KEPT: u64 = 10;
/// A schedule with fewer events, or a shorter one, is continued for a while.
const LEAST_EVENTS: u64 = 200;
const LEAST_LEASES: u64 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Settling,
    Resting {
        leader: ProcessId,
        until: u64,
    },
    /// This process must lead all the time.
    Keeps {
        leader: ProcessId,
        until: u64,
    },
    /// Somebody must lead by then, but not earlier than `not_before`, and this process must not.
    HandsOver {
        former: ProcessId,
        not_before: u64,
        by: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Recovery {
    phase: Phase,
    bound: u64,
    not_before: u64,
    checks: u64,
    terms: u64,
    /// Since when the requests of all nodes are counted, and how many each had sent before.
    since: Option<u64>,
    requests: Vec<(ProcessId, u32)>,
    /// Another client writes another field of the lock at each check.
    touches: bool,
    /// During the faults somebody put back a record, in place of a holder's perhaps.
    pub put_back: bool,
}

impl World {
    pub fn faults_end(&mut self) {
        self.say(|_| "the faults end".to_owned());
        self.peers_end();
        self.network.outage = None;
        self.all_recover();
        // A server ends silent streams after some minutes.
        self.cut_watches(&[0, 1]);
        for node in 0..self.nodes.len() {
            if !self.nodes[node].running {
                self.schedule(self.now + 2 * MILLI, Occurrence::Start { node });
            }
        }
        let slowest = |local: u64| self.nodes.iter().map(|node| node.clock.lasts(local)).max().unwrap_or(local);
        // L in the record is rounded up, or was edited; and a candidate that is stopping may be away for as long.
        let lease = self.plan.longest_lease.max(SECOND) + 4 * SECOND;
        let rests = if self.plan.fault_rates.refused > 0.0 { LONGEST_BACKOFF } else { 0 };
        // With two locks a candidate may have to wait for each, and each may be refused.
        let locks = if self.one_lock() { 1 } else { 3 };
        self.recovery.bound =
            self.now.max(self.no_starts_until) + locks * slowest(2 * lease + rests) + slowest(lease) + lease;
        // Work may have to end first, and a candidate that stands back does so after its release and the release delay.
        self.recovery.bound += lease + slowest(2 * lease + self.longest_recovery());
        // A candidate may learn only by a failed write that an object is gone. With two locks it writes to the second one
        // after it has taken the first. In each case others wait for a lease after they have seen the new object.
        let leases = if self.one_lock() { 2 } else { 3 };
        let no_record = |state: &State| matches!(state.sight.content, Content::Nothing | Content::Unreadable { .. });
        let removed = |object: &Object| object.history.iter().skip(1).any(no_record);
        let removed = self.recovery.put_back
            || self.plan.fault_rates.false_absence > 0.0
            || self.server.objects.iter().any(removed);
        self.recovery.not_before = if removed { self.now + leases * slowest(lease) } else { 0 };
        self.look_again();
    }

    fn one_lock(&self) -> bool {
        self.nodes.iter().all(|node| node.locks == self.nodes[0].locks && node.locks.len() == 1)
    }

    fn look_again(&mut self) {
        self.look_at(self.now + self.plan.longest_lease / LOOKS);
    }

    fn look_at(&mut self, at: u64) {
        self.recovery.checks += 1;
        let number = self.recovery.checks;
        self.schedule(at, Occurrence::Checks { number });
    }

    /// Whether all candidates run and would take the lock.
    fn all_stand(&self) -> bool {
        self.nodes.iter().all(|node| node.running && node.stands)
    }

    fn leader(&self) -> Option<ProcessId> {
        self.oracle.leaders(self.now).next()
    }

    fn node_of(&self, process: ProcessId) -> Option<usize> {
        self.nodes.iter().position(|node| node.process == process)
    }

    pub fn checks(&mut self, number: u64) {
        if number != self.recovery.checks {
            return;
        }
        match self.recovery.phase {
            Phase::Settling => match self.leader() {
                // All candidates run, and none is stopping.
                Some(leader) if self.all_stand() => {
                    let until = self.now + self.plan.longest_lease;
                    self.rest(leader, until);
                }
                _ if self.now > self.recovery.bound => {
                    return self
                        .fail("nobody leads", format!("{:?} after the faults", self.now - self.plan.faults_until));
                }
                _ => {}
            },
            Phase::Resting { leader, until } => match self.leader() {
                Some(now) if now == leader && !self.all_stand() => {
                    let until = self.now + self.plan.longest_lease / 2;
                    self.recovery.phase = Phase::Resting { leader, until };
                }
                Some(now) if now == leader => {
                    // For one lease after its record was removed, the lock is not taken, even if it is released.
                    if self.now >= until.max(self.recovery.not_before) {
                        return self.begin_test(leader);
                    }
                }
                // Now the candidate that was kept as the last one may stop too.
                _ => self.recovery.phase = Phase::Settling,
            },
            Phase::Keeps { leader, until } => {
                if self.leader() != Some(leader) || self.oracle.terms != self.recovery.terms {
                    return self
                        .fail("leadership lost", format!("process {leader} does not lead any more, without a reason"));
                }
                self.show_old_states();
                if self.now >= until.max(LEAST_LEASES * self.plan.longest_lease) && self.events >= LEAST_EVENTS {
                    self.check_requests(leader);
                    return self.end();
                }
            }
            Phase::HandsOver { former, not_before, by } => {
                match self.leader() {
                    Some(leader) if leader != former && self.now < not_before => {
                        return self.fail("lock not kept", format!("process {leader} leads before it may"));
                    }
                    Some(leader) if leader != former => {
                        self.recovery.terms = self.oracle.terms;
                        self.recovery.since = None;
                        self.recovery.phase = Phase::Keeps { leader, until: self.now };
                        return self.look_again();
                    }
                    _ if self.now >= by => {
                        return self.fail("handover late", format!("nobody leads in place of process {former}"));
                    }
                    _ => {}
                }
                if self.recovery.touches && self.present(0).version.is_some() {
                    self.server.touch(0);
                    self.changed(0, Writer::Foreign);
                }
                return self.look_at(by.min(self.now + self.plan.longest_lease / LOOKS));
            }
        }
        self.look_again();
    }

    /// Watches may repeat old states: this must have no effect.
    fn show_old_states(&mut self) {
        for node in 0..self.nodes.len() {
            for lock in self.nodes[node].locks {
                let Watch { open, generation, shown, .. } = self.nodes[node].workers[*lock].watch;
                if open && self.random.happens(0.3) {
                    for state in shown.saturating_sub(3)..shown {
                        self.give(node, Input::Shown { lock: *lock, generation, state });
                    }
                }
            }
        }
    }

    fn rest(&mut self, leader: ProcessId, until: u64) {
        self.say(|_| format!("process {leader} leads"));
        self.recovery.phase = Phase::Resting { leader, until };
    }

    /// After one lease without a change: begins one of the tests.
    fn begin_test(&mut self, leader: ProcessId) {
        self.recovery.terms = self.oracle.terms;
        self.network.requests.resize(self.nodes.len(), 0);
        self.recovery.since = Some(self.now);
        self.recovery.requests =
            self.nodes.iter().map(|node| node.process).zip(self.network.requests.iter().copied()).collect();
        let Some(node) = self.node_of(leader) else {
            return self.fail("nobody leads", "the leader is no node".to_owned());
        };
        let it = self.nodes[node].clone();
        let others = self.nodes.len() > 1;
        let lasts = |local: u64| it.clock.lasts(local);
        let keeps = Phase::Keeps { leader, until: self.now + KEPT * self.plan.longest_lease / LOOKS };
        self.recovery.phase = match self.random.below(4) {
            0 => keeps,
            1 if others && !self.plan.breaks_assumptions => {
                self.say(|world| format!("{} crashes", world.name(node)));
                self.ends(node, u64::MAX / 2);
                self.recovery.touches = self.random.happens(0.5);
                // The candidate with the shortest wait takes it.
                let lease = self.plan.members.iter().map(|member| member.lease).max().unwrap_or(0).div_ceil(SECOND)
                    * SECOND
                    + 2 * SECOND * u64::from(self.plan.disruptions.contains(&Disruption::Edit));
                let lease = lease.max(self.lease_to_be_learned());
                let survivors = self.nodes.iter().filter(|other| other.running);
                let waits = survivors.map(|other| other.clock.lasts(lease));
                let soonest = match (self.one_lock(), self.plan.rolling) {
                    (true, _) => waits.min(),
                    // With two locks, only a candidate that holds the first can take the second.
                    (false, false) => waits.max(),
                    // During a migration the two locks may have different holders.
                    (false, true) => waits.max().map(|wait| 2 * wait),
                }
                .unwrap_or(u64::MAX / 4);
                Phase::HandsOver { former: leader, not_before: self.now, by: self.now + soonest + 2 * ROUND }
            }
            2 if others => {
                self.say(|world| format!("{} gets SIGTERM", world.name(node)));
                let delay = lasts(it.lock_set.release_delay().as_nanos() as u64);
                let kept = self.one_lock() && !self.plan.breaks_assumptions;
                if kept {
                    self.begin_outage(self.longest_outage_of_delay(node, delay));
                }
                self.give(node, Input::Stop);
                // During a migration the next leader may need a lock that the previous one did not hold.
                let waits = self.nodes.iter().map(|other| other.clock.lasts(self.plan.longest_lease + 5 * SECOND));
                let other_lock = if self.plan.rolling { waits.max().unwrap_or(0) } else { 0 };
                let work = if self.plan.work { delay.max(self.plan.longest_lease) } else { delay };
                let not_before = if kept { self.now + delay.saturating_sub(MILLI) } else { self.now };
                Phase::HandsOver { former: leader, not_before, by: self.now + work + other_lock + 4 * ROUND }
            }
            _ => {
                let spare = it.member.renew_deadline - it.member.retry_period - it.member.request_timeout;
                self.begin_outage(lasts(spare).saturating_sub(2 * ROUND));
                keeps
            }
        };
        match self.recovery.phase {
            Phase::HandsOver { not_before, .. } if not_before > self.now => self.look_at(not_before - 1),
            _ => self.look_again(),
        }
    }

    fn begin_outage(&mut self, longest: u64) {
        let outage = self.random.below(longest);
        let kind = self.random.one_of(&[Outage::Silent, Outage::Refusing]);
        self.say(|_| format!("a short outage, {kind:?}, of {outage} ns"));
        self.network.outage = Some((kind, self.now + outage));
    }

    /// For how long there may be no API server when a leader gets SIGTERM: it can renew its record before others may take
    /// the lock, though perhaps after F. And at the end of its release delay no request is left that was sent during the
    /// outage.
    fn longest_outage_of_delay(&self, node: usize, delay: u64) -> u64 {
        let Node { clock, member, process, .. } = &self.nodes[node];
        let others = self.nodes.iter().filter(|other| other.process != *process);
        let taken = others.map(|other| other.clock.lasts(other.member.lease)).min().unwrap_or(0);
        let renewed = taken.saturating_sub(clock.lasts(member.retry_period));
        let timeouts = self.nodes.iter().map(|node| node.clock.lasts(node.member.request_timeout));
        renewed.min(delay).saturating_sub(timeouts.max().unwrap_or(0) + 2 * ROUND)
    }

    /// With two locks, a candidate that was told that the second does not exist, although it does, may learn only when it
    /// tries to create it whose record is there, and then waits for that lease.
    fn lease_to_be_learned(&self) -> u64 {
        if self.plan.fault_rates.false_absence == 0.0 || self.one_lock() {
            return 0;
        }
        let lease = |lock| match &self.present(lock).content {
            Content::Record(record) => u64::from(record.lease_seconds) * SECOND,
            _ => 0,
        };
        lease(0).max(lease(1))
    }

    /// A follower with a watch sends no request of its own accord, and a leader at most one in each R.
    fn check_requests(&mut self, leader: ProcessId) {
        let Some(since) = self.recovery.since.filter(|_| self.network.outage.is_none()) else { return };
        let time = self.now - since;
        for node in 0..self.nodes.len() {
            let it = &self.nodes[node];
            let (process, before) = self.recovery.requests[node];
            if it.process != process {
                continue; // it has started since
            }
            let sent = u64::from(self.network.requests[node] - before);
            let locks = it.locks.len() as u64;
            let holds = it.process == leader || it.lock_set.holds();
            // A read that was refused during the faults may be repeated much later.
            let repeated = if self.plan.fault_rates.refused > 0.0 { locks } else { 0 };
            let due = if holds { (it.clock.elapsed(time) / it.member.retry_period + 2) * locks } else { repeated };
            // If candidates have different retry periods, a follower may consider the watch silent and read in between.
            let same_timings = self.plan.members.iter().all(|member| member.retry_period == it.member.retry_period);
            if sent > due && (holds || same_timings && self.plan.fastest == 1.0 && !self.plan.rolling) {
                return self.fail("requests", format!("{} sent {sent} requests, and {due} were due", self.name(node)));
            }
        }
    }
}
