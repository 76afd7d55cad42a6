//! One connection as a state machine: bytes and clock readings in, requests and bytes out. It has no socket, no
//! clock and no knowledge of the election.
//!
//! ```text
//!              first byte            last byte             all written
//!       Idle ─────────────► Head ─────────────► Answering ─────────────► Idle, or Head if more has come
//!                                                   │ all written, and this was the last answer
//!                                                   ├───────────────────► Closed
//!                                                   ├─ a body was coming ► Draining ──► Closed
//!                                                   └─ events are to come ► Streaming ─► Closed, by the client
//! ```
//!
//! Each state has a deadline, and a connection that misses it is closed without a word; a stream has one while it has
//! something to write. Nothing is read while answers wait to be written, so that a client that does not read cannot
//! make work.

use super::Limits;
use super::head::{self, Request};
use super::reply::{Body, Persistence, Reply, StatusCode};
use crate::time::Time;
use std::time::Duration;

/// Buffers up to this size stay with an idle connection, so that the common request allocates nothing.
const KEPT_BYTES: usize = 1024;

#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    state: State,
    /// When the state began or, while answering, when the client last took a byte.
    since: Time,
    /// What came and was not used yet, from `used` on.
    input: Vec<u8>,
    used: usize,
    /// Whether looking for a head in `input` can find one.
    look: bool,
    /// What is to be written, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// What follows the last answer, once that is in `output`.
    ending: Option<Ending>,
    /// The client has sent all it will ever send. It may still read.
    input_ended: bool,
    /// What was no request was refused with this, and nobody has taken note of it yet.
    refusal: Option<StatusCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Head,
    Answering,
    Draining {
        bytes_left: usize,
    },
    /// The client is told events. What it sends is thrown away, and its end is the end: a client that went away is
    /// noticed at once that way, and whoever only ended its half was no listener that stays.
    Streaming,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    /// Closing a socket that holds unread bytes resets the connection, and the answer can be lost with it. So
    /// first only the writing ends, and what still comes is read and thrown away, for a while.
    Drain,
    /// Nothing: events follow it.
    Stream,
}

/// What the connection needs done with its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Call [`Connection::receive`] once bytes are there.
    Read,
    /// Go on with requests and output once the socket takes bytes.
    Write,
    /// End the writing half, then call [`Connection::writing_ended`].
    EndWriting,
    Close,
}

impl Connection {
    /// A connection accepted at `now`. Its first head is due from now on, not from its first byte.
    pub fn new(limits: Limits, now: Time) -> Connection {
        Connection {
            limits,
            state: State::Head,
            since: now,
            input: Vec::new(),
            used: 0,
            look: false,
            output: Vec::new(),
            written: 0,
            ending: None,
            input_ended: false,
            refusal: None,
        }
    }

    /// How many bytes [`Connection::receive`] takes at most.
    pub fn room(&self) -> usize {
        self.limits.head_bytes.saturating_sub(self.input.len() - self.used)
    }

    /// Whether what comes is thrown away.
    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Takes bytes that the client sent; none means that it has sent all it will.
    pub fn receive(&mut self, bytes: &[u8], now: Time) {
        if let State::Draining { bytes_left } = self.state {
            let bytes_left = bytes_left.saturating_sub(bytes.len());
            let over = bytes.is_empty() || bytes_left == 0;
            self.state = if over { State::Closed } else { State::Draining { bytes_left } };
            return;
        }
        if bytes.is_empty() {
            self.input_ended = true;
            return;
        }
        if self.state == State::Streaming {
            return;
        }
        if self.state == State::Idle {
            self.enter(State::Head, now);
        }
        self.input.drain(..self.used);
        self.used = 0;
        // A head ends in a line end. Looking only when one came keeps a head that drips in from being parsed
        // from its start at every byte; looking at the first bytes tells at once what is not HTTP at all, and
        // looking when the room is full what has no end.
        let first = self.input.is_empty();
        self.input.extend_from_slice(bytes);
        self.look |= first || bytes.contains(&b'\n') || self.room() == 0;
    }

    /// The next request that came whole, to be answered with [`Connection::reply`]; `None` when there is none,
    /// or when enough answers wait to be written. What is no request is refused here.
    pub fn next_request(&mut self, now: Time) -> Option<Request> {
        let enough_waits = self.written > 0 || self.output.len() >= self.limits.answers_ahead_bytes;
        if !self.look || enough_waits {
            return None;
        }
        match head::parse(&self.input[self.used..]) {
            Ok(Some((request, length))) => {
                self.used += length;
                self.look = self.used < self.input.len();
                return Some(request);
            }
            Ok(None) if self.room() > 0 => self.look = false,
            Ok(None) => self.refuse(StatusCode::HeadTooLarge, now),
            Err(status) => self.refuse(status, now),
        }
        None
    }

    fn refuse(&mut self, status: StatusCode, now: Time) {
        self.refusal = Some(status);
        self.say(&Reply::refusal(status), false, Persistence::Close, true, now);
    }

    /// The status with which something was refused since the last call.
    pub fn take_refusal(&mut self) -> Option<StatusCode> {
        self.refusal.take()
    }

    /// Answers `request`, the one that [`Connection::next_request`] gave last.
    pub fn reply(&mut self, request: Request, reply: &Reply, now: Time) {
        self.say(reply, request.without_body, request.persistence, request.body_announced, now);
    }

    fn say(&mut self, reply: &Reply, without_body: bool, persistence: Persistence, more_announced: bool, now: Time) {
        if self.state != State::Answering {
            self.enter(State::Answering, now);
        }
        reply.write(&mut self.output, without_body, persistence);
        if persistence == Persistence::Close {
            let more_comes = more_announced || self.used < self.input.len();
            self.ending = Some(match reply.body {
                Body::Events(_) if !without_body => Ending::Stream,
                _ if more_comes => Ending::Drain,
                _ => Ending::Close,
            });
            self.look = false;
            self.input.clear();
            self.used = 0;
        }
    }

    /// Whether events may be pushed, now or once what waits is written.
    pub fn is_streaming(&self) -> bool {
        self.state == State::Streaming || self.ending == Some(Ending::Stream)
    }

    /// Adds to a stream. To be called when nothing waits to be written, so that nothing piles up.
    pub fn push(&mut self, bytes: &[u8], now: Time) {
        self.output.extend_from_slice(bytes);
        self.since = now;
    }

    /// What is to be written now.
    pub fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// The first `count` bytes of the output were written.
    pub fn wrote(&mut self, count: usize, now: Time) {
        self.written += count;
        self.since = now;
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }

    /// What the socket is needed for next. To be asked when no request and no writable output is left.
    pub fn need(&mut self, now: Time) -> Need {
        match (self.state, self.ending) {
            (State::Closed, _) => Need::Close,
            (State::Draining { .. }, _) => Need::Read,
            _ if !self.output().is_empty() || self.look => Need::Write,
            (_, Some(Ending::Close)) => Need::Close,
            _ if self.input_ended => Need::Close,
            (_, Some(Ending::Drain)) => Need::EndWriting,
            (State::Streaming, _) => Need::Read,
            (_, Some(Ending::Stream)) => {
                self.enter(State::Streaming, now);
                Need::Read
            }
            (State::Answering, None) => {
                self.enter(if self.used == self.input.len() { State::Idle } else { State::Head }, now);
                Need::Read
            }
            (State::Idle | State::Head, None) => Need::Read,
        }
    }

    /// The writing half was ended, as [`Need::EndWriting`] asked.
    pub fn writing_ended(&mut self, now: Time) {
        self.enter(State::Draining { bytes_left: self.limits.linger_bytes }, now);
    }

    fn enter(&mut self, state: State, now: Time) {
        self.state = state;
        self.since = now;
        if matches!(state, State::Idle | State::Draining { .. } | State::Streaming) {
            self.input.clear();
            self.used = 0;
            free_if_large(&mut self.input);
            free_if_large(&mut self.output);
        }
    }

    /// The moment at which the connection is to be closed, unless it moves on before.
    pub fn deadline(&self) -> Time {
        let time = match self.state {
            State::Idle => self.limits.idle_time,
            State::Head => self.limits.head_time,
            State::Answering => self.limits.write_time,
            State::Draining { .. } => self.limits.linger_time,
            State::Streaming if self.output.is_empty() => Duration::MAX,
            State::Streaming => self.limits.write_time,
            State::Closed => Duration::ZERO,
        };
        self.since.saturating_add(time)
    }

    /// Since when the connection has made no progress: the lowest is the first to go when there are too many.
    ///
    /// Bytes of a head that drips in are no progress. A client that is reading its answer is given some time
    /// before it counts as one that does not, so that whoever waits for a request goes before it. A stream whose client
    /// has taken all there was is where it ought to be, however long nothing happens: it goes last, or a flood of idle
    /// connections would cut off everybody who listens. There are never so many streams that they leave no others.
    pub fn stalled_since(&self) -> Time {
        match self.state {
            State::Streaming if self.output.is_empty() => Time::MAX,
            State::Answering | State::Streaming => self.since.saturating_add(self.limits.write_time / 2),
            _ => self.since,
        }
    }

    /// How many bytes of memory the connection holds.
    pub fn held_bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }
}

fn free_if_large(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
