//! Runs a limited number of schedules.

use simulation::plan::Faults;
use simulation::schedule::run_many;

#[test]
fn no_schedule_of_faults_breaks_the_contract() {
    let fresh = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64) >> 16;
    // Half of the seeds are fixed, the other half are new in each run.
    let seed_of = |number: u64| if number % 4 < 2 { number } else { fresh.wrapping_add(number) };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (total, failure) = run_many(threads, Faults::ALL, seed_of, |number| number < 10_000);
    if let Some((_, failure)) = failure {
        panic!("{}\nreplay it with: {}", failure.violation, failure.replay());
    }
    assert_eq!(total.schedules, 10_000);
    assert!(total.sum.terms > 10_000, "hardly anybody ever led: {total:?}");
}
