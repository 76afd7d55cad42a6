//! The only clock for decisions: CLOCK_BOOTTIME, which also counts sleep.

use crate::threads;
use crate::time::Time;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Reads CLOCK_BOOTTIME.
pub fn now() -> Time {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Time::after_boot(Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec as u32))
}

/// A descriptor that becomes readable at a given boot time.
///
/// The timeout of a channel or of a poll uses a clock that stops while the machine sleeps.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set.
    pub fn new() -> io::Result<Timer> {
        Ok(Timer(timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?))
    }

    /// Makes it readable at `at`, or now if `at` has passed. Replaces an earlier setting.
    pub fn set(&self, at: Time) -> io::Result<()> {
        // Zero would disable the timer.
        let at = at.uptime().max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: at.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: at.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A thread that calls back at a set time.
#[derive(Debug)]
pub struct Alarm {
    timer: Arc<Timer>,
}

impl Alarm {
    /// Starts the thread. It calls `on_alarm` at each set time until that returns `false`.
    pub fn start(on_alarm: impl Fn() -> bool + Send + 'static) -> io::Result<Alarm> {
        let timer = Arc::new(Timer::new()?);
        let fd = Arc::clone(&timer);
        threads::spawn("clock", move || {
            // The read blocks until the timer expires.
            while rustix::io::retry_on_intr(|| rustix::io::read(&*fd, &mut [0; 8])).is_ok() {
                if !on_alarm() {
                    return;
                }
            }
        })?;
        Ok(Alarm { timer })
    }

    /// Sets the alarm to `at`, or now if `at` has passed. Replaces an earlier setting.
    pub fn set(&self, at: Time) -> io::Result<()> {
        self.timer.set(at)
    }
}
