//! Measurements of leader-elector only, because the other programs do not promise this: a paused leader does not name
//! itself after it resumes, and candidates that start at the same time elect one leader and do not exit.

use crate::Bench;
use crate::common::candidate::Candidate;
use crate::common::election::Election;
use crate::common::program::Program;
use crate::common::wait_until;
use crate::report::Report;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// Pauses the leader for 2 L, and polls it without a break as soon as it resumes.
pub fn pause(bench: &Bench, report: &mut Report) {
    let (mut asked, mut named) = (0, 0);
    let rounds = 10 * bench.rounds;
    let mut election = Election::start(&bench.server, &Program::leader_elector(), "pause", None, "--ttl=1s");
    for _ in 0..rounds {
        let leader = election.leader();
        let paused = &mut election.candidates[leader];
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
        "A leader was paused for 2 L and resumed, {rounds} times. It was asked {asked} times and named itself {named} times."
    ));
}

/// Starts three candidates at the same time, while the Lease does not exist.
pub fn together(bench: &Bench, report: &mut Report) {
    let (mut one_leader, mut all_alive) = (0, 0);
    let rounds = 10 * bench.rounds;
    for round in 0..rounds {
        let flags =
            [bench.server.flags("together"), vec![format!("--election=together-{round}"), "--ttl=2s".to_owned()]];
        let spawn = |id| Candidate::spawn(&Program::leader_elector(), id, &flags.concat());
        let mut candidates = ["a", "b", "c"].map(spawn);
        wait_until("all candidates name the same leader", Duration::from_millis(1), || {
            let names: Vec<String> = candidates.iter_mut().map(|it| it.named_leader().unwrap_or_default()).collect();
            !names[0].is_empty() && names.iter().all(|name| *name == names[0])
        });
        one_leader += u32::from(candidates.iter_mut().map(Candidate::leads).filter(|leads| *leads).count() == 1);
        all_alive += u32::from(candidates.iter_mut().all(Candidate::is_running));
    }
    report.notes.push(format!(
        "Three candidates were started at the same time without a Lease, {rounds} times. There was one leader {one_leader} times, and no candidate had exited {all_alive} times."
    ));
}
