//! The page for Prometheus (text format 0.0.4).
//!
//! All label values come from fixed lists, except the name of the election. No label is an identity.
//!
//! `leader_election_…` metrics have the names and meanings of client-go, which existing dashboards use. All others are
//! `leader_elector_…`.

use super::{BUCKETS, Eviction, HTTP_CODES, HTTP_PATHS, Histogram, Metrics, TermEnd};
use crate::api::{Class, Verb};
use crate::election::Candidacy;
use crate::status::Snapshot;
use crate::time::Time;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Metrics {
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
}
