//! Lets a test wait until something has happened, without polling.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lock;

/// How often a condition is evaluated if nothing happens in the server, because it may depend on other things.
const RECHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Counts everything that happens in the server.
#[derive(Default)]
pub(crate) struct Activity {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Activity {
    pub(crate) fn happened(&self) {
        *lock(&self.count) += 1;
        self.changed.notify_all();
    }

    /// Waits until `condition` holds, at most for `patience`; returns whether it holds.
    pub(crate) fn wait_until(&self, patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let before = *lock(&self.count);
            if condition() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            let count = lock(&self.count);
            let unchanged = |count: &mut u64| *count == before;
            drop(
                self.changed
                    .wait_timeout_while(count, RECHECK_INTERVAL, unchanged)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}
