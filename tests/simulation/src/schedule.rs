//! Runs many schedules, and minimises one that fails.

use crate::oracle::Violation;
use crate::plan::{Fault, Faults};
use crate::world::{Summary, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

/// A schedule that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    /// The faults that it needs to fail, or to fail as early.
    pub faults: Faults,
    pub violation: Violation,
}

/// Runs the schedule of a seed. A panic of the state machine is a violation too.
pub fn run(seed: u64, faults: Faults, trace: bool) -> Result<Summary, Violation> {
    let world = AssertUnwindSafe(|| World::new(seed, faults, trace).run());
    catch_unwind(world).unwrap_or_else(|_| Err(Violation { rule: "panic", at: 0, what: "see above".into() }))
}

/// Leaves out one kind of fault after another, as long as the schedule still fails.
pub fn shrink(seed: u64, faults: Faults, violation: Violation) -> Failure {
    let mut failure = Failure { seed, faults, violation };
    for &fault in Fault::ALL {
        let fewer = failure.faults.without(fault);
        if fewer != failure.faults
            && let Err(violation) = run(seed, fewer, false)
        {
            failure = Failure { seed, faults: fewer, violation };
        }
    }
    failure
}

impl Failure {
    /// The faults that were left out.
    fn left_out(&self) -> Vec<String> {
        Fault::ALL.iter().filter(|fault| !self.faults.has(**fault)).map(|fault| fault.name()).collect()
    }

    /// The command that replays the failure with a trace.
    pub fn replay(&self) -> String {
        let left_out = self.left_out();
        let without = if left_out.is_empty() { String::new() } else { format!(" --without={}", left_out.join(",")) };
        format!("just simulate --seed={}{without}   # at {}", self.seed, commit())
    }
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let name = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    name.map_or("an unknown commit".into(), |name| String::from_utf8_lossy(&name).trim().to_owned())
}

/// The sum of many summaries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    pub schedules: u64,
    pub least_events: u64,
    pub sum: Summary,
}

impl Total {
    pub fn of(it: Summary) -> Total {
        Total { schedules: 1, least_events: it.events, sum: it }
    }

    #[must_use]
    pub fn join(mut self, other: Total) -> Total {
        let both = [self, other].into_iter().filter(|total| total.schedules > 0);
        self.least_events = both.map(|total| total.least_events).min().unwrap_or(0);
        self.schedules += other.schedules;
        self.sum += other.sum;
        self
    }
}

/// Runs schedules 0, 1, 2, …, whose seeds `seed_of` gives, on several threads, until `wanted` returns false or one
/// fails.
pub fn run_many(
    threads: u64,
    faults: Faults,
    seed_of: impl Fn(u64) -> u64 + Sync,
    wanted: impl Fn(u64) -> bool + Sync,
) -> (Total, Option<(u64, Failure)>) {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let failed = AtomicBool::new(false);
    let work = &|thread: u64| {
        let mut total = Total::default();
        let mut number = thread;
        while wanted(number) && !failed.load(Relaxed) {
            match run(seed_of(number), faults, false) {
                Ok(summary) => total = total.join(Total::of(summary)),
                Err(violation) => {
                    failed.store(true, Relaxed);
                    return (total, Some((number, Failure { seed: seed_of(number), faults, violation })));
                }
            }
            number += threads;
        }
        (total, None)
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it catches panics itself")).collect()
    });
    let total = results.iter().fold(Total::default(), |sum, (total, _)| sum.join(*total));
    let failure = results.into_iter().filter_map(|(_, failure)| failure).min_by_key(|(number, _)| *number);
    let shrunk = failure.map(|(number, it)| (number, shrink(it.seed, it.faults, it.violation)));
    (total, shrunk)
}
