//! The deliberate bugs match the source: each text to replace occurs exactly once, and each test that must find a bug
//! exists.

use simulation::mutants::{By, MUTANTS, Mutant, root};
use std::fs;
use std::path::Path;

#[test]
fn each_mutant_matches_once() {
    let problem = |mutant: &Mutant| {
        let source = fs::read_to_string(root().join(mutant.file)).expect("the file is there");
        match mutant.applied(&source) {
            Ok(mutated) if mutated == source => Some(format!("{} changes nothing", mutant.name)),
            Ok(_) => None,
            Err(error) => Some(error),
        }
    };
    let problems: Vec<String> = MUTANTS.iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(MUTANTS.len() >= 20);
}

#[test]
fn each_test_that_is_to_find_one_exists() {
    for mutant in MUTANTS {
        let By::Test(target, test) = mutant.found_by else { continue };
        let (module, name) = test.rsplit_once("::").unwrap_or(("", test));
        let unit = format!("src/{}.rs", module.trim_end_matches("::tests").replace("::", "/"));
        let places = [
            if target == "lib" { unit } else { String::new() },
            format!("tests/{target}.rs"),
            format!("tests/{target}/{}.rs", module.replace("::", "/")),
            format!("tests/simulation/tests/{target}.rs"),
        ];
        let is_there = |host: &String| {
            let text = fs::read_to_string(root().join(Path::new(host))).unwrap_or_default();
            text.contains(&format!("fn {name}("))
        };
        assert!(places.iter().any(is_there), "{}: there is no {target}::{test}", mutant.name);
    }
}
