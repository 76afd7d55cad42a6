//! What the rest of the process may know of the election: a snapshot with its own expiry inside.
//!
//! The candidate publishes a [`Snapshot`] at each of its steps; everybody else asks the snapshot together
//! with a clock reading taken *after* fetching it, so that an answer was true at some instant between the
//! question and the reply, even when the process was stopped in between.

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
    /// Who this candidate is.
    pub identity: Arc<str>,
    /// What it stands for.
    pub locks: Arc<Locks>,
    /// This candidate's own leadership, if it has any.
    pub claim: Option<Claim>,
    /// When the last acknowledged write of the claim was sent.
    pub renewed: Option<Time>,
    /// Whether it would lead if the lock were free.
    pub candidacy: Candidacy,
    /// What each lock was last seen to hold, the one that says who leads first: of two locks, the second.
    pub seen: Vec<Seen>,
    /// When the lock was first read or seen, whether it existed or not; `None` before.
    pub lock_seen: Option<Time>,
    /// A moment at or after which the API server gave an answer that shows it works: the sending of the request.
    pub server_reached: Option<Time>,
    /// The class of what went wrong last and is not over: never a text, for the port may face the cluster.
    pub last_error: Option<&'static str>,
    /// The lease duration, L.
    pub lease_duration: Duration,
    /// The moment by which the election thread will have run again, with a generous allowance.
    pub stuck_at: Time,
}

/// What a lock was last seen to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Another candidate that holds it, if one does. Never this candidate itself.
    pub other: Option<Holder>,
    /// Its record, whoever wrote it; `None` where there is none that can be read.
    pub record: Option<Record>,
    /// When that other candidate was first seen to have written it so.
    pub renewed: Option<Time>,
}

impl Seen {
    fn other_at(&self, now: Time) -> Option<&Holder> {
        self.other.as_ref().filter(|other| now < other.until)
    }
}

impl Snapshot {
    /// What is known before the lock was read for the first time.
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

    /// This candidate's leadership, if it has any at `now`.
    pub fn claim_at(&self, now: Time) -> Option<Claim> {
        self.claim.filter(|claim| now < claim.until)
    }

    /// Who leads at `now`, empty when nobody is known to.
    pub fn leader(&self, now: Time) -> &str {
        self.leadership(now).map_or("", |(leader, _)| leader)
    }

    /// Who leads at `now`, and until when unless it renews; `None` when nobody is known to.
    pub fn leadership(&self, now: Time) -> Option<(&Arc<str>, Time)> {
        let own = self.claim_at(now).map(|claim| (&self.identity, claim.until));
        let mut others = self.seen.iter().filter_map(|seen| seen.other_at(now));
        own.or_else(|| others.next().map(|other| (&other.identity, other.until)))
    }

    /// The record of whoever leads at `now`; where nobody is known to, the last one of whoever led, if it is there still.
    pub fn record(&self, now: Time) -> Option<&Record> {
        self.decisive(now)?.record.as_ref()
    }

    /// When whoever leads at `now`, or was the last to lead, renewed: for this candidate the sending of the write, for
    /// another the sight of it.
    pub fn renewed(&self, now: Time) -> Option<Time> {
        self.claim.and(self.renewed).or_else(|| self.decisive(now)?.renewed)
    }

    /// What the lock shows that says who leads: the first one with a holder, or else with one whose lease has run out.
    fn decisive(&self, now: Time) -> Option<&Seen> {
        let own = self.seen.first().filter(|_| self.leads(now));
        let other = || self.seen.iter().find(|seen| seen.other_at(now).is_some());
        let past = || self.seen.iter().find(|seen| seen.other.is_some()).or(self.seen.first());
        own.or_else(other).or_else(past)
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

/// Proof that a snapshot was published: what follows from it may be done now (S5).
#[derive(Debug)]
pub struct Published(());

/// Where the candidate leaves the latest snapshot for everybody else.
pub struct Status {
    latest: Mutex<Arc<Snapshot>>,
    ring: OnceLock<Box<dyn Fn() + Send + Sync>>,
    closed: AtomicBool,
}

impl Status {
    pub fn new(snapshot: Snapshot) -> Status {
        Status { latest: Mutex::new(Arc::new(snapshot)), ring: OnceLock::new(), closed: AtomicBool::new(false) }
    }

    /// Replaces the snapshot; whoever asks from now on gets this one.
    pub fn publish(&self, snapshot: Snapshot) -> Published {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.ring();
        Published(())
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The latest snapshot, and what the clock said after it was fetched (S1): the other way round, a snapshot newer than
    /// the reading could make a lease that has run out look valid.
    pub fn now(&self) -> (Arc<Snapshot>, Time) {
        let snapshot = self.snapshot();
        (snapshot, clock::now())
    }

    /// Has `ring` called after each [`Status::publish`], by the thread that published, which is the election's: so it
    /// must not wait for anything. Only the first call counts.
    pub fn on_publish(&self, ring: impl Fn() + Send + Sync + 'static) {
        let _ = self.ring.set(Box::new(ring));
    }

    /// Says that nothing will be published any more, and that the process is about to end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether nothing will be published any more. A snapshot fetched after a `true` is the last one.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn ring(&self) {
        if let Some(ring) = self.ring.get() {
            ring();
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

    /// Known since 100 s: this candidate leads until 110 s, another one's lease runs out at 120 s, L is 15 s.
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
    fn of_two_locks_the_second_says_who_leads_while_its_lease_lasts() {
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
        const TRIES: u32 = 200_000;
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
        let (ring, rung) = std::sync::mpsc::channel();
        let seen = Arc::clone(&status);
        status.on_publish(move || ring.send((seen.snapshot().lock_seen, seen.is_closed())).unwrap());
        status.publish(Snapshot { lock_seen: Some(at(1)), ..snapshot() });
        status.close();
        assert_eq!(rung.try_iter().collect::<Vec<_>>(), [(Some(at(1)), false), (Some(at(1)), true)]);
    }
}
