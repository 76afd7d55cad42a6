//! One election of many candidates: what happens when its leader stops, and what goes on while nothing happens.

use crate::common::candidate::Candidate;
use crate::common::stats::{Spread, number};
use crate::common::{PATIENCE, wait_until};
use crate::{Growth, REST, TTL};
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// What a failover by SIGTERM took and cost.
struct Failover {
    /// Until the new leader names itself, and until all candidates do.
    first_ms: f64,
    all_ms: f64,
    /// Of all candidates, until everything is quiet; the replacement of the old leader is not among them.
    requests: usize,
    conflicts: usize,
    server_cpu_ms: f64,
}

pub fn measure(growth: &Growth, sizes: &[usize]) {
    println!(
        "| candidates | SIGTERM, until one leads (p50, max) | until all name it (p50, max) | requests a candidate | \
         conflicts | API server, CPU | requests a minute at rest | API server, CPU a minute at rest |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for &size in sizes {
        let mut crowd = Crowd::start(growth, size);
        let failovers: Vec<Failover> = (0..growth.rounds).map(|_| crowd.fail_over()).collect();
        let rest = rest(growth);
        let mean = |field: fn(&Failover) -> f64| failovers.iter().map(field).sum::<f64>() / failovers.len() as f64;
        let spread = |field: fn(&Failover) -> f64| Spread::of(failovers.iter().map(field).collect());
        let times = |spread: Spread| format!("{} ms, {} ms", number(spread.p50()), number(spread.max()));
        let requests = spread(|it| it.requests as f64);
        println!(
            "| {size} | {} | {} | {:.2} | {} | {} ms | {} | {} ms |",
            times(spread(|it| it.first_ms)),
            times(spread(|it| it.all_ms)),
            requests.p50() / size as f64,
            number(spread(|it| it.conflicts as f64).p50()),
            number(mean(|it| it.server_cpu_ms)),
            number(rest.requests),
            number(rest.server_cpu_ms),
        );
    }
}

/// What happened in a minute in which nothing happened.
pub struct Rest {
    pub requests: f64,
    pub server_cpu_ms: f64,
}

pub fn rest(growth: &Growth) -> Rest {
    thread::sleep(Duration::from_secs(5));
    growth.server.forget_requests();
    let before = growth.server.usage();
    thread::sleep(REST);
    let used = growth.server.usage() - before;
    let a_minute = 60.0 / REST.as_secs_f64();
    Rest {
        requests: growth.server.requests().len() as f64 * a_minute,
        server_cpu_ms: used.as_secs_f64() * 1000.0 * a_minute,
    }
}

struct Crowd<'a> {
    growth: &'a Growth,
    election: String,
    candidates: Vec<Candidate>,
    started: usize,
}

impl<'a> Crowd<'a> {
    /// Starts them, and waits until all know the leader.
    fn start(growth: &'a Growth, size: usize) -> Crowd<'a> {
        let mut crowd = Crowd { growth, election: format!("crowd-{size}"), candidates: Vec::new(), started: 0 };
        while crowd.candidates.len() < size {
            crowd.add();
            // Not faster than they start: the first one has to win, and the last one to be served.
            if crowd.candidates.len().is_multiple_of(50) {
                crowd.wait_for_all(None);
            }
        }
        crowd.wait_for_all(None);
        crowd
    }

    fn add(&mut self) {
        let election = vec![format!("--election={}", self.election), TTL.to_owned()];
        let flags = [self.growth.server.flags("crowd"), election].concat();
        let id = format!("{}-{}", self.election, self.started);
        self.candidates.push(Candidate::spawn(&self.growth.program, &id, &flags));
        self.started += 1;
    }

    /// Waits until all name the same leader, or this one.
    fn wait_for_all(&mut self, leader: Option<&str>) {
        let deadline = Instant::now() + PATIENCE;
        let mut expected = leader.map(str::to_owned);
        let mut next = 0;
        // Whoever has said so is not asked again.
        while next < self.candidates.len() {
            let named = self.candidates[next].names().filter(|name| !name.is_empty());
            match (&expected, named) {
                (None, Some(name)) => expected = Some(name),
                (Some(expected), Some(name)) if *expected == name => next += 1,
                _ => {
                    assert!(Instant::now() < deadline, "{} never names {expected:?}", self.candidates[next].id);
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn fail_over(&mut self) -> Failover {
        let Growth { server, .. } = self.growth;
        // What a start has to do is done.
        thread::sleep(Duration::from_secs(3));
        let holder = server.record(&self.election).expect("there is a leader").holder;
        let old = self.candidates.iter().position(|it| *it.id == *holder).expect("it is one of them");
        let old = self.candidates.swap_remove(old);
        // The lock says whom to ask: to ask everybody all the time would keep them from their work.
        let mut next = server.watch_holder(&self.election);
        server.forget_requests();
        let used = server.usage();
        let begin = Instant::now();
        old.signal(Signal::TERM);
        let name = next.holder();
        let leader = self.candidates.iter_mut().find(|it| it.id == name).expect("it is one of them");
        wait_until("it leads", Duration::from_micros(200), || leader.leads());
        let first = begin.elapsed();
        self.wait_for_all(Some(&name));
        let all = begin.elapsed();
        // What follows late belongs to it, renewals do not: they are few.
        thread::sleep(Duration::from_secs(1));
        let requests = server.requests();
        let used = server.usage() - used;
        old.wait_to_end();
        self.add();
        self.wait_for_all(Some(&name));
        Failover {
            first_ms: first.as_secs_f64() * 1000.0,
            all_ms: all.as_secs_f64() * 1000.0,
            requests: requests.len(),
            conflicts: requests.iter().filter(|request| request.status == 409).count(),
            server_cpu_ms: used.as_secs_f64() * 1000.0,
        }
    }
}
