//! One election with many candidates: the failover after SIGTERM to the leader, and the load while no leader changes.

use crate::common::candidate::Candidate;
use crate::common::stats::{Samples, format_number};
use crate::common::{TIMEOUT, wait_until};
use crate::{Growth, IDLE_TIME, TTL};
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// The time and the cost of a failover after SIGTERM.
struct Failover {
    /// From SIGTERM until the new leader names itself, and until all candidates name it.
    first_ms: f64,
    all_ms: f64,
    /// The requests of all candidates until one second after that. The replacement of the old leader starts later.
    requests: usize,
    conflicts: usize,
    server_cpu_ms: f64,
}

pub fn measure(growth: &Growth, sizes: &[usize]) {
    println!(
        "| candidates | SIGTERM, until one leads (p50, max) | until all name it (p50, max) | requests per candidate | \
         conflicts | API server, CPU | idle: requests per minute | idle: API server, CPU per minute |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for &size in sizes {
        let mut election = LargeElection::start(growth, size);
        let failovers: Vec<Failover> = (0..growth.rounds).map(|_| election.fail_over()).collect();
        let load = idle_load(growth);
        let mean = |field: fn(&Failover) -> f64| failovers.iter().map(field).sum::<f64>() / failovers.len() as f64;
        let samples = |field: fn(&Failover) -> f64| Samples::of(failovers.iter().map(field).collect());
        let times =
            |samples: Samples| format!("{} ms, {} ms", format_number(samples.p50()), format_number(samples.max()));
        let requests = samples(|it| it.requests as f64);
        println!(
            "| {size} | {} | {} | {:.2} | {} | {} ms | {} | {} ms |",
            times(samples(|it| it.first_ms)),
            times(samples(|it| it.all_ms)),
            requests.p50() / size as f64,
            format_number(samples(|it| it.conflicts as f64).p50()),
            format_number(mean(|it| it.server_cpu_ms)),
            format_number(load.requests),
            format_number(load.server_cpu_ms),
        );
    }
}

/// The load per minute while no leader changes.
pub struct IdleLoad {
    pub requests: f64,
    pub server_cpu_ms: f64,
}

pub fn idle_load(growth: &Growth) -> IdleLoad {
    thread::sleep(Duration::from_secs(5));
    growth.server.forget_requests();
    let before = growth.server.cpu_time();
    thread::sleep(IDLE_TIME);
    let cpu_time = growth.server.cpu_time() - before;
    let per_minute = 60.0 / IDLE_TIME.as_secs_f64();
    IdleLoad {
        requests: growth.server.requests().len() as f64 * per_minute,
        server_cpu_ms: cpu_time.as_secs_f64() * 1000.0 * per_minute,
    }
}

struct LargeElection<'a> {
    growth: &'a Growth,
    name: String,
    candidates: Vec<Candidate>,
    started: usize,
}

impl<'a> LargeElection<'a> {
    /// Starts the candidates, and waits until all name the same leader.
    fn start(growth: &'a Growth, size: usize) -> LargeElection<'a> {
        let mut election = LargeElection { growth, name: format!("large-{size}"), candidates: Vec::new(), started: 0 };
        while election.candidates.len() < size {
            election.add();
            // Do not start all at once: the machine would be too busy for the first candidate to acquire the lock, and
            // for the last one to serve its port.
            if election.candidates.len().is_multiple_of(50) {
                election.wait_for_all(None);
            }
        }
        election.wait_for_all(None);
        election
    }

    fn add(&mut self) {
        let election = vec![format!("--election={}", self.name), TTL.to_owned()];
        let flags = [self.growth.server.flags("large"), election].concat();
        let id = format!("{}-{}", self.name, self.started);
        self.candidates.push(Candidate::spawn(&self.growth.program, &id, &flags));
        self.started += 1;
    }

    /// Waits until all candidates name the same leader: this one, if it is given.
    fn wait_for_all(&mut self, leader: Option<&str>) {
        let deadline = Instant::now() + TIMEOUT;
        let mut expected = leader.map(str::to_owned);
        let mut next = 0;
        // A candidate that has named the leader is not polled again.
        while next < self.candidates.len() {
            let named = self.candidates[next].named_leader().filter(|name| !name.is_empty());
            match (&expected, named) {
                (None, Some(name)) => expected = Some(name),
                (Some(expected), Some(name)) if *expected == name => next += 1,
                _ => {
                    assert!(Instant::now() < deadline, "{} does not name {expected:?}", self.candidates[next].id);
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn fail_over(&mut self) -> Failover {
        let Growth { server, .. } = self.growth;
        // Wait until all candidates have finished their start.
        thread::sleep(Duration::from_secs(3));
        let holder = server.record(&self.name).expect("the Lease has no record").holder;
        let old = self.candidates.iter().position(|it| *it.id == *holder).expect("the holder is one of the candidates");
        let old = self.candidates.swap_remove(old);
        // Polling all candidates would slow them down. So a watch of the Lease shows the next leader, and only that one
        // is polled.
        let mut watch = server.watch_holder(&self.name);
        server.forget_requests();
        let cpu_before = server.cpu_time();
        let begin = Instant::now();
        old.signal(Signal::TERM);
        let name = watch.wait_for_next();
        let leader = self.candidates.iter_mut().find(|it| it.id == name).expect("the holder is one of the candidates");
        wait_until("the next holder names itself", Duration::from_micros(200), || leader.leads());
        let first = begin.elapsed();
        self.wait_for_all(Some(&name));
        let all = begin.elapsed();
        // Count late requests too. This includes a few renewals.
        thread::sleep(Duration::from_secs(1));
        let requests = server.requests();
        let cpu_time = server.cpu_time() - cpu_before;
        old.wait_to_end();
        self.add();
        self.wait_for_all(Some(&name));
        Failover {
            first_ms: first.as_secs_f64() * 1000.0,
            all_ms: all.as_secs_f64() * 1000.0,
            requests: requests.len(),
            conflicts: requests.iter().filter(|request| request.status == 409).count(),
            server_cpu_ms: cpu_time.as_secs_f64() * 1000.0,
        }
    }
}
