//! For whoever plans faults: what would break an assumption of DESIGN.

use super::{Content, Life, LifeId, Oracle};

/// What somebody who is no candidate would put into a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    pub content: Content,
    /// Into an object of its own: the one that is there is deleted, or there is none.
    pub in_new_object: bool,
}

impl Oracle {
    /// Whether an edit now would let anybody who lives, and stands for this lock, take it too early: who would wait for less
    /// than the lease of whoever may claim.
    pub fn breaks_assumption(&self, lock: usize, edit: Edit) -> bool {
        let state = self.locks[lock].last().expect("there is a first one");
        let longest = self.lives.iter().map(|life| life.facts.lease).max().unwrap_or(0);
        // The L of whoever's record is taken away.
        let present = match state.commit.content {
            Content::Record { holder, lease, .. } if holder != 0 => lease,
            Content::Unreadable => longest,
            Content::Record { .. } | Content::Nothing => 0,
        };
        // Whoever was not shown what is there now, or was told that nothing is, takes the edit for something else.
        let knows = |life: &Life| life.locks[lock].shown >= state.term && !life.locks[lock].misled;
        let waits = |life: &Life| life.locks[lock].last_lease.map_or(0, |last| last.max(life.facts.lease));
        let never_saw_one =
            |life: &Life| life.locks[lock].last_lease.is_none() && state.commit.content == Content::Nothing;
        // A free record in the place of one that is held looks like a release.
        let taken_away = edit.in_new_object || !state.commit.content.is_held_record();
        let waits_too_little = |life: &Life| match edit.content {
            Content::Record { holder, lease, .. } if holder != 0 => lease.max(life.facts.lease) < longest,
            Content::Unreadable => life.facts.lease < longest,
            Content::Nothing => !(knows(life) && waits(life) >= present) && (present > 0 || waits(life) > 0),
            Content::Record { .. } if state.commit.content.is_free_record() => false,
            Content::Record { .. } => !(taken_away && knows(life) && (waits(life) >= longest || never_saw_one(life))),
        };
        self.lives.iter().any(|life| life.alive && life.facts.locks[lock] && waits_too_little(life))
    }

    pub fn is_misled(&self, life: LifeId, lock: usize) -> bool {
        self.lives[life].locks[lock].misled
    }

    /// When a candidate was last shown anything new of a lock.
    pub fn news_at(&self, life: LifeId, lock: usize) -> u64 {
        self.lives[life].locks[lock].news_at
    }

    /// The longest that a candidate may have to wait for a lock as it is, local.
    pub fn longest_wait(&self, life: LifeId, lock: usize) -> u64 {
        let Life { facts, locks, .. } = &self.lives[life];
        let present = match self.locks[lock].last().expect("there is a first one").commit.content {
            Content::Record { lease, .. } => lease,
            Content::Unreadable | Content::Nothing => 0,
        };
        present.max(facts.lease).max(locks[lock].longest_lease)
    }

    /// When nobody must stand back any more because of a claim that exists now, or that can be made of what was sent until
    /// now.
    pub fn last_lease_ends(&self, now: u64) -> u64 {
        let lasts = |life: &Life| (u128::from(life.facts.lease) << 20).div_ceil(u128::from(life.facts.rate)) as u64;
        now + self.lives.iter().map(lasts).max().unwrap_or(0) + 1
    }
}
