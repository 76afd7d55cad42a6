//! Limits the log: each problem is logged once, and again after a while if it lasts.

use crate::time::Time;
use std::collections::HashMap;
use std::time::Duration;

/// A problem that lasts is logged again after this time.
const REMIND_AFTER: Duration = Duration::from_secs(300);
/// A problem that comes and goes is logged again after this time at the earliest.
const RETURN_AFTER: Duration = Duration::from_secs(30);
/// The maximum number of different problems logged per topic in [`REMIND_AFTER`], since a message may contain a number
/// that is new each time.
const MAX_PROBLEMS: usize = 5;

/// The recently logged problems, by topic.
#[derive(Debug, Default)]
pub struct LogOnce(HashMap<&'static str, Vec<Problem>>);

#[derive(Debug)]
struct Problem {
    message: String,
    last_logged: Time,
    over: bool,
}

impl LogOnce {
    /// Whether to log this. If so, it is recorded as logged.
    pub fn should_log(&mut self, topic: &'static str, message: &str, now: Time) -> bool {
        let problems = self.0.entry(topic).or_default();
        problems.retain(|problem| now < problem.last_logged.saturating_add(REMIND_AFTER));
        let known = problems.iter().position(|problem| problem.message == message);
        let should_log = match known.map(|index| &problems[index]) {
            Some(problem) => problem.over && now >= problem.last_logged.saturating_add(RETURN_AFTER),
            None => problems.len() < MAX_PROBLEMS,
        };
        if should_log {
            known.map(|index| problems.swap_remove(index));
            problems.push(Problem { message: message.to_owned(), last_logged: now, over: false });
        }
        should_log
    }

    /// The problems of a topic are over. Returns whether any was not over before.
    pub fn over(&mut self, topic: &'static str) -> bool {
        let problems = self.0.get_mut(topic).into_iter().flatten();
        problems.map(|problem| !std::mem::replace(&mut problem.over, true)).fold(false, |any, it| any | it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::after_boot(Duration::from_secs(1000));

    #[test]
    fn a_lasting_problem_is_logged_again_and_a_new_one_at_once() {
        let mut log_once = LogOnce::default();
        assert!(log_once.should_log("updating", "lost", START));
        assert!(!log_once.should_log("updating", "lost", START.saturating_add(REMIND_AFTER / 2)));
        assert!(log_once.should_log("updating", "refused", START.saturating_add(REMIND_AFTER / 2)));
        assert!(log_once.should_log("watching", "lost", START.saturating_add(REMIND_AFTER / 2)));
        assert!(log_once.should_log("updating", "lost", START.saturating_add(REMIND_AFTER)));
    }

    #[test]
    fn messages_that_are_new_each_time_do_not_flood_the_log() {
        let mut log_once = LogOnce::default();
        let last_logged = (0..100).filter(|n| log_once.should_log("getting", &n.to_string(), START)).count();
        assert_eq!(last_logged, MAX_PROBLEMS);
    }

    #[test]
    fn a_recurring_problem_is_logged_sometimes() {
        let mut log_once = LogOnce::default();
        assert!(!log_once.over("updating"));
        assert!(log_once.should_log("updating", "lost", START));
        assert!(log_once.over("updating"));
        assert!(!log_once.over("updating"));
        assert!(!log_once.should_log("updating", "lost", START.saturating_add(RETURN_AFTER / 2)));
        assert!(!log_once.over("updating"));
        assert!(log_once.should_log("updating", "lost", START.saturating_add(RETURN_AFTER)));
        assert!(log_once.over("updating"));
    }
}
