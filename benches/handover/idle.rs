//! The requests, CPU time and memory of a leader and of its followers, in a minute without a change of the leader.

use crate::Bench;
use crate::common::candidate::{Candidate, ThreadUsage};
use crate::common::election::Election;
use crate::report::{Measurement, Report};
use std::thread;
use std::time::Duration;

const TTL: &str = "--ttl=15s";
const MINUTE: Duration = Duration::from_secs(60);

/// What one candidate did in the minute.
#[derive(Clone, Copy, Default)]
struct IdleMinute {
    requests: f64,
    cpu_ms: f64,
    rss_mib: f64,
    threads: f64,
    waits_per_second: f64,
}

type Field = fn(&IdleMinute) -> f64;

/// All programs run at the same time, so that the load of the machine affects all of them.
pub fn idle(bench: &Bench, report: &mut Report) {
    let start = |(number, program)| Election::start(&bench.server, program, &format!("idle-{number}"), None, TTL);
    let mut elections: Vec<Election> = bench.programs.iter().enumerate().map(start).collect();
    let leaders: Vec<usize> = elections.iter_mut().map(Election::leader).collect();
    thread::sleep(Duration::from_secs(5));
    bench.server.forget_requests();
    let usage = |elections: &[Election]| -> Vec<Vec<ThreadUsage>> {
        elections.iter().map(|election| election.candidates.iter().map(Candidate::usage).collect()).collect()
    };
    let before = usage(&elections);
    thread::sleep(MINUTE);
    let after = usage(&elections);
    let requests = bench.server.requests();
    let (mut of_leaders, mut of_followers) = (Vec::new(), Vec::new());
    for (number, election) in elections.iter().enumerate() {
        let uses = election.candidates.iter().enumerate().map(|(index, candidate)| {
            let used = after[number][index].since(before[number][index]);
            let account = election.account(&candidate.id);
            IdleMinute {
                requests: requests.iter().filter(|request| request.account == account).count() as f64,
                cpu_ms: used.cpu.as_secs_f64() * 1000.0,
                rss_mib: candidate.status_kb("VmRSS") as f64 / 1024.0,
                threads: used.threads as f64,
                waits_per_second: used.waits as f64 / MINUTE.as_secs_f64(),
            }
        });
        let mut uses: Vec<IdleMinute> = uses.collect();
        of_leaders.push(uses.remove(leaders[number]));
        of_followers.push(uses);
    }
    let fields: [(&str, &str, Field); 5] = [
        ("requests per minute", "", |it| it.requests),
        ("CPU time per minute", "ms", |it| it.cpu_ms),
        ("memory (RSS)", "MiB", |it| it.rss_mib),
        ("threads", "", |it| it.threads),
        ("wake-ups per second", "", |it| it.waits_per_second),
    ];
    let keys = [
        ["leader requests", "leader cpu", "leader rss", "leader threads", "leader wake-ups"],
        ["follower requests", "follower cpu", "follower rss", "follower threads", "follower wake-ups"],
    ];
    for (index, (what, unit, field)) in fields.into_iter().enumerate() {
        let leaders = of_leaders.iter().map(|it| Some(Measurement::Single(field(it)))).collect();
        let mean = |uses: &Vec<IdleMinute>| uses.iter().map(field).sum::<f64>() / uses.len() as f64;
        let followers = of_followers.iter().map(|uses| Some(Measurement::Single(mean(uses)))).collect();
        report.add(keys[0][index], format!("idle leader: {what}"), unit, leaders);
        report.add(keys[1][index], format!("idle follower: {what}"), unit, followers);
    }
}
