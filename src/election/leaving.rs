//! Giving the lock up: at the end of the process, or because the lock is not wanted for now.

use super::pacing::Retry;
use super::{Call, Election, Moment, UnderWay};
use crate::clock::Time;
use std::time::Duration;

/// On the way out of the election, for good.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Leaving {
    pub(super) release_at: Time,
    pub(super) releasing: bool,
}

impl Election {
    pub(super) fn stand(&mut self, moment: Moment, standing: bool) {
        let resigns = std::mem::replace(&mut self.standing, standing) && !standing;
        if resigns && self.leaving.is_none() && (self.holds() || self.may_hold()) {
            self.give_up(moment);
        }
    }

    /// Whether all that is left to do is to release the lock.
    pub(super) fn is_giving_up(&self) -> bool {
        self.leaving.as_ref().map_or(!self.standing, |leaving| leaving.releasing)
    }

    /// Ends the term, so that the lock can be released. A request under way would only be in the way.
    fn give_up(&mut self, moment: Moment) {
        self.term = None; // S5
        self.give_up_request(moment);
        self.pacing.write = Retry::default();
        self.pacing.read = Retry::default();
        self.pacing.must_read = self.own.is_none() && !self.doubts.is_empty();
    }

    pub(super) fn leave(&mut self, now: Time) {
        // Nobody was told to rely on a claim that was never made: no delay then.
        let delay = if self.leaving.is_none() && self.holds() { self.settings.release_delay } else { Duration::ZERO };
        let release_at = now.saturating_add(delay);
        let leaving = self.leaving.get_or_insert(Leaving { release_at, releasing: false });
        if !leaving.releasing {
            leaving.release_at = release_at;
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

    pub(super) fn begin_release(&mut self, moment: Moment) {
        let holds = self.holds() || self.may_hold();
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.releasing || (moment.now < leaving.release_at && holds) {
            return;
        }
        leaving.release_at = moment.now;
        leaving.releasing = true;
        self.give_up(moment);
    }
}
