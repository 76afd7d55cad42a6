//! What the rest of the process knows about the election: a snapshot that contains its own expiry.
//!
//! The candidate publishes a [`Snapshot`] after each step. Readers fetch the snapshot first and read the clock second.
//! An answer computed from both was therefore true at some moment between the question and the reply, even if the
//! process was paused in between.

use crate::clock;
use crate::election::{Candidacy, Claim, Holder};
use crate::lock::Locks;
use crate::record::Record;
use crate::time::Time;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The state of the election as the candidate last knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// This candidate.
    pub identity: Arc<str>,
    /// The locks it competes for.
    pub locks: Arc<Locks>,
    /// This candidate's own leadership, if it has any.
    pub claim: Option<Claim>,
    /// When the last acknowledged write of the claim was sent.
    pub renewed: Option<Time>,
    /// Whether this candidate would take a free lock.
    pub candidacy: Candidacy,
    /// The content of each lock. The lock that decides who leads comes first; of two locks that is the second.
    pub seen: Vec<Seen>,
    /// When the lock was first read, whether it existed or not; `None` before that.
    pub lock_seen: Option<Time>,
    /// The sending time of the last request that the API server answered in a way that shows it works.
    pub server_reached: Option<Time>,
    /// The class of the last problem that is not over. Never a free text, since the port may face the cluster.
    pub last_error: Option<&'static str>,
    /// The lease duration, L.
    pub lease_duration: Duration,
    /// The election thread runs before this moment unless it is stuck; the allowance is generous.
    pub stuck_at: Time,
}

/// The content of a lock when last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The other candidate that holds it, if one does. Never this candidate.
    pub other: Option<Holder>,
    /// Its record, whoever wrote it; `None` if there is no readable one.
    pub record: Option<Record>,
    /// When this record of the other candidate was first seen.
    pub renewed: Option<Time>,
}

impl Seen {
    fn other_at(&self, now: Time) -> Option<&Holder> {
        self.other.as_ref().filter(|other| now < other.until)
    }
}

impl Snapshot {
    /// The snapshot before the first read of the lock.
    pub fn unknown(identity: Arc<str>, locks: Arc<Locks>, lease_duration: Duration, stuck_at: Time) -> Snapshot {
        Snapshot {
            identity,
            locks,
            claim: None,
            renewed: None,
            candidacy: Candidacy::Standing,
            seen: Vec::new(),
            lock_seen: None,
            server_reached: None,
            last_error: None,
            lease_duration,
            stuck_at,
        }
    }

    /// Whether this candidate leads at `now`.
    pub fn leads(&self, now: Time) -> bool {
        self.claim_at(now).is_some()
    }

    /// This candidate's claim, if it is valid at `now`.
    pub fn claim_at(&self, now: Time) -> Option<Claim> {
        self.claim.filter(|claim| now < claim.until)
    }

    /// The leader at `now`; empty if none is known.
    pub fn leader(&self, now: Time) -> &str {
        self.leadership(now).map_or("", |(leader, _)| leader)
    }

    /// The leader at `now`, and until when if it does not renew; `None` if no leader is known.
    pub fn leadership(&self, now: Time) -> Option<(&Arc<str>, Time)> {
        let own = self.claim_at(now).map(|claim| (&self.identity, claim.until));
        let mut others = self.seen.iter().filter_map(|seen| seen.other_at(now));
        own.or_else(|| others.next().map(|other| (&other.identity, other.until)))
    }

    /// The record of the leader at `now`. If no leader is known, the record of the last leader, if it is still in the
    /// lock.
    pub fn record(&self, now: Time) -> Option<&Record> {
        self.decisive(now)?.record.as_ref()
    }

    /// When the leader at `now`, or the last leader, renewed: for this candidate when it sent the write, for another
    /// candidate when the write was seen.
    pub fn renewed(&self, now: Time) -> Option<Time> {
        self.claim.and(self.renewed).or_else(|| self.decisive(now)?.renewed)
    }

    /// The lock that decides who leads: the first with a valid holder, or else the first with an expired one.
    fn decisive(&self, now: Time) -> Option<&Seen> {
        let own = self.seen.first().filter(|_| self.leads(now));
        let other = || self.seen.iter().find(|seen| seen.other_at(now).is_some());
        let past = || self.seen.iter().find(|seen| seen.other.is_some()).or(self.seen.first());
        own.or_else(other).or_else(past)
    }

    /// Whether the lock has been read and the API server answered within the lease duration.
    pub fn ready(&self, now: Time) -> bool {
        self.lock_seen.is_some() && self.server_reached.is_some_and(|at| now < at.saturating_add(self.lease_duration))
    }

    /// Whether the election thread makes progress.
    pub fn alive(&self, now: Time) -> bool {
        now < self.stuck_at
    }
}

/// Proof that a snapshot was published, so that actions that depend on it may follow (S5).
#[derive(Debug)]
pub struct Published(());

/// Called with the status after each publication and at the end.
type OnPublish = dyn Fn(&Status) + Send + Sync;

/// Holds the latest snapshot for the other threads.
pub struct Status {
    latest: Mutex<Arc<Snapshot>>,
    hook: OnceLock<Box<OnPublish>>,
    closed: AtomicBool,
}

impl Status {
    pub fn new(snapshot: Snapshot) -> Status {
        Status { latest: Mutex::new(Arc::new(snapshot)), hook: OnceLock::new(), closed: AtomicBool::new(false) }
    }

    /// Replaces the snapshot. Later readers get the new one.
    pub fn publish(&self, snapshot: Snapshot) -> Published {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.run_hook();
        Published(())
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The latest snapshot, then a reading of the clock (S1). In the other order, a snapshot newer than the reading
    /// could make an expired lease look valid.
    pub fn now(&self) -> (Arc<Snapshot>, Time) {
        let snapshot = self.snapshot();
        (snapshot, clock::now())
    }

    /// Calls `hook` after each [`Status::publish`] and after [`Status::close`], on the candidate thread, so it must not
    /// block. Only the first registration counts.
    pub fn on_publish(&self, hook: impl Fn(&Status) + Send + Sync + 'static) {
        let _ = self.hook.set(Box::new(hook));
    }

    /// Marks that no snapshot will follow, because the process is about to exit.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.run_hook();
    }

    /// Whether no snapshot will follow. A snapshot fetched after `true` is the last one.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn run_hook(&self) {
        if let Some(hook) = self.hook.get() {
            hook(self);
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("latest", &self.latest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::LockKind;

    fn at(seconds: u64) -> Time {
        Time::after_boot(Duration::from_secs(seconds))
    }

    /// At 100 s: this candidate leads until 110 s, another one's lease expires at 120 s, L is 15 s.
    fn snapshot() -> Snapshot {
        let lock = Locks { kinds: &[LockKind::Leases], namespace: "n".into(), name: "e".into() };
        Snapshot {
            claim: Some(Claim { until: at(110), fencing_token: 1 }),
            seen: vec![held_by("other", at(120))],
            lock_seen: Some(at(100)),
            server_reached: Some(at(100)),
            ..Snapshot::unknown("me".into(), lock.into(), Duration::from_secs(15), at(140))
        }
    }

    fn held_by(identity: &str, until: Time) -> Seen {
        Seen { other: Some(Holder { identity: identity.into(), until }), ..Seen::default() }
    }

    #[test]
    fn with_two_locks_the_holder_of_the_second_leads_while_its_lease_lasts() {
        let seen = vec![held_by("of-the-second", at(105)), held_by("of-the-first", at(120))];
        let snapshot = Snapshot { claim: None, seen, ..snapshot() };
        let leaders = [104, 105, 119, 120].map(|now| snapshot.leader(at(now)));
        assert_eq!(leaders, ["of-the-second", "of-the-first", "of-the-first", ""]);
    }

    #[test]
    fn what_it_says_of_leading_ends_at_the_very_instant() {
        let snapshot = snapshot();
        let just_before = |time: Time| time.saturating_sub(Duration::from_nanos(1));
        assert!(snapshot.leads(just_before(at(110))) && !snapshot.leads(at(110)));
        assert_eq!(snapshot.leader(just_before(at(110))), "me");
        assert_eq!(snapshot.leadership(at(110)), Some((&"other".into(), at(120))));
        assert_eq!((snapshot.leader(just_before(at(120))), snapshot.leader(at(120))), ("other", ""));
    }

    #[test]
    fn a_thread_that_is_stuck_and_a_server_that_is_silent_are_told_apart() {
        let snapshot = snapshot();
        let state = |now| (snapshot.ready(at(now)), snapshot.alive(at(now)));
        assert_eq!([114, 115, 139, 140].map(state), [(true, true), (false, true), (false, true), (false, false)]);
        assert!(!Snapshot { lock_seen: None, ..snapshot.clone() }.ready(at(101)));
        assert!(!Snapshot { server_reached: None, ..snapshot.clone() }.ready(at(101)));
    }

    #[test]
    fn the_clock_is_read_after_the_snapshot() {
        const TRIES: u32 = 1_000_000;
        let status = Status::new(Snapshot { stuck_at: Time::ZERO, ..snapshot() });
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    status.publish(Snapshot { stuck_at: clock::now(), ..snapshot() });
                }
            });
            let early = (0..TRIES).find(|_| {
                let (snapshot, now) = status.now();
                now < snapshot.stuck_at
            });
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(early, None, "the clock was read before the snapshot was published");
        });
    }

    #[test]
    fn it_rings_after_each_snapshot_and_at_the_end() {
        let status = Arc::new(Status::new(snapshot()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let seen = Arc::clone(&status);
        status.on_publish(move |_| sender.send((seen.snapshot().lock_seen, seen.is_closed())).unwrap());
        status.publish(Snapshot { lock_seen: Some(at(1)), ..snapshot() });
        status.close();
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [(Some(at(1)), false), (Some(at(1)), true)]);
    }
}
