//! The connections to the API server that no request is using.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::Agent;

use crate::clock;
use crate::credentials::Tls;
use crate::time::Time;

/// How many are kept. With one lock, one thread writes it, and another writes the leader Service.
const MOST_IDLE: usize = 2;

/// Several threads share them: each takes the one that was used last when it sends a request.
pub(super) struct IdleConnections {
    /// Connections that were idle for longer are not used again.
    idle_limit: Duration,
    /// In the order in which they were returned.
    idle: Mutex<Vec<IdleConnection>>,
}

struct IdleConnection {
    /// It has at most one connection.
    agent: Agent,
    /// With which the agent was created.
    tls: Option<Tls>,
    /// When its last request ended, on the boot-time clock. ureq's own clock stops while the machine sleeps. After a
    /// night of sleep its connections would look recent but be dead.
    since: Time,
}

impl IdleConnections {
    pub(super) fn new(idle_limit: Duration) -> IdleConnections {
        IdleConnections { idle_limit, idle: Mutex::default() }
    }

    /// A connection with these certificates, if there is one. The others are closed: certificates have changed.
    pub(super) fn take(&self, tls: Option<&Tls>) -> Option<Agent> {
        let mut idle = self.recent();
        idle.retain(|it| same(it.tls.as_ref(), tls));
        idle.pop().map(|it| it.agent)
    }

    /// Keeps a connection whose last request has ended. After a failure the agent has closed it, and opens a new one for
    /// the next request.
    pub(super) fn give_back(&self, agent: Agent, tls: Option<Tls>) {
        let mut idle = self.recent();
        idle.push(IdleConnection { agent, tls, since: clock::now() });
        if idle.len() > MOST_IDLE {
            idle.remove(0);
        }
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Those that may still be used.
    fn recent(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        let now = clock::now();
        let mut idle = self.lock();
        idle.retain(|it| now.since(it.since) < self.idle_limit);
        idle
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
