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
    /// at once; an earlier one is ignored. `forward` is called first for each signal for the command, including SIGINT
    /// unless it is ignored. Neither callback may block.
    ///
    /// The exit code is the one a shell shows for the signal: 130 for SIGINT, 143 for SIGTERM. This function does not
    /// return, so call it in a thread of its own.
    pub fn run(mut self, forward: impl Fn(i32), on_first: impl FnOnce(Signal)) {
        let (mut on_first, mut first_came) = (Some(on_first), None);
        for number in self.0.forever() {
            let now = Instant::now();
            let meaning = meaning(number, first_came, now);
            if meaning != Meaning::Repetition && number != SIGTERM {
                forward(number);
            }
            match meaning {
                Meaning::Repetition | Meaning::ForCommand => {}
                Meaning::Stop(signal) => {
                    first_came = Some(now);
                    if let Some(on_first) = on_first.take() {
                        on_first(signal);
                    }
                }
                // Unlike `std::process::exit`, this does not wait for exit handlers.
                Meaning::Exit(signal) => signal_hook::low_level::exit(signal.exit_code()),
            }
        }
    }
}

/// What a signal means for the program.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    ForCommand,
    Stop(Signal),
    /// It came so soon after the first that it is the same request.
    Repetition,
    Exit(Signal),
}

/// `first_came`: when the first signal that ends the program came.
fn meaning(number: i32, first_came: Option<Instant>, now: Instant) -> Meaning {
    match (Signal::from_number(number), first_came) {
        (None, _) => Meaning::ForCommand,
        (Some(signal), None) => Meaning::Stop(signal),
        (Some(_), Some(came)) if now.duration_since(came) < SAME_REQUEST => Meaning::Repetition,
        (Some(signal), Some(_)) => Meaning::Exit(signal),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_soon_after_the_first_is_neither_forwarded_nor_obeyed() {
        let came = Instant::now();
        let at = |number, millis| meaning(number, Some(came), came + Duration::from_millis(millis));
        assert_eq!(meaning(SIGINT, None, came), Meaning::Stop(Signal::Int));
        assert_eq!(meaning(SIGHUP, None, came), Meaning::ForCommand);
        for number in [SIGINT, SIGTERM] {
            assert_eq!(at(number, 99), Meaning::Repetition);
            assert!(matches!(at(number, 100), Meaning::Exit(_)));
        }
        assert_eq!(at(SIGHUP, 1), Meaning::ForCommand);
    }
}
