//! The inputs and outputs of the state machine.

use crate::record::{Content, Host, Mark, Record};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// What does not change while the program runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    pub identity: Arc<str>,
    /// A random number that distinguishes this process from all others.
    pub process: u128,
    /// The machine and network namespace of this process, if the kernel tells them.
    pub host: Option<Host>,
    /// L: how long others must wait before they take the lock.
    pub lease: Duration,
    /// D: how long after sending a write its holder may claim to lead. Less than L.
    pub renew_deadline: Duration,
    /// R: time from sending one renewal to sending the next.
    pub retry_period: Duration,
    /// T: how long one request may take.
    pub request_timeout: Duration,
    /// How long the lock is kept and renewed after a claim that was ended by choice: by Stop, the health gate or a
    /// step-down.
    pub release_delay: Duration,
    /// How long a candidate that has never seen a record waits before it creates one. In this time a leader whose lock
    /// was deleted writes it again.
    pub creation_delay: Duration,
    /// This many failed health checks in a row end the leadership; `None` if there is no health check.
    pub health_failures: Option<u32>,
}

/// When something happened, and the other inputs that the state machine may not get for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// The boot-time clock, which is used for all decisions.
    pub now: Time,
    /// Microseconds since the Unix epoch. Only written into the record, for people and other implementations.
    pub wall_micros: i64,
    /// A random number in [0, 1).
    pub jitter: f64,
}

/// The object and its version, which a write must name to replace it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub uid: Arc<str>,
    pub resource_version: u64,
}

/// One observation of the lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    /// `None` if the object does not exist.
    pub version: Option<Version>,
    pub content: Content,
    pub mark: Option<Mark>,
    /// The holder that the annotation asks to step down; the lock may have another holder.
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

    /// The mark, unless it belongs to an earlier record: other programs, and people, keep annotations they do not know.
    pub(super) fn mark_of_record(&self) -> Option<&Mark> {
        let record = self.record()?;
        self.mark.as_ref().filter(|mark| mark.renewed == record.renewed && mark.holder == record.holder)
    }

    /// S9: the mark, if the record is that of an earlier process of this candidate, which is provably dead.
    /// `sole_instance`: no other process in this network namespace has this identity.
    pub(super) fn mark_left_behind(&self, settings: &Settings, sole_instance: bool) -> Option<&Mark> {
        let Settings { identity, process, host, .. } = settings;
        let from_here = |mark: &Mark| mark.host.is_some() && mark.host == *host && mark.process != *process;
        let is_own_name = sole_instance && self.record()?.holder == *identity;
        self.mark_of_record().filter(|mark| is_own_name && from_here(mark))
    }

    /// Whether the earlier record was removed and not replaced by its successor: the object is gone, or is another one,
    /// or has no record. An unreadable record cannot be released, so a free record after it counts as a removal too.
    pub(super) fn lacks(&self, earlier: Option<&Sight>) -> bool {
        let uid = |sight: &Sight| sight.version.as_ref().map(|version| version.uid.clone());
        let Some(earlier) = earlier.filter(|earlier| earlier.content != Content::Nothing) else { return false };
        let cannot_be_read = matches!(earlier.content, Content::Unreadable { .. });
        let is_free = self.record().is_some_and(Record::is_free);
        uid(self) != uid(earlier) || self.content == Content::Nothing || cannot_be_read && is_free
    }

    /// Whether this sight shows the same record as an earlier one, with no write in between. Its mark may have been taken
    /// out since.
    pub fn unchanged_since(&self, earlier: &Sight) -> bool {
        let same_object = match (&self.version, &earlier.version) {
            (Some(a), Some(b)) => a.uid == b.uid,
            _ => self.content == Content::Nothing,
        };
        // A mark that was not there before came with a write, even if that wrote an equal record.
        let same_mark = self.mark_of_record().is_none_or(|mark| earlier.mark_of_record() == Some(mark));
        same_object && same_mark && self.content == earlier.content
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The request with this number ended.
    Answered { request: u64, answer: Answer },
    /// The watch showed the lock; a deletion comes as [`Sight::MISSING`]. The resourceVersion is the event's.
    Watched { resource_version: u64, sight: Sight },
    /// The watch is open: it will show every change from now on.
    WatchOpened,
    /// There is no watch: changes will not be seen.
    WatchClosed,
    /// Whether this process holds its network namespace's socket for this election and identity.
    SoleInstance(bool),
    /// Whether the lock is wanted (initially it is). If not, the claim ends, and the lock is released.
    Wanted(bool),
    /// The process stops: end the claim, release the lock as soon as it need not be kept, finish. A second Stop changes
    /// nothing.
    Stop,
}

/// An event of the candidate itself, not of one of its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateEvent {
    /// A health check of the application ended.
    Checked { healthy: bool },
    /// All work that was started for the leadership has ended; see [`LockSet::begin_work`].
    ///
    /// [`LockSet::begin_work`]: super::lock_set::LockSet::begin_work
    WorkEnded,
    /// Release the locks, and leave them to others for one lease.
    StandBack,
}

/// Whether this candidate would take the locks if they were free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    Standing,
    /// Its application is unhealthy.
    Unhealthy,
    /// It leaves the locks to others for a while, because it was asked to step down or could not take both locks.
    StandingBack,
    /// The process is stopping.
    Leaving,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// 2xx, read completely; or 404 to a read.
    Seen(Sight),
    /// 404 to a write: there is no object to replace.
    Absent,
    /// 409; or the request was not sent, because the sender knows that the answer would be 409.
    Conflict,
    /// 400, 401, 403 or 422: refused, and likely to be refused again.
    Denied,
    /// 429, with the time in Retry-After.
    Busy(Option<Duration>),
    /// No clear answer: a write may or may not have been carried out.
    Unknown,
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockRequest {
    /// Returned in [`Event::Answered`]. If there is a new request while an earlier one is in flight, the earlier one is
    /// given up.
    pub number: u64,
    /// How long it may take.
    pub timeout: Duration,
    pub call: Call,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Read,
    /// Create the object if the base is `None`, otherwise replace that version.
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
    /// Whether the sight shows exactly this write (S7). In another object than the one that it replaced it is a copy.
    pub(super) fn made(&self, sight: &Sight) -> bool {
        let same_object = match (&self.base, &sight.version) {
            (Some(base), Some(version)) => base.uid == version.uid,
            _ => true,
        };
        same_object && sight.record() == Some(&self.record) && sight.mark_of_record() == Some(&self.mark)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Begin a term.
    Acquire,
    /// Extend the term that has this fencing token.
    Renew { fencing_token: u64 },
    /// Keep the lock from others after the term is over, without a claim.
    Keep,
    /// Give the lock up.
    Release,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Output {
    /// Send this.
    pub request: Option<LockRequest>,
    /// Call again with [`Event::Tick`] at this moment, if nothing happens before.
    pub deadline: Option<Time>,
    /// The watch has been silent for too long, or is ahead of the server: open a new one, starting with a read.
    pub reopen_watch: bool,
    /// After Stop: there is nothing left to do.
    pub finished: bool,
}

/// The right of this candidate to say that it leads.
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
