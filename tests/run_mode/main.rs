//! The command of run mode, with real processes: it is gone before the claim ends, whatever it does itself, and whichever
//! of the processes that watch over it is killed or stopped.
//!
//! There is no election in it: a process of its own ([`parts::elector`]) holds the library's `Command`, and is told of
//! terms by the test. The wardens are the real program.

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod faults;
mod parts;
mod stage;
mod starts;
