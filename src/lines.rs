//! Lines for stdout and stderr, written by a thread of their own.
//!
//! Whoever reads the other end of a pipe may stop reading. That must cost lines, and not the leadership, so
//! nobody who puts a line here ever waits; when the queue is full, lines are lost and their number is told.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait to be written at most.
const QUEUE: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

enum Message {
    Line(Stream, Vec<u8>),
    /// Answer when everything before this is written.
    Flush(Sender<()>),
}

static WRITER: OnceLock<SyncSender<Message>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

/// Has these bytes written after those that were put before; they should be whole lines.
///
/// A write that fails is forgotten: that nobody listens any more is no reason to stop electing.
pub fn put(stream: Stream, bytes: Vec<u8>) {
    if writer().try_send(Message::Line(stream, bytes)).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until what was put so far is written, but not for longer than `limit`.
pub fn flush(limit: Duration) {
    let (done, is_done) = channel();
    if writer().try_send(Message::Flush(done)).is_ok() {
        let _ = is_done.recv_timeout(limit);
    }
}

fn writer() -> &'static SyncSender<Message> {
    WRITER.get_or_init(|| {
        let (queue, messages) = sync_channel(QUEUE);
        // Without the thread the queue fills and lines are lost, as behind a pipe that nobody reads.
        let _ = thread::Builder::new().name("lines".into()).spawn(move || write_all(&messages));
        queue
    })
}

fn write_all(messages: &Receiver<Message>) {
    for message in messages {
        match message {
            Message::Line(stream, bytes) => write(stream, &bytes),
            Message::Flush(done) => {
                let _ = done.send(()); // it may have stopped waiting
            }
        }
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 {
            write(Stream::Stderr, format!("({lost} lines were lost here: nobody read them in time)\n").as_bytes());
        }
    }
}

fn write(stream: Stream, bytes: &[u8]) {
    let _ = match stream {
        Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().write_all(bytes),
    };
}
