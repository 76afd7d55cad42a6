//! `model`: visits all states of each configuration, or of those whose names contain one of the arguments.
//! `model weakened`: finds a violation for each weakened rule.

use model::check::Outcome;
use model::configurations::{configurations, weakened};
use model::weakened::Weakened;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let fine = if words == ["weakened"] { show_weakened() } else { check(&words) };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all properties hold.
fn check(words: &[String]) -> bool {
    println!("| configuration | states | seconds |\n|---|---|---|");
    let mut fine = true;
    for configuration in configurations() {
        if !words.is_empty() && !words.iter().any(|word| configuration.name.contains(word.as_str())) {
            continue;
        }
        let outcome = configuration.size.check();
        println!("| {} | {} | {:.0} |", configuration.name, outcome.states, outcome.took.as_secs_f64());
        show_broken(&outcome);
        for property in &outcome.missing {
            println!("NEVER: {property}");
        }
        fine &= outcome.broken.is_empty() && outcome.missing.is_empty();
    }
    fine
}

/// Whether each weakened rule violates a property.
fn show_weakened() -> bool {
    let mut fine = true;
    for rule in Weakened::ALL {
        println!("\n{rule:?}");
        let (size, properties) = weakened(rule);
        let mut outcome = size.check();
        outcome.broken.retain(|(property, _)| properties.contains(property));
        outcome.broken.truncate(1);
        show_broken(&outcome);
        fine &= !outcome.broken.is_empty();
    }
    fine
}

fn show_broken(outcome: &Outcome) {
    for (property, path) in &outcome.broken {
        println!("BROKEN: {property}, after {} steps", path.len());
        path.iter().for_each(|action| println!("  {action:?}"));
    }
}
