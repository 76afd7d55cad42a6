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
mod names;
mod object_name;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

pub(crate) use self::exchange::explain;
use self::exchange::{ApiCall, LONGEST, Timeouts};
pub use self::failure::{ApiStatus, Class, Failure, FailureKind, Verb};
pub(crate) use self::names::{Names, host_and_port};
pub use self::object_name::ObjectName;
pub use self::watch::{Watch, WatchHandle};
use crate::clock;
use crate::credentials::{Access, Credentials, CredentialsError, Tls};
use crate::time::Time;

/// A client of one API server. Several threads may use it at once. Each request blocks the calling thread and starts no
/// other thread.
pub struct Api {
    credentials: Arc<Credentials>,
    idle_limit: Duration,
    names: Names,
    client: Mutex<Client>,
}

/// An agent without credentials, with the settings of the agents of an [`Api`]. Without `tls` it uses plain HTTP.
pub(crate) fn anonymous_agent(server: String, tls: Option<Tls>) -> Agent {
    exchange::agent(server, tls, Names::new())
}

/// The open connections.
#[derive(Default)]
struct Client {
    /// Created when first needed, and again when certificates have changed.
    agent: Option<(Option<Tls>, Agent)>,
    /// When the last request ended, on the boot-time clock.
    used: Time,
}

impl Api {
    /// A client without a connection. A connection that was idle for `idle_limit` is not used again: the server may
    /// have dropped it, and a write on it would be lost.
    pub fn new(credentials: Arc<Credentials>, idle_limit: Duration) -> Api {
        Api { credentials, idle_limit, names: Names::new(), client: Mutex::default() }
    }

    /// A client with the same credentials and no connection, for a request that must not wait for those in progress on
    /// this one. It resumes TLS sessions.
    pub fn fresh(&self) -> Api {
        let Api { credentials, idle_limit, names, .. } = self;
        Api {
            credentials: Arc::clone(credentials),
            idle_limit: *idle_limit,
            names: names.clone(),
            client: Mutex::default(),
        }
    }

    /// Aborts requests in progress: they fail at once ([`FailureKind::Unknown`]), unless they are still connecting.
    /// Later requests use new connections. Watches continue.
    pub fn abandon(&self) {
        // Take it first, so that the lock is released before sockets are shut down.
        let agent = self.lock().agent.take();
        if let Some((_, agent)) = agent {
            agent.shutdown();
        }
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
        let agent = exchange::agent(self.credentials.address().to_string(), access.tls.clone(), self.names.clone());
        let running = handle.begin(agent.clone()).map_err(|woken| call.fail(FailureKind::Aborted, woken))?;
        let opened = self.perform(&agent, &call, &access, step, || Timeouts::Stream { step, silence });
        let response = opened.map_err(|failure| running.why(call.verb, object).unwrap_or(failure))?;
        Ok(Watch::new(response.into_body(), object.clone(), silence, running))
    }

    fn request(&self, call: &ApiCall, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let timeout = timeout.min(LONGEST);
        let deadline = Instant::now() + timeout;
        let access = self.access(call, deadline)?;
        let (agent, reuse) = self.agent(&access);
        let timeouts = || Timeouts::Whole { timeout: deadline.saturating_duration_since(Instant::now()), reuse };
        let reply = self
            .perform(&agent, call, &access, timeout, timeouts)
            .and_then(|response| call.read_whole(response, timeout).inspect_err(|_| self.names.invalidate()));
        self.lock().used = clock::now();
        reply
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
        let refusal = call.refuse(response, access.token.is_some());
        let newer = || self.credentials.token_instead_of(access, begun + timeout);
        let Some(newer) = unauthorized.then(newer).flatten() else {
            return Err(refusal);
        };
        let response = send(Some(&newer))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(call.refuse(response, true))
    }

    /// The agent for a request, and whether its connection may be reused.
    fn agent(&self, access: &Access) -> (Agent, bool) {
        let tls = access.tls.as_ref();
        let mut client = self.lock();
        if let Some((of, agent)) = &client.agent
            && same(of.as_ref(), tls)
        {
            // Measured here because the clock of ureq's pool stops while the machine sleeps. After a night of sleep its
            // connections would look recent but be dead.
            let idle = clock::now().since(client.used);
            return (agent.clone(), idle < self.idle_limit);
        }
        let agent = exchange::agent(self.credentials.address().to_string(), tls.cloned(), self.names.clone());
        client.agent = Some((tls.cloned(), agent.clone()));
        (agent, true)
    }

    fn lock(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two TLS configurations have the same CA and client certificates.
fn same(one: Option<&Tls>, other: Option<&Tls>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(&one.config, &other.config),
        (None, None) => true,
        _ => false,
    }
}
