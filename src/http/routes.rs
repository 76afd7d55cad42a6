//! Computes the reply from the route and the snapshot. No I/O.
//!
//! The method is ignored, as in 0.5. [`Connection`](super::connection::Connection) omits the body of the reply to a
//! HEAD.

use super::bodies::{self, LeaderState};
use super::reply::{Body, Reply, StatusCode};
use crate::metrics::Metrics;
use crate::status::Snapshot;
use crate::time::Time;

/// What a request target selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Who leads: `/`, and every path that is not listed below.
    Name,
    /// `/isLeader`: whether this candidate leads.
    IsLeader,
    /// `/leader`: the same as a status code, for readiness probes and load balancers.
    Leader,
    /// `/status`: all details.
    State,
    /// `/events`: who leads, now and after each change.
    Events,
    /// `/healthz` and `/livez`: whether the candidate thread makes progress.
    Alive,
    /// `/readyz`: whether this candidate has heard from the API server within the lease duration.
    Ready,
    /// `/metrics`: counters and gauges for Prometheus.
    Metrics,
}

impl Route {
    /// The path as a metric label, one of a fixed list.
    pub fn label(self) -> &'static str {
        match self {
            Route::Name => "/",
            Route::IsLeader => "/isLeader",
            Route::Leader => "/leader",
            Route::State => "/status",
            Route::Events => "/events",
            Route::Alive => "/healthz",
            Route::Ready => "/readyz",
            Route::Metrics => "/metrics",
        }
    }
}

/// The route of a request target (RFC 9112, section 3.2): `/path?query` or `http://host/path?query`.
pub fn route(target: &str) -> Route {
    match path(target) {
        "/isLeader" => Route::IsLeader,
        "/leader" => Route::Leader,
        "/status" => Route::State,
        "/events" => Route::Events,
        "/healthz" | "/livez" => Route::Alive,
        "/readyz" => Route::Ready,
        "/metrics" => Route::Metrics,
        _ => Route::Name,
    }
}

fn path(target: &str) -> &str {
    let before_query = target.split('?').next().unwrap_or_default();
    if before_query.starts_with('/') {
        return before_query;
    }
    match before_query.split_once("://") {
        Some((_scheme, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => before_query,
    }
}

/// The reply to `route` at `now`.
///
/// The candidate's own identity appears only if this candidate leads, or in `/status`.
pub fn reply<'a>(route: Route, snapshot: &'a Snapshot, metrics: &Metrics, now: Time) -> Reply<'a> {
    let ok = |body| Reply { status: StatusCode::Ok, body };
    let unavailable = |body| Reply { status: StatusCode::ServiceUnavailable, body };
    let name = || Body::Name(snapshot.leader(now));
    match route {
        Route::Name => ok(name()),
        Route::IsLeader => ok(Body::IsLeader(snapshot.leads(now))),
        Route::Leader if snapshot.leads(now) => ok(name()),
        Route::Leader => unavailable(name()),
        Route::State => ok(Body::Json(bodies::state(snapshot, now))),
        Route::Events => ok(Body::Events(LeaderState::at(snapshot, now).first_event(now))),
        Route::Alive if snapshot.alive(now) => ok(Body::Text("ok")),
        Route::Alive => {
            Reply { status: StatusCode::InternalServerError, body: Body::Text("the election thread makes no progress") }
        }
        Route::Ready if snapshot.ready(now) => ok(Body::Text("ok")),
        Route::Ready => unavailable(Body::Text(why_not_ready(snapshot))),
        Route::Metrics => ok(Body::Metrics(metrics.page(snapshot, now))),
    }
}

fn why_not_ready(snapshot: &Snapshot) -> &'static str {
    match snapshot.lock_seen {
        None => "the lock has not been read yet",
        Some(_) => "the API server was not reached within the lease duration",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{HTTP_CODES, HTTP_PATHS};

    #[test]
    fn only_the_exact_path_names_a_route() {
        let everything_else = [
            "/",
            "",
            "*",
            "//",
            "/isLeader/",
            "//isLeader",
            "/isleader",
            "/leader/x",
            "/status/",
            "/event",
            "/metrics/x",
            "/%69sLeader",
            "/isLeader#x",
            "isLeader",
            "localhost:4040",
            "http://",
            "http://host",
            "http://host?/isLeader",
            "http:///isLeader/x",
            "/?/isLeader",
        ];
        for target in everything_else {
            assert_eq!(route(target), Route::Name, "{target}");
        }
    }

    #[test]
    fn a_query_and_a_host_do_not_change_the_route() {
        for target in ["/isLeader", "/isLeader?", "/isLeader?a=b?c", "http://host/isLeader", "HTTPS://h:1/isLeader?x=/"]
        {
            assert_eq!(route(target), Route::IsLeader, "{target}");
        }
        assert_eq!(route("http://host/leader"), Route::Leader);
        assert_eq!(route("/healthz?verbose"), Route::Alive);
        assert_eq!(route("/livez"), Route::Alive);
        assert_eq!(route("/readyz"), Route::Ready);
        assert_eq!(route("/status?x"), Route::State);
        assert_eq!(route("/events?"), Route::Events);
        assert_eq!(route("/metrics?name[]=x"), Route::Metrics);
    }

    #[test]
    fn every_label_is_one_that_is_counted() {
        let paths = ["/", "/isLeader", "/leader", "/status", "/events", "/healthz", "/livez", "/readyz", "/metrics"];
        let mut labels = paths.map(|path| route(path).label()).to_vec();
        labels.dedup();
        assert_eq!(labels, HTTP_PATHS[..HTTP_PATHS.len() - 1]);
        use StatusCode::*;
        let codes = [Ok, BadRequest, HeadTooLarge, InternalServerError, ServiceUnavailable, VersionNotSupported];
        assert_eq!(codes.map(StatusCode::code), HTTP_CODES);
    }
}
