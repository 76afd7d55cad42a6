//! A reading of the clock, and the backoff after failures.

use std::time::Duration;

/// A reading of the boot-time clock: the time since this machine booted, including sleep.
///
/// Readings are only comparable on the same machine and are never sent. Arithmetic saturates at the first and last
/// reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The boot of the machine, before every other reading.
    pub const ZERO: Time = Time(Duration::ZERO);
    /// After every other reading.
    pub const MAX: Time = Time(Duration::MAX);

    /// The reading `uptime` after boot.
    pub const fn after_boot(uptime: Duration) -> Time {
        Time(uptime)
    }

    /// The time from boot to this reading.
    pub const fn uptime(self) -> Duration {
        self.0
    }

    /// The reading `duration` later.
    pub const fn saturating_add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration))
    }

    /// The reading `duration` earlier.
    pub const fn saturating_sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(duration))
    }

    /// The time since an earlier reading; zero if that is later.
    pub const fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The pause after `failures` failures in a row. It starts at `first`, doubles each time, and is at most `longest`.
pub fn backoff(first: Duration, failures: u32, longest: Duration) -> Duration {
    let times = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(times).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pause = |failures| backoff(Duration::from_secs(1), failures, Duration::from_secs(30)).as_secs();
        assert_eq!([0, 1, 2, 3, 5, 6, 32, 33, u32::MAX].map(pause), [1, 1, 2, 4, 16, 30, 30, 30, 30]);
    }

    #[test]
    fn a_moment_that_is_out_of_range_is_the_first_or_the_last() {
        let (second, at) = (Duration::from_secs(1), Time::after_boot(Duration::from_secs(5)));
        assert_eq!((at.saturating_sub(9 * second), Time::MAX.saturating_add(second)), (Time::ZERO, Time::MAX));
        assert_eq!((at.since(Time::ZERO), Time::ZERO.since(at)), (5 * second, Duration::ZERO));
    }
}
