//! Checks liveness during faults: a free lock is taken if a candidate had the time to take it without being disturbed,
//! and a candidate that is stopped ends in time, whatever the API server does.

use crate::clock::MILLI;
use crate::network::LONGEST_WAY;
use crate::world::{Occurrence, World};

/// How many checks there are in one longest lease.
const LOOKS: u64 = 4;

/// How long a candidate that is stopped may try to release its locks.
const LONGEST_RELEASE: u64 = 1_400 * MILLI;

impl World {
    /// Fails if a stopped candidate goes on for too long, or if nobody leads and a candidate had enough undisturbed time
    /// to become leader.
    pub fn looks(&mut self) {
        if !self.faulty() {
            return;
        }
        self.schedule(self.now + self.plan.longest_lease / LOOKS, Occurrence::Looks);
        (0..self.nodes.len()).for_each(|node| self.check_end(node));
        if self.oracle.leaders(self.now).next().is_some() {
            return;
        }
        for node in 0..self.nodes.len() {
            self.note_what_is_wrong(node);
            let it = &self.nodes[node];
            if !it.running || !it.stands || self.now < it.paused_until {
                continue;
            }
            let began = it.locks.iter().map(|lock| self.quiet_since(node, *lock)).max().unwrap_or(self.now);
            let waited = it.clock.elapsed(self.now - began);
            if waited > self.enough_for(node) {
                return self.fail("nobody leads", format!("{} could, and has waited for {waited} ns", self.name(node)));
            }
        }
    }

    /// A candidate that is stopped ends when its work has ended, nobody relies on its claim any more, and it has tried to
    /// release its locks.
    fn check_end(&mut self, node: usize) {
        let it = &self.nodes[node];
        let Some(stopped_at) = it.stopped_at.filter(|_| it.running && it.tasks.going_on == 0) else { return };
        let since = stopped_at.max(it.tasks.heard_at).max(it.paused_until);
        let took = it.clock.elapsed(self.now.saturating_sub(since));
        // Its claim is protected for L - D, and so is that of a dead predecessor, whose record it may see only after that.
        let protected =
            2 * (it.member.lease - it.member.renew_deadline) + it.lock_set.release_delay().as_nanos() as u64;
        if took > protected + LONGEST_RELEASE + MILLI {
            self.fail("never ends", format!("{} was stopped {took} ns ago", self.name(node)));
        }
    }

    /// Notes what disturbs a candidate now. A request without an answer counts like a late one, and a wrong answer
    /// counts until the next right one.
    fn note_what_is_wrong(&mut self, node: usize) {
        let it = &self.nodes[node];
        let hangs = |message: usize| self.now > self.network.sent(message) + 2 * LONGEST_WAY;
        let wrong =
            |lock: usize| it.workers[lock].outstanding.is_some_and(hangs) || self.oracle.is_misled(it.process, lock);
        if it.locks.iter().any(|lock| wrong(*lock)) {
            self.nodes[node].sound_since = self.now;
        }
    }

    /// Since when a candidate was undisturbed, the lock was not written, and the candidate saw no change of it.
    fn quiet_since(&self, node: usize, lock: usize) -> u64 {
        let it = &self.nodes[node];
        it.sound_since.max(self.changed_at[lock]).max(self.oracle.last_change_shown(it.process, lock))
    }

    /// The local time that it needs to notice that nobody holds the lock, wait for a lease, and take the lock.
    fn enough_for(&self, node: usize) -> u64 {
        let it = &self.nodes[node];
        let member = &it.member;
        let polls = member.retry_period / 5 * 11;
        let notices = polls + 2 * member.retry_period + member.request_timeout;
        let leases = it.locks.iter().map(|lock| self.oracle.longest_wait(it.process, *lock)).max().unwrap_or(0);
        let stands_back = if it.locks.len() > 1 { member.lease } else { 0 };
        notices + leases + stands_back + polls + it.clock.elapsed(8 * LONGEST_WAY)
    }
}
