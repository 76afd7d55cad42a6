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
    Answer, Call, Candidacy, CandidateEvent, Claim, Event, Holder, Moment, Output, Purpose, Request, Settings, Sight,
    Version, Write,
};
pub(crate) use self::withdrawal::RELEASE_LIMIT;

use self::lock_state::LockState;
use self::own_writes::OwnWrites;
use self::pacing::Pacing;
use self::requests::Requests;
use self::watch::Watch;
use self::withdrawal::Withdrawal;
use crate::time::Time;

/// The machine.
///
/// Its parts know nothing of each other but what they are told. What takes several of them is in `observe`, `respond`,
/// `release` and `schedule`, which are called in this order.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Election {
    settings: Settings,
    lock: LockState,
    own: OwnWrites,
    term: Option<Claim>,
    requests: Requests,
    watch: Watch,
    pacing: Pacing,
    withdrawal: Withdrawal,
    /// Nobody else in this network namespace has this identity.
    alone: bool,
}

impl Election {
    pub fn new(settings: Settings) -> Election {
        Election {
            settings,
            lock: LockState::default(),
            own: OwnWrites::default(),
            term: None,
            requests: Requests::default(),
            watch: Watch::default(),
            pacing: Pacing { must_read: true, ..Pacing::default() },
            withdrawal: Withdrawal::new(),
            alone: false,
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
        let named = self.lock.sight().and_then(|lock| lock.step_down.as_deref());
        self.own.is_in_lock() && named == Some(&*self.settings.identity)
    }

    /// The other candidate that holds the lock, until its lease runs out by this clock.
    ///
    /// Never one of this candidate's own name: to whoever reads the answer that would be this candidate.
    pub fn other(&self) -> Option<Holder> {
        self.lock.other(&self.settings.identity)
    }

    /// The lock as last believed; `None` before it was read.
    pub fn lock(&self) -> Option<&Sight> {
        self.lock.sight()
    }

    /// Whether the lock bears this candidate's name in a record that this process did not write (S9).
    pub fn name_is_taken(&self) -> bool {
        let bears_name = self.lock.record().is_some_and(|record| record.holder == self.settings.identity);
        bears_name && !self.own.is_in_lock()
    }

    /// S9: whether an earlier run of this very candidate wrote what is in the lock, and cannot be alive.
    fn predecessor_is_dead(&self) -> bool {
        self.lock.writer_is_dead(&self.settings, self.alone)
    }

    /// Whether what is known of the lock is fresh: a watch is open, or the lock was last heard of within L.
    pub fn is_readable(&self, now: Time) -> bool {
        self.lock.sight().is_some() && (self.watch.is_open() || now < self.unreadable_at())
    }

    /// From when on the lock counts as unreadable, if no watch is open and nothing more is heard of it.
    pub fn unreadable_at(&self) -> Time {
        self.lock.unreadable_at(&self.settings)
    }

    /// From when on the lock may be taken, as far as is known; `None` while it bears the own record.
    pub fn free_from(&self) -> Option<Time> {
        self.lock.free_at(&self.settings, self.alone).filter(|_| !self.own.is_in_lock())
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
            Event::WatchOpened => self.watch.opened(moment.now),
            Event::WatchClosed => self.watch_closed(moment),
            Event::Alone(alone) => self.alone = alone,
            Event::Wanted(wanted) => self.want(wanted),
            Event::Stop => self.withdrawal.stop(),
        }
        self.give_up_hung_request(moment);
        self.decide(moment, &mut output);
        output
    }

    /// S1: a term ends at F.
    fn lapse(&mut self, now: Time) {
        if self.term.is_some_and(|term| term.until <= now) {
            self.term = None;
            self.own.forget_vanished();
            // A renewal in doubt may have been the last word; look before writing.
            self.pacing.must_read |= self.own.is_in_doubt();
        }
    }
}
