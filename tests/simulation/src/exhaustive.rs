//! Tries every interleaving of events in small worlds: two candidates, a bounded number of steps and faults, and at
//! each step everything that could happen next. States that were visited before are not explored again. Both clocks run
//! at true speed. Time passes only by advancing to the next deadline of a candidate; all else takes no time. A
//! candidate whose deadline is skipped behaves like a paused one.

mod small;

use self::small::{Choice, Small};
use crate::oracle::Violation;
use std::collections::HashMap;
use std::time::Instant;

/// Pairs of the number of faults and the number of steps after the start, so that all take some minutes together.
pub const BOUNDS: [(u32, u64); 4] = [(0, 9), (1, 6), (2, 5), (3, 4)];

/// The initial state of a small world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No lock, and two candidates that have just started.
    Empty,
    /// One leads, the other one follows.
    Led,
    /// The same with two candidates of one name in one network namespace.
    Clones,
    /// One leads two locks, the other one follows.
    Dual,
}

pub const STARTS: [Start; 4] = [Start::Empty, Start::Led, Start::Clones, Start::Dual];

impl Start {
    /// Fewer steps if there are many more choices at each step.
    pub fn steps(self, most: u64) -> u64 {
        if self == Start::Dual { most.saturating_sub(3) } else { most }
    }
}

/// What a search visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub states: u64,
    pub transitions: u64,
    pub terms: u64,
}

/// Explores everything that can happen within `depth` steps from a start, with at most this number of faults.
pub fn run(start: Start, faults: u32, depth: u64) -> Result<Count, Violation> {
    let mut seen = HashMap::new();
    let mut count = Count::default();
    let mut trail = Vec::new();
    explore(&Small::new(start, faults), depth, &mut seen, &mut count, &mut trail).map_err(|mut violation| {
        violation.what = format!("{} ({start:?}, after {trail:?})", violation.what);
        violation
    })?;
    Ok(count)
}

/// Runs all starts with all bounds, and prints a table.
pub fn print_all() -> bool {
    println!("| start | faults | steps | states | transitions | seconds |\n|---|---|---|---|---|---|");
    let runs = BOUNDS.into_iter().flat_map(|bounds| STARTS.map(|start| (start, (bounds.0, start.steps(bounds.1)))));
    runs.into_iter().all(|(start, (faults, depth))| {
        let began = Instant::now();
        match run(start, faults, depth) {
            Ok(Count { states, transitions, .. }) => {
                let seconds = began.elapsed().as_secs_f64();
                println!("| {start:?} | {faults} | {depth} | {states} | {transitions} | {seconds:.1} |");
                true
            }
            Err(violation) => {
                println!("VIOLATION {violation}");
                false
            }
        }
    })
}

fn explore(
    world: &Small,
    depth: u64,
    seen: &mut HashMap<u64, u64>,
    count: &mut Count,
    trail: &mut Vec<Choice>,
) -> Result<(), Violation> {
    let state = world.fingerprint();
    match seen.get(&state) {
        Some(before) if *before >= depth => return Ok(()),
        Some(_) => {}
        None => count.states += 1,
    }
    seen.insert(state, depth);
    count.terms = count.terms.max(world.oracle.terms);
    if depth == 0 {
        return Ok(());
    }
    for choice in world.choices() {
        let mut next = world.clone();
        trail.push(choice);
        next.choose(choice);
        count.transitions += 1;
        if let Some(violation) = next.oracle.violation.take() {
            return Err(violation);
        }
        explore(&next, depth - 1, seen, count, trail)?;
        trail.pop();
    }
    Ok(())
}
