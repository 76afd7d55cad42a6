//! Readings of the clock that decisions are made by.

use std::time::Duration;

/// A reading of the boot-time clock: the time since this machine booted, sleep included.
///
/// Readings are compared with readings of the same machine only; they never go on the wire. A result that would be before
/// the first or after the last moment is that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The moment at which the machine booted: before everything that happens.
    pub const ZERO: Time = Time(Duration::ZERO);
    /// After everything that happens.
    pub const MAX: Time = Time(Duration::MAX);

    /// The moment so long after the machine booted.
    pub const fn after_boot(uptime: Duration) -> Time {
        Time(uptime)
    }

    /// For how long the machine had been up at this moment.
    pub const fn uptime(self) -> Duration {
        self.0
    }

    /// So much later.
    pub const fn saturating_add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration))
    }

    /// So much earlier.
    pub const fn saturating_sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(duration))
    }

    /// The time from an earlier moment to this one, and zero from a later one.
    pub const fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
