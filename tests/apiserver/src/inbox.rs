//! What waits for an open watch: changes to send, and orders to end.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use serde_json::{Value, json};

use crate::Change;
use crate::lock;

/// A change, and its watch event as a line of JSON, made once for all who watch.
pub(crate) struct Event {
    pub(crate) change: Change,
    line: OnceLock<Vec<u8>>,
}

impl Event {
    pub(crate) fn new(change: Change) -> Event {
        Event { change, line: OnceLock::new() }
    }

    pub(crate) fn line(&self) -> &[u8] {
        self.line.get_or_init(|| event_line(self.change.kind.as_str(), &self.change.object))
    }
}

/// One line of a watch stream.
pub(crate) fn event_line(kind: &str, object: &Value) -> Vec<u8> {
    format!("{}\n", json!({"type": kind, "object": object})).into_bytes()
}

/// What an open watch is to do next.
#[derive(Clone)]
pub(crate) enum Signal {
    Event(Arc<Event>),
    /// Say that everything up to this resourceVersion was sent.
    Bookmark {
        version: u64,
        ends_initial: bool,
    },
    /// Send these bytes as they are.
    Line(Arc<[u8]>),
    /// Close; in the middle of a line, or with a reset, if so told.
    Cut {
        mid_line: bool,
        reset: bool,
    },
}

/// Why `Inbox::next` came back.
pub(crate) enum Next {
    Signal(Signal),
    /// The given moment has come.
    Due,
    /// The client is gone.
    HungUp,
}

/// The queue of one open watch. Its thread sleeps on the queue and on its socket at once, so
/// that both a change and a client that goes are noticed immediately.
pub(crate) struct Inbox {
    queue: Mutex<VecDeque<Signal>>,
    bell: OwnedFd,
    socket: Arc<TcpStream>,
}

impl Inbox {
    pub(crate) fn new(socket: Arc<TcpStream>) -> io::Result<Inbox> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Inbox { queue: Mutex::default(), bell, socket })
    }

    pub(crate) fn push(&self, signal: Signal) {
        lock(&self.queue).push_back(signal);
        // Fails only when the counter is full: then the bell rings anyway.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Closes the connection; at once, unless the line or the reset needs the thread's help.
    pub(crate) fn cut(&self, mid_line: bool, reset: bool) {
        self.push(Signal::Cut { mid_line, reset });
        if !mid_line && !reset {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits for the next signal, for `due`, or for the client to go.
    pub(crate) fn next(&self, due: Option<Instant>) -> io::Result<Next> {
        loop {
            if let Some(signal) = lock(&self.queue).pop_front() {
                return Ok(Next::Signal(signal));
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Next::Due);
            }
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&self.bell, PollFlags::IN), PollFd::new(&*self.socket, PollFlags::RDHUP)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !fds[1].revents().is_empty() && lock(&self.queue).is_empty() {
                return Ok(Next::HungUp);
            }
            // Empty unless the bell rang.
            let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        }
    }
}

/// Waits until the client at the other end is gone.
pub(crate) fn wait_for_hangup(socket: &TcpStream) {
    let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
    while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
}
