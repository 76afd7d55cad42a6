//! The command of run mode, with real processes: it ends before the claim, whatever it does, and whichever of the
//! elector and the wardens is killed or stopped.
//!
//! There is no election: a separate process ([`parts::elector`]) runs the library's `Command`, and the test tells it
//! about terms. The wardens are the real program.

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod faults;
mod parts;
mod stage;
mod starts;
