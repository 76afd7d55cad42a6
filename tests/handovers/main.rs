//! Run mode with the real binary: the commands of two candidates never run at the same time, in many handovers.
//!
//! Each kind of handover has an election of its own, with two candidates and a command that writes the time every 10 ms
//! (see [`writer`]). All elections run at the same time. `HANDOVERS` is the number of handovers of each kind, `KINDS`
//! selects kinds.
//!
//! This is a binary of its own, because it uses the whole machine, and because the command is this program again.

mod actions;
#[path = "../common/mod.rs"]
mod common;
mod election;
mod terms;
mod writer;

use actions::{Action, KINDS};
use election::Election;
use std::thread;
use terms::{Summary, terms};

/// How many handovers of each kind there are without `HANDOVERS`.
const DEFAULT_COUNT: usize = 2;

#[test]
fn the_commands_of_two_candidates_never_run_at_the_same_time() {
    let count = setting("HANDOVERS").map_or(DEFAULT_COUNT, |text| text.parse().expect("HANDOVERS is a number"));
    let selected = setting("KINDS");
    let is_selected =
        |name: &str| selected.as_ref().is_none_or(|words| words.split(' ').any(|word| name.contains(word)));
    let kinds = || KINDS.iter().filter(|(name, _)| is_selected(name));
    let summaries: Vec<(&str, Summary)> = thread::scope(|scope| {
        let runs: Vec<_> = kinds().map(|(name, action)| (*name, scope.spawn(move || run(*action, count)))).collect();
        runs.into_iter().map(|(name, run)| (name, run.join().unwrap_or_else(|_| panic!("{name}")))).collect()
    });
    println!("{:<42} {:>9} {:>8}   gap in ms: min, p50, p99, max", "kind", "handovers", "overlaps");
    for (name, summary) in &summaries {
        println!("{name:<42} {summary}");
    }
    for (name, summary) in &summaries {
        assert!(summary.overlaps.is_empty(), "{name}: {:?}", summary.overlaps);
        assert!(summary.gaps.len() >= count, "{name}: only {} handovers", summary.gaps.len());
    }
}

/// A variable in the environment, unless it is empty.
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn run(action: Action, count: usize) -> Summary {
    let mut election = Election::new();
    for _ in 0..count {
        election.hand_over(action);
    }
    Summary::of(&terms(&election.end()))
}
