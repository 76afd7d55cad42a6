//! What must be so even among faults: a lock that is free, and that a candidate could have taken, is not left alone.

use crate::network::LONGEST_WAY;
use crate::world::{What, World};

/// How many looks at the world there are in one longest lease.
const LOOKS: u64 = 4;

impl World {
    /// Nobody leads: has anybody had the time to change that, with nothing in its way?
    pub fn looks(&mut self) {
        if !self.faulty() {
            return;
        }
        self.schedule(self.now + self.plan.longest_lease / LOOKS, What::Looks);
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

    /// A request that is not answered is as bad as one that is answered late, and a lie lasts until the truth is told.
    fn note_what_is_wrong(&mut self, node: usize) {
        let it = &self.nodes[node];
        let hangs = |message: usize| self.now > self.network.sent(message) + 2 * LONGEST_WAY;
        let wrong = |lock: usize| it.lanes[lock].outstanding.is_some_and(hangs) || self.oracle.is_misled(it.life, lock);
        if it.locks.iter().any(|lock| wrong(*lock)) {
            self.nodes[node].sound_since = self.now;
        }
    }

    /// Since when nothing has gone wrong for a candidate, nothing has happened to the lock, and no news of it has come.
    fn quiet_since(&self, node: usize, lock: usize) -> u64 {
        let it = &self.nodes[node];
        it.sound_since.max(self.changed_at[lock]).max(self.oracle.news_at(it.life, lock))
    }

    /// The time, local, in which it notices that nobody holds the lock, waits for a lease, and takes the lock.
    fn enough_for(&self, node: usize) -> u64 {
        let it = &self.nodes[node];
        let member = &it.member;
        let polls = member.retry_period / 5 * 11;
        let notices = polls + 2 * member.retry_period + member.request_timeout;
        let leases = it.locks.iter().map(|lock| self.oracle.longest_wait(it.life, *lock)).max().unwrap_or(0);
        let stands_back = if it.locks.len() > 1 { member.lease } else { 0 };
        notices + leases + stands_back + polls + it.clock.elapsed(8 * LONGEST_WAY)
    }
}
