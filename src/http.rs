//! The HTTP port. It tells the application in the same pod, and probes, who leads.
//!
//! ```text
//!             server            connection              head, routes             reply
//!  socket ──► read    ──bytes─► receive ──► next_request ──► Route ──┐
//!                                                                    ├──► Reply ──┐
//!                     status.snapshot(), then clock::now() ──────────┘            │
//!  socket ◄── write   ◄─bytes── output  ◄── reply ◄───────────────────────────────┘
//!                                  ▲
//!  a published snapshot, or the timer ──► push: an event to each client of /events
//! ```
//!
//! One thread serves all clients. It shares nothing with the election but the [`Status`](crate::status::Status), so
//! neither waits for the other. The election wakes this thread through an eventfd whose write never blocks.
//!
//! The port may face a whole cluster. A client that sends hostile input, or does not read, loses at most its own
//! connection. Each field of [`Limits`] is one of the bounds that ensure this.
//!
//! | file | job |
//! |---|---|
//! | `listen` | the value of `--http`, and its listening sockets |
//! | `server` | the epoll loop: sockets, deadlines, evictions |
//! | `peer` | one socket, driven by its connection |
//! | `connection` | one connection as a state machine without sockets or clock |
//! | `head` | parses a request head |
//! | `routes` | computes the reply from the route and the snapshot |
//! | `bodies` | the bodies of `/status` and `/events` |
//! | `reply` | serializes a reply |

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

/// The limits on what clients may use. Together they bound memory, descriptors and wasted time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of open connections. One more evicts the connection that has made no progress for longest.
    pub connections: usize,
    /// The maximum number of `/events` subscribers, at most a quarter of `connections`. One more evicts the oldest
    /// subscriber from the IP address with the most subscribers.
    pub subscribers: usize,
    /// The interval at which each subscriber is sent a comment.
    pub heartbeat: Duration,
    /// The maximum length of a request head, and of one read from a connection.
    pub head_bytes: usize,
    /// The maximum time from the first byte of a head to the last. For the first head it starts at the accept.
    pub head_time: Duration,
    /// The maximum time that a connection may stay open between two requests.
    pub idle_time: Duration,
    /// The maximum time that a client may take no byte of a reply.
    pub write_time: Duration,
    /// If more reply bytes than this wait to be written, the next pipelined request is not parsed yet.
    pub answers_ahead_bytes: usize,
    /// How many bytes are read and discarded after the last reply, so that a client that is still sending can read it.
    pub linger_bytes: usize,
    /// The maximum time for that.
    pub linger_time: Duration,
    /// The maximum total of incomplete heads and unread replies of all connections. More evicts connections too.
    pub held_bytes: usize,
    /// The pause before the next accept after the system had no descriptor or memory for a connection.
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
