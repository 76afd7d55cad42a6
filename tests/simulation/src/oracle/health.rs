//! The health checks of a candidate's application, and when it may stand by them.

use super::{LifeId, Oracle, ROUNDING};

/// What the checks have shown; times are true time, durations local.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Health {
    failures: u32,
    failing_since: u64,
    well_since: Option<u64>,
    /// No check has succeeded since the start, or since one failed that was no leader's.
    unfit: bool,
    /// After so many failures as end a leadership: how long it has to be well.
    recovery: Option<u64>,
}

impl Health {
    /// Before the first check.
    pub(super) fn new(is_checked: bool) -> Health {
        Health { unfit: is_checked, ..Health::default() }
    }
}

impl Oracle {
    /// A check of its application reached a candidate.
    pub fn checked(&mut self, life: LifeId, now: u64, healthy: bool) {
        let claims = self.claims(life, now);
        let facts = &self.lives[life].facts;
        let (limit, least) = (facts.health_failures, facts.retry_period);
        let mut health = self.lives[life].health;
        if healthy {
            let since = *health.well_since.get_or_insert(now);
            let well_for = self.elapsed(life, since, now) + ROUNDING;
            health = Health { failures: 0, unfit: false, ..health };
            health.recovery = health.recovery.filter(|recovery| well_for < *recovery);
        } else {
            if health.failures == 0 {
                health.failing_since = now;
            }
            health.failures += 1;
            health.well_since = None;
            health.unfit |= !claims;
            if Some(health.failures) == limit {
                health.recovery = Some(self.elapsed(life, health.failing_since, now).max(least));
                self.leaves(life, now);
            }
        }
        self.lives[life].health = health;
    }

    /// It sends an acquisition.
    pub(super) fn judge_fitness(&mut self, life: LifeId, now: u64) {
        let health = self.lives[life].health;
        if health.unfit {
            self.violated("health", now, || format!("life {life} acquires though its last check failed, or none came"));
        }
        if let Some(recovery) = health.recovery {
            self.violated("health", now, || format!("life {life} acquires and has not been well for {recovery} ns"));
        }
    }

    /// It claims; `begins`: as it did not before.
    pub(super) fn judge_health(&mut self, life: LifeId, now: u64, begins: bool) {
        let health = self.lives[life].health;
        if health.recovery.is_some() || begins && health.unfit {
            self.violated("health", now, || format!("life {life} claims though its application is not well"));
        }
    }
}
