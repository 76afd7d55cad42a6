//! Giving the lock up: because the process stops, or because the lock is not wanted for now.

use super::pacing::Retry;
use super::{Election, Moment};
use crate::time::Time;

impl Election {
    /// Sets whether the lock must not be released yet, from the next step on; and whether it is renewed until then, also
    /// after the end of the term. Returns whether this changed.
    pub fn hold(&mut self, held: bool, renewed: bool) -> bool {
        self.withdrawal.hold(held, renewed)
    }

    pub(super) fn want(&mut self, wanted: bool) {
        if self.withdrawal.want(wanted) {
            self.term = None; // its claim has ended; to lead again takes a new term
        }
    }

    /// Whether others must wait for this candidate: its term, or its record in the lock after the term, protects work
    /// that has not ended yet (S5).
    pub fn holds(&self) -> bool {
        self.term.is_some() || self.own.is_in_lock()
    }

    /// When the write of the own record in the lock was sent.
    pub(super) fn written_at(&self) -> Option<Time> {
        self.own.written_at()
    }

    /// Whether a write without an answer may have put the own record into the lock.
    fn may_hold(&self) -> bool {
        self.own.is_in_doubt() || self.requests.is_writing()
    }

    /// Begins to give the lock up, if it is not wanted and need not be kept.
    pub(super) fn begin_release(&mut self, moment: Moment) {
        if !self.withdrawal.has_begun() || self.withdrawal.is_releasing() {
            return;
        }
        let holds = self.holds() || self.may_hold();
        if holds && self.withdrawal.is_held() {
            return;
        }
        self.withdrawal.release(moment.now);
        if holds || self.withdrawal.is_stopped() {
            self.give_up(moment);
        }
    }

    /// Ends the term, so that the lock can be released. A request in flight is given up, so that the release need not
    /// wait.
    fn give_up(&mut self, moment: Moment) {
        self.term = None; // S5
        self.give_up_request(moment);
        self.pacing.write = Retry::default();
        self.pacing.read = Retry::default();
        self.pacing.must_read = !self.own.is_in_lock() && self.own.is_in_doubt();
    }

    /// After Stop: whether nothing is left to do, or the time for the release is over.
    pub(super) fn has_finished(&self, moment: Moment) -> bool {
        let nothing_left = !self.own.is_in_lock() && !self.own.is_in_doubt() && !self.requests.is_under_way();
        self.withdrawal.gives_up_at().is_some_and(|at| nothing_left || at <= moment.now)
    }
}
