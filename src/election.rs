//! The state machine of one lock: `(moment, event) → request, deadline`.
//!
//! It does not read the clock, does no I/O, starts no thread, writes no log and draws no random number. The caller
//! passes in the time and what happened, and sends the requests that it returns. So the simulation can run the code
//! that ships through years of faults in a second.
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
//! The rules it keeps, with the numbers that comments refer to (docs/guarantees.md has them in full):
//!
//! - **S1** It claims to lead only while `now < F = sent + D`, where `sent` is the moment before the last acknowledged
//!   write was sent. The term ends at F.
//! - **S2** Every write names the uid and resourceVersion it replaces, and differs from what it replaces.
//! - **S3** A held lock is taken only after its record has not changed for max(its L, own L), counted from when this
//!   candidate first saw it. If this candidate has seen a holder, an absent record counts like a record.
//! - **S4, S5** A release replaces only this candidate's own last write, after the claim has ended.
//! - **S6** A record that this process did not write ends the claim at once.
//! - **S7** A write without a clear answer is in doubt until its mark is seen in the lock.
//! - **S8** A term's fencing token is the resourceVersion at which its acquisition was acknowledged.
//! - **S9** A record with the own name that this process did not write belongs to another process, unless its writer is
//!   provably dead.
//! - **S10** A record that cannot be read counts as held.

mod eligibility;
mod gate;
pub mod lock_set;
mod lock_state;
mod observe;
mod own_writes;
mod pacing;
mod release;
mod release_time;
mod requests;
mod respond;
mod schedule;
mod types;
mod watch;
mod withdrawal;

pub use self::own_writes::whole_seconds;
pub use self::types::{
    Answer, Call, Candidacy, CandidateEvent, Claim, Event, Holder, LockRequest, Moment, Output, Purpose, Settings,
    Sight, Version, Write,
};
pub(crate) use self::withdrawal::RELEASE_LIMIT;

use self::lock_state::LockState;
use self::own_writes::OwnWrites;
use self::pacing::Pacing;
use self::requests::Requests;
use self::watch::WatchState;
use self::withdrawal::Withdrawal;
use crate::record::Mark;
use crate::time::Time;

/// The state machine of one lock. Its parts do not refer to each other. The functions that need several parts are in
/// `observe`, `respond`, `release` and `schedule`, which are called in this order.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Election {
    settings: Settings,
    lock: LockState,
    own: OwnWrites,
    term: Option<Claim>,
    requests: Requests,
    watch: WatchState,
    pacing: Pacing,
    withdrawal: Withdrawal,
    /// No other process in this network namespace has this identity.
    sole_instance: bool,
}

impl Election {
    pub fn new(settings: Settings) -> Election {
        Election {
            settings,
            lock: LockState::default(),
            own: OwnWrites::default(),
            term: None,
            requests: Requests::default(),
            watch: WatchState::default(),
            pacing: Pacing { must_read: true, ..Pacing::default() },
            withdrawal: Withdrawal::new(),
            sole_instance: false,
        }
    }

    /// This candidate's claim. Callers must compare `until` with the clock (S1).
    pub fn claim(&self) -> Option<Claim> {
        self.term.filter(|_| !self.withdrawal.has_begun())
    }

    /// The term, also after the claim, while the lock is kept because work has not ended yet.
    pub fn term(&self) -> Option<Claim> {
        self.term
    }

    /// Whether this candidate holds the lock, and an annotation asks it to step down.
    pub fn is_asked_to_step_down(&self) -> bool {
        let named = self.lock.sight().and_then(|lock| lock.step_down.as_deref());
        self.own.is_in_lock() && named == Some(&*self.settings.identity)
    }

    /// The other candidate that holds the lock, until its lease runs out by this clock. Never one with this candidate's
    /// own name: clients would take that for this candidate.
    pub fn other(&self) -> Option<Holder> {
        self.lock.other(&self.settings.identity)
    }

    /// The current observation of the lock; `None` before it was read.
    pub fn lock(&self) -> Option<&Sight> {
        self.lock.sight()
    }

    /// Whether the lock has this candidate's name in a record that this process did not write (S9).
    pub fn name_is_taken(&self) -> bool {
        let bears_name = self.lock.record().is_some_and(|record| record.holder == self.settings.identity);
        bears_name && !self.own.is_in_lock()
    }

    /// S9: the mark of the record in the lock, if an earlier process of this candidate wrote it and is provably dead.
    fn mark_left_behind(&self) -> Option<&Mark> {
        self.lock.mark_left_behind(&self.settings, self.sole_instance)
    }

    /// Whether the observation of the lock is fresh: a watch is open, or the lock was last seen within L.
    pub fn is_readable(&self, now: Time) -> bool {
        self.lock.sight().is_some() && (self.watch.is_open() || now < self.unreadable_at())
    }

    /// From when on the lock counts as unreadable, if no watch is open and it is not seen again.
    pub fn unreadable_at(&self) -> Time {
        self.lock.unreadable_at(&self.settings)
    }

    /// From when on the lock may be taken, by the current observation; `None` while it has the own record.
    pub fn free_from(&self) -> Option<Time> {
        self.lock.free_at(&self.settings, self.sole_instance).filter(|_| !self.own.is_in_lock())
    }

    /// If the server refuses to write the lock: until when this candidate does not try again.
    pub fn refused_until(&self) -> Option<Time> {
        (self.pacing.write.denials > 0).then_some(self.pacing.write.after)
    }

    /// Processes one event. `decide` must follow, which adds what to do next.
    pub(crate) fn process(&mut self, moment: Moment, event: Event) -> Output {
        let mut output = Output::default();
        self.lapse(moment.now);
        match event {
            Event::Tick => {}
            Event::Answered { request, answer } => self.answered(moment, request, answer, &mut output),
            Event::Watched { resource_version, sight } => self.watched(moment.now, resource_version, sight),
            Event::WatchOpened => self.watch.opened(moment.now),
            Event::WatchClosed => self.watch_closed(moment),
            Event::SoleInstance(sole_instance) => self.sole_instance = sole_instance,
            Event::Wanted(wanted) => self.want(wanted),
            Event::Stop => self.withdrawal.stop(),
        }
        self.give_up_hung_request(moment);
        output
    }

    /// S1: ends the term at F.
    fn lapse(&mut self, now: Time) {
        if self.term.is_some_and(|term| term.until <= now) {
            self.term = None;
            self.own.forget_vanished();
            // A renewal in doubt may be in the lock: read it before writing.
            self.pacing.must_read |= self.own.is_in_doubt();
        }
    }
}
