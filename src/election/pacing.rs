//! How soon a request that failed is tried again.

use super::{Answer, Election, Moment};
use crate::time::Time;
use std::time::Duration;

/// How long a right that is missing, or a request the server calls invalid, waits before it is tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(180);
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
    /// When a leader whose record was taken away may write it anew: at once the first time.
    pub(super) rewrite_after: Time,
    /// When to look at the lock where no watch does.
    pub(super) poll_at: Time,
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

impl Election {
    /// When a request that failed once more may be sent again.
    pub(super) fn retry(&self, moment: Moment, sent: Time, before: Retry, answer: &Answer) -> Retry {
        let failures = before.failures.saturating_add(1);
        // A leader asks at its own pace all the same: those refusals are no reason to wait when its term is over.
        let counts = *answer == Answer::Denied && self.term.is_none();
        let denials = if counts { before.denials.saturating_add(1) } else { 0 };
        let delay = match answer {
            Answer::Denied | Answer::Busy(_) => self.refused_pace(moment.jitter, denials, answer),
            _ if failures == 1 => Duration::ZERO,
            _ => self.pace(moment.jitter),
        };
        // What the server asks for counts from its answer; a leader has no time to grant it.
        let granted = matches!(answer, Answer::Busy(Some(_))) && self.term.is_none();
        let from = if granted { moment.now } else { sent };
        Retry { failures, denials, after: from.saturating_add(delay) }
    }

    /// How long after the sending of one failed request the next may follow.
    fn pace(&self, jitter: f64) -> Duration {
        if self.withdrawal.is_last_act() {
            RELEASE_PACE
        } else if self.term.is_some() {
            self.pace_of_leader()
        } else {
            self.jittered_retry_period(jitter)
        }
    }

    /// The same for a request that the server refused, and is likely to refuse again.
    fn refused_pace(&self, jitter: f64, denials: u32, answer: &Answer) -> Duration {
        let pace = self.pace(jitter);
        match answer {
            _ if self.term.is_some() || self.withdrawal.is_last_act() => pace,
            Answer::Busy(Some(wait)) => (*wait).min(LONGEST_BACKOFF).max(pace),
            _ => pace.saturating_mul(1 << denials.saturating_sub(1).min(10)).min(LONGEST_BACKOFF),
        }
    }

    /// While a term lasts, time is short: often enough to use what is left of it.
    pub(super) fn pace_of_leader(&self) -> Duration {
        self.settings.retry_period.min(self.settings.request_timeout / 2)
    }

    /// Between R and 2.2 R.
    pub(super) fn jittered_retry_period(&self, jitter: f64) -> Duration {
        self.settings.retry_period.mul_f64(1.0 + 1.2 * jitter.clamp(0.0, 1.0))
    }
}
