//! One run of the checker.

use crate::world::{Action, World};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub states: usize,
    pub took: Duration,
    /// Properties that do not hold, each with the way to a state where it does not.
    pub broken: Vec<(&'static str, Vec<Action>)>,
    /// What should happen sometimes, and never does.
    pub missing: Vec<&'static str>,
}

/// Goes through all states, or until a property is broken.
pub fn check<const C: usize, const K: usize>(world: World<C, K>) -> Outcome {
    let began = Instant::now();
    let properties: Vec<Property<World<C, K>>> = world.properties();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // With more than one, a way to a state need not be a shortest one.
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
