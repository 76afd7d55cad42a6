//! A watch: a stream of events, and the handle to abort it.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::{Agent, Body, BodyReader, Error};

use super::exchange::{MAX_OBJECT_BYTES, explain};
use super::failure::{Failure, FailureKind, Verb};
use super::object_name::ObjectName;

/// An event is an object and a few more bytes.
const MAX_LINE_BYTES: usize = MAX_OBJECT_BYTES + 1024;

const READ_BYTES: usize = 16 * 1024;

/// The maximum capacity kept between events.
const KEPT_BYTES: usize = 64 * 1024;

/// The events of one object, each a line of JSON.
pub struct Watch<O> {
    body: BodyReader<'static>,
    /// Received bytes that were not returned yet.
    pending: Vec<u8>,
    /// The number of bytes in `pending` that were searched for a line break.
    searched: usize,
    /// How the stream ended; later calls return this again.
    ended: Option<Result<(), Failure>>,
    object: O,
    silence: Duration,
    running: Running,
}

impl<O: ObjectName> Watch<O> {
    pub(super) fn new(body: Body, object: O, silence: Duration, running: Running) -> Watch<O> {
        let (pending, searched, ended) = (Vec::new(), 0, None);
        Watch { body: body.into_reader(), pending, searched, ended, object, silence, running }
    }

    /// Blocks until the next event and returns its line without the line break. `None` if the server ended the stream
    /// after a complete line. After a failure the watch is unusable.
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
                let failure = Failure::new(FailureKind::Unknown, Verb::Watch, &self.object, what);
                self.ended = Some(Err(self.running.why(Verb::Watch, &self.object).unwrap_or(failure)));
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
            return Err(format!("an event is longer than {MAX_LINE_BYTES} bytes, the limit for a lock"));
        }
        if self.pending.is_empty() && self.pending.capacity() > KEPT_BYTES {
            self.pending = Vec::new();
        }
        let mut chunk = [0; READ_BYTES];
        let amount = self.body.read(&mut chunk).map_err(|error| match Error::from(error) {
            Error::Timeout(_) => {
                format!("nothing arrived for {:?}, although the stream should have ended", self.silence)
            }
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
            return Err(ABORTED.into());
        }
        self.ended = Some(Ok(()));
        Ok(())
    }
}

const ABORTED: &str = "the watch was aborted by this process";

/// Aborts a watch from another thread.
///
/// It works like the token of `std::thread::park`: [`WatchHandle::wake`] aborts the watch that runs with this handle or
/// is being opened. If there is none, the next one fails at once. A handle serves one watch at a time.
#[derive(Clone, Default)]
pub struct WatchHandle(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    /// The running watch; each has its own number.
    running: Option<(u64, Agent)>,
    last: u64,
    /// `wake` was called for the watch with the last number, or for the next one.
    woken: bool,
}

impl WatchHandle {
    pub fn new() -> WatchHandle {
        WatchHandle::default()
    }

    /// Makes a blocked [`Watch::next`] fail at once. A connection that is still being opened is not interrupted; it
    /// fails when it is open or times out.
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

    /// Registers the agent that `wake` shuts down. An error if `wake` was called before.
    pub(super) fn begin(&self, agent: Agent) -> Result<Running, &'static str> {
        let mut slot = self.lock();
        if std::mem::take(&mut slot.woken) {
            return Err(ABORTED);
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

/// A watch's registration with its handle.
pub(super) struct Running {
    handle: WatchHandle,
    number: u64,
}

impl Running {
    fn is_woken(&self) -> bool {
        let slot = self.handle.lock();
        slot.woken && slot.last == self.number
    }

    /// The real reason of a failure, if `wake` caused it.
    pub(super) fn why(&self, verb: Verb, object: &dyn ObjectName) -> Option<Failure> {
        self.is_woken().then(|| Failure::new(FailureKind::Aborted, verb, object, ABORTED))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut slot = self.handle.lock();
        if slot.last == self.number {
            // A wake-up of this watch, or one that came as it ended, is used up.
            slot.woken = false;
            slot.running = None;
        }
    }
}
