//! The leader Service: the leader gets SIGTERM, and the EndpointSlice leads to the next one.

use crate::Bench;
use crate::bare_writes::BareWrites;
use crate::common::candidate::Candidate;
use crate::common::program::Program;
use crate::common::stats::Spread;
use crate::common::{NAMESPACE, wait_until};
use crate::failover::in_ms;
use crate::report::Report;
use leader_elector::leader_service::SliceName;
use rustix::process::Signal;
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

const ELECTION: &str = "service";
const IDS: [&str; 3] = ["a", "b", "c"];

/// From SIGTERM until the slice has the address of the next leader, beside four bare writes: it takes four, one after the
/// other (the old address out, the lock released, the lock taken, the new address in).
pub fn service(bench: &Bench, report: &mut Report) {
    let mut bare = BareWrites::new(&bench.server, "bare-service");
    let spawn = |id: &str| {
        let flags = [
            bench.server.flags(ELECTION),
            [format!("--election={ELECTION}"), format!("--leader-service={ELECTION}:80")].to_vec(),
            [format!("--pod-ip={}", address(id)), "--ttl=15s".to_owned()].to_vec(),
        ];
        Candidate::spawn(&Program::ours(), id, &flags.concat())
    };
    let mut candidates: Vec<Candidate> = IDS.map(spawn).into();
    let (mut handovers, mut four_writes) = (Vec::new(), Vec::new());
    for round in 0..30 * bench.rounds as u64 {
        let leader = leader(bench, &mut candidates);
        thread::sleep(Duration::from_millis(200 + round * 373 % 1000));
        let old = candidates.remove(leader);
        let begin = Instant::now();
        old.signal(Signal::TERM);
        wait_until("the Service routes to the next leader", Duration::from_micros(200), || {
            shown(bench).is_some_and(|shown| shown != address(&old.id))
        });
        handovers.push(in_ms(begin.elapsed()));
        let id = old.id.clone();
        old.wait_to_end();
        candidates.push(spawn(&id));
        four_writes.push(in_ms(bare.write_twice() + bare.write_twice()));
    }
    let (handovers, floor) = (Spread::of(handovers), Spread::of(four_writes));
    report.notes.push(format!(
        "SIGTERM, until the slice of the leader Service has the next leader's address: p50 {:.1} ms (min {:.1}, p99 {:.1}, max \
         {:.1}). Four bare writes: p50 {:.1} ms.",
        handovers.p50(),
        handovers.min(),
        handovers.p99(),
        handovers.max(),
        floor.p50()
    ));
}

/// The index of the leader, as soon as all name it and the slice has its address.
fn leader(bench: &Bench, candidates: &mut [Candidate]) -> usize {
    let mut found = None;
    wait_until("the Service routes to the leader that all name", Duration::from_millis(2), || {
        let names: Vec<_> = candidates.iter_mut().map(Candidate::names).collect();
        found = candidates.iter().position(|it| names.iter().all(|name| name.as_ref() == Some(&it.id)));
        found.is_some_and(|index| shown(bench).as_deref() == Some(&*address(&candidates[index].id)))
    });
    found.expect("it was waited for")
}

fn address(id: &str) -> String {
    let number = IDS.iter().position(|it| *it == id).expect("it is one of them");
    format!("10.1.0.{}", number + 1)
}

/// The address in the slice.
fn shown(bench: &Bench) -> Option<String> {
    let slice = SliceName { namespace: NAMESPACE.to_owned(), name: format!("{ELECTION}-leader") };
    let body = bench.server.api().get(&slice, Duration::from_secs(60)).ok()?;
    let slice: Value = serde_json::from_slice(&body).ok()?;
    Some(slice["endpoints"][0]["addresses"][0].as_str()?.to_owned())
}
