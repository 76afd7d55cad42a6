//! When a failed request is tried again.

use super::{Answer, Moment, Settings};
use crate::time::{Time, backoff};
use std::time::Duration;

/// The longest time before a request is tried again that the server refused as forbidden or invalid.
const LONGEST_BACKOFF: Duration = Duration::from_secs(180);
/// After this many refusals the wait does not grow any more.
const MOST_DOUBLED: u32 = 11;
/// How long after writing a removed record again the leader may do so once more.
pub(super) const REWRITE_PACE: Duration = Duration::from_secs(1);
/// How long after a failed release the next one is sent.
pub(super) const RELEASE_PACE: Duration = Duration::from_millis(100);

/// When the next request may be sent.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct Pacing {
    /// The lock must be read before anything is written.
    pub(super) must_read: bool,
    pub(super) read: Retry,
    pub(super) write: Retry,
    pub(super) write_sent: Time,
    pub(super) read_sent: Time,
    /// When a leader whose record was removed may write it again: the first time at once.
    pub(super) rewrite_after: Time,
    /// When to read the lock if no watch is open.
    pub(super) poll_at: Time,
}

impl Pacing {
    /// Reads the lock at once, before anything is written.
    pub(super) fn read_before_writing(&mut self) {
        self.must_read = true;
        self.read.after = Time::ZERO;
    }
}

/// The failures since a request of this kind last succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
pub(super) struct Retry {
    /// The number of failures in a row, and how many of the latest ones were refusals.
    pub(super) failures: u32,
    pub(super) denials: u32,
    /// The request must not be sent before this.
    pub(super) after: Time,
}

/// What a request is needed for, which decides how soon it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    Follower,
    /// During a term, time is short.
    Leader,
    /// The process is about to end.
    Release,
}

impl Retry {
    /// The state after one more failure, of a request that was sent at `sent`.
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
        // A leader keeps its own pace, so refusals during a term do not count when the term is over.
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
        // The wait that a server asks for counts from its answer; a leader ignores it, because its time is short.
        let granted = matches!(answer, Answer::Busy(Some(_))) && !leads;
        let from = if granted { moment.now } else { sent };
        Retry { failures, denials, after: from.saturating_add(delay) }
    }
}

impl Urgency {
    /// How long after sending a request that failed the next one may be sent.
    fn pace(self, settings: &Settings, jitter: f64) -> Duration {
        match self {
            Urgency::Release => RELEASE_PACE,
            Urgency::Leader => settings.pace_of_leader(),
            Urgency::Follower => settings.jittered_retry_period(jitter),
        }
    }
}

impl Settings {
    /// During a term: often enough for several attempts before F.
    pub(super) fn pace_of_leader(&self) -> Duration {
        self.retry_period.min(self.request_timeout / 2)
    }

    /// Between R and 2.2 R.
    pub(super) fn jittered_retry_period(&self, jitter: f64) -> Duration {
        self.retry_period.mul_f64(1.0 + 1.2 * jitter.clamp(0.0, 1.0))
    }

    /// A watch that shows nothing for longer than this is considered broken.
    pub(super) fn longest_silence(&self) -> Duration {
        self.retry_period.saturating_mul(2).saturating_add(self.request_timeout)
    }
}
