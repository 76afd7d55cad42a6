//! Three real processes and an API server with faults: at most one of them leads.
//!
//! The processes are paused, killed, stopped, replaced and restarted. The server is frozen, taken down, and drops
//! requests and answers. In the meantime each process is asked all the time who leads. A seed determines the [`plan`],
//! the [`fleet`] carries it out, and [`evidence`] checks everything that was sent, stored and said. The result does not
//! depend on the speed of the machine.
//!
//! `SEED` is the seed of the first run. For `CHAOS_SECONDS` further runs follow, each with the next seed. A seed
//! repeats the actions, but not their effects, because the processes are real.
//!
//! This is a binary of its own, because its runs use the whole machine for `CHAOS_SECONDS`.

#[path = "../common/mod.rs"]
mod common;
mod evidence;
mod evidence_tests;
mod fleet;
mod plan;
mod replay;

use common::lock::KINDS;
use evidence::{Evidence, ProcessTrace, Summary};
use fleet::{Fleet, Process, process_of};
use plan::{LEASE, Plan};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The length of a run, without its end.
const LENGTH: Duration = Duration::from_secs(15);

#[test]
fn during_faults_at_most_one_leads_and_afterwards_one_does() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let mut seed = setting("SEED").unwrap_or_else(now);
    let length = setting("CHAOS_SECONDS").map_or(LENGTH, Duration::from_secs);
    let start = Instant::now();
    while start.elapsed() < length {
        run(seed, LENGTH.min(length));
        seed += 1;
    }
}

/// A variable in the environment, unless it is empty.
fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

fn run(seed: u64, length: Duration) {
    let plan = Plan::new(seed, length, &KINDS);
    println!("SEED={seed}: {} actions, lock={}, D={:?}", plan.actions.len(), plan.kind, plan.renew_deadline);
    let mut fleet = Fleet::new(&plan);
    fleet.run(&plan);
    fleet.wait_for_agreement();
    fleet.stop_all();
    let evidence = evidence(&plan, &mut fleet);
    match evidence.check() {
        Ok(Summary { processes, changes, answers, terms }) => {
            println!(
                "SEED={seed}: {processes} processes, {changes} changes of the lock, {answers} answers, {terms} terms proved"
            );
        }
        Err(violation) => {
            print_details(&fleet, &evidence);
            panic!("SEED={seed}: {violation}");
        }
    }
}

fn evidence(plan: &Plan, fleet: &mut Fleet) -> Evidence {
    let server = &fleet.lock.server;
    let is_write = |verb: &str| ["create", "update"].contains(&verb);
    let requests = server.requests().into_iter().filter(|request| is_write(request.verb));
    let trace = |process: &mut Process| ProcessTrace {
        identity: Process::name(process.member),
        died: process.died,
        terminated: process.terminated,
        answers: std::mem::take(&mut process.answers),
    };
    Evidence {
        start: fleet.start,
        lease: LEASE,
        renew_deadline: plan.renew_deadline,
        requests: requests.filter_map(|request| Some((process_of(request.user.as_deref()?)?, request))).collect(),
        history: server.history(),
        processes: fleet.processes.iter_mut().map(trace).collect(),
    }
}

/// Prints everything that helps to understand a violation.
fn print_details(fleet: &Fleet, evidence: &Evidence) {
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
