//! Drives the state machine that ships through faults, on simulated clocks, from one seed a schedule.
//!
//! No threads, no sleeping, no real time: the world jumps from one event to the next. After every step the
//! oracle compares what all candidates would say at that instant; two claims at once fail the schedule, and
//! so does a lock that nobody takes once the faults have ended.
//!
//! `SEED=123 cargo test --test simulation` replays one schedule with its trace; `SCHEDULES=100000` runs more.

mod candidate;
mod chance;
mod model;
mod world;

use world::World;

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
fn no_schedule_of_faults_makes_two_leaders_or_leaves_none() {
    if let Some(seed) = number_from_env("SEED") {
        return World::new(seed, true).run().unwrap_or_else(|failure| panic!("{failure}"));
    }
    let schedules = number_from_env("SCHEDULES").unwrap_or(20_000);
    let fresh = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos() as u64) >> 10;
    // Half of the seeds are always the same, the other half were never seen before.
    for n in 0..schedules {
        let seed = if n % 2 == 0 { n / 2 } else { fresh.wrapping_add(n) };
        if let Err(failure) = World::new(seed, false).run() {
            panic!("{failure}\nreplay it with: SEED={seed} cargo test --test simulation -- --nocapture");
        }
    }
}
