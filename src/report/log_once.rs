//! Which troubles are worth a line of the log: each once, and again after a while if it lasts.

use crate::time::Time;
use std::collections::HashMap;
use std::time::Duration;

/// A trouble that lasts is told again after this long.
const REMIND_AFTER: Duration = Duration::from_secs(300);
/// One that comes and goes is told again after this long at the earliest.
const RETURN_AFTER: Duration = Duration::from_secs(30);
/// As many different troubles of one topic are told in [`REMIND_AFTER`]: a message may hold a number that is
/// new each time.
const MOST_TROUBLES: usize = 5;

/// The troubles told lately, by topic.
#[derive(Debug, Default)]
pub struct LogOnce(HashMap<&'static str, Vec<Trouble>>);

#[derive(Debug)]
struct Trouble {
    message: String,
    told: Time,
    over: bool,
}

impl LogOnce {
    /// Whether this is to be told; if so it counts as told.
    pub fn is_news(&mut self, topic: &'static str, message: &str, now: Time) -> bool {
        let troubles = self.0.entry(topic).or_default();
        troubles.retain(|trouble| now < trouble.told.saturating_add(REMIND_AFTER));
        let known = troubles.iter().position(|trouble| trouble.message == message);
        let is_news = match known.map(|index| &troubles[index]) {
            Some(trouble) => trouble.over && now >= trouble.told.saturating_add(RETURN_AFTER),
            None => troubles.len() < MOST_TROUBLES,
        };
        if is_news {
            known.map(|index| troubles.swap_remove(index));
            troubles.push(Trouble { message: message.to_owned(), told: now, over: false });
        }
        is_news
    }

    /// The troubles of a topic are over; whether that is news.
    pub fn over(&mut self, topic: &'static str) -> bool {
        let troubles = self.0.get_mut(topic).into_iter().flatten();
        troubles.map(|trouble| !std::mem::replace(&mut trouble.over, true)).fold(false, |any, it| any | it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::after_boot(Duration::from_secs(1000));

    #[test]
    fn a_trouble_that_lasts_is_told_again_and_a_new_one_at_once() {
        let mut log_once = LogOnce::default();
        assert!(log_once.is_news("updating", "lost", START));
        assert!(!log_once.is_news("updating", "lost", START.saturating_add(REMIND_AFTER / 2)));
        assert!(log_once.is_news("updating", "refused", START.saturating_add(REMIND_AFTER / 2)));
        assert!(log_once.is_news("watching", "lost", START.saturating_add(REMIND_AFTER / 2)));
        assert!(log_once.is_news("updating", "lost", START.saturating_add(REMIND_AFTER)));
    }

    #[test]
    fn messages_that_are_new_each_time_do_not_flood_the_log() {
        let mut log_once = LogOnce::default();
        let told = (0..100).filter(|n| log_once.is_news("getting", &n.to_string(), START)).count();
        assert_eq!(told, MOST_TROUBLES);
    }

    #[test]
    fn a_trouble_that_comes_and_goes_is_told_now_and_then() {
        let mut log_once = LogOnce::default();
        assert!(!log_once.over("updating"));
        assert!(log_once.is_news("updating", "lost", START));
        assert!(log_once.over("updating"));
        assert!(!log_once.over("updating"));
        assert!(!log_once.is_news("updating", "lost", START.saturating_add(RETURN_AFTER / 2)));
        assert!(!log_once.over("updating"));
        assert!(log_once.is_news("updating", "lost", START.saturating_add(RETURN_AFTER)));
        assert!(log_once.over("updating"));
    }
}
