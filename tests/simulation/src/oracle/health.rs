//! Health checks: when a candidate may try to take the lock, and when it may lead.

use super::{Oracle, ProcessId, ROUNDING};

/// The results of the checks. Times are true time, durations are local.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Health {
    failures: u32,
    failing_since: u64,
    well_since: Option<u64>,
    /// No check has succeeded since the start, or since a check failed while the candidate did not lead.
    unfit: bool,
    /// After N failures: how long the checks must succeed.
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
    pub fn checked(&mut self, process: ProcessId, now: u64, healthy: bool) {
        let claims = self.claims(process, now);
        let facts = &self.processes[process].facts;
        let (limit, least) = (facts.health_failures, facts.retry_period);
        let mut health = self.processes[process].health;
        if healthy {
            let since = *health.well_since.get_or_insert(now);
            let well_for = self.elapsed(process, since, now) + ROUNDING;
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
                health.recovery = Some(self.elapsed(process, health.failing_since, now).max(least));
                self.leaves(process, now);
            }
        }
        self.processes[process].health = health;
    }

    /// A candidate sends an acquisition.
    pub(super) fn check_acquisition_health(&mut self, process: ProcessId, now: u64) {
        let health = self.processes[process].health;
        if health.unfit {
            self.violated("health", now, || {
                format!("process {process} acquires though its last check failed, or none came")
            });
        }
        if let Some(recovery) = health.recovery {
            self.violated("health", now, || {
                format!("process {process} acquires and has not been well for {recovery} ns")
            });
        }
    }

    /// A candidate claims to lead. `begins`: it did not before.
    pub(super) fn check_claim_health(&mut self, process: ProcessId, now: u64, begins: bool) {
        let health = self.processes[process].health;
        if health.recovery.is_some() || begins && health.unfit {
            self.violated("health", now, || format!("process {process} claims although its application is unhealthy"));
        }
    }
}
