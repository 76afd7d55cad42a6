//! A model of leader-elector's protocol, the rules S1 to S10, for the checker of [`stateright`].

pub mod check;
pub mod configurations;
mod reduction;
pub mod rules;
pub mod state;
pub mod weakened;
pub mod world;
