//! Counters, and the page for Prometheus (text format 0.0.4).
//!
//! Each counter is an atomic, so counting never waits for another thread. All label values come from fixed lists,
//! except the name of the election. No label is an identity.
//!
//! `leader_election_…` metrics have the names and meanings of client-go, which existing dashboards use. All others are
//! `leader_elector_…`.

use crate::api::{Class, Verb};
use crate::election::Candidacy;
use crate::status::Snapshot;
use crate::time::Time;
use std::fmt::{Display, Write};
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

    /// The page at `now`.
    pub fn page(&self, snapshot: &Snapshot, now: Time) -> String {
        let mut page = Page(String::with_capacity(8 * 1024));
        self.election(&mut page, snapshot, now);
        self.requests(&mut page, snapshot, now);
        self.port(&mut page);
        let build = page.gauge("leader_elector_build_info", "Always 1; the label is the version of the program.");
        build.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.0
    }

    fn election(&self, page: &mut Page, snapshot: &Snapshot, now: Time) {
        let name: &[(&str, &str)] = &[("name", &snapshot.locks.name)];
        let claim = snapshot.claim_at(now);
        page.gauge("leader_election_master_status", "Whether this candidate leads: 1 if it does, else 0.")
            .sample(name, u8::from(claim.is_some()));
        page.counter("leader_election_slowpath_total", "Renewals that did not succeed at the first try.")
            .sample(name, self.slow_path.get());
        let left = claim.map_or(Duration::ZERO, |claim| claim.until.since(now));
        page.gauge(
            "leader_elector_valid_for_seconds",
            "Time until this candidate's claim to lead ends unless it renews; 0 when it does not lead.",
        )
        .sample(&[], Seconds(left));
        let age = snapshot.renewed(now).map(|at| Seconds(now.since(at)));
        page.gauge(
            "leader_elector_renewal_age_seconds",
            "Time since the lease in the lock was last renewed, or seen to be renewed by another candidate.",
        )
        .samples(age.map(|age| ([], age)));
        page.counter("leader_elector_transitions_total", "Times that a new leader was observed.")
            .sample(&[], self.transitions.get());
        page.counter("leader_elector_terms_won_total", "Times that this candidate began to lead.")
            .sample(&[], self.terms_won.get());
        page.gauge(
            "leader_elector_standing",
            "Whether this candidate would take a free lock: 0 while its application is unhealthy, and for one lease \
             after it stepped down.",
        )
        .sample(&[], u8::from(snapshot.candidacy == Candidacy::Standing));
        let checks = ["success", "failure"].iter().zip(&self.health_checks);
        page.counter("leader_elector_health_checks_total", "Checks of the application.")
            .samples(checks.map(|(result, counter)| ([("result", *result)], counter.get())));
        let lost = |end: TermEnd| ([("cause", end.name())], self.terms_lost[end as usize].get());
        page.counter("leader_elector_terms_lost_total", "Times that this candidate stopped leading.")
            .samples(TermEnd::ALL.map(lost));
        page.histogram(
            "leader_elector_renewal_duration_seconds",
            "Time from the sending of a renewal to its acknowledgement.",
            &self.renewals,
        );
    }

    fn requests(&self, page: &mut Page, snapshot: &Snapshot, now: Time) {
        let requests = Verb::ALL.into_iter().flat_map(|verb| {
            let outcomes = [None].into_iter().chain(Class::ALL.map(Some)).map(|it| it.map_or("ok", Class::name));
            outcomes
                .zip(&self.api_requests[verb as usize])
                .map(move |(outcome, counter)| ([("verb", verb.in_rules()), ("outcome", outcome)], counter.get()))
        });
        page.counter("leader_elector_api_requests_total", "Requests to the API server.").samples(requests);
        let opened = self.api_requests[Verb::Watch as usize][0].get();
        page.counter("leader_elector_watch_restarts_total", "Times that the watch of the lock was opened again.")
            .sample(&[], opened.saturating_sub(1));
        let age = snapshot.server_reached.map(|at| Seconds(now.since(at)));
        page.gauge("leader_elector_server_contact_age_seconds", "Time since the API server last answered.")
            .samples(age.map(|age| ([], age)));
    }

    fn port(&self, page: &mut Page) {
        let requests = HTTP_PATHS.iter().zip(&self.http_requests).flat_map(|(path, counters)| {
            let codes = HTTP_CODES.iter().zip(counters).map(|(code, counter)| (*code, counter.get()));
            // Most combinations never occur.
            let shown = codes.filter(|(code, count)| *count > 0 || *code == "200" && *path != "none");
            shown.map(|(code, count)| ([("path", *path), ("code", code)], count))
        });
        page.counter("leader_elector_http_requests_total", "HTTP requests answered.").samples(requests);
        page.gauge("leader_elector_http_connections", "HTTP connections that are open.")
            .sample(&[], self.connections.get());
        page.gauge("leader_elector_http_subscribers", "HTTP connections that are open to /events.")
            .sample(&[], self.subscribers.get());
        let evicted = |why: Eviction| ([("reason", why.name())], self.evictions[why as usize].get());
        page.counter("leader_elector_http_evictions_total", "HTTP connections closed to make room for others.")
            .samples(Eviction::ALL.map(evicted));
        page.counter(
            "leader_elector_http_accept_failures_total",
            "Times that the system had no descriptor or memory for an HTTP connection.",
        )
        .sample(&[], self.accept_failures.get());
    }
}

/// A page under construction. Writing to a string cannot fail, so the results below are ignored.
struct Page(String);

impl Page {
    fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> MetricFamily<'a> {
        self.family(name, "counter", help)
    }

    fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> MetricFamily<'a> {
        self.family(name, "gauge", help)
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> MetricFamily<'a> {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        MetricFamily { page: self, name }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut count = 0;
        let bounds = BUCKETS.iter().map(|(_, label)| *label).chain(["+Inf"]);
        for (bound, counter) in bounds.zip(&histogram.counts) {
            count += counter.get();
            self.line(name, "_bucket", &[("le", bound)], count);
        }
        let nanos = histogram.nanos.load(Ordering::Relaxed);
        self.line(name, "_sum", &[], format_args!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
        self.line(name, "_count", &[], count);
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "{name}{suffix}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, Escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

struct MetricFamily<'a> {
    page: &'a mut Page,
    name: &'a str,
}

impl MetricFamily<'_> {
    fn sample(self, labels: &[(&str, &str)], value: impl Display) {
        self.page.line(self.name, "", labels, value);
    }

    fn samples<'b, const N: usize>(self, samples: impl IntoIterator<Item = ([(&'b str, &'b str); N], impl Display)>) {
        for (labels, value) in samples {
            self.page.line(self.name, "", &labels, value);
        }
    }
}

/// Seconds with three decimals, rounded down.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// A label value, escaped for the text format.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_counts_in_the_bucket_of_its_time_and_in_all_above() {
        let metrics = Metrics::default();
        for micros in [1_000, 1_001, 5_000_001] {
            metrics.renewed(Duration::from_micros(micros));
        }
        let mut page = Page(String::new());
        page.histogram("x", "y", &metrics.renewals);
        let line = |text: &str| assert!(page.0.lines().any(|line| line == text), "{text} in {}", page.0);
        line("x_bucket{le=\"0.001\"} 1");
        line("x_bucket{le=\"0.002\"} 2");
        line("x_bucket{le=\"5\"} 2");
        line("x_bucket{le=\"+Inf\"} 3");
        line("x_sum 5.002002000");
        line("x_count 3");
    }

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page(String::new());
        page.line("x", "", &[("a", "\"\\\n"), ("b", "é")], 1);
        assert_eq!(page.0, "x{a=\"\\\"\\\\\\n\",b=\"é\"} 1\n");
    }

    #[test]
    fn lists_are_in_the_order_of_their_numbers() {
        assert!(TermEnd::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
        assert!(Eviction::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
        assert!(Verb::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
        assert!(Class::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
    }
}
