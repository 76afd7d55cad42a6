//! A model of leader-elector's protocol, the rules S1 to S10, for the model checker [`stateright`].

mod actions;
pub mod check;
pub mod configurations;
pub mod properties;
mod reduction;
pub mod rules;
mod server;
pub mod state;
pub mod weakened;
pub mod world;
