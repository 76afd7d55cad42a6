//! The four times of an election, and what they owe one another.

use super::UsageError;
use crate::duration::format;
use crate::record::LONGEST_LEASE;
use std::time::Duration;

/// How long a lease lasts, how long it may be relied on, and how often it is renewed.
///
/// `2 × retry_period ≤ renew_deadline < lease_duration` holds, and two requests that hang for the whole of
/// `request_timeout` fit between a renewal and the moment the leader has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// L: a lock that has not changed for so long may be taken.
    pub lease_duration: Duration,
    /// D: so long after its last acknowledged write was sent, a leader no longer leads.
    pub renew_deadline: Duration,
    /// R: the time from one write to the next.
    pub retry_period: Duration,
    /// T: the time after which a request is given up.
    pub request_timeout: Duration,
}

impl Timing {
    /// What follows from `--ttl` alone.
    pub fn from_ttl(ttl: Duration) -> Result<Timing, UsageError> {
        Given { ttl: Some(ttl), ..Given::default() }.complete().map_err(UsageError)
    }
}

/// Below this a request would have to be answered within 20 ms, which an API server under load does not do.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// A hundred writes a second to one object; more is an attack on the API server.
const SHORTEST_RETRY: Duration = Duration::from_millis(10);

/// What the flags say.
#[derive(Default)]
pub(super) struct Given {
    pub ttl: Option<Duration>,
    pub lease_duration: Option<Duration>,
    pub renew_deadline: Option<Duration>,
    pub retry_period: Option<Duration>,
}

impl Given {
    /// Fills in what was not given, or says which number to change and to what.
    pub fn complete(self) -> Result<Timing, String> {
        let (lease, origin) = self.lease()?;
        let deadline = self.deadline(lease, origin)?;
        let retry = self.retry(lease, deadline)?;
        let request_timeout = (deadline / 3).min((deadline - retry) * 9 / 20);
        Ok(Timing { lease_duration: lease, renew_deadline: deadline, retry_period: retry, request_timeout })
    }

    /// The lease duration and the flag it comes from.
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
                "{origin}={lease} is too long, others could not read the lease: set {origin}=24h or less"
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
    format!("{flag}={value} is too short for an API server to keep up with: set {flag}={shortest} or more")
}

/// Cut off to what people like to type.
fn whole_millis(duration: Duration) -> Duration {
    duration - Duration::from_nanos(u64::from(duration.subsec_nanos() % 1_000_000))
}
