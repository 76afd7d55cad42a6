//! Whether this candidate may lead, and if not, when it gives the lock up.

use crate::time::Time;
use std::time::Duration;

/// How long a release may take, all attempts included, before the process gives up and exits. Together with the
/// withdrawal of the leader Service it must fit into two seconds.
pub(crate) const RELEASE_LIMIT: Duration = Duration::from_millis(1400);

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Withdrawal {
    /// Whether the lock is wanted. If not, it is given up, but still watched.
    wanted: bool,
    /// The process is stopping.
    stopped: bool,
    /// Work that the lock protects has not ended: the lock is kept.
    held: bool,
    /// It must be kept for longer than the lease of the last term may last.
    renewed: bool,
    /// Since when only the release is left to do.
    releasing: Option<Time>,
}

impl Withdrawal {
    pub(super) fn new() -> Withdrawal {
        Withdrawal { wanted: true, stopped: false, held: false, renewed: false, releasing: None }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether this candidate makes no claim, even if it holds the lock.
    pub(super) fn has_begun(&self) -> bool {
        self.stopped || !self.wanted
    }

    /// Whether a lock that is no longer wanted is renewed, also without a term.
    pub(super) fn keeps_lock(&self) -> bool {
        self.has_begun() && self.renewed && self.releasing.is_none()
    }

    /// Whether the lock is to be released now.
    pub(super) fn is_releasing(&self) -> bool {
        self.releasing.is_some()
    }

    /// Whether the process is stopping and only the release is left to do.
    pub(super) fn is_last_act(&self) -> bool {
        self.stopped && self.releasing.is_some()
    }

    /// After Stop: when the release is given up.
    pub(super) fn gives_up_at(&self) -> Option<Time> {
        let since = self.releasing.filter(|_| self.stopped)?;
        Some(since.saturating_add(RELEASE_LIMIT))
    }

    /// Returns whether the value changed.
    pub(super) fn hold(&mut self, held: bool, renewed: bool) -> bool {
        let before = (std::mem::replace(&mut self.held, held), std::mem::replace(&mut self.renewed, renewed));
        before != (held, renewed)
    }

    /// Returns whether the lock is wanted again.
    pub(super) fn want(&mut self, wanted: bool) -> bool {
        let again = std::mem::replace(&mut self.wanted, wanted) != wanted && wanted && !self.stopped;
        if again {
            self.releasing = None;
        }
        again
    }

    pub(super) fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.releasing = None; // the time limit for the release starts again
        }
    }

    pub(super) fn release(&mut self, now: Time) {
        self.releasing = Some(now);
    }
}
