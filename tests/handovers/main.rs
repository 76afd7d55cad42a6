//! Run mode through the real binary, handover after handover: the commands of two candidates never run at the same time.
//!
//! Each kind of handover has an election of its own, with two candidates and a command that writes the time every 10 ms
//! (see [`writer`]). All of them go on at once. `HANDOVERS` is how many there are of each kind, `KINDS` names some of them.
//!
//! A binary of its own, because it takes the whole machine for as long as `HANDOVERS` says, and because the command is this
//! program again.

#[path = "../common/mod.rs"]
mod common;
mod deeds;
mod election;
mod terms;
mod writer;

use deeds::{Deed, KINDS};
use election::Election;
use std::thread;
use terms::{Verdict, terms};

/// How many there are of each kind in the suite.
const FEW: usize = 2;

#[test]
fn the_commands_of_two_candidates_never_run_at_the_same_time() {
    let count = setting("HANDOVERS").map_or(FEW, |text| text.parse().expect("HANDOVERS is a number"));
    let wanted = setting("KINDS");
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|words| words.split(' ').any(|word| name.contains(word)));
    let kinds = || KINDS.iter().filter(|(name, _)| is_wanted(name));
    let verdicts: Vec<(&str, Verdict)> = thread::scope(|scope| {
        let games: Vec<_> = kinds().map(|(name, deed)| (*name, scope.spawn(move || play(*deed, count)))).collect();
        games.into_iter().map(|(name, game)| (name, game.join().unwrap_or_else(|_| panic!("{name}")))).collect()
    });
    println!("{:<42} {:>9} {:>8}   gap in ms: min, p50, p99, max", "kind", "handovers", "overlaps");
    for (name, verdict) in &verdicts {
        println!("{name:<42} {verdict}");
    }
    for (name, verdict) in &verdicts {
        assert!(verdict.overlaps.is_empty(), "{name}: {:?}", verdict.overlaps);
        assert!(verdict.gaps.len() >= count, "{name}: only {} handovers", verdict.gaps.len());
    }
}

/// A setting in the environment; an empty one is none.
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn play(deed: Deed, count: usize) -> Verdict {
    let mut election = Election::new();
    for _ in 0..count {
        election.hand_over(deed);
    }
    Verdict::of(&terms(&election.end()))
}
