//! A candidate's clock, as a function of true time, which is counted in nanoseconds.

use leader_elector::time::Time;
use std::time::Duration;

/// One second of true time.
pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;

/// The unit of rates: a clock with this rate runs at true speed.
const TRUE_RATE: u64 = 1 << 20;

/// A clock that shows `offset + true time · rate`. Like the program's clock it counts suspended time.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: u64,
    rate: u64,
}

impl Clock {
    pub fn new(offset: u64, rate: f64) -> Clock {
        Clock { offset, rate: (TRUE_RATE as f64 * rate) as u64 }
    }

    /// The reading at a moment of true time.
    pub fn at(&self, now: u64) -> Time {
        Time::after_boot(Duration::from_nanos(self.offset + self.elapsed(now)))
    }

    /// How much the clock advances in an interval of true time.
    pub fn elapsed(&self, time: u64) -> u64 {
        match time.checked_mul(self.rate) {
            Some(product) => product >> 20,
            None => ((u128::from(time) * u128::from(self.rate)) >> 20) as u64,
        }
    }

    /// The true time at which the clock first shows `reading`.
    pub fn when(&self, reading: Time) -> u64 {
        let local = (reading.uptime().as_nanos() as u64).saturating_sub(self.offset);
        self.lasts(local)
    }

    /// The true time in which the clock advances by `local`.
    pub fn lasts(&self, local: u64) -> u64 {
        if local >> 44 == 0 {
            return (local << 20).div_ceil(self.rate);
        }
        (u128::from(local) << 20).div_ceil(u128::from(self.rate)) as u64
    }
}
