//! The one clock that decisions are made by: CLOCK_BOOTTIME, which goes on while the machine sleeps.

use std::time::Duration;

/// A reading of the boot-time clock: the time since this machine booted, sleep included.
///
/// Readings are compared with readings of the same machine only; they never go on the wire.
pub type Time = Duration;

/// What CLOCK_BOOTTIME says now.
pub fn now() -> Time {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec as u32)
}
