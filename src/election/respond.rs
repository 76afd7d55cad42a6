//! Processes the outcome of a request: a clear answer, an unclear one, or none in time.

use super::pacing::{Retry, Urgency};
use super::requests::{Effect, UnderWay};
use super::{Answer, Call, Election, Moment, Output, Sight, Write};
use crate::time::Time;
use std::sync::Arc;

impl Election {
    pub(super) fn answered(&mut self, moment: Moment, number: u64, answer: Answer, output: &mut Output) {
        let Some(UnderWay { call, sent, effect, .. }) = self.requests.end(number) else {
            return; // it was given up
        };
        match call {
            Call::Read => self.read_answered(moment, sent, answer, output),
            Call::Write(write) => self.write_answered(moment, write, effect, answer),
        }
    }

    fn read_answered(&mut self, moment: Moment, sent: Time, answer: Answer, output: &mut Output) {
        let Answer::Seen(sight) = answer else {
            return self.read_failed(moment, sent, &answer);
        };
        self.pacing.read = Retry::default();
        self.pacing.must_read = false;
        let newest = self.lock.resource_version();
        let shown = sight.version.as_ref().map(|version| version.resource_version);
        if self.watch.has_changed_since(sent) && shown.is_none_or(|shown| shown < newest) {
            return; // the watch has shown something newer in the meantime
        }
        let watch_missed_it = shown != self.lock.version().map(|_| newest);
        output.reopen_watch = watch_missed_it && self.watch_is_silent(moment.now);
        if let Some(shown) = shown {
            // Lower: the server went back to an older state. A watch from a later resourceVersion would be silent
            // forever.
            output.reopen_watch |= shown < newest;
            self.lock.set_resource_version(shown);
        }
        self.watch.read(sent);
        self.see(moment.now, sight);
    }

    fn read_failed(&mut self, moment: Moment, sent: Time, answer: &Answer) {
        self.pacing.read = self.pacing.read.failed(moment, sent, answer, self.urgency(), &self.settings);
    }

    fn write_answered(&mut self, moment: Moment, write: Arc<Write>, effect: Effect, answer: Answer) {
        if effect == Effect::Applied {
            return;
        }
        let superseded = effect == Effect::Superseded;
        let failed = match answer {
            Answer::Seen(sight) if acknowledges(&write, &sight) => {
                return self.acknowledged(moment, write, superseded, sight);
            }
            // 2xx, but it shows another record or the old version: no acknowledgement (S2).
            Answer::Seen(_) => Answer::Unknown,
            other => other,
        };
        self.pacing.write = self.pacing.write.failed(moment, write.sent, &failed, self.urgency(), &self.settings);
        match failed {
            // S6: no holder was shown. Read the lock at once, unless the watch has already shown it.
            Answer::Conflict if superseded => {}
            Answer::Absent | Answer::Conflict => self.pacing.read_before_writing(),
            Answer::Denied | Answer::Busy(_) => return,
            Answer::Unknown | Answer::Seen(_) if self.term.is_none() => self.pacing.read_before_writing(),
            Answer::Unknown | Answer::Seen(_) => {}
        }
        if failed != Answer::Absent && !superseded {
            self.own.doubt(write); // S7: also after a 409, because a proxy may have sent the write twice
        }
    }

    fn acknowledged(&mut self, moment: Moment, write: Arc<Write>, superseded: bool, sight: Sight) {
        let Some(resource_version) = sight.version.as_ref().map(|version| version.resource_version) else { return };
        if superseded || resource_version < self.lock.resource_version() {
            return self.observe(moment.now, resource_version, sight); // S7: carried out, but possibly overwritten since
        }
        self.lock.set_resource_version(resource_version);
        self.lock.acknowledged(moment.now, &write.record, sight);
        self.settle(moment.now, write, resource_version);
    }

    /// Gives up a request that the sender has not ended in time. A write is then in doubt.
    pub(super) fn give_up_hung_request(&mut self, moment: Moment) {
        if self.requests.hung_at().is_some_and(|at| at <= moment.now) {
            self.give_up_request(moment);
        }
    }

    pub(super) fn give_up_request(&mut self, moment: Moment) {
        match self.requests.give_up() {
            None => {}
            Some(UnderWay { call: Call::Read, sent, .. }) => self.read_failed(moment, sent, &Answer::Unknown),
            Some(UnderWay { call: Call::Write(write), effect, .. }) => {
                self.write_answered(moment, write, effect, Answer::Unknown);
            }
        }
    }

    /// How urgent it is to repeat a failed request.
    fn urgency(&self) -> Urgency {
        if self.withdrawal.is_last_act() {
            Urgency::Release
        } else if self.term.is_some() || self.withdrawal.keeps_lock() {
            Urgency::Leader
        } else {
            Urgency::Follower
        }
    }
}

/// S2: an answer acknowledges a write when it shows exactly that write at a new resourceVersion. Its mark must be there
/// too: a proxy may answer with another state of the object, and somebody may have put an equal record there.
fn acknowledges(write: &Write, sight: &Sight) -> bool {
    let Some(version) = &sight.version else { return false };
    let is_new = write.base.as_ref().is_none_or(|base| version.resource_version > base.resource_version);
    is_new && write.made(sight)
}
