//! A token bucket: a burst, then one token per period.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct RateLimit {
    burst: i64,
    period: Duration,
    /// Negative if more tokens were taken than available.
    tokens: i64,
    /// When the last token was added, or could have been.
    filled: Instant,
}

impl RateLimit {
    /// A full bucket.
    pub(super) fn new(burst: u32, period: Duration, now: Instant) -> RateLimit {
        RateLimit { burst: burst.into(), period, tokens: burst.into(), filled: now }
    }

    /// The time until a token is available; zero if one is.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.filled);
        let earned = passed.as_nanos().checked_div(self.period.as_nanos()).unwrap_or(u128::MAX);
        match u32::try_from(earned) {
            Ok(earned) if self.tokens + i64::from(earned) < self.burst => {
                self.tokens += i64::from(earned);
                self.filled += self.period * earned;
            }
            _ => (self.tokens, self.filled) = (self.burst, now),
        }
        let missing = u32::try_from(1 - self.tokens).unwrap_or_default();
        self.period.saturating_mul(missing).saturating_sub(now.saturating_duration_since(self.filled))
    }

    /// Takes a token, possibly one that is added later.
    pub(super) fn take(&mut self) {
        self.tokens -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(100);

    #[test]
    fn a_burst_passes_and_then_one_per_period() {
        let start = Instant::now();
        let mut limit = RateLimit::new(3, PERIOD, start);
        for _ in 0..3 {
            assert_eq!(limit.wait(start), Duration::ZERO);
            limit.take();
        }
        for period in 0..5 {
            let emptied = start + period * PERIOD;
            assert_eq!(limit.wait(emptied), PERIOD);
            assert_eq!(limit.wait(emptied + PERIOD / 4), PERIOD * 3 / 4);
            assert_eq!(limit.wait(emptied + PERIOD), Duration::ZERO);
            limit.take();
        }
    }

    #[test]
    fn tokens_taken_beyond_the_burst_are_waited_for() {
        let start = Instant::now();
        let mut limit = RateLimit::new(3, PERIOD, start);
        assert_eq!(limit.wait(start), Duration::ZERO);
        (0..5).for_each(|_| limit.take());
        assert_eq!(limit.wait(start), PERIOD * 3);
        assert_eq!(limit.wait(start + PERIOD * 5 / 2), PERIOD / 2);
        assert_eq!(limit.wait(start + PERIOD * 3), Duration::ZERO);
    }

    #[test]
    fn after_a_pause_there_is_a_burst_and_no_more() {
        let start = Instant::now();
        let mut limit = RateLimit::new(3, PERIOD, start);
        for pause in [PERIOD * 3, Duration::from_secs(100_000), Duration::from_secs(u64::from(u32::MAX))] {
            let later = start + pause;
            for _ in 0..3 {
                assert_eq!(limit.wait(later), Duration::ZERO);
                limit.take();
            }
            assert_eq!(limit.wait(later), PERIOD);
        }
    }

    #[test]
    fn without_a_period_there_is_no_limit() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1, Duration::ZERO, start);
        for _ in 0..10 {
            assert_eq!(limit.wait(start), Duration::ZERO);
            limit.take();
        }
    }
}
