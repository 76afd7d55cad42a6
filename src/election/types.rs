//! What the machine is told and what it says.

use crate::record::{Content, Host, Mark, Record};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// What does not change while the program runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    pub identity: Arc<str>,
    /// Drawn at random at the start: tells this process from every other one.
    pub process: u128,
    /// Where it runs, where the kernel says so.
    pub host: Option<Host>,
    /// L: how long others must wait before they take the lock.
    pub lease: Duration,
    /// D: how long after the sending of a write its holder may claim to lead. Less than L.
    pub renew_deadline: Duration,
    /// R: how long after the sending of a write the next one follows.
    pub retry_period: Duration,
    /// T: how long one request may take.
    pub request_timeout: Duration,
    /// How long the lock is kept and renewed after the claim ended by the own will: on Stop, by the health gate, by a
    /// step-down.
    pub release_delay: Duration,
    /// How long a candidate that has never seen a record waits before it creates one: a leader whose lock was deleted writes
    /// it anew meanwhile.
    pub creation_delay: Duration,
    /// So many failed health checks in a row end the leadership; `None` where the application is not checked.
    pub health_failures: Option<u32>,
}

/// The moment at which something happened, and what else the machine may not find out for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// The boot-time clock: all decisions are made by it.
    pub now: Time,
    /// Microseconds since the Unix epoch: only ever written into the record, for people and peers.
    pub wall_micros: i64,
    /// A random number in [0, 1).
    pub jitter: f64,
}

/// Which object, at which version: what a write must name to replace it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub uid: Arc<str>,
    pub resource_version: u64,
}

/// The lock as it was seen once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    /// `None` when the object does not exist.
    pub version: Option<Version>,
    pub content: Content,
    pub mark: Option<Mark>,
    /// The holder that is asked to step down, whoever holds the lock.
    pub step_down: Option<Arc<str>>,
}

impl Sight {
    /// The object does not exist.
    pub const MISSING: Sight = Sight { version: None, content: Content::Nothing, mark: None, step_down: None };

    pub(super) fn record(&self) -> Option<&Record> {
        match &self.content {
            Content::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The mark, unless it was left behind by an earlier record: peers, and people, keep annotations they do not know.
    pub(super) fn mark_of_record(&self) -> Option<&Mark> {
        let record = self.record()?;
        self.mark.as_ref().filter(|mark| mark.renewed == record.renewed && mark.holder == record.holder)
    }

    /// Whether a record that was seen earlier was not replaced in the order of things: its object is gone, or another one
    /// stands in its place, or the record was taken out of it. Nobody releases a record that cannot be read either.
    pub(super) fn lacks(&self, earlier: Option<&Sight>) -> bool {
        let uid = |sight: &Sight| sight.version.as_ref().map(|version| version.uid.clone());
        let Some(earlier) = earlier.filter(|earlier| earlier.content != Content::Nothing) else { return false };
        let cannot_be_read = matches!(earlier.content, Content::Unreadable { .. });
        let is_free = self.record().is_some_and(Record::is_free);
        uid(self) != uid(earlier) || self.content == Content::Nothing || cannot_be_read && is_free
    }

    /// Whether this sight shows the same record as an earlier one: not written since, by anybody.
    pub(super) fn unchanged_since(&self, earlier: &Sight) -> bool {
        let same_object = match (&self.version, &earlier.version) {
            (Some(a), Some(b)) => a.uid == b.uid,
            _ => self.content == Content::Nothing,
        };
        let same_mark = match (self.mark_of_record(), earlier.mark_of_record()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        same_object && same_mark && self.content == earlier.content
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The request of this number ended.
    Answered { request: u64, answer: Answer },
    /// The watch showed the lock; a deletion comes as [`Sight::MISSING`]. The resourceVersion is the event's.
    Watched { resource_version: u64, sight: Sight },
    /// The watch is open: from now on every change is seen.
    WatchOpened,
    /// There is no watch: changes are not seen.
    WatchClosed,
    /// Whether this process holds its network namespace's socket for this election and identity.
    Alone(bool),
    /// Whether the lock is wanted, as it is at the start: if not, the claim ends, and the lock is released.
    Wanted(bool),
    /// Leave: end the claim, release the lock as soon as it need not be held, finish. To come again changes nothing.
    Stop,
}

/// What happened to the candidate and not to one of its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateEvent {
    /// A health check of the application ended.
    Checked { healthy: bool },
    /// What was started for the leadership has ended, all of it; see [`LockSet::begin_work`].
    ///
    /// [`LockSet::begin_work`]: super::lock_set::LockSet::begin_work
    WorkEnded,
    /// Release the locks, and leave them to others for one lease.
    StandBack,
}

/// Whether this candidate would lead if the locks were free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    Standing,
    /// Its application is not well.
    Unhealthy,
    /// It leaves the locks to others, because it was asked to step down or could not lead.
    StandingBack,
    /// It was told to leave, for good.
    Leaving,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// 2xx, read whole; or 404 to a read.
    Seen(Sight),
    /// 404 to a write: nothing there to replace.
    Absent,
    /// 409; or it was not sent, because the sender knows that it would be.
    Conflict,
    /// 401, 403, 400, 422: refused, and it will be again.
    Denied,
    /// 429, and how long the server asks to be left alone.
    Busy(Option<Duration>),
    /// No clear answer: a write may or may not have been done.
    Unknown,
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Comes back in [`Event::Answered`]. A request that is given while an earlier one is still under way
    /// means that the earlier one was given up.
    pub number: u64,
    /// How long it may take.
    pub timeout: Duration,
    pub call: Call,
}

impl Request {
    pub(super) fn is_release(&self) -> bool {
        matches!(&self.call, Call::Write(write) if write.purpose == Purpose::Release)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Read,
    /// Create the object when the base is `None`, else replace the version named.
    Write(Arc<Write>),
}

/// One write, as sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub base: Option<Version>,
    pub record: Record,
    pub mark: Mark,
    pub purpose: Purpose,
    /// The moment before it was sent: F counts from here (S1).
    pub sent: Time,
}

impl Write {
    /// Whether that sight shows exactly this write (S7).
    pub(super) fn made(&self, sight: &Sight) -> bool {
        sight.record() == Some(&self.record) && sight.mark_of_record() == Some(&self.mark)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Begin a term.
    Acquire,
    /// Extend the term that has this fencing token.
    Renew { fencing_token: u64 },
    /// Give the lock up.
    Release,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Output {
    /// Send this.
    pub request: Option<Request>,
    /// Call again with [`Event::Tick`] at this moment, if nothing happens before.
    pub deadline: Option<Time>,
    /// The watch has been silent for too long, or is ahead of the server: open a new one, from the start.
    pub reopen_watch: bool,
    /// After Stop: there is nothing left to do.
    pub finished: bool,
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
