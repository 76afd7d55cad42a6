//! Counters. Each is an atomic, so counting never waits for another thread.

mod page;

use crate::api::{Class, Verb};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The `path` labels. `/` includes every path without a meaning of its own, `/healthz` includes `/livez`, and malformed
/// requests count as `none`.
pub const HTTP_PATHS: [&str; 9] =
    ["/", "/isLeader", "/leader", "/status", "/events", "/healthz", "/readyz", "/metrics", "none"];

/// The `code` labels: the status codes that the port sends.
pub const HTTP_CODES: [&str; 6] = ["200", "400", "431", "500", "503", "505"];

/// The upper bounds of the buckets for renewals, in milliseconds, and as labels in seconds.
const BUCKETS: [(u64, &str); 12] = [
    (1, "0.001"),
    (2, "0.002"),
    (5, "0.005"),
    (10, "0.01"),
    (25, "0.025"),
    (50, "0.05"),
    (100, "0.1"),
    (250, "0.25"),
    (500, "0.5"),
    (1000, "1"),
    (2500, "2.5"),
    (5000, "5"),
];

/// All counters.
#[derive(Debug, Default)]
pub struct Metrics {
    /// A new leader was observed.
    pub transitions: Counter,
    pub terms_won: Counter,
    terms_lost: [Counter; TermEnd::ALL.len()],
    /// A renewal that did not succeed at the first try.
    pub slow_path: Counter,
    /// Successful and failed checks of the application.
    health_checks: [Counter; 2],
    renewals: Histogram,
    /// By verb and outcome; the first outcome is success.
    api_requests: [[Counter; 1 + Class::ALL.len()]; Verb::ALL.len()],
    http_requests: [[Counter; HTTP_CODES.len()]; HTTP_PATHS.len()],
    evictions: [Counter; Eviction::ALL.len()],
    /// The system had no descriptor or memory for a connection.
    pub accept_failures: Counter,
    connections: Arc<Counter>,
    subscribers: Arc<Counter>,
}

/// A counter that other threads may read at any time.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermEnd {
    /// The program was told to stop.
    Left,
    /// No renewal was acknowledged in time.
    Expired,
    /// Like `Expired`, but noticed so late that the process or its machine must have been paused.
    StoodStill,
    /// The lock holds a record that this candidate did not write.
    Replaced,
    /// The application was unhealthy.
    Unhealthy,
    /// The candidate was asked to step down.
    SteppedDown,
}

impl TermEnd {
    const ALL: [TermEnd; 6] = [
        TermEnd::Left,
        TermEnd::Expired,
        TermEnd::StoodStill,
        TermEnd::Replaced,
        TermEnd::Unhealthy,
        TermEnd::SteppedDown,
    ];

    fn name(self) -> &'static str {
        match self {
            TermEnd::Left => "left",
            TermEnd::Expired => "expired",
            TermEnd::StoodStill => "stood_still",
            TermEnd::Replaced => "replaced",
            TermEnd::Unhealthy => "unhealthy",
            TermEnd::SteppedDown => "stepped_down",
        }
    }
}

/// Why a connection was closed to make room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// There were too many connections.
    Connections,
    /// Connections used too much memory.
    Memory,
    /// The process had no descriptor left.
    Descriptors,
    /// There were too many `/events` subscribers.
    Subscribers,
}

impl Eviction {
    const ALL: [Eviction; 4] = [Eviction::Connections, Eviction::Memory, Eviction::Descriptors, Eviction::Subscribers];

    fn name(self) -> &'static str {
        match self {
            Eviction::Connections => "connections",
            Eviction::Memory => "memory",
            Eviction::Descriptors => "descriptors",
            Eviction::Subscribers => "subscribers",
        }
    }
}

/// A histogram of durations.
#[derive(Debug, Default)]
struct Histogram {
    /// The last one counts durations above every bound.
    counts: [Counter; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    fn observe(&self, time: Duration) {
        let bucket = BUCKETS.iter().position(|(millis, _)| time <= Duration::from_millis(*millis));
        self.counts[bucket.unwrap_or(BUCKETS.len())].add();
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Counts one thing while it exists.
#[derive(Debug)]
pub struct GaugeGuard(Arc<Counter>);

impl GaugeGuard {
    fn of(counter: &Arc<Counter>) -> GaugeGuard {
        counter.add();
        GaugeGuard(Arc::clone(counter))
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub fn term_lost(&self, end: TermEnd) {
        self.terms_lost[end as usize].add();
    }

    /// A renewal was acknowledged `time` after it was sent.
    pub fn renewed(&self, time: Duration) {
        self.renewals.observe(time);
    }

    pub fn health_check(&self, healthy: bool) {
        self.health_checks[usize::from(!healthy)].add();
    }

    /// A request to the API server ended, with `failure` unless it succeeded.
    pub fn api_request(&self, verb: Verb, failure: Option<Class>) {
        self.api_requests[verb as usize][failure.map_or(0, |class| 1 + class as usize)].add();
    }

    /// An HTTP request was answered. Both labels come from the lists above.
    pub fn http_request(&self, path: &str, code: &str) {
        let row = HTTP_PATHS.iter().position(|known| *known == path);
        let column = HTTP_CODES.iter().position(|known| *known == code);
        if let (Some(row), Some(column)) = (row, column) {
            self.http_requests[row][column].add();
        }
    }

    pub fn evicted(&self, why: Eviction) {
        self.evictions[why as usize].add();
    }

    /// Counts an open connection.
    pub fn connection(&self) -> GaugeGuard {
        GaugeGuard::of(&self.connections)
    }

    /// Counts an `/events` subscriber.
    pub fn subscriber(&self) -> GaugeGuard {
        GaugeGuard::of(&self.subscribers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_the_order_of_their_numbers() {
        assert!(TermEnd::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
        assert!(Eviction::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
        assert!(Verb::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
        assert!(Class::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
    }
}
