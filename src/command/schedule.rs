//! When a command is asked to end, and when it is killed: `(moment, what was said) → step`. No I/O, no clock.
//!
//! Three processes each hold one of these for the same command: its warden, the warden's warden, and the elector. They
//! act one after the other, so that the ones further out find nothing left to do unless the one before is stopped, hung
//! or dead.

use crate::time::Time;
use std::time::Duration;

/// How long before the end of the claim the command is killed.
///
/// A killed process runs no more of its own code from the moment of the kill, but that moment may come late: the warden
/// has to wake up, and to find the processes in `/proc`. What takes longest is a CPU limit: a container that has used up
/// its quota stands still for the rest of a period of 100 ms. The three that kill have one such period each, and the last
/// has two.
pub const KILL_MARGIN: Duration = Duration::from_millis(400);

/// How much later than the one before each of them kills.
const LAG: Duration = Duration::from_millis(100);

/// Whose schedule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Inner,
    Outer,
    Elector,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this moment.
    Wait(Time),
    /// Ask the command to end. Said once.
    Ask,
    /// Kill whatever is left of it. Said from then on.
    Kill,
}

#[derive(Clone, Debug)]
pub(super) struct Schedule {
    lag: Duration,
    stop_timeout: Duration,
    until: Time,
    /// Since when it is to end.
    ending: Option<Time>,
    asked: bool,
    /// It got a SIGINT, which asks it to end as well.
    interrupted: bool,
    /// It is to be killed from this moment on, whatever the rest says.
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

    /// The claim holds until this moment.
    pub(super) fn renew(&mut self, until: Time) {
        self.until = until;
    }

    /// It is to end now, and the claim holds until that moment.
    pub(super) fn end(&mut self, until: Time, graceful: bool, now: Time) {
        self.until = until;
        self.ending.get_or_insert(now);
        if !graceful {
            self.kill(now);
        }
    }

    /// It is to end now, for nobody will renew the claim any more.
    pub(super) fn end_unrenewed(&mut self, now: Time) {
        self.ending.get_or_insert(now);
    }

    /// It has ended, and what it has left behind is to be asked to end as well.
    pub(super) fn ask_anew(&mut self, now: Time) {
        self.ending.get_or_insert(now);
        self.asked = false;
        self.interrupted = false;
    }

    /// It is to be killed at once.
    pub(super) fn kill(&mut self, now: Time) {
        self.dead.get_or_insert(now);
    }

    /// It is to be killed at once, and who was to do it before this one is dead.
    pub(super) fn take_over(&mut self, now: Time) {
        self.lag = Duration::ZERO;
        self.kill(now);
    }

    /// It got a SIGINT. A SIGTERM right behind it would be too much: many programs, those of controller-runtime among
    /// them, take the second signal of either kind as the order to give up at once.
    pub(super) fn interrupted(&mut self) {
        self.interrupted = true;
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

/// When a command is asked to end that may run on a claim until `until`; it is not begun after that.
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
    fn without_a_renewal_it_is_asked_in_time_and_killed_in_time() {
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
    fn a_renewal_that_comes_after_it_was_asked_gives_it_the_time_to_end_and_no_more() {
        let mut schedule = until_20_s(Layer::Inner);
        assert_eq!(schedule.step(at(18_000)), Step::Ask);
        schedule.renew(at(30_000));
        assert_eq!(schedule.step(at(18_001)), Step::Wait(at(20_000)));
    }

    #[test]
    fn one_that_is_to_end_has_the_stop_timeout_within_the_claim() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.end(at(20_000), true, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Ask);
        assert_eq!(schedule.step(at(5_000)), Step::Wait(at(7_000)));
        // It is said again with each renewal; the patience does not begin anew.
        schedule.end(at(22_000), true, at(6_000));
        assert_eq!(schedule.step(at(6_000)), Step::Wait(at(7_000)));
        schedule.end(at(6_500), true, at(6_000));
        assert_eq!(schedule.step(at(6_100)), Step::Kill);
    }

    #[test]
    fn one_whose_claim_is_over_is_killed_at_once() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.end(Time::ZERO, true, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Kill);
        let mut schedule = until_20_s(Layer::Inner);
        schedule.end(at(20_000), false, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Kill);
    }

    #[test]
    fn without_patience_it_is_asked_and_killed_just_before_the_claim_ends() {
        let mut schedule = Schedule::new(Layer::Inner, at(20_000), Duration::ZERO);
        assert_eq!(schedule.step(at(0)), Step::Wait(at(19_600)));
        assert_eq!(schedule.step(at(19_600)), Step::Kill);
    }

    #[test]
    fn who_takes_over_does_not_wait_for_the_one_before() {
        let mut schedule = until_20_s(Layer::Outer);
        schedule.end(at(20_000), false, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Ask);
        assert_eq!(schedule.step(at(5_000)), Step::Wait(at(5_100)));
        schedule.take_over(at(5_010));
        assert_eq!(schedule.step(at(5_010)), Step::Kill);
    }

    #[test]
    fn one_that_was_interrupted_is_not_asked_twice_at_once() {
        let mut schedule = until_20_s(Layer::Inner);
        schedule.interrupted();
        schedule.end(at(20_000), true, at(5_000));
        assert_eq!(schedule.step(at(5_000)), Step::Wait(at(6_000)));
        assert_eq!(schedule.step(at(6_000)), Step::Ask);
        assert_eq!(schedule.step(at(6_000)), Step::Wait(at(7_000)));
    }
}
