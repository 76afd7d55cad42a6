//! The leader ends, by SIGTERM or by SIGKILL: when do the survivors name the next one?

use crate::Bench;
use crate::bare_writes::{self, BareWrites};
use crate::common::api_server::renewed;
use crate::common::trio::Trio;
use crate::report::Report;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// With this lease client-go's defaults are what they are: 15, 10 and 2 seconds.
const TTL: &str = "--ttl=15s";

/// For what has to wait for the end of the lease.
const SHORT_TTL: (&str, Duration) = ("--ttl=3s", Duration::from_secs(3));

/// From SIGTERM to the leader, until a survivor names the next one, and until all do. Beside it, in each round, two bare
/// writes by a client that does nothing else: no handover by way of this API server can be faster.
pub fn sigterm(bench: &Bench, report: &mut Report) {
    let mut trios = trios(bench, "sigterm", TTL);
    let mut bare = BareWrites::new(&bench.server, "bare");
    let (mut first, mut all, mut two_writes) = (empty(&trios), empty(&trios), Vec::new());
    for round in 0..30 * bench.rounds as u64 {
        for (index, trio) in trios.iter_mut().enumerate() {
            // At another moment between two renewals each time.
            thread::sleep(Duration::from_millis(200 + round * 373 % 1000));
            let begin = Instant::now();
            let handover = trio.end_leader(Signal::TERM, |_, _| {});
            first[index].push(in_ms(handover.first - begin));
            all[index].push(in_ms(handover.all - begin));
            two_writes.push(in_ms(bare.write(2)));
        }
    }
    report.add_spreads("sigterm first", "SIGTERM, until the first survivor names the next leader", "ms", first);
    report.add_spreads("sigterm all", "SIGTERM, until all survivors do", "ms", all);
    bare_writes::note(report, "sigterm first", "Two bare writes", two_writes);
}

/// From the moment at which the lease of a killed leader has run out, until the survivors name the next one.
pub fn sigkill(bench: &Bench, report: &mut Report) {
    let (ttl, lease) = SHORT_TTL;
    let mut trios = trios(bench, "sigkill", ttl);
    let (mut first, mut all) = (empty(&trios), empty(&trios));
    for round in 0..15 * bench.rounds as u64 {
        for (index, trio) in trios.iter_mut().enumerate() {
            thread::sleep(Duration::from_millis(200 + round * 173 % 600));
            let mut due = Instant::now();
            let handover = trio.end_leader(Signal::KILL, |server, election| {
                // A renewal that was on its way may still arrive.
                thread::sleep(Duration::from_millis(100));
                let record = server.record(election).expect("there is a leader");
                let since_renewal = Duration::from_micros((now_micros() - renewed(&record)).max(0) as u64);
                due = Instant::now() + lease.saturating_sub(since_renewal);
            });
            first[index].push(in_ms_after(due, handover.first));
            all[index].push(in_ms_after(due, handover.all));
        }
    }
    let what = "SIGKILL, from the end of the lease until the first survivor names the next leader";
    report.add_spreads("sigkill first", what, "ms", first);
    report.add_spreads("sigkill all", "SIGKILL, from the end of the lease until all survivors do", "ms", all);
}

fn trios<'a>(bench: &'a Bench, measure: &str, ttl: &str) -> Vec<Trio<'a>> {
    let start = |(number, program)| Trio::start(&bench.server, program, &format!("{measure}-{number}"), None, ttl);
    bench.programs.iter().enumerate().map(start).collect()
}

fn empty(trios: &[Trio]) -> Vec<Vec<f64>> {
    vec![Vec::new(); trios.len()]
}

pub fn now_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// Negative if it was earlier.
fn in_ms_after(due: Instant, at: Instant) -> f64 {
    in_ms(at.saturating_duration_since(due)) - in_ms(due.saturating_duration_since(at))
}

pub fn in_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
