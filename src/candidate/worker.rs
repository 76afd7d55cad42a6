//! One lock, as the candidate deals with it: the threads that ask and watch, the object in hand, the request under way.

use super::inbox::{NotSent, Outbox};
use super::requester::{Job, Outcome, Requester, Task};
use super::sole_instance::Socket;
use super::watcher::{News, Watcher};
use crate::api::{Api, Verb};
use crate::clock;
use crate::election::{Call, Election, Purpose, Request, Settings};
use crate::lock::{LockName, Object};
use crate::metrics::Metrics;
use crate::random;
use crate::time::Time;
use std::io;
use std::sync::Arc;

pub(super) struct LockWorker {
    /// Which of the candidate's locks it is.
    index: usize,
    pub(super) lock: LockName,
    outbox: Outbox,
    requester: Requester,
    pub(super) watcher: Watcher,
    /// The object that the machine has in mind, with all its fields.
    object: Option<Object>,
    /// The request that the requester has not answered yet.
    outstanding: Option<Outstanding>,
    /// The proof that nobody else has this name in this network namespace.
    socket: Option<Socket>,
}

/// A request on its way.
pub(super) struct Outstanding {
    number: u64,
    pub(super) verb: Verb,
    /// A moment before its sending.
    pub(super) sent: Time,
    /// It renews a term.
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
        let news = outbox.clone();
        let timeout = settings.request_timeout;
        let watcher = Watcher::start(api.fresh(), lock.clone(), timeout, random::fraction, move |since, it| {
            // Here and not where it is taken, for some of it may be superseded by then.
            match &it {
                News::Opened => metrics.api_request(Verb::Watch, None),
                News::Closed(Some(failure)) => metrics.api_request(Verb::Watch, Some(failure.class())),
                _ => {}
            }
            news.news(index, since, it)
        })?;
        Ok(LockWorker {
            requester: start_requester(index, api.fresh(), &lock, outbox)?,
            index,
            lock,
            outbox: outbox.clone(),
            watcher,
            object: None,
            outstanding: None,
            socket: None,
        })
    }

    /// S9: tries to become provably the only one of its name here.
    pub(super) fn take_socket(&mut self, identity: &str) {
        if self.socket.is_none() {
            self.socket = Socket::hold(&self.lock, identity).ok();
        }
    }

    pub(super) fn holds_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// The request of this number, unless it was given up.
    pub(super) fn ended(&mut self, number: u64) -> Option<Outstanding> {
        self.outstanding.take_if(|outstanding| outstanding.number == number)
    }

    /// Keeps the object if it is the one that the machine believes in.
    pub(super) fn keep(&mut self, object: Object, machine: &Election) {
        if machine.lock().and_then(|lock| lock.version.as_ref()) == Some(object.version()) {
            self.object = Some(object);
        }
    }

    /// Sends a request. One that was under way has been given up by the machine, and is handed back.
    pub(super) fn send(&mut self, request: Request) -> io::Result<Option<Outstanding>> {
        let (number, sent) = (request.number, clock::now());
        let given_up = self.outstanding.take();
        if given_up.is_some() {
            // Nothing may wait behind it.
            let fresh = start_requester(self.index, self.requester.fresh_api(), &self.lock, &self.outbox)?;
            std::mem::replace(&mut self.requester, fresh).abandon();
        }
        let Some((verb, task)) = self.task(&request.call) else {
            // What is to be replaced has been replaced by something newer, which comes next. A look at the lock mends it.
            log::debug!("{}: the object in hand is not the one to be replaced", self.lock);
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
    Requester::start(api, lock.clone(), move |number, reply: Outcome| {
        outbox.reply(index, number, Ok(reply));
    })
}
