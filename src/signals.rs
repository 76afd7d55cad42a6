//! SIGTERM and SIGINT: the first asks the program to stop, a later one stops it. In run mode the command gets the signals
//! that people send to it through the program, as through an init: SIGINT, which asks the program to stop all the same, so
//! that Ctrl-C ends what it has begun, and SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH.
//!
//! The kernel withholds from the first process of a container every signal that it has no handler for, so the handlers
//! come before anything else; what arrives before somebody waits for it is kept. SIGPIPE is ignored by Rust, and
//! outside run mode SIGHUP keeps its default.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Some who end a process send it the same signal twice, to itself and to its process group, or through an init that
/// passes it on: what comes so soon is the same request.
const SAME_REQUEST: Duration = Duration::from_millis(100);

/// What the command of run mode gets, besides SIGINT.
const FORWARDED: [i32; 5] = [SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH];

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

    /// Takes those over as well that are for the command. Without it they keep their defaults.
    pub fn register_forwarded(&self) -> io::Result<()> {
        FORWARDED.iter().try_for_each(|signal| self.0.add_signal(*signal))
    }

    /// Waits for the first signal and calls `on_first`; at one that comes later than `SAME_REQUEST` it exits on the spot.
    /// Before that `forward` gets each signal that is for a command, a SIGINT included. Neither may block.
    ///
    /// The exit code is then what a shell shows for that signal: 130 for SIGINT, 143 for SIGTERM. Does not return: give
    /// it a thread.
    pub fn run(mut self, forward: impl Fn(i32), on_first: impl FnOnce(Signal)) {
        let forwarded = |number: &i32| {
            if *number != SIGTERM {
                forward(*number);
            }
        };
        let mut signals = self.0.forever().inspect(forwarded).filter_map(Signal::from_number);
        let Some(first) = signals.next() else { return };
        let came = Instant::now();
        on_first(first);
        if let Some(later) = signals.find(|_| came.elapsed() >= SAME_REQUEST) {
            // Not the exit of the standard library, which waits for whatever is registered to run at an exit.
            signal_hook::low_level::exit(later.exit_code());
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
