//! What no other program promises: what a leader says that was paused, and what happens if all start at once.

use crate::Bench;
use crate::common::candidate::Candidate;
use crate::common::program::Program;
use crate::common::trio::Trio;
use crate::common::wait_until;
use crate::report::Report;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// A leader paused for 2 L, asked as fast as possible from the instant at which it resumes.
pub fn pause(bench: &Bench, report: &mut Report) {
    let (mut asked, mut named) = (0, 0);
    let rounds = 10 * bench.rounds;
    let mut trio = Trio::start(&bench.server, &Program::ours(), "pause", None, "--ttl=1s");
    for _ in 0..rounds {
        let leader = trio.leader();
        let paused = &mut trio.candidates[leader];
        paused.signal(Signal::STOP);
        thread::sleep(Duration::from_secs(2));
        paused.signal(Signal::CONT);
        let resumed = Instant::now();
        while resumed.elapsed() < Duration::from_millis(300) {
            asked += 1;
            named += u32::from(paused.leads());
        }
    }
    report.notes.push(format!(
        "A leader paused for 2 L and resumed, {rounds} times, asked {asked} times: it named itself {named} times."
    ));
}

/// Three candidates started in the same instant without a lock.
pub fn together(bench: &Bench, report: &mut Report) {
    let (mut one_leader, mut all_alive) = (0, 0);
    let rounds = 10 * bench.rounds;
    for round in 0..rounds {
        let flags =
            [bench.server.flags("together"), vec![format!("--election=together-{round}"), "--ttl=2s".to_owned()]];
        let spawn = |id| Candidate::spawn(&Program::ours(), id, &flags.concat());
        let mut candidates = ["a", "b", "c"].map(spawn);
        wait_until("all name one leader", Duration::from_millis(1), || {
            let names: Vec<String> = candidates.iter_mut().map(|it| it.names().unwrap_or_default()).collect();
            !names[0].is_empty() && names.iter().all(|name| *name == names[0])
        });
        one_leader += u32::from(candidates.iter_mut().map(Candidate::leads).filter(|leads| *leads).count() == 1);
        all_alive += u32::from(candidates.iter_mut().all(Candidate::is_running));
    }
    report.notes.push(format!(
        "Three started together without a Lease, {rounds} times: one leader {one_leader} times, all alive {all_alive} times."
    ));
}
