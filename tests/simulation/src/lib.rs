//! Runs the state machine that ships through faults, on simulated clocks. Each schedule follows from one seed. There
//! are no threads, no sleeping and no real time: simulated time jumps from one event to the next. An [`oracle`] that
//! shares no code with the candidates checks what they send and say. `README.md` says what the simulation found, and
//! what it does not cover.

mod clock;
mod codecs;
mod disruptions;
pub mod exhaustive;
mod health;
mod liveness;
pub mod mutants;
mod network;
mod node;
pub mod oracle;
mod peer;
pub mod plan;
mod processes;
pub mod random;
mod recovery;
pub mod schedule;
mod server;
mod watches;
mod wire;
mod work;
mod world;
