//! Decides which request to send next, and when.

use super::pacing::RELEASE_PACE;
use super::{Call, Claim, Election, LockRequest, Moment, Output, Purpose};
use crate::record::Content;
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// Timeout of one release request: short enough for a second attempt before the release is given up.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(800);

impl Election {
    pub(super) fn decide(&mut self, moment: Moment, output: &mut Output) {
        self.begin_release(moment);
        output.finished = self.has_finished(moment);
        if output.finished {
            return;
        }
        output.reopen_watch |= self.watch_needs_reopening(moment.now);
        let mut wake = Wake(None);
        wake.at(self.term.map(|term| term.until));
        wake.at(self.withdrawal.gives_up_at());
        if !self.requests.is_under_way() {
            match self.next_call() {
                Some((at, call)) if at <= moment.now => output.request = Some(self.send(moment, call)),
                next => wake.at(next.map(|(at, _)| at)),
            }
        }
        wake.at(self.requests.hung_at());
        wake.at(self.watch_check_at().filter(|_| self.renews()));
        output.deadline = wake.0;
    }

    /// What to send next, and when.
    fn next_call(&self) -> Option<(Time, Next)> {
        if self.pacing.must_read {
            return Some((self.pacing.read.after, Next::Read));
        }
        let write = self.next_write();
        let read = self.next_read().map(|at| (at.max(self.pacing.read.after), Next::Read));
        match (write, read) {
            (Some(write), Some(read)) if read.0 < write.0 => Some(read),
            (write, read) => write.or(read),
        }
    }

    /// The next write, and when it is due.
    fn next_write(&self) -> Option<(Time, Next)> {
        let (free_at, in_lock) = (self.lock.free_at(&self.settings, self.sole_instance)?, self.own.is_in_lock());
        let (due, purpose) = if self.withdrawal.is_releasing() {
            (Time::ZERO, in_lock.then_some(Purpose::Release)?) // S4
        } else if self.renews() {
            let term = self.term.map(|Claim { fencing_token, .. }| Purpose::Renew { fencing_token });
            let on_time = self.pacing.write_sent.saturating_add(self.settings.retry_period);
            (if self.pacing.write.failures == 0 { on_time } else { Time::ZERO }, term.unwrap_or(Purpose::Keep))
        } else if self.term.is_some() && self.lock.content() == Some(&Content::Nothing) {
            // S3: the holder writes its record again, but not in a tight loop with somebody who keeps deleting it.
            (self.pacing.rewrite_after, Purpose::Acquire)
        } else if self.withdrawal.has_begun() {
            return None;
        } else if in_lock {
            // The own record is still in the lock after its term. An acquisition would remove the step-down annotation.
            (Time::ZERO, (!self.is_asked_to_step_down()).then_some(Purpose::Acquire)?)
        } else {
            (free_at, Purpose::Acquire)
        };
        Some((due.max(self.pacing.write.after), Next::Write(purpose)))
    }

    /// The next read, and when it is due. A leader needs none, because the answers to its renewals show the lock.
    fn next_read(&self) -> Option<Time> {
        if self.lock.sight().is_none() {
            return Some(Time::ZERO);
        }
        if self.withdrawal.is_last_act() {
            // A write in doubt may still be carried out.
            return self.own.is_in_doubt().then(|| self.pacing.read_sent.saturating_add(RELEASE_PACE));
        }
        if self.renews() || self.withdrawal.is_stopped() {
            return None;
        }
        if !self.watch.is_open() {
            return Some(self.pacing.poll_at);
        }
        self.watch_check_at()
    }

    /// Whether the own record is in the lock, and either there is a term, or the lock must be kept after it.
    fn renews(&self) -> bool {
        self.own.is_in_lock() && (self.term.is_some() || self.withdrawal.keeps_lock())
    }

    /// When the watch will have been silent for too long: for longer than the holder's renewals allow; or, if this
    /// candidate has nothing else to do, for as long as it can be without looking as if the server did not answer.
    fn watch_check_at(&self) -> Option<Time> {
        let last_sign = self.watch.last_sign();
        // If this candidate may not take the lock, it need not check an expired lease.
        let left_alone = !self.withdrawal.is_wanted() && self.free_from().is_some_and(|at| at < last_sign);
        let longest = match self.lock.is_held() && !left_alone {
            true => self.settings.longest_silence(),
            false if self.next_write().is_none() => self.settings.longest_silence().min(self.settings.lease * 2 / 5),
            false => return None,
        };
        self.watch.is_open().then(|| last_sign.saturating_add(longest))
    }

    pub(super) fn watch_is_silent(&self, now: Time) -> bool {
        self.watch_check_at().is_some_and(|at| at <= now)
    }

    /// Whether a leader must reopen the watch: it should have shown the leader's own renewals.
    fn watch_needs_reopening(&mut self, now: Time) -> bool {
        let reopen = self.renews() && self.watch_is_silent(now);
        if reopen {
            self.watch.alive(now);
        }
        reopen
    }

    fn send(&mut self, moment: Moment, next: Next) -> LockRequest {
        let call = match next {
            Next::Read => {
                self.pacing.read_sent = moment.now;
                let jittered = self.settings.jittered_retry_period(moment.jitter);
                self.pacing.poll_at = moment.now.saturating_add(jittered);
                Call::Read
            }
            Next::Write(purpose) => {
                self.pacing.write_sent = moment.now;
                Call::Write(Arc::new(self.own.compose(moment, purpose, &self.lock, &self.settings, self.sole_instance)))
            }
        };
        let longest = if self.withdrawal.is_last_act() { RELEASE_TIMEOUT } else { Duration::MAX };
        self.requests.send(moment.now, call, self.settings.request_timeout.min(longest))
    }
}

enum Next {
    Read,
    Write(Purpose),
}

/// The earliest of some moments.
struct Wake(Option<Time>);

impl Wake {
    fn at(&mut self, time: Option<Time>) {
        self.0 = match (self.0, time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}
