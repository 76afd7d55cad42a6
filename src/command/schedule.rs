//! When a command gets SIGTERM, and when it is killed: `(moment, orders) → step`. No I/O, no clock.
//!
//! Three processes have a schedule for the same command: the warden, the outer warden and the elector. They act one
//! after another, so that a later one has nothing left to do unless the one before is stopped, hung or dead.

use crate::time::Time;
use std::time::Duration;

/// How long before the end of the claim the command is killed.
///
/// A killed process runs no more of its own code, but the kill may be late: the warden must wake up and find the
/// processes in `/proc`. The longest delay comes from a CPU limit: a container that has used up its quota is paused for
/// the rest of a period of 100 ms. Each of the three processes has one such period, and the last one has two.
pub const KILL_MARGIN: Duration = Duration::from_millis(400);

/// How much later each of them kills than the one before.
const LAG: Duration = Duration::from_millis(100);

/// The process to which a schedule belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Inner,
    Outer,
    Elector,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until this moment.
    Wait(Time),
    /// Send SIGTERM to the command. Returned once.
    Ask,
    /// Kill everything that is left of it. Returned from then on.
    Kill,
}

#[derive(Clone, Debug)]
pub(super) struct Schedule {
    lag: Duration,
    stop_timeout: Duration,
    until: Time,
    /// Since when it must end.
    ending: Option<Time>,
    asked: bool,
    /// It got SIGINT, which also asks it to end.
    interrupted: bool,
    /// It must be killed from this moment on, whatever the other fields say.
    dead: Option<Time>,
}

impl Schedule {
    pub(super) fn new(layer: Layer, until: Time, stop_timeout: Duration) -> Schedule {
        let lag = match layer {
            Layer::Inner => Duration::ZERO,
            Layer::Outer => LAG,
            Layer::Elector => LAG * 2,
        };
        Schedule { lag, stop_timeout, until, ending: None, asked: false, interrupted: false, dead: None }
    }

    /// The claim lasts until this moment.
    pub(super) fn renew(&mut self, until: Time) {
        self.until = until;
    }

    /// It must end now, and the claim lasts until this moment.
    pub(super) fn end(&mut self, until: Time, graceful: bool, now: Time) {
        self.until = until;
        self.ending.get_or_insert(now);
        if !graceful {
            self.kill(now);
        }
    }

    /// It must end now, because nobody will renew the claim any more. It gets SIGTERM at once, also after a SIGINT.
    pub(super) fn end_unrenewed(&mut self, now: Time) {
        if std::mem::take(&mut self.interrupted) && !self.asked {
            self.ending = None;
        }
        self.ending.get_or_insert(now);
    }

    /// It has ended, and the processes that it left behind must get SIGTERM too.
    pub(super) fn ask_anew(&mut self, now: Time) {
        self.ending.get_or_insert(now);
        self.asked = false;
        self.interrupted = false;
    }

    /// It must be killed at once.
    pub(super) fn kill(&mut self, now: Time) {
        self.dead.get_or_insert(now);
    }

    /// It must be killed at once, because the process that acts before this one is dead.
    pub(super) fn take_over(&mut self, now: Time) {
        self.lag = Duration::ZERO;
        self.kill(now);
    }

    /// It got SIGINT. It must not get SIGTERM right after that, because many programs, such as those with
    /// controller-runtime, exit at once on a second signal of either kind.
    pub(super) fn interrupted(&mut self) {
        self.interrupted = true;
    }

    pub(super) fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    pub(super) fn step(&mut self, now: Time) -> Step {
        let kill_at = self.kill_at();
        if now >= kill_at {
            return Step::Kill;
        }
        if self.asked {
            return Step::Wait(kill_at);
        }
        let ask_at = self.ask_at();
        if now < ask_at {
            return Step::Wait(kill_at.min(ask_at));
        }
        self.asked = true;
        self.ending.get_or_insert(now);
        Step::Ask
    }

    fn ask_at(&self) -> Time {
        match self.ending {
            Some(since) if self.interrupted => since.saturating_add(self.stop_timeout / 2),
            Some(since) => since,
            None => end_of_work(self.until, self.stop_timeout),
        }
    }

    fn kill_at(&self) -> Time {
        let last = self.until.saturating_sub(KILL_MARGIN);
        let patience = self.ending.map(|since| since.saturating_add(self.stop_timeout));
        let at = [patience, self.dead].into_iter().flatten().fold(last, Time::min);
        at.saturating_add(self.lag)
    }
}

/// When a command with a claim until `until` gets SIGTERM. It is not started after that.
pub(super) fn end_of_work(until: Time, stop_timeout: Duration) -> Time {
    until.saturating_sub(stop_timeout.max(KILL_MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP_TIMEOUT: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Time {
        Time::after_boot(Duration::from_millis(millis))
    }

    fn until_20_s(layer: Layer) -> Schedule {
        Schedule::new(layer, at(20_000), STOP_TIMEOUT)
    }

    #[test]
    fn without_a_renewal_it_gets_sigterm_and_sigkill_in_time() {
        let mut schedule = until_20_s(Layer::Inner);
        assert_eq!(schedule.step(at(0)), Step::Wait(at(18_000)));
        assert_eq!(schedule.step(at(18_000)), Step::Ask);
        assert_eq!(schedule.step(at(18_000)), Step::Wait(at(19_600)));
        assert_eq!(schedule.step(at(19_600)), Step::Kill);
    }

    #[test]
    fn each_layer_kills_before_the_claim_ends_and_after_the_one_before() {
        for (layer, kill_at) in [(Layer::Inner, 19_600), (Layer::Outer, 19_700), (Layer::Elector, 19_800)] {
            let mut schedule = until_20_s(layer);
            assert_eq!(schedule.step(at(18_000)), Step::Ask);
            assert_eq!(schedule.step(at(18_001)), Step::Wait(at(kill_at)));
        }
    }

    #[test]
    fn a_renewal_moves_both_moments() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.renew(at(30_000));
        assert_eq!(schedule.step(at(18_000)), Step::Wait(at(28_000)));
    }

    #[test]
    fn a_renewal_after_sigterm_gives_it_only_the_stop_timeout() {
        let mut schedule = until_20_s(Layer::Inner);
        assert_eq!(schedule.step(at(18_000)), Step::Ask);
        schedule.renew(at(30_000));
        assert_eq!(schedule.step(at(18_001)), Step::Wait(at(20_000)));
    }

    #[test]
    fn after_a_voluntary_end_there_is_the_stop_timeout_within_the_claim() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.end(at(20_000), true, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Ask);
        assert_eq!(schedule.step(at(5_000)), Step::Wait(at(7_000)));
        // The order is repeated with each renewal; the stop timeout does not start again.
        schedule.end(at(22_000), true, at(6_000));
        assert_eq!(schedule.step(at(6_000)), Step::Wait(at(7_000)));
        schedule.end(at(6_500), true, at(6_000));
        assert_eq!(schedule.step(at(6_100)), Step::Kill);
    }

    #[test]
    fn a_command_whose_claim_is_over_is_killed_at_once() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.end(Time::ZERO, true, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Kill);
        let mut schedule = until_20_s(Layer::Inner);
        schedule.end(at(20_000), false, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Kill);
    }

    #[test]
    fn without_a_stop_timeout_it_is_killed_just_before_the_claim_ends() {
        let mut schedule = Schedule::new(Layer::Inner, at(20_000), Duration::ZERO);
        assert_eq!(schedule.step(at(0)), Step::Wait(at(19_600)));
        assert_eq!(schedule.step(at(19_600)), Step::Kill);
    }

    #[test]
    fn taking_over_does_not_wait_for_the_layer_before() {
        let mut schedule = until_20_s(Layer::Outer);
        schedule.end(at(20_000), false, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Ask);
        assert_eq!(schedule.step(at(5_000)), Step::Wait(at(5_100)));
        schedule.take_over(at(5_010));
        assert_eq!(schedule.step(at(5_010)), Step::Kill);
    }

    #[test]
    fn an_elector_that_dies_after_sigint_means_sigterm_at_once() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.interrupted();
        schedule.end(at(20_000), true, at(5_000));
        schedule.end_unrenewed(at(5_200));
        assert_eq!(schedule.step(at(5_200)), Step::Ask);
        assert_eq!(schedule.step(at(5_200)), Step::Wait(at(7_200)));
        schedule.end_unrenewed(at(6_000));
        assert_eq!(schedule.step(at(6_000)), Step::Wait(at(7_200)), "the stop timeout does not start again");
    }

    #[test]
    fn after_sigint_sigterm_is_delayed() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.interrupted();
        schedule.end(at(20_000), true, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Wait(at(6_000)));
        assert_eq!(schedule.step(at(6_000)), Step::Ask);
        assert_eq!(schedule.step(at(6_000)), Step::Wait(at(7_000)));
    }
}
