//! What is asked, and what is known of the election at that moment, to the reply. Pure.
//!
//! The method never matters, as it did not to 0.5: a HEAD is its GET without the body, which is the
//! connection's business.

use super::reply::{Body, Reply, StatusCode};
use crate::clock::Time;
use crate::status::Snapshot;

/// What a request target asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Who leads: `/`, and everything that is not named below.
    Name,
    /// `/isLeader`: whether this candidate leads.
    IsLeader,
    /// `/leader`: the same as a status code, for readiness probes and load balancers.
    Leader,
    /// `/healthz` and `/livez`: whether the election thread makes progress.
    Alive,
    /// `/readyz`: whether what this candidate says rests on a recent word of the API server.
    Ready,
}

/// The route of a request target (RFC 9112, section 3.2): `/path?query` or `http://host/path?query`.
pub fn route(target: &str) -> Route {
    match path(target) {
        "/isLeader" => Route::IsLeader,
        "/leader" => Route::Leader,
        "/healthz" | "/livez" => Route::Alive,
        "/readyz" => Route::Ready,
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

/// The reply to `route` by a candidate that knows `snapshot`, at `now`.
///
/// The candidate's own identity is in it only while this candidate leads.
pub fn reply(route: Route, snapshot: &Snapshot, now: Time) -> Reply<'_> {
    let name = Body::Name(snapshot.leader(now));
    match route {
        Route::Name => Reply { status: StatusCode::Ok, body: name },
        Route::IsLeader => Reply { status: StatusCode::Ok, body: Body::IsLeader(snapshot.leads(now)) },
        Route::Leader if snapshot.leads(now) => Reply { status: StatusCode::Ok, body: name },
        Route::Leader => Reply { status: StatusCode::ServiceUnavailable, body: name },
        Route::Alive if snapshot.alive(now) => Reply { status: StatusCode::Ok, body: Body::Text("ok") },
        Route::Alive => {
            Reply { status: StatusCode::InternalServerError, body: Body::Text("the election thread makes no progress") }
        }
        Route::Ready if snapshot.ready(now) => Reply { status: StatusCode::Ok, body: Body::Text("ok") },
        Route::Ready => Reply { status: StatusCode::ServiceUnavailable, body: Body::Text(why_not_ready(snapshot)) },
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
            "/status",
            "/events",
            "/metrics",
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
    }
}
