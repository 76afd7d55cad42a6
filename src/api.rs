//! The Kubernetes API, as far as an elector needs it: get, create and update one object, and watch a lock.
//!
//! Nothing here is tried twice, except that a request refused with a 401 is sent once more if the
//! token has meanwhile been replaced, or its plugin hands out another: whether to try again is for the caller to decide, who knows
//! what the time is worth. No proxy is used, no redirect is followed.
//!
//! The trace level of ureq's log prints requests whole, tokens included: whoever sets up logging
//! must cap `ureq` and `ureq_proto` at debug. Nothing here logs a token.

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
use self::exchange::{ApiCall, LONGEST, Patience};
pub use self::failure::{ApiStatus, Class, Failure, FailureKind, Verb};
pub(crate) use self::names::Names;
pub use self::object_name::ObjectName;
pub use self::watch::{Watch, WatchHandle};
use crate::clock;
use crate::credentials::{Access, Credentials, CredentialsError, Tls};
use crate::lock::LockName;
use crate::time::Time;

/// A client of one API server. It may be used by several threads at once; each request blocks the
/// thread that makes it, and no other is started for it.
pub struct Api {
    credentials: Arc<Credentials>,
    idle_limit: Duration,
    names: Names,
    client: Mutex<Client>,
}

/// An agent for a server that wants no credentials, with the manners of those of an [`Api`]; without `tls` it speaks plain
/// HTTP.
pub(crate) fn anonymous_agent(server: String, tls: Option<Tls>) -> Agent {
    exchange::agent(server, tls, Names::new())
}

/// The connections that are open.
#[derive(Default)]
struct Client {
    /// Made when first needed, and anew when certificates have changed, the CA's or our own.
    agent: Option<(Option<Tls>, Agent)>,
    /// When a request last ended, by the clock that goes on while the machine sleeps.
    used: Time,
}

impl Api {
    /// A client without any connection yet. One that has been idle for `idle_limit` is not used
    /// again: the other side may be gone, and a write would be lost on it.
    pub fn new(credentials: Arc<Credentials>, idle_limit: Duration) -> Api {
        Api { credentials, idle_limit, names: Names::new(), client: Mutex::default() }
    }

    /// A client with the same credentials and no connection: for a request that must not wait for
    /// what is under way on this one. TLS sessions are resumed.
    pub fn fresh(&self) -> Api {
        let Api { credentials, idle_limit, names, .. } = self;
        Api {
            credentials: Arc::clone(credentials),
            idle_limit: *idle_limit,
            names: names.clone(),
            client: Mutex::default(),
        }
    }

    /// Breaks off the requests under way, which fail at once ([`FailureKind::Unknown`]) unless they
    /// are still connecting. Later ones use connections of their own. A watch goes on.
    pub fn abandon(&self) {
        // Taken out first: the lock is not held while sockets are shut down.
        let agent = self.lock().agent.take();
        if let Some((_, agent)) = agent {
            agent.shutdown();
        }
    }

    /// Reads the object. `timeout` covers everything from looking up the server's name to the last
    /// byte of the answer.
    pub fn get(&self, object: &dyn ObjectName, timeout: Duration) -> Result<Vec<u8>, Failure> {
        self.request(&ApiCall::new(Verb::Get, object, None)?, timeout)
    }

    /// Creates the object from its JSON, and returns it as the server keeps it.
    pub fn create(&self, object: &dyn ObjectName, body: &[u8], timeout: Duration) -> Result<Vec<u8>, Failure> {
        self.request(&ApiCall::new(Verb::Create, object, Some(body))?, timeout)
    }

    /// Replaces the object by this JSON, and returns it as the server keeps it. That it replaces
    /// what was read and nothing else is for the uid and the resourceVersion in the JSON to see to.
    pub fn update(&self, object: &dyn ObjectName, body: &[u8], timeout: Duration) -> Result<Vec<u8>, Failure> {
        self.request(&ApiCall::new(Verb::Update, object, Some(body))?, timeout)
    }

    /// Opens a stream of the object's events, from `resource_version` on; without one it begins
    /// with the object as it is. The server is asked to end it after `seconds`.
    ///
    /// Each step up to the head of the answer may take `timeout`, and so may the stream beyond its
    /// `seconds`. `handle` breaks it off from another thread.
    pub fn watch(
        &self,
        lock: &LockName,
        resource_version: Option<&str>,
        seconds: u32,
        timeout: Duration,
        handle: &WatchHandle,
    ) -> Result<Watch, Failure> {
        let mut query = format!(
            "watch=1&fieldSelector=metadata.name%3D{}&timeoutSeconds={seconds}&allowWatchBookmarks=true",
            lock.name
        );
        let call = ApiCall::new(Verb::Watch, lock, None)?;
        if let Some(version) = resource_version {
            if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
                let what = format!("the resourceVersion {version:?} is no number");
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
        let running = handle.begin(agent.clone()).map_err(|woken| call.fail(FailureKind::BrokenOff, woken))?;
        let opened = self.perform(&agent, &call, &access, step, || Patience::Stream { step, silence });
        let response = opened.map_err(|failure| running.why(call.verb, lock).unwrap_or(failure))?;
        Ok(Watch::new(response.into_body(), lock.clone(), silence, running))
    }

    fn request(&self, call: &ApiCall, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let timeout = timeout.min(LONGEST);
        let deadline = Instant::now() + timeout;
        let access = self.access(call, deadline)?;
        let (agent, reuse) = self.agent(&access);
        let patience = || Patience::Whole { timeout: deadline.saturating_duration_since(Instant::now()), reuse };
        let reply = self
            .perform(&agent, call, &access, timeout, patience)
            .and_then(|response| call.read_whole(response, timeout).inspect_err(|_| self.names.doubt()));
        self.lock().used = clock::now();
        reply
    }

    /// What to send a request with.
    fn access(&self, call: &ApiCall, deadline: Instant) -> Result<Access, Failure> {
        // Nothing has been sent, but that is more than the caller can know.
        self.credentials.access(deadline).map_err(|error: CredentialsError| call.fail(FailureKind::Unknown, error))
    }

    /// Sends a request and makes anything but the head of a 2xx answer a failure.
    fn perform(
        &self,
        agent: &Agent,
        call: &ApiCall,
        access: &Access,
        timeout: Duration,
        patience: impl Fn() -> Patience,
    ) -> Result<Response<Body>, Failure> {
        let base = self.credentials.address().base();
        let send = |token| {
            call.send(agent, &base, token, patience()).map_err(|error| {
                self.names.doubt();
                call.fail(FailureKind::Unknown, explain(error, timeout))
            })
        };
        let begun = Instant::now();
        let response = send(access.token.as_ref())?;
        if response.status().is_success() {
            return Ok(response);
        }
        let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        // Reading the refusal to its end leaves the connection fit for another request.
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

    /// The agent for a request, and whether a connection of it may be used again.
    fn agent(&self, access: &Access) -> (Agent, bool) {
        let tls = access.tls.as_ref();
        let mut client = self.lock();
        if let Some((of, agent)) = &client.agent
            && same(of.as_ref(), tls)
        {
            // Measured here and not by the pool, whose clock stops while the machine sleeps: after
            // a night in that state its connections look young, and are dead.
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

/// Whether two connections would trust, and show, the same certificates.
fn same(one: Option<&Tls>, other: Option<&Tls>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(&one.config, &other.config),
        (None, None) => true,
        _ => false,
    }
}
