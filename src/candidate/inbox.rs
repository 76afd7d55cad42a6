//! What waits for the candidate: bounded, whatever comes in, and the urgent first.
//!
//! A stop goes before replies, replies before the reports of what is bound to the leadership, those before the alarm, the alarm
//! before the health check, and that before news. Reports follow what the candidate has told, or a pause. There is at
//! most one stop, one alarm, one result of a check, and for each lock one reply and a [`WatchQueue`]. News are taken at a limited rate, so that a server that floods a watch
//! costs neither the processor nor the log; who delivers them waits for nothing but the end of the watch before to be
//! taken.

use super::rate_limit::RateLimit;
use super::requester::Outcome;
use super::tasks::TaskReport;
use super::watch_queue::WatchQueue;
use super::watcher::News;
use crate::time::Time;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// News of one lock that are taken at once after a pause. A lock is written to once in R, and by others now and then.
const NEWS_BURST: u32 = 64;

/// A request was never sent: the object in hand is not the one to be replaced.
#[derive(Debug)]
pub(super) struct NotSent;

/// How a request ended.
pub(super) type Ended = Result<Outcome, NotSent>;

/// What reaches the candidate.
#[derive(Debug)]
pub(super) enum Input {
    /// Leave.
    Stop,
    /// The request of this number about the lock of this index ended.
    Ended(usize, u64, Ended),
    /// What became of something that is bound to the leadership.
    Task(TaskReport),
    /// The moment that was waited for has come.
    Rang,
    /// A health check of the application ended; the error says what is wrong.
    Checked(Result<(), String>),
    /// What the watch of the lock of this index showed, and a moment before which that had not come.
    Watch(usize, Time, News),
}

/// The candidate's end. When it is dropped, whoever delivers is told so.
pub(super) struct Inbox(Arc<Shared>);

/// The other end; may be cloned and used by any thread.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something was added.
    added: Condvar,
    /// News were taken, or nothing will be any more.
    taken: Condvar,
}

struct State {
    stopped: bool,
    reports: VecDeque<TaskReport>,
    rang: bool,
    checked: Option<Result<(), String>>,
    locks: Vec<OfLock>,
    closed: bool,
}

/// What waits of one lock.
struct OfLock {
    reply: Option<(u64, Ended)>,
    news: WatchQueue,
    limit: RateLimit,
    /// A state that has passed was taken, and not yet the one that came after it.
    is_behind: bool,
}

impl Inbox {
    /// For so many locks; once there were many news of one, one a `period` is taken of it.
    pub(super) fn new(locks: usize, period: Duration) -> Inbox {
        let of_lock = || OfLock {
            reply: None,
            news: WatchQueue::default(),
            limit: RateLimit::new(NEWS_BURST, period, Instant::now()),
            is_behind: false,
        };
        let locks = std::iter::repeat_with(of_lock).take(locks).collect();
        let state = Mutex::new(State {
            stopped: false,
            reports: VecDeque::new(),
            rang: false,
            checked: None,
            locks,
            closed: false,
        });
        Inbox(Arc::new(Shared { state, added: Condvar::new(), taken: Condvar::new() }))
    }

    pub(super) fn outbox(&self) -> Outbox {
        Outbox(Arc::clone(&self.0))
    }

    /// Waits for what is most urgent, and takes it.
    pub(super) fn take(&self) -> Input {
        let mut state = self.0.lock();
        loop {
            if let Some(input) = state.take_urgent() {
                self.0.taken.notify_all();
                return input;
            }
            // This clock may stand still while the machine sleeps: news then wait a little longer.
            let now = Instant::now();
            let wait = match state.take_news(now) {
                Ok(input) => {
                    self.0.taken.notify_all();
                    return input;
                }
                Err(wait) => wait,
            };
            state = match wait {
                None => self.0.added.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => self.0.added.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.taken.notify_all();
    }
}

impl Outbox {
    pub(super) fn stop(&self) {
        self.add(|state| state.stopped = true);
    }

    /// `false` when the candidate is gone.
    pub(super) fn ring(&self) -> bool {
        self.add(|state| state.rang = true)
    }

    /// What became of something that is bound to the leadership.
    pub(super) fn task(&self, report: TaskReport) {
        self.add(|state| state.reports.push_back(report));
    }

    /// The result of a health check; `false` when the candidate is gone. Waits until the one before was taken: each of them
    /// counts.
    pub(super) fn checked(&self, result: Result<(), String>) -> bool {
        let state = self.0.lock();
        let is_full = |state: &mut State| !state.closed && state.checked.is_some();
        let state = self.0.taken.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        self.add_to(state, |state| state.checked = Some(result))
    }

    /// How the request of this number ended. The end of an earlier one, which was given up, is of no use.
    pub(super) fn reply(&self, index: usize, number: u64, ended: Ended) {
        self.add(|state| {
            let reply = &mut state.locks[index].reply;
            if reply.as_ref().is_none_or(|(waiting, _)| *waiting < number) {
                *reply = Some((number, ended));
            }
        });
    }

    /// `false` when the candidate is gone. Waits until the end of the watch before this one was taken.
    pub(super) fn news(&self, index: usize, since: Time, news: News) -> bool {
        let state = self.0.lock();
        let is_full = |state: &mut State| !state.closed && !state.locks[index].news.has_room_for(&news);
        let state = self.0.taken.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        self.add_to(state, |state| state.locks[index].news.push(since, news))
    }

    fn add(&self, add: impl FnOnce(&mut State)) -> bool {
        self.add_to(self.0.lock(), add)
    }

    fn add_to(&self, mut state: MutexGuard<'_, State>, add: impl FnOnce(&mut State)) -> bool {
        add(&mut state);
        self.0.added.notify_one();
        !state.closed
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_urgent(&mut self) -> Option<Input> {
        if std::mem::take(&mut self.stopped) {
            return Some(Input::Stop);
        }
        let replies = self.locks.iter_mut().enumerate();
        let reply = replies.filter_map(|(index, lock)| Some((index, lock.reply.take()?))).next();
        if let Some((index, (number, ended))) = reply {
            return Some(Input::Ended(index, number, ended));
        }
        if let Some(report) = self.reports.pop_front() {
            return Some(Input::Task(report));
        }
        if std::mem::take(&mut self.rang) {
            return Some(Input::Rang);
        }
        self.checked.take().map(Input::Checked)
    }

    /// News that may be taken now, or else how long until there are some; `None` where there are none at all.
    fn take_news(&mut self, now: Instant) -> Result<Input, Option<Duration>> {
        let mut shortest = None;
        for (index, lock) in self.locks.iter_mut().enumerate() {
            if lock.news.is_empty() {
                continue;
            }
            // After a state that has passed the next is taken at once: that one alone would be a reason to write in vain.
            let wait = if lock.is_behind { Duration::ZERO } else { lock.limit.wait(now) };
            if !wait.is_zero() {
                shortest = Some(shortest.map_or(wait, |other: Duration| other.min(wait)));
            } else if let Some((since, news)) = lock.news.pop() {
                lock.limit.take();
                lock.is_behind = matches!(news, News::Past { .. });
                return Ok(Input::Watch(index, since, news));
            }
        }
        Err(shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::Sight;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    const NEVER: Duration = Duration::from_secs(100_000);

    fn next(inbox: &Inbox) -> String {
        match inbox.take() {
            Input::Stop => "stop".into(),
            Input::Rang => "rang".into(),
            Input::Task(report) => format!("{report:?}"),
            Input::Checked(result) => format!("checked {result:?}"),
            Input::Ended(index, number, _) => format!("reply {number} of {index}"),
            Input::Watch(index, _, news) => format!("{news:?} of {index}"),
        }
    }

    #[test]
    fn the_urgent_comes_first_whatever_came_in_first() {
        let inbox = Inbox::new(2, NEVER);
        let outbox = inbox.outbox();
        assert!(outbox.news(1, Time::ZERO, News::Bookmark));
        assert!(outbox.news(0, Time::ZERO, News::Opened));
        assert!(outbox.checked(Ok(())));
        assert!(outbox.ring());
        outbox.reply(1, 7, Err(NotSent));
        outbox.reply(0, 3, Err(NotSent));
        outbox.stop();
        outbox.stop();
        assert!(outbox.ring());
        let all: Vec<String> = (0..7).map(|_| next(&inbox)).collect();
        let expected =
            ["stop", "reply 3 of 0", "reply 7 of 1", "rang", "checked Ok(())", "Opened of 0", "Bookmark of 1"];
        assert_eq!(all, expected);
    }

    #[test]
    fn each_result_of_a_check_counts() {
        let inbox = Inbox::new(1, NEVER);
        let outbox = inbox.outbox();
        thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|n| assert!(outbox.checked(Err(n.to_string())))));
            let all: Vec<String> = (0..3).map(|_| next(&inbox)).collect();
            assert_eq!(all, ["checked Err(\"0\")", "checked Err(\"1\")", "checked Err(\"2\")"]);
        });
    }

    #[test]
    fn of_two_replies_about_a_lock_that_to_the_later_request_counts() {
        for numbers in [[1, 2], [2, 1]] {
            let inbox = Inbox::new(1, NEVER);
            for number in numbers {
                inbox.outbox().reply(0, number, Err(NotSent));
            }
            inbox.outbox().stop();
            assert_eq!([next(&inbox), next(&inbox)], ["stop", "reply 2 of 0"]);
            assert!(inbox.0.lock().take_urgent().is_none());
        }
    }

    #[test]
    fn news_of_a_flood_wait_and_nothing_waits_behind_them() {
        let inbox = Inbox::new(2, NEVER);
        let outbox = inbox.outbox();
        let flood = |times: u32| (0..times).for_each(|_| assert!(outbox.news(0, Time::ZERO, News::Bookmark)));
        for _ in 0..NEWS_BURST {
            flood(10);
            assert_eq!(next(&inbox), "Bookmark of 0");
        }
        flood(1000);
        outbox.reply(0, 1, Err(NotSent));
        assert!(outbox.news(1, Time::ZERO, News::Bookmark));
        assert!(outbox.ring());
        let all: Vec<String> = (0..3).map(|_| next(&inbox)).collect();
        assert_eq!(all, ["reply 1 of 0", "rang", "Bookmark of 1"]);
        thread::scope(|scope| {
            let waits = scope.spawn(|| next(&inbox));
            outbox.stop();
            assert_eq!(waits.join().unwrap(), "stop");
        });
    }

    #[test]
    fn news_are_taken_again_when_their_time_has_come() {
        let inbox = Inbox::new(1, Duration::from_millis(1));
        for _ in 0..2 * NEWS_BURST {
            assert!(inbox.outbox().news(0, Time::ZERO, News::Bookmark));
            assert_eq!(next(&inbox), "Bookmark of 0");
        }
    }

    #[test]
    fn after_a_state_that_has_passed_the_next_is_taken_at_once() {
        let inbox = Inbox::new(1, NEVER);
        for _ in 1..NEWS_BURST {
            assert!(inbox.outbox().news(0, Time::ZERO, News::Bookmark));
            assert_eq!(next(&inbox), "Bookmark of 0");
        }
        let past = News::Past { resource_version: 1, sight: Sight::MISSING };
        assert!(inbox.outbox().news(0, Time::ZERO, past));
        assert!(inbox.outbox().news(0, Time::ZERO, News::Deleted { resource_version: 2 }));
        assert!(inbox.outbox().news(0, Time::ZERO, News::Bookmark));
        let take = || inbox.0.lock().take_news(Instant::now());
        assert!(matches!(take(), Ok(Input::Watch(0, _, News::Past { .. }))));
        assert!(matches!(take(), Ok(Input::Watch(0, _, News::Deleted { .. }))));
        assert!(take().is_err());
    }

    #[test]
    fn a_watch_is_opened_when_the_end_of_the_last_one_was_taken() {
        let inbox = Inbox::new(1, NEVER);
        let outbox = inbox.outbox();
        assert!(outbox.news(0, Time::ZERO, News::Closed(None)));
        let taken = AtomicBool::new(false);
        thread::scope(|scope| {
            let opens = scope.spawn(|| {
                assert!(outbox.news(0, Time::ZERO, News::Opened));
                assert!(taken.load(Ordering::SeqCst), "it has waited");
            });
            taken.store(true, Ordering::SeqCst);
            assert_eq!(next(&inbox), "Closed(None) of 0");
            opens.join().unwrap();
        });
        assert_eq!(next(&inbox), "Opened of 0");
    }

    #[test]
    fn whoever_delivers_is_told_that_the_candidate_is_gone_also_while_it_waits() {
        let inbox = Inbox::new(1, NEVER);
        let outbox = inbox.outbox();
        assert!(outbox.news(0, Time::ZERO, News::Closed(None)));
        thread::scope(|scope| {
            let opens = scope.spawn(|| outbox.news(0, Time::ZERO, News::Opened));
            drop(inbox);
            assert!(!opens.join().unwrap());
        });
        assert!(!outbox.ring());
        assert!(!outbox.news(0, Time::ZERO, News::Bookmark));
    }
}
