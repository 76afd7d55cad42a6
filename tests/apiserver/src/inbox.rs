//! The queue of an open watch: changes to send, and orders to end.

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

/// A change and its watch event as a line of JSON, which all watches share.
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

/// An order for an open watch.
#[derive(Clone)]
pub(crate) enum Signal {
    Event(Arc<Event>),
    /// Send a bookmark: everything up to this resourceVersion was sent.
    Bookmark {
        version: u64,
        ends_initial: bool,
    },
    /// Send these bytes unchanged.
    Line(Arc<[u8]>),
    /// Close the connection, optionally in the middle of a line or with a reset.
    Cut {
        mid_line: bool,
        reset: bool,
    },
}

/// Why `Inbox::next` returned.
pub(crate) enum Next {
    Signal(Signal),
    /// The given moment is reached.
    Due,
    /// The client is gone.
    HungUp,
}

/// The queue of one open watch. Its thread waits for the queue and its socket at the same time, so that it notices both
/// a change and a client that closes immediately.
pub(crate) struct Inbox {
    queue: Mutex<VecDeque<Signal>>,
    wakeup: OwnedFd,
    socket: Arc<TcpStream>,
}

impl Inbox {
    pub(crate) fn new(socket: Arc<TcpStream>) -> io::Result<Inbox> {
        let wakeup = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Inbox { queue: Mutex::default(), wakeup, socket })
    }

    pub(crate) fn push(&self, signal: Signal) {
        lock(&self.queue).push_back(signal);
        // Fails only if the counter is full; then the thread wakes up anyway.
        let _ = rustix::io::write(&self.wakeup, &1_u64.to_ne_bytes());
    }

    /// Closes the connection: at once, or by the thread if a part of a line or a reset must be sent.
    pub(crate) fn cut(&self, mid_line: bool, reset: bool) {
        self.push(Signal::Cut { mid_line, reset });
        if !mid_line && !reset {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits for the next signal, until `due`, or until the client closes.
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
            let mut fds = [PollFd::new(&self.wakeup, PollFlags::IN), PollFd::new(&*self.socket, PollFlags::RDHUP)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !fds[1].revents().is_empty() && lock(&self.queue).is_empty() {
                return Ok(Next::HungUp);
            }
            // There is nothing to read if it was not woken up.
            let _ = rustix::io::read(&self.wakeup, &mut [0_u8; 8]);
        }
    }
}

/// Waits until the client closes the connection.
pub(crate) fn wait_for_hangup(socket: &TcpStream) {
    let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
    while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
}
