//! The protocol holds in all states of the small configurations, and the checker finds each weakened rule.

use model::configurations::{Size, configurations, weakened};
use model::rules::Rules;
use model::state::State;
use model::weakened::Weakened;
use model::world::World;
use stateright::Model;
use std::collections::{BTreeSet, HashSet};

#[test]
fn every_property_holds_in_every_state_of_the_small_configurations() {
    for configuration in configurations().into_iter().filter(|configuration| configuration.is_small) {
        let outcome = configuration.size.check();
        assert!(outcome.broken.is_empty(), "{}: {:#?}", configuration.name, outcome.broken);
        assert!(outcome.missing.is_empty(), "{}: it never happens that {:?}", configuration.name, outcome.missing);
    }
}

#[test]
fn the_checker_finds_each_weakened_rule() {
    for rule in Weakened::ALL {
        let (size, properties) = weakened(rule);
        let outcome = size.check();
        let found: Vec<_> = outcome.broken.iter().map(|(property, _)| *property).collect();
        println!(
            "| {rule:?} | {found:?} | {} | {:.1} |",
            outcome.broken.first().map_or(0, |(_, path)| path.len()),
            outcome.took.as_secs_f64()
        );
        assert!(found.iter().any(|property| properties.contains(property)), "{rule:?} breaks only {found:?}");
    }
}

#[test]
fn the_reduction_does_not_change_what_can_be_observed() {
    assert_reduced_without_loss("two, same clocks", 3);
}

/// The same with faults.
#[test]
#[ignore = "takes minutes"]
fn the_reduction_does_not_change_what_can_be_observed_with_faults() {
    for name in ["two, same clocks: a crash", "two, same clocks: a crash, an edit", "two, clocks apart: a crash"] {
        assert_reduced_without_loss(name, 2);
    }
}

fn assert_reduced_without_loss(name: &str, lease: u8) {
    let named = configurations().into_iter().find(|configuration| configuration.name == name).expect("no such name");
    let Size::Two(world) = named.size else { panic!("{name} is of another size") };
    let rules = Rules { lease, renew_deadline: lease - 1, ..world.rules };
    let reduced = World { rules, symmetric: false, ..world };
    let whole = World { reduced: false, ..reduced.clone() };
    assert_eq!(observations(&reduced), observations(&whole), "{name}");
}

/// What can be observed in the states of a world: the claims and how long they may last, the content of the lock, and
/// what is protected.
fn observations(world: &World<2, 1>) -> BTreeSet<String> {
    let mut seen: HashSet<State<2, 1>> = world.init_states().into_iter().collect();
    let mut left: Vec<State<2, 1>> = seen.iter().cloned().collect();
    let mut observed = BTreeSet::new();
    let mut actions = Vec::new();
    while let Some(state) = left.pop() {
        let candidates = state.candidates.each_ref().map(|candidate| {
            let election = &candidate.elections[0];
            let term = election.term.map(|term| (term.left, term.after));
            (candidate.phase, candidate.claims, candidate.since_miss, election.own, election.removal_wait, term)
        });
        let record = state.locks[0].sight.record().map(|record| (record.writer, record.free, record.dead));
        observed.insert(format!("{candidates:?} {record:?} {:?} {:?}", state.history.protected, state.budget));
        world.actions(&state, &mut actions);
        for action in actions.drain(..) {
            if let Some(next) = world.next_state(&state, action)
                && !seen.contains(&next)
            {
                seen.insert(next.clone());
                left.push(next);
            }
        }
    }
    println!("{} states, {} observations", seen.len(), observed.len());
    observed
}
