//! Explores every interleaving of small worlds within bounds that take some seconds.

use simulation::exhaustive::{STARTS, Start, run};

#[test]
fn no_interleaving_of_a_small_world_breaks_the_contract() {
    for start in STARTS {
        for (faults, depth) in [(0, 7), (1, 6), (2, 5)] {
            let count = run(start, faults, start.steps(depth)).unwrap_or_else(|violation| panic!("{violation}"));
            assert!(count.states > 10, "{start:?} went nowhere: {count:?}");
            assert!(start == Start::Empty || count.terms > 0, "nobody led: {count:?}");
        }
    }
}
