//! Many elections with three candidates each: the load while no leader changes, and the time of a failover in one of them.

use crate::common::election::Election;
use crate::common::stats::{Samples, format_number};
use crate::many_candidates::idle_load;
use crate::{Growth, TTL};
use rustix::process::Signal;
use std::time::Instant;

pub fn measure(growth: &Growth, count: usize) {
    // All share one service account. That does not reduce the load on the API server.
    let start = |number| Election::start(&growth.server, &growth.program, &format!("many-{number}"), Some("many"), TTL);
    let mut elections: Vec<Election> = (0..count).map(start).collect();
    let load = idle_load(growth);
    let memory: u64 = elections.iter().flat_map(|election| &election.candidates).map(|it| it.status_kb("VmRSS")).sum();
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for round in 0..4 * growth.rounds {
        // 7919 is prime: the rounds use elections from the whole list.
        let election = &mut elections[round * 7919 % count];
        let begin = Instant::now();
        let handover = election.end_leader(Signal::TERM, |_, _| {});
        first.push((handover.first - begin).as_secs_f64() * 1000.0);
        all.push((handover.all - begin).as_secs_f64() * 1000.0);
    }
    let (first, all) = (Samples::of(first), Samples::of(all));
    println!(
        "\n{count} elections of three candidates. Idle: {} requests per minute, {} ms of API server CPU per minute; {} MiB of \
         memory. From SIGTERM to one leader until the first survivor names the next one: p50 {} ms, max {} ms; until both \
         do: p50 {} ms, max {} ms.",
        format_number(load.requests),
        format_number(load.server_cpu_ms),
        format_number(memory as f64 / 1024.0),
        format_number(first.p50()),
        format_number(first.max()),
        format_number(all.p50()),
        format_number(all.max()),
    );
}
