//! Runs the checker on one world.

use crate::world::{Action, World};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub states: usize,
    pub took: Duration,
    /// Properties that do not hold, each with the path to a state that violates it.
    pub broken: Vec<(&'static str, Vec<Action>)>,
    /// Properties of some states that hold in no state.
    pub missing: Vec<&'static str>,
}

/// Visits all states, or stops when a property is violated.
pub fn check<const C: usize, const K: usize>(world: World<C, K>) -> Outcome {
    let began = Instant::now();
    let properties: Vec<Property<World<C, K>>> = world.properties();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // With more than one thread, the path to a state need not be the shortest.
    let threads = if world.rules.weakened.is_some() { 1 } else { threads };
    let checker = world.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    let mut outcome = Outcome {
        states: checker.unique_state_count(),
        took: began.elapsed(),
        broken: Vec::new(),
        missing: Vec::new(),
    };
    for Property { name, expectation, .. } in properties {
        match (expectation, found.get(name)) {
            (stateright::Expectation::Sometimes, None) => outcome.missing.push(name),
            (stateright::Expectation::Always, Some(path)) => {
                outcome.broken.push((name, path.clone().into_actions()));
            }
            _ => {}
        }
    }
    outcome
}
