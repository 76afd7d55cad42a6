//! Giving the lock up: at the end of the process, or because the lock is not wanted for now.

use super::pacing::Retry;
use super::{Call, Election, Moment, UnderWay};
use crate::time::Time;

/// Whether this candidate may lead, and if not, when it gives the lock up.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Withdrawal {
    /// Whether the lock is wanted. Where it is not, it is given up, and watched all the same.
    pub(super) wanted: bool,
    /// Told to leave, for good.
    pub(super) stopped: bool,
    /// Work that the lock protects still goes on: the lock is kept.
    pub(super) held: bool,
    /// Since when all that is left to do is to release the lock.
    pub(super) releasing: Option<Time>,
}

impl Withdrawal {
    pub(super) fn new() -> Withdrawal {
        Withdrawal { wanted: true, stopped: false, held: false, releasing: None }
    }

    /// Whether this candidate does not claim, whatever it holds.
    pub(super) fn has_begun(&self) -> bool {
        self.stopped || !self.wanted
    }

    /// Whether the process is about to end, and only the release is left to do.
    pub(super) fn is_last_act(&self) -> bool {
        self.stopped && self.releasing.is_some()
    }
}

impl Election {
    /// From the next step on: whether something that the lock protects may still go on. Then a lock that is no longer wanted
    /// is kept and renewed, and released afterwards. Returns whether that is new.
    pub fn hold(&mut self, held: bool) -> bool {
        std::mem::replace(&mut self.withdrawal.held, held) != held
    }

    pub(super) fn want(&mut self, wanted: bool) {
        if std::mem::replace(&mut self.withdrawal.wanted, wanted) != wanted && wanted && !self.withdrawal.stopped {
            self.term = None; // Its claim has ended: to lead again takes a new term.
            self.withdrawal.releasing = None;
        }
    }

    pub(super) fn stop(&mut self) {
        if !std::mem::replace(&mut self.withdrawal.stopped, true) {
            self.withdrawal.releasing = None; // the time that a release may take begins anew
        }
    }

    /// Whether others still have to wait for this candidate: its term, or the record that outlived it, protects
    /// whatever it started while that comes to its end (S5).
    pub fn holds(&self) -> bool {
        self.term.is_some() || self.own.is_some()
    }

    /// Whether a write that nobody has answered may have put the own record into the lock.
    fn may_hold(&self) -> bool {
        let writes = |it: &UnderWay| matches!(it.request.call, Call::Write(_));
        !self.doubts.is_empty() || self.under_way.as_ref().is_some_and(writes)
    }

    /// Begins to give the lock up, if it is time to.
    pub(super) fn begin_release(&mut self, moment: Moment) {
        let Withdrawal { stopped, held, releasing, .. } = self.withdrawal;
        if !self.withdrawal.has_begun() || releasing.is_some() {
            return;
        }
        let holds = self.holds() || self.may_hold();
        if holds && held {
            return;
        }
        self.withdrawal.releasing = Some(moment.now);
        if holds || stopped {
            self.give_up(moment);
        }
    }

    /// Ends the term, so that the lock can be released. A request under way would only be in the way.
    fn give_up(&mut self, moment: Moment) {
        self.term = None; // S5
        self.give_up_request(moment);
        self.pacing.write = Retry::default();
        self.pacing.read = Retry::default();
        self.pacing.must_read = self.own.is_none() && !self.doubts.is_empty();
    }
}
