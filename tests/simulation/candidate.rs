//! One candidate of the world: the machine, its clock and its watch.

use leader_elector::election::Election;
use std::time::Duration;

pub struct Candidate {
    pub machine: Election,
    /// Which life this is: what was under way for an earlier one reaches nobody.
    pub life: u64,
    pub running: bool,
    pub paused_until: u64,
    pub wakes_at: u64,
    /// The own clock shows `offset + true time · rate`.
    pub offset: u64,
    pub rate: f64,
    /// The number of history entries its watch has shown; `None` when there is no watch.
    pub watch: Option<usize>,
    pub watch_delivers_at: u64,
    pub last_token: u64,
}

impl Candidate {
    pub fn clock(&self, true_time: u64) -> u64 {
        self.offset + (true_time as f64 * self.rate) as u64
    }

    pub fn true_time_of(&self, clock: Duration) -> u64 {
        let local = (clock.as_nanos() as u64).saturating_sub(self.offset);
        (local as f64 / self.rate).ceil() as u64 + 1
    }

    pub fn claims(&self, true_time: u64) -> bool {
        let now = Duration::from_nanos(self.clock(true_time));
        self.running && self.machine.claim().is_some_and(|claim| now < claim.until)
    }
}
