//! The one clock that decisions are made by: CLOCK_BOOTTIME, which goes on while the machine sleeps.

use crate::time::Time;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What CLOCK_BOOTTIME says now.
pub fn now() -> Time {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Time::after_boot(Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec as u32))
}

/// A descriptor that can be read, or polled as readable, from a moment on, by the boot-time clock.
///
/// A timeout on a channel or of a poll would sleep on a clock that stands still while the machine sleeps.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set.
    pub fn new() -> io::Result<Timer> {
        Ok(Timer(timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?))
    }

    /// Readable from this moment on, or at once when it has passed; an earlier setting is forgotten.
    pub fn set(&self, at: Time) -> io::Result<()> {
        // A setting of zero would switch the timer off.
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

/// A thread that sends word when a moment has come.
#[derive(Debug)]
pub struct Alarm {
    timer: Arc<Timer>,
}

impl Alarm {
    /// Starts the thread; `ring` is called at each moment that was set, until it says `false`.
    pub fn start(ring: impl Fn() -> bool + Send + 'static) -> io::Result<Alarm> {
        let timer = Arc::new(Timer::new()?);
        let rung = Arc::clone(&timer);
        thread::Builder::new().name("clock".into()).spawn(move || {
            // A read waits until the timer has run out.
            while rustix::io::retry_on_intr(|| rustix::io::read(&*rung, &mut [0; 8])).is_ok() {
                if !ring() {
                    return;
                }
            }
        })?;
        Ok(Alarm { timer })
    }

    /// Rings at this moment, or at once when it has passed; an earlier setting is forgotten.
    pub fn set(&self, at: Time) -> io::Result<()> {
        self.timer.set(at)
    }
}
