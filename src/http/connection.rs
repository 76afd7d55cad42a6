//! One connection as a state machine: bytes and clock readings in, requests and bytes out. It has no socket, reads no
//! clock and does not know the election.
//!
//! ```text
//!              first byte            last byte             all written
//!       Idle ─────────────► Head ─────────────► Answering ─────────────► Idle, or Head if more has come
//!                                                   │ all written, last reply
//!                                                   ├───────────────────► Closed
//!                                                   ├─ a body is expected ► Draining ──► Closed
//!                                                   └─ the path is /events ► Streaming ─► Closed, by the client
//! ```
//!
//! Each state has a deadline. A connection that misses it is closed without a reply. A stream has a deadline only while
//! it has output to write. While replies wait to be written, nothing is read, so a client that does not read cannot
//! cause work.

use super::Limits;
use super::head::{self, Request};
use super::reply::{Body, Persistence, Reply, StatusCode};
use crate::time::Time;
use std::time::Duration;

/// An idle connection keeps buffers up to this size, so a typical request allocates nothing.
const KEPT_BYTES: usize = 1024;

#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    state: State,
    /// When the state began or, while answering, when the client last took a byte.
    since: Time,
    /// Received bytes; those from `used` on are not parsed yet.
    input: Vec<u8>,
    used: usize,
    /// Whether `input` may hold a complete head or an invalid one.
    may_hold_head: bool,
    /// Bytes to write; those from `written` on are not written yet.
    output: Vec<u8>,
    written: usize,
    /// What follows the last reply, once that is in `output`.
    ending: Option<Ending>,
    /// The client has closed its sending half. It may still read.
    input_ended: bool,
    /// The status of the last refused request, until [`Connection::take_refusal`] takes it.
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
    /// The client receives events. Its input is discarded. The stream ends when the client closes or half-closes the
    /// connection, so a client that has gone is noticed at once.
    Streaming,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    /// Closing a socket that holds unread bytes resets the connection, and the client may lose the reply. So only the
    /// writing half is closed first, and input is read and discarded for a while.
    Drain,
    /// Keep the connection open for events.
    Stream,
}

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Call [`Connection::receive`] when bytes arrive.
    Read,
    /// Continue with requests and output when the socket accepts bytes.
    Write,
    /// Close the writing half, then call [`Connection::writing_ended`].
    EndWriting,
    Close,
}

impl Connection {
    /// A connection accepted at `now`. The time for its first head starts now, not at its first byte.
    pub fn new(limits: Limits, now: Time) -> Connection {
        Connection {
            limits,
            state: State::Head,
            since: now,
            input: Vec::new(),
            used: 0,
            may_hold_head: false,
            output: Vec::new(),
            written: 0,
            ending: None,
            input_ended: false,
            refusal: None,
        }
    }

    /// The maximum number of bytes for [`Connection::receive`].
    pub fn room(&self) -> usize {
        self.limits.head_bytes.saturating_sub(self.input.len() - self.used)
    }

    /// Whether input is discarded.
    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Takes bytes from the client. An empty slice means that the client closed its sending half.
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
        // A head ends in a line end, so input without a new line end is not parsed. A head that arrives byte by byte is
        // therefore not parsed from its start at every byte. The first bytes are parsed at once, to refuse what is not
        // HTTP; a full buffer is parsed, to refuse a head that is too long.
        let first = self.input.is_empty();
        self.input.extend_from_slice(bytes);
        self.may_hold_head |= first || bytes.contains(&b'\n') || self.room() == 0;
    }

    /// The next complete request, to be answered with [`Connection::reply`]. `None` if there is none, or if enough
    /// replies wait to be written. An invalid request is refused here.
    pub fn next_request(&mut self, now: Time) -> Option<Request> {
        let enough_waits = self.written > 0 || self.output.len() >= self.limits.answers_ahead_bytes;
        if !self.may_hold_head || enough_waits {
            return None;
        }
        match head::parse(&self.input[self.used..]) {
            Ok(Some((request, length))) => {
                self.used += length;
                self.may_hold_head = self.used < self.input.len();
                return Some(request);
            }
            Ok(None) if self.room() > 0 => self.may_hold_head = false,
            Ok(None) => self.refuse(StatusCode::HeadTooLarge, now),
            Err(status) => self.refuse(status, now),
        }
        None
    }

    fn refuse(&mut self, status: StatusCode, now: Time) {
        self.refusal = Some(status);
        self.queue_reply(&Reply::refusal(status), false, Persistence::Close, true, now);
    }

    /// The status of a refusal since the last call.
    pub fn take_refusal(&mut self) -> Option<StatusCode> {
        self.refusal.take()
    }

    /// Queues the reply to `request`, the last one from [`Connection::next_request`].
    pub fn reply(&mut self, request: Request, reply: &Reply, now: Time) {
        self.queue_reply(reply, request.without_body, request.persistence, request.body_announced, now);
    }

    fn queue_reply(
        &mut self,
        reply: &Reply,
        without_body: bool,
        persistence: Persistence,
        more_announced: bool,
        now: Time,
    ) {
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
            self.may_hold_head = false;
            self.input.clear();
            self.used = 0;
        }
    }

    /// Whether this is a stream, possibly one whose first reply is not written yet.
    pub fn is_streaming(&self) -> bool {
        self.state == State::Streaming || self.ending == Some(Ending::Stream)
    }

    /// Appends to a stream. Call it only if no output waits, so that output cannot accumulate.
    pub fn push(&mut self, bytes: &[u8], now: Time) {
        self.output.extend_from_slice(bytes);
        self.since = now;
    }

    /// The bytes to write now.
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

    /// What the connection waits for next. Call it after all requests are answered and all possible output is written.
    pub fn need(&mut self, now: Time) -> Need {
        match (self.state, self.ending) {
            (State::Closed, _) => Need::Close,
            (State::Draining { .. }, _) => Need::Read,
            _ if !self.output().is_empty() || self.may_hold_head => Need::Write,
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

    /// The writing half is closed, as [`Need::EndWriting`] asked.
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

    /// When to close the connection unless its state changes before.
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

    /// Since when the connection has made no progress. If there are too many, the one with the lowest value is closed
    /// first.
    ///
    /// Bytes of an incomplete head are no progress. A client that is reading its reply counts as stalled only after
    /// half of `write_time`, so clients that wait for a request are closed before it. A stream with no output left
    /// never stalls: otherwise a flood of idle connections would evict all subscribers. `subscribers` limits the number
    /// of streams, so other connections always remain possible.
    pub fn stalled_since(&self) -> Time {
        match self.state {
            State::Streaming if self.output.is_empty() => Time::MAX,
            State::Answering | State::Streaming => self.since.saturating_add(self.limits.write_time / 2),
            _ => self.since,
        }
    }

    /// The size of the connection's buffers.
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
