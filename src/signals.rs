//! SIGTERM and SIGINT: the first asks the program to stop, a later one stops it at once. In run mode other signals are
//! forwarded to the command, as an init does: SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH. SIGINT is forwarded too,
//! so that Ctrl-C also ends the command.
//!
//! The kernel does not deliver a signal without a handler to process 1 of a container. So the handlers are registered
//! first, and early signals are kept until a thread waits for them. Rust ignores SIGPIPE. Outside run mode, SIGHUP
//! keeps its default action.

use nix::sys::signal::{SigSet, SigmaskHow};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Some tools send the same signal twice: to the process and its group, or through an init that forwards it. A signal
/// this soon after the first counts as the same request.
const SAME_REQUEST: Duration = Duration::from_millis(100);

/// The signals forwarded to the command of run mode, besides SIGINT.
const FORWARDED: [i32; 5] = [SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH];

/// The signals that end the program, caught since [`Signals::register`].
#[derive(Debug)]
pub struct Signals(iterator::Signals);

/// A signal that ends the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Int,
    Term,
}

impl Signals {
    /// Registers handlers for both signals. Call it before anything that takes time, and before threads are started.
    ///
    /// Fails if the process is out of file descriptors.
    pub fn register() -> io::Result<Signals> {
        // signal_hook installs a handler shortly before it stores what the handler does. A signal in between would be
        // lost; while it is blocked, it waits.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let registered = iterator::Signals::new([SIGTERM, SIGINT]);
        before.thread_set_mask()?;
        registered.map(Signals)
    }

    /// Also catches the signals for the command. Without this call they keep their defaults.
    pub fn register_forwarded(&self) -> io::Result<()> {
        FORWARDED.iter().try_for_each(|signal| self.0.add_signal(*signal))
    }

    /// Waits for the first signal and calls `on_first`. A signal later than `SAME_REQUEST` after that exits the process
    /// at once. `forward` is called first for each signal for the command, including SIGINT. Neither callback may
    /// block.
    ///
    /// The exit code is the one a shell shows for the signal: 130 for SIGINT, 143 for SIGTERM. This function does not
    /// return, so call it in a thread of its own.
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
            // Unlike `std::process::exit`, this does not wait for exit handlers.
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

    /// The exit code that a shell shows for a process ended by this signal.
    pub fn exit_code(self) -> i32 {
        match self {
            Signal::Int => 128 + SIGINT,
            Signal::Term => 128 + SIGTERM,
        }
    }
}

/// The name in messages, such as `SIGTERM`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Int => "SIGINT",
            Signal::Term => "SIGTERM",
        })
    }
}
