//! The protocol holds in all states of the small configurations, and the checker finds each weakened rule.

use model::configurations::{configurations, weakened};
use model::weakened::Weakened;

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
