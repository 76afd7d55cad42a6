//! None of the deliberate bugs rots: each text that one replaces is in the source exactly once.

use simulation::mutants::{MUTANTS, root};

#[test]
fn each_mutant_matches_once() {
    for mutant in MUTANTS {
        let source = std::fs::read_to_string(root().join(mutant.file)).expect("the file is there");
        let mutated = mutant.applied(&source).unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(mutated, source, "{} changes nothing", mutant.name);
    }
    assert!(MUTANTS.len() >= 20);
}
