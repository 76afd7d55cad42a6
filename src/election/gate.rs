//! The health gate: whether the health checks allow this candidate to lead.
//!
//! ```text
//!            all checks have succeeded for as long as the gate requires (at first: one check)
//!   ┌────────┐ ───────────────────────────────────────────────────────────────────────▶ ┌──────┐
//!   │ closed │                                                                          │ open │
//!   └────────┘ ◀─────────────────────────────────────────────────────────────────────── └──────┘
//!            a follower: one check fails; a leader: N checks in a row fail
//! ```
//!
//! So a term begins after a check that succeeded, and lasts for at least N - 1 intervals of the checks. After N
//! failures in a row, all checks must succeed for as long as the failures took, and at least for R. So even if
//! applications keep failing and recovering, the leader changes at most once in N - 1 intervals.

use crate::time::Time;
use std::time::Duration;

/// The state of the gate.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Gate {
    /// N: this many failures in a row end the leadership; `None` if there is no health check.
    limit: Option<u32>,
    /// R: after N failures, checks must succeed for at least this long.
    least_recovery: Duration,
    open: bool,
    failures: u32,
    /// When the first of the present failures in a row was reported.
    failing_since: Time,
    /// Since when all checks have succeeded.
    well_since: Option<Time>,
    /// For how long they must have succeeded before the gate opens.
    recovery: Duration,
}

impl Gate {
    pub(super) fn new(limit: Option<u32>, least_recovery: Duration) -> Gate {
        Gate {
            limit,
            least_recovery,
            open: limit.is_none(),
            failures: 0,
            failing_since: Time::ZERO,
            well_since: None,
            recovery: Duration::ZERO,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Processes a check that ended at `now`. `leads`: this candidate leads.
    pub(super) fn checked(&mut self, now: Time, healthy: bool, leads: bool) {
        let Some(limit) = self.limit else { return };
        if healthy {
            self.failures = 0;
            let since = *self.well_since.get_or_insert(now);
            if since.saturating_add(self.recovery) <= now {
                self.open = true;
                self.recovery = Duration::ZERO;
            }
            return;
        }
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1);
        self.well_since = None;
        if self.failures == limit {
            self.recovery = now.since(self.failing_since).max(self.least_recovery);
        }
        self.open &= leads && self.failures < limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// A gate that allows three failures, with R = 2 s; there is a check every second.
    struct Checks {
        gate: Gate,
        now: Time,
    }

    impl Checks {
        fn new() -> Checks {
            Checks { gate: Gate::new(Some(3), 2 * S), now: Time::after_boot(100 * S) }
        }

        /// `+` is a check that succeeds, `-` one that fails. Returns the state of the gate after each: `o`pen or
        /// `c`losed.
        fn run(&mut self, leads: bool, checks: &str) -> String {
            let check = |check| {
                self.now = self.now.saturating_add(S);
                self.gate.checked(self.now, check == '+', leads);
                if self.gate.is_open() { 'o' } else { 'c' }
            };
            checks.chars().map(check).collect()
        }
    }

    #[test]
    fn without_checks_it_is_open() {
        assert!(Gate::new(None, S).is_open());
    }

    #[test]
    fn the_gate_opens_at_the_first_success() {
        assert!(!Checks::new().gate.is_open());
        assert_eq!(Checks::new().run(false, "--+"), "cco");
    }

    #[test]
    fn for_a_follower_the_gate_is_open_only_after_a_success() {
        assert_eq!(Checks::new().run(false, "+-+-+"), "ococo");
    }

    #[test]
    fn a_leader_may_fail_n_minus_one_times_in_a_row() {
        assert_eq!(Checks::new().run(true, "+--+--+---"), "oooooooooc");
    }

    #[test]
    fn after_n_failures_it_must_be_healthy_for_as_long_as_they_took() {
        for leads in [true, false] {
            let mut checks = Checks::new();
            checks.run(true, "+--");
            // The three took 2 s, from the first to the last.
            assert_eq!(checks.run(leads, "-++-+++"), "cccccco");
        }
    }

    #[test]
    fn after_n_failures_it_must_be_healthy_for_at_least_r() {
        let mut checks = Checks { gate: Gate::new(Some(1), 3 * S), now: Time::after_boot(100 * S) };
        assert_eq!(checks.run(true, "+-++++"), "occcco");
    }

    #[test]
    fn more_than_n_failures_do_not_prolong_the_recovery() {
        let mut checks = Checks::new();
        checks.run(true, "+---");
        assert_eq!(checks.run(false, "-------+++"), "ccccccccco");
    }
}
