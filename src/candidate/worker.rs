//! The worker of one lock: its requester and watcher, the object to be replaced, and the current request.

use super::inbox::{NotSent, Outbox};
use super::requester::{Job, RequestResult, Requester, Task};
use super::sole_instance::Socket;
use super::watcher::{WatchMessage, Watcher};
use crate::api::{Api, Verb};
use crate::clock;
use crate::election::{Call, Election, LockRequest, Purpose, Settings};
use crate::lock::{LockName, Object};
use crate::metrics::Metrics;
use crate::random;
use crate::time::Time;
use std::io;
use std::sync::Arc;

pub(super) struct LockWorker {
    /// The index of the lock.
    index: usize,
    pub(super) lock: LockName,
    outbox: Outbox,
    requester: Requester,
    pub(super) watcher: Watcher,
    /// The object whose version the state machine knows, with all its fields.
    object: Option<Object>,
    /// The request without an outcome yet.
    outstanding: Option<Outstanding>,
    /// The proof that no other process has this identity in this network namespace.
    socket: Option<Socket>,
}

/// A request in progress.
pub(super) struct Outstanding {
    number: u64,
    pub(super) verb: Verb,
    /// A moment before it was sent.
    pub(super) sent: Time,
    /// Whether it renews a term.
    pub(super) renews: bool,
}

impl LockWorker {
    pub(super) fn start(
        index: usize,
        lock: LockName,
        settings: &Settings,
        api: &Api,
        outbox: &Outbox,
        metrics: Arc<Metrics>,
    ) -> io::Result<LockWorker> {
        let watch_outbox = outbox.clone();
        let timeout = settings.request_timeout;
        let watcher = Watcher::start(api.sibling(), lock.clone(), timeout, random::fraction, move |since, it| {
            // Count here, because the queue may merge events before they are taken.
            match &it {
                WatchMessage::Opened => metrics.api_request(Verb::Watch, None),
                WatchMessage::Closed(Some(failure)) => metrics.api_request(Verb::Watch, Some(failure.class())),
                _ => {}
            }
            watch_outbox.watch_message(index, since, it)
        })?;
        Ok(LockWorker {
            requester: start_requester(index, api.sibling(), &lock, outbox)?,
            index,
            lock,
            outbox: outbox.clone(),
            watcher,
            object: None,
            outstanding: None,
            socket: None,
        })
    }

    /// S9: tries to bind the socket that proves this is the only process with its identity here.
    pub(super) fn take_socket(&mut self, identity: &str) {
        if self.socket.is_none() {
            self.socket = Socket::hold(&self.lock, identity).ok();
        }
    }

    pub(super) fn holds_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// The request with this number, unless it was abandoned.
    pub(super) fn ended(&mut self, number: u64) -> Option<Outstanding> {
        self.outstanding.take_if(|outstanding| outstanding.number == number)
    }

    /// Stores the object if it is the version that the state machine knows.
    pub(super) fn keep(&mut self, object: Object, machine: &Election) {
        if machine.lock().and_then(|lock| lock.version.as_ref()) == Some(object.version()) {
            self.object = Some(object);
        }
    }

    /// Sends a request. If another one is in progress, the state machine has abandoned it, and it is returned.
    pub(super) fn send(&mut self, request: LockRequest) -> io::Result<Option<Outstanding>> {
        let (number, sent) = (request.number, clock::now());
        let given_up = self.outstanding.take();
        if given_up.is_some() {
            // The new request must not wait behind it.
            let fresh = start_requester(self.index, self.requester.sibling_api(), &self.lock, &self.outbox)?;
            std::mem::replace(&mut self.requester, fresh).abandon();
        }
        let Some((verb, task)) = self.task(&request.call) else {
            // A newer version was seen, and its event comes next. A read resolves this.
            log::debug!("{}: the stored object is not the version to be replaced", self.lock);
            self.outbox.reply(self.index, number, Err(NotSent));
            return Ok(given_up);
        };
        let renews = matches!(&request.call, Call::Write(write) if matches!(write.purpose, Purpose::Renew { .. }));
        self.outstanding = Some(Outstanding { number, verb, sent, renews });
        self.requester.send(Job { number, timeout: request.timeout, task });
        Ok(given_up)
    }

    fn task(&self, call: &Call) -> Option<(Verb, Task)> {
        match call {
            Call::Read => Some((Verb::Get, Task::Read)),
            Call::Write(write) => match &write.base {
                None => Some((Verb::Create, Task::Create(Object::created(&self.lock, &write.record, &write.mark)))),
                Some(base) => {
                    let object = self.object.as_ref().filter(|object| object.version() == base)?;
                    Some((Verb::Update, Task::Update(object.updated(write))))
                }
            },
        }
    }
}

fn start_requester(index: usize, api: Api, lock: &LockName, outbox: &Outbox) -> io::Result<Requester> {
    let outbox = outbox.clone();
    Requester::start(api, lock.clone(), move |number, reply: RequestResult| {
        outbox.reply(index, number, Ok(reply));
    })
}
