//! What the rest of the process may know of the election: a snapshot with its own expiry inside.
//!
//! The candidate publishes a [`Snapshot`] at each of its steps; everybody else asks the snapshot together
//! with a clock reading taken *after* fetching it, so that an answer was true at some instant between the
//! question and the reply, even when the process was stopped in between.

use crate::clock::Time;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The state of the election as the candidate last knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Who this candidate is.
    pub identity: Arc<str>,
    /// This candidate's own leadership, if it has any.
    pub claim: Option<Claim>,
    /// Another candidate that holds the lock, if one does. Never this candidate itself.
    pub other: Option<Holder>,
    /// When the lock was last read or seen, whether it existed or not; `None` before the first time.
    pub lock_seen: Option<Time>,
    /// When the API server last gave an answer that shows it works.
    pub server_reached: Option<Time>,
    /// The lease duration, L.
    pub lease_duration: Duration,
    /// The moment by which the election thread will have run again, with a generous allowance.
    pub stuck_at: Time,
}

/// This candidate leads until `until`, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// F: from this moment on it no longer leads.
    pub until: Time,
    /// Greater than the token of every earlier term of this election.
    pub fencing_token: u64,
}

/// Another candidate that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub identity: Arc<str>,
    /// When its lease runs out by this machine's clock, unless it is renewed.
    pub until: Time,
}

impl Snapshot {
    /// What is known before the lock was read for the first time.
    pub fn unknown(identity: Arc<str>, lease_duration: Duration, stuck_at: Time) -> Snapshot {
        Snapshot { identity, claim: None, other: None, lock_seen: None, server_reached: None, lease_duration, stuck_at }
    }

    /// Whether this candidate leads at `now`.
    pub fn leads(&self, now: Time) -> bool {
        self.claim.is_some_and(|claim| now < claim.until)
    }

    /// Who leads at `now`, empty when nobody is known to.
    pub fn leader(&self, now: Time) -> &str {
        if self.leads(now) {
            return &self.identity;
        }
        match &self.other {
            Some(holder) if now < holder.until => &holder.identity,
            _ => "",
        }
    }

    /// Whether the lock has been read, and the API server was reached within the lease duration.
    pub fn ready(&self, now: Time) -> bool {
        self.lock_seen.is_some() && self.server_reached.is_some_and(|at| now < at.saturating_add(self.lease_duration))
    }

    /// Whether the election thread makes progress.
    pub fn alive(&self, now: Time) -> bool {
        now < self.stuck_at
    }
}

/// Where the candidate leaves the latest snapshot for everybody else.
#[derive(Debug)]
pub struct Status {
    latest: Mutex<Arc<Snapshot>>,
}

impl Status {
    pub fn new(snapshot: Snapshot) -> Status {
        Status { latest: Mutex::new(Arc::new(snapshot)) }
    }

    /// Replaces the snapshot; whoever asks from now on gets this one.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// The latest snapshot. Read the clock after this call, not before it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
