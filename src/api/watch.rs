//! A stream of events, and the handle that breaks it off.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::{Agent, Body, BodyReader, Error};

use super::exchange::{MAX_OBJECT_BYTES, explain};
use super::failure::{Failure, FailureKind, Verb};
use crate::lock::LockName;

/// An event is an object and a few words around it.
const MAX_LINE_BYTES: usize = MAX_OBJECT_BYTES + 1024;

const READ_BYTES: usize = 16 * 1024;

/// What is left allocated between events.
const KEPT_BYTES: usize = 64 * 1024;

/// The events of one object, one line of JSON each, as they come.
pub struct Watch {
    body: BodyReader<'static>,
    /// What has come and was not yet handed out.
    pending: Vec<u8>,
    /// How much of it is known to hold no line break.
    searched: usize,
    /// How the stream ended: what every later call gets.
    ended: Option<Result<(), Failure>>,
    lock: LockName,
    silence: Duration,
    running: Running,
}

impl Watch {
    pub(super) fn new(body: Body, lock: LockName, silence: Duration, running: Running) -> Watch {
        let (pending, searched, ended) = (Vec::new(), 0, None);
        Watch { body: body.into_reader(), pending, searched, ended, lock, silence, running }
    }

    /// Waits for the next event and returns its line, without the line break; `None` once the
    /// server has ended the stream after a whole line. After a failure the watch is of no use.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(line) = self.take_line() {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            if let Some(ended) = &self.ended {
                return ended.clone().map(|()| None);
            }
            if let Err(what) = self.read_more() {
                self.pending = Vec::new();
                self.searched = 0;
                let failure = Failure::new(FailureKind::Unknown, Verb::Watch, &self.lock, what);
                self.ended = Some(Err(self.running.why(Verb::Watch, &self.lock).unwrap_or(failure)));
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(length) = self.pending[self.searched..].iter().position(|b| *b == b'\n') else {
            self.searched = self.pending.len();
            return None;
        };
        let rest = self.pending.split_off(self.searched + length + 1);
        let mut line = std::mem::replace(&mut self.pending, rest);
        self.searched = 0;
        line.pop();
        Some(line)
    }

    fn read_more(&mut self) -> Result<(), String> {
        if self.pending.len() > MAX_LINE_BYTES {
            return Err(format!("an event is longer than {MAX_LINE_BYTES} bytes, which no lock can be"));
        }
        if self.pending.is_empty() && self.pending.capacity() > KEPT_BYTES {
            self.pending = Vec::new();
        }
        let mut chunk = [0; READ_BYTES];
        let amount = self.body.read(&mut chunk).map_err(|error| match Error::from(error) {
            Error::Timeout(_) => format!("nothing came for {:?}, though the stream was to end by then", self.silence),
            other => explain(other, self.silence),
        })?;
        self.pending.extend_from_slice(&chunk[..amount]);
        if amount > 0 {
            return Ok(());
        }
        if !self.pending.trim_ascii().is_empty() {
            return Err("the stream was cut in the middle of an event".into());
        }
        if self.running.is_woken() {
            return Err(WOKEN.into());
        }
        self.ended = Some(Ok(()));
        Ok(())
    }
}

const WOKEN: &str = "the watch was broken off from within this process";

/// Breaks off a watch from another thread.
///
/// It works like the token of `std::thread::park`: [`WatchHandle::wake`] breaks off the watch that
/// runs with this handle, or is being opened; where there is none, the next one fails at once. One
/// watch at a time runs with a handle.
#[derive(Clone, Default)]
pub struct WatchHandle(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    /// The watch that runs; each has a number of its own.
    running: Option<(u64, Agent)>,
    last: u64,
    /// The watch with the last number was woken, or the next one is to be.
    woken: bool,
}

impl WatchHandle {
    pub fn new() -> WatchHandle {
        WatchHandle::default()
    }

    /// Makes a blocked [`Watch::next`] return at once, with a failure. A connection that is still
    /// being made is not interrupted, and fails once it is there or its time is up.
    pub fn wake(&self) {
        let agent = {
            let mut slot = self.lock();
            slot.woken = true;
            slot.running.take().map(|(_, agent)| agent)
        };
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    /// Makes this agent the one to shut down; an error if the handle was woken before.
    pub(super) fn begin(&self, agent: Agent) -> Result<Running, &'static str> {
        let mut slot = self.lock();
        if std::mem::take(&mut slot.woken) {
            return Err(WOKEN);
        }
        slot.last += 1;
        let number = slot.last;
        slot.running = Some((number, agent));
        Ok(Running { handle: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch's claim on its handle.
pub(super) struct Running {
    handle: WatchHandle,
    number: u64,
}

impl Running {
    fn is_woken(&self) -> bool {
        let slot = self.handle.lock();
        slot.woken && slot.last == self.number
    }

    /// The true reason for a failure, if it is that somebody woke the watch.
    pub(super) fn why(&self, verb: Verb, lock: &LockName) -> Option<Failure> {
        self.is_woken().then(|| Failure::new(FailureKind::BrokenOff, verb, lock, WOKEN))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut slot = self.handle.lock();
        if slot.last == self.number {
            // A wake that this watch has answered to, or came as it ended, is spent.
            slot.woken = false;
            slot.running = None;
        }
    }
}
