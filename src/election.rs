//! The state machine of one lock: `(moment, event) → request, deadline`.
//!
//! It never asks for the time, does no I/O, starts no thread, writes no log and draws no random number;
//! whoever drives it says what time it is and what happened, and does what it asks for. So a simulator can
//! drive the very code that ships through years of faults in a second.
//!
//! ```text
//!                     own record acknowledged          now ≥ F, a record that is not ours,
//!                     or recognised, now < F           or Stop
//!   ┌───────────┐ ───────────────────────────▶ ┌──────┐ ──────────────────▶ follows, or releases
//!   │  follows  │      claims until F          │ term │
//!   └───────────┘ ◀─────────────────────────── └──────┘ ⟲ each acknowledged renewal moves F
//!     reads and watches; writes only when
//!     the lease seen has run out, or nobody holds it
//! ```
//!
//! What it upholds, by the numbers used in comments below:
//!
//! - **S1** It claims to lead only while `now < F = sent + D`, `sent` being the moment before the last
//!   acknowledged write was sent. A lapse at F ends the term.
//! - **S2** Every write names the uid and resourceVersion it replaces, and differs from what it replaces.
//! - **S3** A held lock is taken only after its record has not changed for max(its L, own L) since the
//!   unchanged record was first seen here. Absence counts like a record, for who has seen a holder.
//! - **S4, S5** A release is written only over the own last write, after the claim has ended.
//! - **S6** A record that this process did not write ends the claim at once.
//! - **S7** A write without a clear answer is in doubt until it is read back, by its mark.
//! - **S8** A term's fencing token is the resourceVersion at which its acquisition was acknowledged.
//! - **S9** The own name in somebody else's record is another process, unless that one is provably dead.
//! - **S10** A record that cannot be read counts as held.

mod gate;
pub mod lock_set;
mod observe;
mod pacing;
mod respond;
mod schedule;
mod types;
mod withdrawal;

pub(crate) use self::schedule::RELEASE_LIMIT;
pub use self::schedule::whole_seconds;
pub use self::types::{
    Answer, Call, Candidacy, CandidateEvent, Claim, Event, Holder, Moment, Output, Purpose, Request, Settings, Sight,
    Version, Write,
};

use self::pacing::Pacing;
use self::withdrawal::Withdrawal;
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// The machine.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Election {
    settings: Settings,
    /// The newest state of the lock that is believed; `None` before the first.
    lock: Option<Sight>,
    /// When the record in `lock`, or its absence, was first seen.
    since: Time,
    /// When the lock was last seen.
    heard_at: Time,
    /// Until when a holder whose record was taken away by others than the next holder may still claim.
    robbed_until: Time,
    /// The L of the last held record seen; `None` while no holder was ever seen.
    last_lease: Option<Duration>,
    /// `leaseTransitions` for the next term.
    next_transitions: u32,
    /// News up to this resourceVersion is old.
    floor: u64,
    /// This candidate's own record is in the lock, and this write put it there.
    own: Option<Arc<Write>>,
    /// The own record, and the uid of its object, while the lock is said to hold nothing that can be read.
    vanished: Option<(Arc<str>, Arc<Write>)>,
    term: Option<Claim>,
    /// Writes that may have been done, or may still be (S7).
    doubts: Vec<Arc<Write>>,
    under_way: Option<UnderWay>,
    requests: u64,
    writes: u64,
    /// The newest renewTime written, in microseconds.
    last_stamp: i64,
    pacing: Pacing,
    watch: Watch,
    /// Nobody else in this network namespace has this identity.
    alone: bool,
    withdrawal: Withdrawal,
}

#[derive(Clone, Debug, PartialEq, Hash)]
struct UnderWay {
    request: Request,
    sent: Time,
    fate: Fate,
}

impl UnderWay {
    /// When whoever sends it should have given it up long since.
    fn hung_at(&self) -> Time {
        self.sent.saturating_add(self.request.timeout.mul_f64(1.5))
    }
}

/// What the watch has shown of a request before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Open,
    /// The write was seen in the lock: the answer has nothing to add.
    Done,
    /// Something else was seen in its place: whatever the answer, the write proves no leadership (S7).
    Void,
}

#[derive(Clone, Debug, Default, PartialEq, Hash)]
struct Watch {
    open: bool,
    opened_at: Time,
    /// When it, or a read in its place, last showed the lock.
    alive_at: Time,
    /// When it last showed something new.
    news_at: Option<Time>,
}

impl Election {
    pub fn new(settings: Settings) -> Election {
        Election {
            settings,
            lock: None,
            since: Time::ZERO,
            heard_at: Time::ZERO,
            robbed_until: Time::ZERO,
            last_lease: None,
            next_transitions: 0,
            floor: 0,
            own: None,
            vanished: None,
            term: None,
            doubts: Vec::new(),
            under_way: None,
            requests: 0,
            writes: 0,
            last_stamp: 0,
            pacing: Pacing { must_read: true, ..Pacing::default() },
            watch: Watch::default(),
            alone: false,
            withdrawal: Withdrawal::new(),
        }
    }

    /// This candidate's leadership; whoever is told must compare `until` with the clock (S1).
    pub fn claim(&self) -> Option<Claim> {
        self.term.filter(|_| !self.withdrawal.has_begun())
    }

    /// The term, also while it is kept only for work that has to come to its end.
    pub fn term(&self) -> Option<Claim> {
        self.term
    }

    /// Whether the lock that this candidate holds bears the wish that its holder steps down.
    pub fn is_asked_to_step_down(&self) -> bool {
        let named = self.lock.as_ref().and_then(|lock| lock.step_down.as_deref());
        self.own.is_some() && named == Some(&*self.settings.identity)
    }

    /// The other candidate that holds the lock, until its lease runs out by this clock.
    ///
    /// Never one of this candidate's own name: to whoever reads the answer that would be this candidate.
    pub fn other(&self) -> Option<Holder> {
        let record = self.lock.as_ref()?.record()?;
        let foreign = !record.is_free() && record.holder != self.settings.identity;
        foreign.then(|| Holder { identity: record.holder.clone(), until: self.since.saturating_add(record.lease()) })
    }

    /// The lock as last believed; `None` before it was read.
    pub fn lock(&self) -> Option<&Sight> {
        self.lock.as_ref()
    }

    /// Whether the lock bears this candidate's name in a record that this process did not write (S9).
    pub fn name_is_taken(&self) -> bool {
        let bears_name = self.lock.as_ref().and_then(Sight::record).is_some_and(|r| r.holder == self.settings.identity);
        bears_name && self.own.is_none()
    }

    /// Whether what is known of the lock is fresh: a watch is open, or the lock was last heard of within L.
    pub fn is_readable(&self, now: Time) -> bool {
        self.lock.is_some() && (self.watch.open || now < self.unreadable_at())
    }

    /// From when on the lock counts as unreadable, if no watch is open and nothing more is heard of it.
    pub fn unreadable_at(&self) -> Time {
        self.heard_at.saturating_add(self.settings.lease)
    }

    /// From when on the lock may be taken, as far as is known; `None` while it bears the own record.
    pub fn free_from(&self) -> Option<Time> {
        self.lock.as_ref().filter(|_| self.own.is_none()).map(|lock| self.free_at(lock))
    }

    /// While the server refuses to have the lock written: until when it will not be asked again.
    pub fn refused_until(&self) -> Option<Time> {
        (self.pacing.write.denials > 0).then_some(self.pacing.write.after)
    }

    /// Takes in what happened, and says what to do next.
    pub fn step(&mut self, moment: Moment, event: Event) -> Output {
        let mut output = Output::default();
        self.lapse(moment.now);
        match event {
            Event::Tick => {}
            Event::Answered { request, answer } => self.answered(moment, request, answer, &mut output),
            Event::Watched { resource_version, sight } => self.watched(moment.now, resource_version, sight),
            Event::WatchOpened => self.watch = Watch { open: true, opened_at: moment.now, ..self.watch },
            Event::WatchClosed => self.watch_closed(moment),
            Event::Alone(alone) => self.alone = alone,
            Event::Wanted(wanted) => self.want(wanted),
            Event::Stop => self.stop(),
        }
        self.give_up_hung_request(moment);
        self.decide(moment, &mut output);
        output
    }

    /// S1: a term ends at F.
    fn lapse(&mut self, now: Time) {
        if self.term.is_some_and(|term| term.until <= now) {
            self.term = None;
            self.vanished = None;
            // A renewal in doubt may have been the last word; look before writing.
            self.pacing.must_read |= !self.doubts.is_empty();
        }
    }
}
