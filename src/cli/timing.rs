//! The four durations of an election, and their constraints.

use super::UsageError;
use crate::duration::format;
use crate::record::LONGEST_LEASE;
use std::time::Duration;

/// The lease duration, how long a leader may rely on it, and how often it is renewed.
///
/// `2 × retry_period ≤ renew_deadline < lease_duration` holds. Two requests that take the whole `request_timeout` fit
/// between a renewal and the end of the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// L: another candidate may take a lock that has not changed for this long.
    pub lease_duration: Duration,
    /// D: a claim ends this long after the last acknowledged write was sent.
    pub renew_deadline: Duration,
    /// R: the time from one renewal to the next.
    pub retry_period: Duration,
    /// T: the timeout of a request.
    pub request_timeout: Duration,
}

impl Timing {
    /// The durations for `--ttl` alone.
    pub fn from_ttl(ttl: Duration) -> Result<Timing, UsageError> {
        TimingFlags { ttl: Some(ttl), ..TimingFlags::default() }.complete().map_err(UsageError)
    }
}

/// For a shorter lease, requests would need an answer within 20 ms. An API server under load is slower.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// A hundred writes a second to one object. More would overload the API server.
const SHORTEST_RETRY: Duration = Duration::from_millis(10);

/// The values of the flags.
#[derive(Default)]
pub(super) struct TimingFlags {
    pub ttl: Option<Duration>,
    pub lease_duration: Option<Duration>,
    pub renew_deadline: Option<Duration>,
    pub retry_period: Option<Duration>,
}

impl TimingFlags {
    /// Sets the defaults. The error says which value to change and to what.
    pub fn complete(self) -> Result<Timing, String> {
        let (lease, origin) = self.lease()?;
        let deadline = self.deadline(lease, origin)?;
        let retry = self.retry(lease, deadline)?;
        let request_timeout = (deadline / 3).min((deadline - retry) * 9 / 20);
        Ok(Timing { lease_duration: lease, renew_deadline: deadline, retry_period: retry, request_timeout })
    }

    /// The lease duration and its flag.
    fn lease(&self) -> Result<(Duration, &'static str), String> {
        let (lease, origin) = match (self.lease_duration, self.ttl) {
            (Some(lease), _) => (lease, "--lease-duration"),
            (None, ttl) => (ttl.unwrap_or(Duration::from_secs(10)), "--ttl"),
        };
        if lease < SHORTEST_LEASE {
            return Err(too_short(origin, lease, SHORTEST_LEASE));
        }
        if lease > LONGEST_LEASE {
            let lease = format(lease);
            return Err(format!(
                "{origin}={lease} is too long for the other candidates to accept: set {origin}=24h or less"
            ));
        }
        Ok((lease, origin))
    }

    fn deadline(&self, lease: Duration, origin: &str) -> Result<Duration, String> {
        let usual = lease * 2 / 3;
        let deadline = self.renew_deadline.unwrap_or(usual);
        if deadline < SHORTEST_RETRY * 2 {
            return Err(too_short("--renew-deadline", deadline, SHORTEST_RETRY * 2));
        }
        if deadline >= lease {
            return Err(format!(
                "--renew-deadline={} must be below the lease duration ({origin}={}): set --renew-deadline={}, \
                 two thirds of it",
                format(deadline),
                format(lease),
                format(whole_millis(usual))
            ));
        }
        Ok(deadline)
    }

    fn retry(&self, lease: Duration, deadline: Duration) -> Result<Duration, String> {
        let retry = self.retry_period.unwrap_or(lease / 5);
        if retry < SHORTEST_RETRY {
            return Err(too_short("--retry-period", retry, SHORTEST_RETRY));
        }
        if deadline / 2 < retry {
            let origin = if self.retry_period.is_some() { "" } else { ", a fifth of the lease duration," };
            return Err(format!(
                "--retry-period={}{origin} must fit twice into the renew deadline of {}: set --retry-period={} or less",
                format(retry),
                format(deadline),
                format(whole_millis(deadline / 2))
            ));
        }
        Ok(retry)
    }
}

fn too_short(flag: &str, value: Duration, shortest: Duration) -> String {
    let (value, shortest) = (format(value), format(shortest));
    format!("{flag}={value} is too short for an API server: set {flag}={shortest} or more")
}

/// Rounded down to a value that is easy to type.
fn whole_millis(duration: Duration) -> Duration {
    duration - Duration::from_nanos(u64::from(duration.subsec_nanos() % 1_000_000))
}
