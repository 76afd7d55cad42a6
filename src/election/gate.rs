//! The health gate: whether the application is well enough for its candidate to lead.
//!
//! ```text
//!            one check succeeds, and has gone on succeeding for as long as the gate asks
//!   ┌────────┐ ───────────────────────────────────────────────────────────────────────▶ ┌──────┐
//!   │ closed │                                                                          │ open │
//!   └────────┘ ◀─────────────────────────────────────────────────────────────────────── └──────┘
//!            a follower: one check fails; a leader: N checks in a row fail
//! ```
//!
//! A leader therefore begins with a check that succeeded, and its term lasts for at least N - 1 intervals of the checks. After
//! N failures the application has to be well again for as long as it took to fail, and at least for R. So a fleet whose
//! applications come and go changes its leader at most once in N - 1 intervals.

use crate::time::Time;
use std::time::Duration;

/// How many failures a leader is given, and what it has done with them.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Gate {
    /// N: so many failures in a row end the leadership; `None` where nothing is checked.
    limit: Option<u32>,
    /// R: the application must be well for at least so long after N failures.
    least_recovery: Duration,
    open: bool,
    failures: u32,
    /// When the first of the failures in a row came.
    failing_since: Time,
    /// Since when all checks have succeeded.
    well_since: Option<Time>,
    /// For how long they must have, for the gate to open.
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

    /// Takes in a check that ended at `now`. `leads`: others have to wait for this candidate.
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

    /// A gate that opens at the first success and is given three failures, with R = 2 s; checks come once a second.
    struct Checks {
        gate: Gate,
        now: Time,
    }

    impl Checks {
        fn new() -> Checks {
            Checks { gate: Gate::new(Some(3), 2 * S), now: Time::after_boot(100 * S) }
        }

        /// `+` and `-` for checks that succeed and fail; what the gate is after each of them: `o`pen or `c`losed.
        fn play(&mut self, leads: bool, checks: &str) -> String {
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
    fn a_candidate_stands_from_the_first_success_on() {
        assert!(!Checks::new().gate.is_open());
        assert_eq!(Checks::new().play(false, "--+"), "cco");
    }

    #[test]
    fn a_follower_stands_only_while_its_last_check_succeeded() {
        assert_eq!(Checks::new().play(false, "+-+-+"), "ococo");
    }

    #[test]
    fn a_leader_is_given_its_failures_in_a_row() {
        assert_eq!(Checks::new().play(true, "+--+--+---"), "oooooooooc");
    }

    #[test]
    fn after_as_many_failures_it_must_be_well_for_as_long_as_they_took() {
        for leads in [true, false] {
            let mut checks = Checks::new();
            checks.play(true, "+--");
            // The three took 2 s, from the first to the last.
            assert_eq!(checks.play(leads, "-++-+++"), "cccccco");
        }
    }

    #[test]
    fn it_must_be_well_for_r_at_least() {
        let mut checks = Checks { gate: Gate::new(Some(1), 3 * S), now: Time::after_boot(100 * S) };
        assert_eq!(checks.play(true, "+-++++"), "occcco");
    }

    #[test]
    fn more_failures_than_it_was_given_ask_for_no_longer_recovery() {
        let mut checks = Checks::new();
        checks.play(true, "+---");
        assert_eq!(checks.play(false, "-------+++"), "ccccccccco");
    }
}
