//! Drives the state machine that ships through faults, on simulated clocks, from one seed a schedule.
//!
//! No threads, no sleeping, no real time: the world jumps from one event to the next. What candidates send and say is
//! judged by an [`oracle`] that shares no code with them. `README.md` says what it found, and what it does not cover.

mod calm;
pub mod chance;
mod clock;
mod codecs;
pub mod exhaustive;
mod health;
mod liveness;
mod lives;
mod mischief;
pub mod mutants;
mod network;
mod node;
pub mod oracle;
mod peer;
pub mod plan;
pub mod schedule;
mod server;
mod watches;
mod wire;
mod work;
mod world;
