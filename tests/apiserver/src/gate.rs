//! The gate that every connection passes before it reads, carries out a request or writes. It is closed while the
//! server is frozen, and fails when the server stops.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::lock;

#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    frozen: bool,
    stopped: bool,
    /// How many requests are being carried out.
    inside: usize,
}

/// A guard: while it exists, `freeze` waits.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    /// Waits while the server is frozen. Fails once it has stopped.
    pub(crate) fn pass(&self) -> io::Result<()> {
        self.wait_open().map(drop)
    }

    /// Like `pass`; the server is not frozen before the guard is dropped.
    pub(crate) fn enter(&self) -> io::Result<Inside<'_>> {
        self.wait_open()?.inside += 1;
        Ok(Inside(self))
    }

    /// When it returns, no request is carried out any more.
    pub(crate) fn freeze(&self) {
        let mut state = lock(&self.state);
        state.frozen = true;
        while state.inside > 0 && !state.stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn thaw(&self) {
        lock(&self.state).frozen = false;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// Sleeps. Fails if the server stops in the meantime.
    pub(crate) fn sleep(&self, duration: Duration) -> io::Result<()> {
        let end = Instant::now() + duration;
        let mut state = lock(&self.state);
        while !state.stopped {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(stopped())
    }

    fn wait_open(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        while state.frozen && !state.stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped { Err(stopped()) } else { Ok(state) }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.inside -= 1;
        if state.frozen {
            self.0.changed.notify_all();
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the server has stopped")
}
