//! What came of a request: an answer, clear or not, or none in time.

use super::pacing::Retry;
use super::{Answer, Call, Election, Fate, Moment, Output, Sight, Write};
use crate::time::Time;
use std::sync::Arc;

/// Writes in doubt that are remembered. Forgetting one is safe: its record then counts as somebody else's.
const MOST_DOUBTS: usize = 8;

impl Election {
    pub(super) fn answered(&mut self, moment: Moment, number: u64, answer: Answer, output: &mut Output) {
        let Some(under_way) = self.under_way.take_if(|it| it.request.number == number) else {
            return; // it was given up
        };
        match under_way.request.call {
            Call::Read => self.read_answered(moment, under_way.sent, answer, output),
            Call::Write(write) => self.write_answered(moment, write, under_way.fate, answer),
        }
    }

    fn read_answered(&mut self, moment: Moment, sent: Time, answer: Answer, output: &mut Output) {
        let Answer::Seen(sight) = answer else {
            return self.read_failed(moment, sent, answer);
        };
        self.pacing.read = Retry::default();
        self.pacing.must_read = false;
        let shown = sight.version.as_ref().map(|version| version.resource_version);
        let crossed = self.watch.news_at.is_some_and(|news_at| sent <= news_at);
        if crossed && shown.is_none_or(|shown| shown < self.floor) {
            return; // overtaken: the watch showed something newer meanwhile
        }
        let watch_missed_it = shown != self.lock.as_ref().and_then(|lock| lock.version.as_ref()).map(|_| self.floor);
        output.reopen_watch = watch_missed_it && self.watch_is_silent(moment.now);
        if let Some(shown) = shown {
            // Below: the server went back in time, and a watch from its future would be silent for ever.
            output.reopen_watch |= shown < self.floor;
            self.floor = shown;
        }
        self.watch.alive_at = self.watch.alive_at.max(sent);
        self.see(moment.now, sight);
    }

    fn read_failed(&mut self, moment: Moment, sent: Time, answer: Answer) {
        self.pacing.read = self.retry(moment, sent, self.pacing.read, &answer);
    }

    fn write_answered(&mut self, moment: Moment, write: Arc<Write>, fate: Fate, answer: Answer) {
        if fate == Fate::Done {
            return;
        }
        let void = fate == Fate::Void;
        let failed = match answer {
            Answer::Seen(sight) if acknowledges(&write, &sight) => {
                return self.acknowledged(moment, write, void, sight);
            }
            // 2xx, but not what was sent, or nothing new: no acknowledgement (S2).
            Answer::Seen(_) => Answer::Unknown,
            other => other,
        };
        self.pacing.write = self.retry(moment, write.sent, self.pacing.write, &failed);
        match failed {
            // S6: no holder was shown; look at once. Unless the watch has shown one already.
            Answer::Conflict if void => {}
            Answer::Absent | Answer::Conflict => self.read_before_writing(),
            Answer::Denied | Answer::Busy(_) => return,
            Answer::Unknown | Answer::Seen(_) if self.term.is_none() => self.read_before_writing(),
            Answer::Unknown | Answer::Seen(_) => {}
        }
        if failed != Answer::Absent && !void {
            self.doubt(write); // S7: a 409 as well, for somebody on the way may have sent it twice
        }
    }

    fn acknowledged(&mut self, moment: Moment, write: Arc<Write>, void: bool, sight: Sight) {
        let Some(version) = sight.version.clone() else { return };
        if void {
            return self.news(moment.now, version.resource_version, sight); // S7: done, but perhaps undone since
        }
        self.floor = version.resource_version;
        self.next_transitions = write.record.next_transitions();
        if !write.record.is_free() {
            self.last_lease = Some(write.record.lease());
        }
        self.settle(moment.now, write, version.resource_version);
        self.since = moment.now;
        self.heard_at = moment.now;
        self.lock = Some(sight);
    }

    fn doubt(&mut self, write: Arc<Write>) {
        if self.doubts.len() == MOST_DOUBTS {
            self.doubts.remove(0);
        }
        self.doubts.push(write);
    }

    fn read_before_writing(&mut self) {
        self.pacing.must_read = true;
        self.pacing.read.after = Time::ZERO;
    }

    /// A request that its sender did not bring to an end in time is given up; a write is in doubt.
    pub(super) fn give_up_hung_request(&mut self, moment: Moment) {
        if self.under_way.as_ref().is_some_and(|it| it.hung_at() <= moment.now) {
            self.give_up_request(moment);
        }
    }

    pub(super) fn give_up_request(&mut self, moment: Moment) {
        if let Some(under_way) = self.under_way.take() {
            match under_way.request.call {
                Call::Read => self.read_failed(moment, under_way.sent, Answer::Unknown),
                Call::Write(write) => self.write_answered(moment, write, under_way.fate, Answer::Unknown),
            }
        }
    }
}

/// S2: an answer acknowledges a write when it shows exactly that write at a new resourceVersion.
fn acknowledges(write: &Write, sight: &Sight) -> bool {
    let Some(version) = &sight.version else { return false };
    let new = match &write.base {
        Some(base) => version.uid == base.uid && version.resource_version > base.resource_version,
        None => true,
    };
    // A server that takes the mark away does no harm here: the answer is to this very write.
    new && (write.made(sight) || sight.mark.is_none() && sight.record() == Some(&write.record))
}
