//! A model of leader-elector's protocol, the rules S1 to S10, for the checker of [`stateright`].

mod reduction;
pub mod rules;
pub mod state;
pub mod weakened;
pub mod world;
