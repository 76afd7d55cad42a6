//! One request and its answer, with ureq.

use std::io::{self, Read};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, TRANSFER_ENCODING};
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use ureq::{Agent, AsSendBody, Body, Error};

use super::dial::{ConnectError, TlsConnector, what_to_do};
use super::failure::{Failure, FailureKind, Refusal, Verb, bounded_seconds};
use super::names::Names;
use super::object_name::{self, ObjectName};
use crate::credentials::{Tls, Token};
use crate::threads;

/// The largest object that is read. An API server accepts request bodies up to 3 MiB, and etcd objects up to 1.5 MiB,
/// so a larger object could not be written back and cannot be a lock. Larger answers are not stored. With an object of
/// this size, its events and its answers, the process stays below 32 MiB.
pub(super) const MAX_OBJECT_BYTES: usize = 3 * 1024 * 1024;

/// Longer durations are capped to this, so that sums of durations do not overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of the body of a refusal is read. A `Status` is far smaller.
const MAX_REFUSAL_BYTES: u64 = 64 * 1024;

/// ureq's own buffers are 128 KiB each. A connection has two, and with TLS four.
const BUFFER_BYTES: usize = 16 * 1024;

/// Less than the input buffer, because ureq reports a head that fills the buffer as a lost connection.
const MAX_HEAD_BYTES: usize = 12 * 1024;

/// An agent for one server: its connection and settings. `server` is its address, for messages. Without `tls` it uses
/// plain HTTP.
pub(crate) fn agent(server: String, tls: Option<Tls>, names: Names) -> Agent {
    let config = Agent::config_builder()
        // Otherwise ureq takes it from the environment, and sends it the token.
        .proxy(None)
        // A 3xx is returned as the answer, so the token is sent to no other server.
        .max_redirects(0)
        // Answers other than 2xx have a body with the reason.
        .http_status_as_error(false)
        .user_agent(concat!("leader-elector/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        // `IdleConnections` has the limit.
        .max_idle_age(LONGEST)
        .max_idle_connections(1)
        .max_response_header_size(MAX_HEAD_BYTES)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .build();
    Agent::with_parts(config, TlsConnector::new(server, tls), names)
}

/// A request to the API server.
pub(super) struct ApiCall<'a> {
    pub(super) verb: Verb,
    pub(super) object: &'a dyn ObjectName,
    /// Path and query.
    target: String,
    body: Option<&'a [u8]>,
}

/// The timeouts of a request.
#[derive(Clone, Copy)]
pub(super) enum Timeouts {
    /// For the whole request including the body.
    Whole(Duration),
    /// For each step up to the head, then for each wait for more of the body.
    Stream { step: Duration, silence: Duration },
}

impl<'a> ApiCall<'a> {
    pub(super) fn new(verb: Verb, object: &'a dyn ObjectName, body: Option<&'a [u8]>) -> Result<ApiCall<'a>, Failure> {
        for (what, name) in [("name", object.name()), ("namespace", object.namespace())] {
            if !is_one_path_segment(name) {
                let what = format!("the {what} {name:?} may contain only letters, digits, \"-\" and \".\"");
                return Err(Failure::new(FailureKind::Invalid, verb, object, what));
            }
        }
        let target = match verb {
            Verb::Get | Verb::Update => object_name::path(object),
            Verb::Create | Verb::Watch => object_name::collection_path(object),
        };
        Ok(ApiCall { verb, object, target, body })
    }

    pub(super) fn with_query(mut self, query: &str) -> ApiCall<'a> {
        self.target.push('?');
        self.target.push_str(query);
        self
    }

    pub(super) fn fail(&self, kind: FailureKind, what: impl std::fmt::Display) -> Failure {
        Failure::new(kind, self.verb, self.object, what)
    }

    /// Sends the request and reads the head of the answer, with any status.
    pub(super) fn send(
        &self,
        agent: &Agent,
        base: &str,
        token: Option<&Token>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, Error> {
        let method = match self.verb {
            Verb::Get | Verb::Watch => Method::GET,
            Verb::Create => Method::POST,
            Verb::Update => Method::PUT,
        };
        let mut request = Request::builder().method(method).uri(format!("{base}{}", self.target));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.header());
        }
        match self.body {
            None => run(agent, request.body(())?, timeouts),
            Some(body) => run(agent, request.header(CONTENT_TYPE, "application/json").body(body)?, timeouts),
        }
    }

    /// Turns an answer other than 2xx into a failure. Its status counts even if its body is incomplete. Reading the body
    /// of a refused watch takes at most `limit`; the timeout of other requests includes it.
    pub(super) fn refuse(&self, response: Response<Body>, sent_token: bool, agent: &Agent, limit: Duration) -> Failure {
        let (head, body) = response.into_parts();
        let mut said = Vec::new();
        let limited = (self.verb == Verb::Watch).then(|| shut_down_after(limit, agent.clone())).transpose();
        if limited.is_ok() {
            let _ = body.into_reader().take(MAX_REFUSAL_BYTES).read_to_end(&mut said);
        }
        drop(limited);
        let refusal = Refusal {
            code: head.status.as_u16(),
            reason: head.status.canonical_reason().unwrap_or(""),
            retry_after: retry_after(&head.headers),
            location: head.headers.get(LOCATION).map(|value| value.as_bytes().to_vec()),
            sent_token,
            body: said,
        };
        Failure::refused(self.verb, self.object, &refusal)
    }

    /// Reads the body of a 2xx answer. Its end must be marked, so that a truncated body is noticed.
    pub(super) fn read_whole(&self, response: Response<Body>, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let too_large = || {
            let what =
                format!("the answer is larger than {} MiB, the limit for a lock", MAX_OBJECT_BYTES / (1024 * 1024));
            self.fail(FailureKind::Unknown, what)
        };
        if !has_an_end(&response) {
            let what = "the answer does not say where it ends, so it may have been cut short";
            return Err(self.fail(FailureKind::Unknown, what));
        }
        let body = response.into_body();
        let length = body.content_length().unwrap_or_default();
        if length > MAX_OBJECT_BYTES as u64 {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(length as usize);
        match body.into_reader().take(MAX_OBJECT_BYTES as u64 + 1).read_to_end(&mut bytes) {
            Err(error) => Err(self.fail(FailureKind::Unknown, explain(error.into(), timeout))),
            Ok(_) if bytes.len() > MAX_OBJECT_BYTES => Err(too_large()),
            Ok(_) => Ok(bytes),
        }
    }
}

/// Describes a request without a complete answer.
pub(crate) fn explain(error: Error, timeout: Duration) -> String {
    let within = format!("within {:?}", Duration::from_millis(timeout.as_millis() as u64));
    match error {
        Error::Timeout(_) => format!("no answer {within}; if the API server is always this slow, raise --ttl"),
        Error::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => "the connection was lost before the whole answer was there".into(),
            // In TLS 1.3 a server checks the client certificate after the client has finished the handshake.
            _ => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(rustls::Error::AlertReceived(alert)) => {
                    format!("the API server ended the connection: {error}{}", what_to_do(*alert))
                }
                _ => error.to_string(),
            },
        },
        Error::Protocol(error) => format!("the answer is not HTTP: {error}"),
        Error::LargeResponseHeader(..) => format!("the head of the answer is larger than {MAX_HEAD_BYTES} bytes"),
        Error::Other(other) => match other.downcast_ref::<ConnectError>() {
            Some(error) if error.timed_out => format!("{error} {within}"),
            _ => other.to_string(),
        },
        other => other.to_string(),
    }
}

fn run<B: AsSendBody>(agent: &Agent, request: Request<B>, timeouts: Timeouts) -> Result<Response<Body>, Error> {
    let config = agent.configure_request(request);
    let config = match timeouts {
        Timeouts::Whole(timeout) => config.timeout_per_call(Some(timeout)),
        Timeouts::Stream { step, silence } => config
            .timeout_resolve(Some(step))
            .timeout_connect(Some(step))
            .timeout_send_request(Some(step))
            .timeout_recv_response(Some(step))
            .timeout_per_read(Some(silence)),
    };
    agent.run(config.build())
}

/// Shuts the agent down after that time, unless the returned value is dropped before.
fn shut_down_after(limit: Duration, agent: Agent) -> io::Result<Sender<()>> {
    let (unless_dropped, dropped) = channel();
    threads::spawn("refusal", move || {
        if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            agent.shutdown();
        }
    })?;
    Ok(unless_dropped)
}

/// Whether the end of the body is marked. Otherwise it ends with the connection, and ureq accepts even a reset as the
/// end.
fn has_an_end(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let codings = headers.get_all(TRANSFER_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let is_chunked = codings.flat_map(|value| value.split(',')).any(|c| c.trim().eq_ignore_ascii_case("chunked"));
    (is_chunked && response.version() != Version::HTTP_10)
        || headers.contains_key(CONTENT_LENGTH)
        || response.status() == StatusCode::NO_CONTENT
}

/// The seconds of a Retry-After header; a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(bounded_seconds)
}

/// Whether a name is one plain path segment.
fn is_one_path_segment(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    !name.is_empty() && name != "." && name != ".." && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::AlertDescription::{CertificateRequired, InternalError, UnknownCA};

    #[test]
    fn the_alerts_of_a_server_are_described() {
        for (alert, advice) in [
            (CertificateRequired, "CertificateRequired; it requires a client certificate, but none is configured"),
            (UnknownCA, "UnknownCA; it does not accept the client certificate"),
            (InternalError, "InternalError"),
        ] {
            let error = io::Error::other(rustls::Error::AlertReceived(alert));
            let expected = format!("the API server ended the connection: received fatal alert: {advice}");
            assert_eq!(explain(Error::Io(error), Duration::ZERO), expected);
        }
    }
}
