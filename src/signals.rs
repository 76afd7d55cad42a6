//! SIGTERM and SIGINT: the first asks the program to stop, the second stops it.
//!
//! The kernel withholds from the first process of a container every signal that it has no handler for, so the handlers
//! come before anything else; what arrives before somebody waits for it is kept. SIGPIPE is ignored by Rust, and
//! SIGHUP keeps its default.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator;
use std::fmt;
use std::io;

/// The signals that end the program, caught from [`Signals::register`] on.
#[derive(Debug)]
pub struct Signals(iterator::Signals);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Int,
    Term,
}

impl Signals {
    /// Takes both signals over, before anything else that takes time.
    ///
    /// Fails when the process is out of file descriptors.
    pub fn register() -> io::Result<Signals> {
        iterator::Signals::new([SIGTERM, SIGINT]).map(Signals)
    }

    /// Waits for the first signal and calls `on_first`, which must not block; at the second it exits on the spot.
    ///
    /// The exit code is then what a shell shows for the second signal: 130 for SIGINT, 143 for SIGTERM. Two signals of
    /// one kind count as one until the first of them has been seen here. Does not return: give it a thread.
    pub fn run(mut self, on_first: impl FnOnce(Signal)) {
        let mut signals = self.0.forever().filter_map(Signal::from_number);
        if let Some(first) = signals.next() {
            on_first(first);
        }
        if let Some(second) = signals.next() {
            // Not the exit of the standard library, which waits for whatever is registered to run at an exit.
            signal_hook::low_level::exit(second.exit_code());
        }
    }
}

impl Signal {
    fn from_number(number: i32) -> Option<Signal> {
        match number {
            SIGINT => Some(Signal::Int),
            SIGTERM => Some(Signal::Term),
            _ => None,
        }
    }

    /// What a shell shows for a process that this signal ended.
    pub fn exit_code(self) -> i32 {
        match self {
            Signal::Int => 128 + SIGINT,
            Signal::Term => 128 + SIGTERM,
        }
    }
}

/// `SIGTERM`, as messages name it.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Int => "SIGINT",
            Signal::Term => "SIGTERM",
        })
    }
}
