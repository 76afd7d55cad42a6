//! Goes through all states of each configuration whose name contains one of the words given.

use model::configurations::configurations;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut fine = true;
    for configuration in configurations() {
        if !words.is_empty() && !words.iter().any(|word| configuration.name.contains(word.as_str())) {
            continue;
        }
        let outcome = configuration.size.check();
        println!("| {} | {} | {:.1} |", configuration.name, outcome.states, outcome.took.as_secs_f64());
        for (property, path) in &outcome.broken {
            println!("BROKEN: {property}");
            path.iter().for_each(|action| println!("  {action:?}"));
        }
        for property in &outcome.missing {
            println!("NEVER: {property}");
        }
        fine &= outcome.broken.is_empty() && outcome.missing.is_empty();
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
