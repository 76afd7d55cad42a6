//! Three processes at a server that fails, and at most one of them leads.
//!
//! They are stopped, continued, killed, told to leave, replaced and started anew, their server is frozen, taken down and
//! loses what it is sent, and all the while each is asked who leads. A seed draws the [`plan`], the [`fleet`] carries it
//! out, and the [`judge`] looks at all that was sent, stored and said. No verdict depends on how fast this machine is.
//!
//! `SEED` is the seed of the first game, `CHAOS_SECONDS` how long games are begun one after the other, each with the next
//! seed. A seed repeats what is done, not what comes of it: the processes are real ones.
//!
//! A binary of its own, because its games take the whole machine for as long as `CHAOS_SECONDS` says.

#[path = "../common/mod.rs"]
mod common;
mod fleet;
mod judge;
mod plan;
mod verdicts;

use common::lock::KINDS;
use fleet::{Fleet, Process, process_of};
use judge::{Evidence, Summary, Witness};
use plan::{LEASE, Plan};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a game is, without its end.
const GAME: Duration = Duration::from_secs(15);

#[test]
fn whatever_befalls_them_at_most_one_leads_and_afterwards_one_does() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let mut seed = setting("SEED").unwrap_or_else(now);
    let length = setting("CHAOS_SECONDS").map_or(GAME, Duration::from_secs);
    let start = Instant::now();
    while start.elapsed() < length {
        play(seed, GAME.min(length));
        seed += 1;
    }
}

/// A setting in the environment; an empty one is none.
fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

fn play(seed: u64, length: Duration) {
    let plan = Plan::new(seed, length, &KINDS);
    println!("SEED={seed}: {} deeds, lock={}, D={:?}", plan.deeds.len(), plan.kind, plan.renew_deadline);
    let mut fleet = Fleet::new(&plan);
    fleet.play(&plan);
    fleet.settle();
    fleet.leave();
    let evidence = evidence(&plan, &mut fleet);
    match evidence.judge() {
        Ok(Summary { processes, changes, answers, terms }) => {
            println!(
                "SEED={seed}: {processes} processes, {changes} changes of the lock, {answers} answers, {terms} terms proved"
            );
        }
        Err(violation) => {
            print_file(&fleet, &evidence);
            panic!("SEED={seed}: {violation}");
        }
    }
}

fn evidence(plan: &Plan, fleet: &mut Fleet) -> Evidence {
    let server = &fleet.lock.server;
    let is_write = |verb: &str| ["create", "update"].contains(&verb);
    let requests = server.requests().into_iter().filter(|request| is_write(request.verb));
    let witness = |process: &mut Process| Witness {
        identity: Process::name(process.member),
        died: process.died,
        answers: std::mem::take(&mut process.answers),
    };
    Evidence {
        start: fleet.start,
        lease: LEASE,
        renew_deadline: plan.renew_deadline,
        requests: requests.filter_map(|request| Some((process_of(request.user.as_deref()?)?, request))).collect(),
        history: server.history(),
        processes: fleet.processes.iter_mut().map(witness).collect(),
    }
}

/// All that helps to understand a verdict.
fn print_file(fleet: &Fleet, evidence: &Evidence) {
    let at = |moment: Instant| moment.saturating_duration_since(fleet.start).as_secs_f64();
    for (change, holder) in fleet.lock.changes() {
        println!("{:8.3} s the lock at {}: holder {holder:?}", at(change.when), change.resource_version);
    }
    for (process, request) in &evidence.requests {
        println!("{:8.3} s process {process}: {} {:?}", at(request.when), request.verb, request.status);
    }
    for (number, process) in fleet.processes.iter().enumerate() {
        println!("--- process {number}, {}:\n{}", Process::name(process.member), process.log());
    }
}
