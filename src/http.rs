//! The HTTP port: who leads, for the application beside this process and for probes.
//!
//! ```text
//!             server            connection              head, routes             reply
//!  socket ──► read    ──bytes─► receive ──► next_request ──► Route ──┐
//!                                                                    ├──► Reply ──┐
//!                     status.snapshot(), then clock::now() ──────────┘            │
//!  socket ◄── write   ◄─bytes── output  ◄── reply ◄───────────────────────────────┘
//!                                  ▲
//!  a snapshot published, or a moment come ──► push: an event to each client of /events
//! ```
//!
//! One thread serves everybody. It shares nothing with the election but the [`Status`](crate::status::Status),
//! so neither can keep the other waiting: to wake this thread, the election writes to an eventfd that never blocks. The port may face a whole cluster: whatever a client sends, or fails
//! to read, costs that client its connection at most. Every bound that makes it so is a field of [`Limits`].
//!
//! | file | job |
//! |---|---|
//! | `listen` | the `--http` value, and the sockets it stands for |
//! | `server` | the epoll loop: sockets, deadlines, who has to leave when it is full |
//! | `peer` | one socket, driven by its connection |
//! | `connection` | one connection as a state machine without sockets or clock |
//! | `head` | the bytes of one request head to what it asks for |
//! | `routes` | what is asked and what is known to the reply |
//! | `bodies` | the bodies of `/status` and `/events` |
//! | `reply` | a reply to bytes |

mod bodies;
mod connection;
mod head;
mod listen;
mod peer;
mod reply;
mod routes;
mod server;

pub use listen::{BindError, ListenAddress, ListenAddressError};
pub use server::Server;

use std::time::Duration;

/// What clients may take at most. Together they bound memory, descriptors and the time any one can waste.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are open at a time; one more evicts the one without progress for longest.
    pub connections: usize,
    /// How many of them may be told events, and never more than a quarter; one more evicts the one that has listened
    /// for longest, of the address that most of them come from.
    pub subscribers: usize,
    /// How often a client that is told events is sent a comment.
    pub heartbeat: Duration,
    /// How long a request head may be, and how much is read from a connection at a time.
    pub head_bytes: usize,
    /// How long a head may take from its first byte to its last; the first one counts from the accept.
    pub head_time: Duration,
    /// How long a connection may stay open between two requests.
    pub idle_time: Duration,
    /// How long a client may let an answer wait without taking a byte of it.
    pub write_time: Duration,
    /// How many bytes of answers may wait to be written before the next pipelined request is looked at.
    pub answers_ahead_bytes: usize,
    /// How much is read and thrown away after the last answer, so that a client still sending gets to see it.
    pub linger_bytes: usize,
    /// How long that may take.
    pub linger_time: Duration,
    /// How much unfinished heads and unread answers of all connections may hold together; more evicts likewise.
    pub held_bytes: usize,
    /// How long no connection is accepted after the system had no descriptor or memory for one.
    pub accept_pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            subscribers: 64,
            heartbeat: Duration::from_secs(15),
            head_bytes: 8 * 1024,
            head_time: Duration::from_secs(2),
            idle_time: Duration::from_secs(30),
            write_time: Duration::from_secs(2),
            answers_ahead_bytes: 2 * 1024,
            linger_bytes: 16 * 1024 * 1024,
            linger_time: Duration::from_secs(2),
            held_bytes: 1024 * 1024,
            accept_pause: Duration::from_millis(100),
        }
    }
}
