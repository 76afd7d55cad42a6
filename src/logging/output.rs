//! Writes lines to stdout and stderr, each on a thread of its own.
//!
//! The reader of a pipe may stop reading. That must not affect leadership or the other pipe, so writing a line never
//! blocks. If a queue is full, lines are lost, and the log says how many.

use crate::threads;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// The maximum number of queued lines.
const QUEUE: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

enum Message {
    Line(Vec<u8>),
    /// Send a message when everything before this is written.
    Flush(Sender<()>),
}

/// The queued lines of one stream.
struct Queue {
    /// Starts with the first line.
    writer: OnceLock<SyncSender<Message>>,
    lost: AtomicU64,
}

static STDOUT: Queue = Queue { writer: OnceLock::new(), lost: AtomicU64::new(0) };
static STDERR: Queue = Queue { writer: OnceLock::new(), lost: AtomicU64::new(0) };

/// Queues bytes, which should be whole lines.
///
/// Write errors are ignored: a closed stream must not stop the election.
pub fn put(stream: Stream, bytes: Vec<u8>) {
    let queue = stream.queue();
    if queue.writer(stream).try_send(Message::Line(bytes)).is_err() {
        queue.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until everything queued so far is written, at most for `limit`.
pub fn flush(limit: Duration) {
    let (done, are_done) = channel();
    let writers = [&STDOUT, &STDERR].into_iter().filter_map(|queue| queue.writer.get());
    let asked = writers.filter(|writer| writer.try_send(Message::Flush(done.clone())).is_ok()).count();
    let deadline = Instant::now() + limit;
    for _ in 0..asked {
        let _ = are_done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Stream {
    fn queue(self) -> &'static Queue {
        match self {
            Stream::Stdout => &STDOUT,
            Stream::Stderr => &STDERR,
        }
    }
}

impl Queue {
    fn writer(&'static self, stream: Stream) -> &'static SyncSender<Message> {
        self.writer.get_or_init(|| {
            let (queue, messages) = sync_channel(QUEUE);
            // Without the thread the queue fills and lines are lost, as for a pipe without a reader.
            let _ = threads::spawn("output", move || self.write_all(stream, &messages));
            queue
        })
    }

    fn write_all(&self, stream: Stream, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(bytes) => write(stream, &bytes),
                Message::Flush(done) => {
                    let _ = done.send(()); // the caller may no longer wait
                }
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let what = format!("({lost} lines of {stream:?} were lost: they were not read in time)\n");
                match stream {
                    Stream::Stdout => put(Stream::Stderr, what.into_bytes()),
                    Stream::Stderr => write(stream, what.as_bytes()),
                }
            }
        }
    }
}

fn write(stream: Stream, bytes: &[u8]) {
    let _ = match stream {
        Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().write_all(bytes),
    };
}
