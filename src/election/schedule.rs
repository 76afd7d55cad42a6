//! What to do next, and when.

use super::pacing::RELEASE_PACE;
use super::{Call, Election, Fate, Moment, Output, Purpose, Request, Settings, Sight, UnderWay, Write};
use crate::record::{Content, Mark, Record, Stamp};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// How long a release may take, all tries together, before the process gives up and exits.
pub(crate) const RELEASE_LIMIT: Duration = Duration::from_millis(1800);
/// How soon a leader writes a record anew that was taken away once more.
const REWRITE_PACE: Duration = Duration::from_secs(1);
/// How long one request of a release may take, so that a second try still fits into [`RELEASE_LIMIT`].
const RELEASE_TIMEOUT: Duration = Duration::from_millis(800);
/// 9999-12-31T00:00:00Z in microseconds: what a clock shows beyond it cannot be written.
const LAST_STAMP: i64 = 253_402_214_400_000_000;

impl Election {
    pub(super) fn decide(&mut self, moment: Moment, output: &mut Output) {
        self.begin_release(moment);
        output.finished = self.has_finished(moment.now);
        if output.finished {
            return;
        }
        output.reopen_watch |= self.watch_needs_reopening(moment.now);
        let mut wake = Wake(None);
        wake.at(self.term.map(|term| term.until));
        wake.at(self.gives_up_at());
        if self.under_way.is_none() {
            match self.next_call() {
                Some((at, call)) if at <= moment.now => output.request = Some(self.send(moment, call)),
                next => wake.at(next.map(|(at, _)| at)),
            }
        }
        wake.at(self.under_way.as_ref().map(UnderWay::hung_at));
        wake.at(self.watch_check_at().filter(|_| self.term.is_some() && self.own.is_some()));
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
        let lock = self.lock.as_ref()?;
        let (due, purpose) = if self.withdrawal.releasing.is_some() {
            (Time::ZERO, self.own.as_ref().map(|_| Purpose::Release)?) // S4
        } else if let (Some(term), Some(_)) = (&self.term, &self.own) {
            let renew = Purpose::Renew { fencing_token: term.fencing_token };
            let on_time = self.pacing.write_sent.saturating_add(self.settings.retry_period);
            (if self.pacing.write.failures == 0 { on_time } else { Time::ZERO }, renew)
        } else if self.term.is_some() && lock.content == Content::Nothing {
            // S3: the holder writes it anew, but does not race with whoever takes it away again and again.
            (self.pacing.rewrite_after, Purpose::Acquire)
        } else if self.withdrawal.has_begun() {
            return None;
        } else if self.own.is_some() {
            (Time::ZERO, Purpose::Acquire) // The own record outlived its term.
        } else {
            (self.free_at(lock), Purpose::Acquire)
        };
        Some((due.max(self.pacing.write.after), Next::Write(purpose)))
    }

    /// S3, S9, S10: from when on the lock may be taken.
    pub(super) fn free_at(&self, lock: &Sight) -> Time {
        let last_lease = self.last_lease.unwrap_or_default().max(self.settings.lease);
        let free_at = match &lock.content {
            Content::Record(record) if record.is_free() => self.since,
            Content::Record(record) if self.writer_is_dead(lock, record) => self.since,
            Content::Record(record) => self.since.saturating_add(record.lease().max(self.settings.lease)),
            Content::Nothing if self.last_lease.is_none() => self.since,
            Content::Nothing | Content::Unreadable { .. } => self.since.saturating_add(last_lease),
        };
        // Whatever stands there now, a holder whose record was taken away may claim still.
        free_at.max(self.robbed_until)
    }

    /// S9: whether an earlier run of this very candidate wrote what is in the lock, and cannot be alive.
    pub(super) fn predecessor_is_dead(&self) -> bool {
        let lock = self.lock.as_ref();
        lock.is_some_and(|lock| lock.record().is_some_and(|record| self.writer_is_dead(lock, record)))
    }

    /// S9: an earlier run of this very candidate wrote this, and cannot be alive.
    fn writer_is_dead(&self, lock: &Sight, record: &Record) -> bool {
        let Settings { identity, process, host, .. } = &self.settings;
        let from_here = |mark: &Mark| mark.host.is_some() && mark.host == *host && mark.process != *process;
        self.alone && record.holder == *identity && lock.mark_of_record().is_some_and(from_here)
    }

    /// The next read, and when it is due. A leader needs none: its renewals tell it.
    fn next_read(&self) -> Option<Time> {
        if self.lock.is_none() {
            return Some(Time::ZERO);
        }
        if self.withdrawal.is_last_act() {
            // What is in doubt may still be done.
            return (!self.doubts.is_empty()).then(|| self.pacing.read_sent.saturating_add(RELEASE_PACE));
        }
        if self.term.is_some() && self.own.is_some() || self.withdrawal.stopped {
            return None;
        }
        if !self.watch.open {
            return Some(self.pacing.poll_at);
        }
        self.watch_check_at()
    }

    /// When the watch will have been silent for longer than somebody who holds the lock would be.
    fn watch_check_at(&self) -> Option<Time> {
        let held = match self.lock.as_ref().map(|lock| &lock.content) {
            Some(Content::Record(record)) => !record.is_free(),
            Some(Content::Unreadable { .. }) => true,
            Some(Content::Nothing) | None => false,
        };
        let alive_at = self.watch.alive_at.max(self.watch.opened_at);
        // Where nobody of ours takes what has run out, nobody need renew it.
        let left_alone = !self.withdrawal.wanted && self.free_from().is_some_and(|at| at < alive_at);
        (self.watch.open && held && !left_alone).then(|| alive_at.saturating_add(self.longest_silence()))
    }

    /// A watch that shows nothing for longer is not believed to be one.
    pub(super) fn longest_silence(&self) -> Duration {
        self.settings.retry_period.saturating_mul(2).saturating_add(self.settings.request_timeout)
    }

    pub(super) fn watch_is_silent(&self, now: Time) -> bool {
        self.watch_check_at().is_some_and(|at| at <= now)
    }

    /// A leader knows without asking that its own renewals should have been shown.
    fn watch_needs_reopening(&mut self, now: Time) -> bool {
        let reopen = self.term.is_some() && self.own.is_some() && self.watch_is_silent(now);
        if reopen {
            self.watch.alive_at = now;
        }
        reopen
    }

    /// After Stop: when the release has taken too long.
    fn gives_up_at(&self) -> Option<Time> {
        let since = self.withdrawal.releasing.filter(|_| self.withdrawal.stopped)?;
        Some(since.saturating_add(RELEASE_LIMIT))
    }

    fn has_finished(&self, now: Time) -> bool {
        let nothing_left = self.own.is_none() && self.doubts.is_empty() && self.under_way.is_none();
        self.gives_up_at().is_some_and(|at| nothing_left || at <= now)
    }

    fn send(&mut self, moment: Moment, next: Next) -> Request {
        let call = match next {
            Next::Read => {
                self.pacing.read_sent = moment.now;
                self.pacing.poll_at = moment.now.saturating_add(self.jittered_retry_period(moment.jitter));
                Call::Read
            }
            Next::Write(purpose) => Call::Write(Arc::new(self.compose(moment, purpose))),
        };
        self.requests += 1;
        let longest = if self.withdrawal.is_last_act() { RELEASE_TIMEOUT } else { Duration::MAX };
        let request = Request { number: self.requests, timeout: self.settings.request_timeout.min(longest), call };
        self.under_way = Some(UnderWay { request: request.clone(), sent: moment.now, fate: Fate::Open });
        request
    }

    fn compose(&mut self, moment: Moment, purpose: Purpose) -> Write {
        let stamp = Stamp::Micros(self.next_stamp(moment.wall_micros));
        let own = self.own.as_ref().map(|write| &write.record);
        let (acquired, transitions) = match (purpose, own) {
            (Purpose::Renew { .. } | Purpose::Release, Some(own)) => (own.acquired.clone(), own.transitions),
            _ => (stamp.clone(), self.next_transitions),
        };
        let Settings { identity, process, host, lease, .. } = &self.settings;
        let holder = if purpose == Purpose::Release { "".into() } else { identity.clone() };
        self.writes += 1;
        self.pacing.write_sent = moment.now;
        if purpose == Purpose::Acquire && self.term.is_some() {
            self.pacing.rewrite_after = moment.now.saturating_add(self.pace_of_leader().min(REWRITE_PACE));
        }
        Write {
            base: self.lock.as_ref().and_then(|lock| lock.version.clone()), // S2
            record: Record {
                holder: holder.clone(),
                lease_seconds: whole_seconds(*lease),
                acquired,
                renewed: stamp.clone(),
                transitions,
            },
            mark: Mark {
                process: *process,
                write: self.writes,
                holder,
                renewed: stamp,
                host: host.clone().filter(|_| self.alone),
            },
            purpose,
            sent: moment.now,
        }
    }

    /// S2: above every stamp this process wrote, and another than the one it replaces.
    fn next_stamp(&mut self, wall_micros: i64) -> i64 {
        let replaced = self.lock.as_ref().and_then(Sight::record).map(|record| record.renewed.clone());
        let mut stamp = wall_micros.clamp(0, LAST_STAMP).max(self.last_stamp.saturating_add(1));
        if replaced == Some(Stamp::Micros(stamp)) {
            stamp = stamp.saturating_add(1);
        }
        self.last_stamp = stamp;
        stamp
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

/// L on the wire: rounded up, so that nobody who reads it waits for less than L, and at least 1.
pub fn whole_seconds(lease: Duration) -> u32 {
    let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}
