//! A minute in which nothing happens: what do a leader and its followers ask, and what do they use?

use crate::Bench;
use crate::common::candidate::{Candidate, Usage};
use crate::common::trio::Trio;
use crate::report::{Report, Value};
use std::thread;
use std::time::Duration;

const TTL: &str = "--ttl=15s";
const MINUTE: Duration = Duration::from_secs(60);

/// What one candidate did in the minute; of followers the mean.
#[derive(Clone, Copy, Default)]
struct Use {
    requests: f64,
    cpu_ms: f64,
    rss_mib: f64,
    threads: f64,
    waits_per_second: f64,
}

type Field = fn(&Use) -> f64;

/// All programs rest at the same time, so that they meet the same machine.
pub fn rest(bench: &Bench, report: &mut Report) {
    let start = |(number, program)| Trio::start(&bench.server, program, &format!("rest-{number}"), None, TTL);
    let mut trios: Vec<Trio> = bench.programs.iter().enumerate().map(start).collect();
    let leaders: Vec<usize> = trios.iter_mut().map(Trio::leader).collect();
    thread::sleep(Duration::from_secs(5));
    bench.server.forget_requests();
    let usage = |trios: &[Trio]| -> Vec<Vec<Usage>> {
        trios.iter().map(|trio| trio.candidates.iter().map(Candidate::usage).collect()).collect()
    };
    let before = usage(&trios);
    thread::sleep(MINUTE);
    let after = usage(&trios);
    let requests = bench.server.requests();
    let (mut of_leaders, mut of_followers) = (Vec::new(), Vec::new());
    for (number, trio) in trios.iter().enumerate() {
        let uses = trio.candidates.iter().enumerate().map(|(index, candidate)| {
            let used = after[number][index].since(before[number][index]);
            let account = trio.account(&candidate.id);
            Use {
                requests: requests.iter().filter(|request| request.account == account).count() as f64,
                cpu_ms: used.cpu.as_secs_f64() * 1000.0,
                rss_mib: candidate.status_kb("VmRSS") as f64 / 1024.0,
                threads: used.threads as f64,
                waits_per_second: used.waits as f64 / MINUTE.as_secs_f64(),
            }
        });
        let mut uses: Vec<Use> = uses.collect();
        of_leaders.push(uses.remove(leaders[number]));
        of_followers.push(uses);
    }
    let fields: [(&str, &str, Field); 5] = [
        ("requests a minute", "", |it| it.requests),
        ("time on a processor a minute", "ms", |it| it.cpu_ms),
        ("memory (RSS)", "MiB", |it| it.rss_mib),
        ("threads", "", |it| it.threads),
        ("wake-ups a second", "", |it| it.waits_per_second),
    ];
    let keys = [
        ["leader requests", "leader cpu", "leader rss", "leader threads", "leader wake-ups"],
        ["follower requests", "follower cpu", "follower rss", "follower threads", "follower wake-ups"],
    ];
    for (index, (what, unit, field)) in fields.into_iter().enumerate() {
        let leaders = of_leaders.iter().map(|it| Some(Value::Once(field(it)))).collect();
        let mean = |uses: &Vec<Use>| uses.iter().map(field).sum::<f64>() / uses.len() as f64;
        let followers = of_followers.iter().map(|uses| Some(Value::Once(mean(uses)))).collect();
        report.add(keys[0][index], format!("a leader at rest: {what}"), unit, leaders);
        report.add(keys[1][index], format!("a follower at rest: {what}"), unit, followers);
    }
}
