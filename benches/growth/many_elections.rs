//! Many elections of three candidates: what goes on while nothing happens, and how long a failover takes in one of them.

use crate::common::stats::{Spread, number};
use crate::common::trio::Trio;
use crate::many_candidates::rest;
use crate::{Growth, TTL};
use rustix::process::Signal;
use std::time::Instant;

pub fn measure(growth: &Growth, elections: usize) {
    // One account for all: the API server has no less to do.
    let start = |number| Trio::start(&growth.server, &growth.program, &format!("many-{number}"), Some("many"), TTL);
    let mut trios: Vec<Trio> = (0..elections).map(start).collect();
    let rest = rest(growth);
    let memory: u64 = trios.iter().flat_map(|trio| &trio.candidates).map(|it| it.status_kb("VmRSS")).sum();
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for round in 0..4 * growth.rounds {
        // Spread over all of them.
        let trio = &mut trios[round * 7919 % elections];
        let begin = Instant::now();
        let handover = trio.end_leader(Signal::TERM, |_, _| {});
        first.push((handover.first - begin).as_secs_f64() * 1000.0);
        all.push((handover.all - begin).as_secs_f64() * 1000.0);
    }
    let (first, all) = (Spread::of(first), Spread::of(all));
    println!(
        "\n{elections} elections of three: at rest {} requests a minute, {} ms of CPU of the API server a minute; {} MiB of \
         memory; SIGTERM to one leader, until one survivor names the next one p50 {} ms, most {} ms, until both do p50 {} \
         ms, most {} ms.",
        number(rest.requests),
        number(rest.server_cpu_ms),
        number(memory as f64 / 1024.0),
        number(first.p50()),
        number(first.max()),
        number(all.p50()),
        number(all.max()),
    );
}
