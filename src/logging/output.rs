//! Writes lines to stdout and stderr, each on a thread of its own.
//!
//! The reader of a pipe may stop reading. That must not affect leadership or the other pipe, so writing a line never
//! blocks. If a queue is full, lines are lost, and the log says how many.

use crate::threads;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// The maximum number of queued lines.
const QUEUE: usize = 512;

/// How long to wait for the last lines to be written if nobody reads them.
const FLUSH_LIMIT: Duration = Duration::from_millis(100);

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

/// Waits until everything queued so far is written. Gives up after 100 ms if a stream has no room, and otherwise after
/// 1 s: on a busy machine it may take some time until the writing threads run.
pub fn flush() {
    let start = Instant::now();
    let asked: Vec<_> = [Stream::Stdout, Stream::Stderr].into_iter().filter_map(Stream::ask_to_flush).collect();
    for (stream, is_done) in asked {
        wait(&is_done, start, FLUSH_LIMIT, || stream.has_room());
    }
}

/// Whether it is done within this limit, or within ten times this limit while there is room.
fn wait(is_done: &Receiver<()>, start: Instant, limit: Duration, mut has_room: impl FnMut() -> bool) -> bool {
    for limits in 1..=10 {
        let deadline = start + limit * limits;
        if is_done.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {
            return true;
        }
        if !has_room() {
            return false;
        }
    }
    false
}

impl Stream {
    fn queue(self) -> &'static Queue {
        match self {
            Stream::Stdout => &STDOUT,
            Stream::Stderr => &STDERR,
        }
    }

    /// The message that everything is written; `None` if nothing was written yet, or the queue is full.
    fn ask_to_flush(self) -> Option<(Stream, Receiver<()>)> {
        let (done, is_done) = channel();
        self.queue().writer.get()?.try_send(Message::Flush(done)).ok()?;
        Some((self, is_done))
    }

    /// Whether a write would not block.
    fn has_room(self) -> bool {
        match self {
            Stream::Stdout => has_room(&io::stdout()),
            Stream::Stderr => has_room(&io::stderr()),
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

/// Also true if a write would fail at once.
fn has_room(stream: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::pipe;

    const LIMIT: Duration = Duration::from_millis(1);

    /// Whether it is done, and how often it was asked for room. It is done when that has been asked this often.
    fn waited(done_at: u32, has_room: bool) -> (bool, u32) {
        let (done, is_done) = channel();
        let mut asked = 0;
        let in_time = wait(&is_done, Instant::now(), LIMIT, || {
            asked += 1;
            if asked == done_at {
                done.send(()).expect("it waits");
            }
            has_room
        });
        (in_time, asked)
    }

    #[test]
    fn a_writer_that_has_room_and_does_not_run_is_waited_for_ten_times_as_long() {
        assert_eq!(waited(9, true), (true, 9));
        assert_eq!(waited(11, true), (false, 10));
    }

    #[test]
    fn a_full_stream_is_given_up_after_the_limit() {
        assert_eq!(waited(2, false), (false, 1));
    }

    #[test]
    fn a_stream_has_room_until_its_buffer_is_full() {
        let (reader, mut writer) = pipe().unwrap();
        assert!(has_room(&writer));
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[b' '; 4096]).is_ok() {}
        assert!(!has_room(&writer));
        drop(reader);
        assert!(has_room(&writer), "a write to a closed pipe does not block");
    }
}
