//! The time from SIGTERM or SIGKILL of the leader until the survivors name the next one.

use crate::Bench;
use crate::bare_writes::{self, BareLease};
use crate::common::api_server::renewed;
use crate::common::election::Election;
use crate::report::Report;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// client-go's default, with a renew deadline of 10 s and a retry period of 2 s.
const TTL: &str = "--ttl=15s";

/// A short lease for the measurement that waits for its end.
const SHORT_TTL: (&str, Duration) = ("--ttl=3s", Duration::from_secs(3));

/// From SIGTERM to the leader until the first survivor names the next one, and until all do. Each round also measures two
/// bare writes, which are the least that a handover needs: the release and the acquisition.
pub fn sigterm(bench: &Bench, report: &mut Report) {
    let mut elections = elections(bench, "sigterm", TTL);
    let mut bare = BareLease::new(&bench.server, "bare");
    let (mut first, mut all, mut two_writes) = (empty(&elections), empty(&elections), Vec::new());
    for round in 0..30 * bench.rounds as u64 {
        for (index, election) in elections.iter_mut().enumerate() {
            // A different time after the last renewal in each round.
            thread::sleep(Duration::from_millis(200 + round * 373 % 1000));
            let begin = Instant::now();
            let handover = election.end_leader(Signal::TERM, |_, _| {});
            first[index].push(in_ms(handover.first - begin));
            all[index].push(in_ms(handover.all - begin));
            two_writes.push(in_ms(bare.write(2)));
        }
    }
    report.add_samples("sigterm first", "SIGTERM, until the first survivor names the next leader", "ms", first);
    report.add_samples("sigterm all", "SIGTERM, until all survivors do", "ms", all);
    bare_writes::note(report, "sigterm first", "Two bare writes of a Lease", two_writes);
}

/// From the end of the killed leader's lease until the survivors name the next one.
pub fn sigkill(bench: &Bench, report: &mut Report) {
    let (ttl, lease) = SHORT_TTL;
    let mut elections = elections(bench, "sigkill", ttl);
    let (mut first, mut all) = (empty(&elections), empty(&elections));
    for round in 0..15 * bench.rounds as u64 {
        for (index, election) in elections.iter_mut().enumerate() {
            thread::sleep(Duration::from_millis(200 + round * 173 % 600));
            let mut due = Instant::now();
            let handover = election.end_leader(Signal::KILL, |server, election| {
                // A renewal that was sent before SIGKILL may still arrive.
                thread::sleep(Duration::from_millis(100));
                let record = server.record(election).expect("the Lease has no record");
                let since_renewal = Duration::from_micros((now_micros() - renewed(&record)).max(0) as u64);
                due = Instant::now() + lease.saturating_sub(since_renewal);
            });
            first[index].push(in_ms_after(due, handover.first));
            all[index].push(in_ms_after(due, handover.all));
        }
    }
    let what = "SIGKILL, from the end of the lease until the first survivor names the next leader";
    report.add_samples("sigkill first", what, "ms", first);
    report.add_samples("sigkill all", "SIGKILL, from the end of the lease until all survivors do", "ms", all);
}

fn elections<'a>(bench: &'a Bench, measurement: &str, ttl: &str) -> Vec<Election<'a>> {
    let start =
        |(number, program)| Election::start(&bench.server, program, &format!("{measurement}-{number}"), None, ttl);
    bench.programs.iter().enumerate().map(start).collect()
}

fn empty(elections: &[Election]) -> Vec<Vec<f64>> {
    vec![Vec::new(); elections.len()]
}

pub fn now_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// The time from `due` to `at` in milliseconds; negative if `at` is earlier.
fn in_ms_after(due: Instant, at: Instant) -> f64 {
    in_ms(at.saturating_duration_since(due)) - in_ms(due.saturating_duration_since(at))
}

pub fn in_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
