//! How soon a request that failed is tried again.

use super::{Answer, Moment, Settings};
use crate::time::{Time, backoff};
use std::time::Duration;

/// How long a right that is missing, or a request the server calls invalid, waits before it is tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(180);
/// Refusals after which the wait does not grow any more, however short R is.
const MOST_DOUBLED: u32 = 11;
/// How soon a release that failed is tried again.
pub(super) const RELEASE_PACE: Duration = Duration::from_millis(100);

/// When the next request may be sent.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct Pacing {
    /// Nothing may be written before the lock was read once more.
    pub(super) must_read: bool,
    pub(super) read: Retry,
    pub(super) write: Retry,
    pub(super) write_sent: Time,
    pub(super) read_sent: Time,
    /// When a leader whose record was removed may write it anew: at once the first time.
    pub(super) rewrite_after: Time,
    /// When to look at the lock where no watch does.
    pub(super) poll_at: Time,
}

impl Pacing {
    /// The lock is to be read at once, and before anything is written.
    pub(super) fn read_before_writing(&mut self) {
        self.must_read = true;
        self.read.after = Time::ZERO;
    }
}

/// What went wrong since a request of a kind last succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
pub(super) struct Retry {
    /// Failures in a row, and how many of the last of them were refusals.
    pub(super) failures: u32,
    pub(super) denials: u32,
    /// Not to be tried again before.
    pub(super) after: Time,
}

/// What a request is good for, as far as it matters how soon it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    Follower,
    /// While a term lasts, time is short.
    Leader,
    /// The process is about to end.
    Release,
}

impl Retry {
    /// After a request that was sent at this moment failed once more.
    pub(super) fn failed(
        self,
        moment: Moment,
        sent: Time,
        answer: &Answer,
        urgency: Urgency,
        settings: &Settings,
    ) -> Retry {
        let leads = urgency == Urgency::Leader;
        let failures = self.failures.saturating_add(1);
        // A leader asks at its own pace all the same: those refusals are no reason to wait when its term is over.
        let counts = *answer == Answer::Denied && !leads;
        let denials = if counts { self.denials.saturating_add(1) } else { 0 };
        let pace = urgency.pace(settings, moment.jitter);
        let delay = match answer {
            Answer::Denied | Answer::Busy(_) if urgency != Urgency::Follower => pace,
            Answer::Busy(Some(wait)) => (*wait).min(LONGEST_BACKOFF).max(pace),
            Answer::Denied | Answer::Busy(None) => backoff(pace, denials.min(MOST_DOUBLED), LONGEST_BACKOFF),
            _ if failures == 1 => Duration::ZERO,
            _ => pace,
        };
        // What the server asks for counts from its answer; a leader has no time to grant it.
        let granted = matches!(answer, Answer::Busy(Some(_))) && !leads;
        let from = if granted { moment.now } else { sent };
        Retry { failures, denials, after: from.saturating_add(delay) }
    }
}

impl Urgency {
    /// How long after the sending of one failed request the next may follow.
    fn pace(self, settings: &Settings, jitter: f64) -> Duration {
        match self {
            Urgency::Release => RELEASE_PACE,
            Urgency::Leader => settings.pace_of_leader(),
            Urgency::Follower => settings.jittered_retry_period(jitter),
        }
    }
}

impl Settings {
    /// While a term lasts, time is short: often enough to use what is left of it.
    pub(super) fn pace_of_leader(&self) -> Duration {
        self.retry_period.min(self.request_timeout / 2)
    }

    /// Between R and 2.2 R.
    pub(super) fn jittered_retry_period(&self, jitter: f64) -> Duration {
        self.retry_period.mul_f64(1.0 + 1.2 * jitter.clamp(0.0, 1.0))
    }

    /// A watch that shows nothing for longer is not believed to be one.
    pub(super) fn longest_silence(&self) -> Duration {
        self.retry_period.saturating_mul(2).saturating_add(self.request_timeout)
    }
}
