//! A client for the Kubernetes API with what an elector needs: get, create, update and watch one object.
//!
//! Requests are not retried, because only the caller knows how much time is left. There is one exception: a request
//! that got a 401 is sent once more if there is a newer token by then. The client uses no proxy and follows no
//! redirect.
//!
//! The trace level of ureq's log prints whole requests, including tokens. Logging must cap `ureq` and `ureq_proto` at
//! debug. This module logs no token.

mod dial;
mod exchange;
mod failure;
mod idle_connections;
mod names;
mod object_name;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use self::exchange::{ApiCall, LONGEST, Timeouts};
pub(crate) use self::exchange::{agent, explain};
pub use self::failure::{ApiStatus, Class, Failure, FailureKind, Verb};
use self::idle_connections::IdleConnections;
pub(crate) use self::names::{Names, host_and_port};
pub use self::object_name::ObjectName;
pub use self::watch::{Watch, WatchHandle};
use crate::credentials::{Access, Credentials, CredentialsError};

/// A client of one API server. Several threads may use it at once. Each request blocks the calling thread, and has a
/// connection to itself. Only a refused watch starts another thread, which ends when the refusal has been read.
pub struct Api {
    credentials: Arc<Credentials>,
    names: Names,
    idle: Arc<IdleConnections>,
    in_progress: Mutex<InProgress>,
}

/// The requests in progress.
#[derive(Default)]
struct InProgress {
    agents: Vec<(u64, Agent)>,
    /// The number of the latest request.
    latest: u64,
}

impl Api {
    /// A client without a connection. A connection that was idle for `idle_limit` is not used again: the server may
    /// have dropped it, and a write on it would be lost.
    pub fn new(credentials: Arc<Credentials>, idle_limit: Duration) -> Api {
        let idle = Arc::new(IdleConnections::new(idle_limit));
        Api { credentials, names: Names::new(), idle, in_progress: Mutex::default() }
    }

    /// A client that uses the same idle connections as this one, and whose requests are aborted separately.
    pub fn sibling(&self) -> Api {
        let Api { credentials, names, idle, .. } = self;
        Api {
            credentials: Arc::clone(credentials),
            names: names.clone(),
            idle: Arc::clone(idle),
            in_progress: Mutex::default(),
        }
    }

    /// Aborts this client's requests in progress: they fail at once ([`FailureKind::Unknown`]). Those that have no
    /// connection yet continue: while they wait for a credential plugin or a name lookup, or are connecting. Idle
    /// connections are closed too, because they may hang like those requests. Watches continue.
    pub fn abandon(&self) {
        // Take them first, so that the lock is released before sockets are shut down.
        let agents = std::mem::take(&mut self.lock().agents);
        agents.into_iter().for_each(|(_, agent)| agent.shutdown());
        self.idle.clear();
    }

    /// Reads the object. `timeout` covers everything from the name lookup to the last byte of the answer.
    pub fn get(&self, object: &dyn ObjectName, timeout: Duration) -> Result<Vec<u8>, Failure> {
        self.request(&ApiCall::new(Verb::Get, object, None)?, timeout)
    }

    /// Creates the object from `body`, and returns it as the server stored it.
    pub fn create(&self, object: &dyn ObjectName, body: &[u8], timeout: Duration) -> Result<Vec<u8>, Failure> {
        self.request(&ApiCall::new(Verb::Create, object, Some(body))?, timeout)
    }

    /// Replaces the object with `body`, and returns it as the server stored it. The uid and the resourceVersion in
    /// `body` ensure that only the version that was read is replaced.
    pub fn update(&self, object: &dyn ObjectName, body: &[u8], timeout: Duration) -> Result<Vec<u8>, Failure> {
        self.request(&ApiCall::new(Verb::Update, object, Some(body))?, timeout)
    }

    /// Opens a watch of the object from `resource_version` on. Without one, the watch starts with the current object.
    /// The server is asked to end the stream after `seconds`.
    ///
    /// Each step up to the head of the answer may take `timeout`. The stream may last `timeout` longer than `seconds`.
    /// Another thread can abort it with `handle`.
    pub fn watch<O: ObjectName + Clone>(
        &self,
        object: &O,
        resource_version: Option<&str>,
        seconds: u32,
        timeout: Duration,
        handle: &WatchHandle,
    ) -> Result<Watch<O>, Failure> {
        let mut query = format!(
            "watch=1&fieldSelector=metadata.name%3D{}&timeoutSeconds={seconds}&allowWatchBookmarks=true",
            object.name()
        );
        let call = ApiCall::new(Verb::Watch, object, None)?;
        if let Some(version) = resource_version {
            if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
                let what = format!("the resourceVersion {version:?} is not a number");
                return Err(call.fail(FailureKind::Invalid, what));
            }
            query.push_str("&resourceVersion=");
            query.push_str(version);
        }
        let call = call.with_query(&query);
        let step = timeout.min(LONGEST);
        let silence = Duration::from_secs(seconds.into()).min(LONGEST) + step;
        let access = self.access(&call, Instant::now() + step)?;
        let agent = self.agent(&access);
        let running = handle.begin(agent.clone()).map_err(|woken| call.fail(FailureKind::Aborted, woken))?;
        let opened = self.perform(&agent, &call, &access, step, || Timeouts::Stream { step, silence });
        let response = opened.map_err(|failure| running.why(call.verb, object).unwrap_or(failure))?;
        Ok(Watch::new(response.into_body(), object.clone(), silence, running))
    }

    fn request(&self, call: &ApiCall, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let timeout = timeout.min(LONGEST);
        let deadline = Instant::now() + timeout;
        let access = self.access(call, deadline)?;
        let agent = self.idle.take(access.tls.as_ref()).unwrap_or_else(|| self.agent(&access));
        let number = self.begin(&agent);
        let timeouts = || Timeouts::Whole(deadline.saturating_duration_since(Instant::now()));
        let reply = self
            .perform(&agent, call, &access, timeout, timeouts)
            .and_then(|response| call.read_whole(response, timeout).inspect_err(|_| self.names.invalidate()));
        if matches!(&reply, Err(failure) if failure.code.is_none()) {
            self.idle.clear(); // without an answer, they may be as dead as this one
        }
        if self.end(number) {
            self.idle.give_back(agent, access.tls);
        }
        reply
    }

    /// Notes that a request begins. Returns its number.
    fn begin(&self, agent: &Agent) -> u64 {
        let mut in_progress = self.lock();
        in_progress.latest += 1;
        let number = in_progress.latest;
        in_progress.agents.push((number, agent.clone()));
        number
    }

    /// Notes that a request has ended. Returns whether it had not been aborted.
    fn end(&self, number: u64) -> bool {
        let mut in_progress = self.lock();
        let index = in_progress.agents.iter().position(|(other, _)| *other == number);
        index.map(|index| in_progress.agents.swap_remove(index)).is_some()
    }

    /// The TLS configuration and the token for a request.
    fn access(&self, call: &ApiCall, deadline: Instant) -> Result<Access, Failure> {
        // Nothing was sent, but the caller cannot know that.
        self.credentials.access(deadline).map_err(|error: CredentialsError| call.fail(FailureKind::Unknown, error))
    }

    /// Sends a request. Any answer other than 2xx becomes a failure.
    fn perform(
        &self,
        agent: &Agent,
        call: &ApiCall,
        access: &Access,
        timeout: Duration,
        timeouts: impl Fn() -> Timeouts,
    ) -> Result<Response<Body>, Failure> {
        let base = self.credentials.address().base();
        let send = |token| {
            call.send(agent, &base, token, timeouts()).map_err(|error| {
                self.names.invalidate();
                call.fail(FailureKind::Unknown, explain(error, timeout))
            })
        };
        let begun = Instant::now();
        let response = send(access.token.as_ref())?;
        if response.status().is_success() {
            return Ok(response);
        }
        let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        // Reading the refusal to its end keeps the connection usable.
        let refusal = call.refuse(response, access.token.is_some(), agent, timeout);
        let newer = || self.credentials.token_instead_of(access, begun + timeout);
        let Some(newer) = unauthorized.then(newer).flatten() else {
            return Err(refusal);
        };
        let response = send(Some(&newer))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(call.refuse(response, true, agent, timeout))
    }

    fn agent(&self, access: &Access) -> Agent {
        agent(self.credentials.address().to_string(), access.tls.clone(), self.names.clone())
    }

    fn lock(&self) -> MutexGuard<'_, InProgress> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
