//! The inbox of the candidate. It is bounded, and urgent inputs come first.
//!
//! The order is: stop, replies, task reports, alarm, health checks, watch events. It holds at most one stop, one alarm
//! and one result of a health check, and for each lock one reply and a [`WatchQueue`]. Task reports are bounded because
//! each follows something that the candidate sent, or a pause. Watch events are taken at a limited rate, so that a
//! flood costs neither CPU time nor log space. A watcher waits only until the end of its previous watch was taken.

use super::rate_limit::RateLimit;
use super::requester::RequestResult;
use super::tasks::TaskReport;
use super::watch_queue::{MOST_STATES, WatchQueue};
use super::watcher::WatchMessage;
use crate::time::Time;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The burst of the rate limit. A lock is written about once in R, and rarely by others.
const WATCH_BURST: u32 = 64;

/// A request was not sent: the stored object is not the version that it replaces.
#[derive(Debug)]
pub(super) struct NotSent;

/// How a request ended.
pub(super) type Ended = Result<RequestResult, NotSent>;

/// An input of the candidate.
#[derive(Debug)]
pub(super) enum Input {
    /// Stop.
    Stop,
    /// A request ended: the index of its lock, its number, and the outcome.
    Ended(usize, u64, Ended),
    /// A task reports.
    Task(TaskReport),
    /// The alarm: the deadline has come.
    Alarm,
    /// A health check of the application ended; the error says what is wrong.
    Checked(Result<(), String>),
    /// A watch event: the index of its lock, a moment before it arrived, and the event.
    Watch(usize, Time, WatchMessage),
}

/// The receiving end. Senders notice when it is dropped.
pub(super) struct Inbox(Arc<Shared>);

/// The sending end. May be cloned and used by any thread.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// An input was added.
    added: Condvar,
    /// Watch events were taken, or the inbox is closed.
    taken: Condvar,
}

struct State {
    stopped: bool,
    reports: VecDeque<TaskReport>,
    alarm_due: bool,
    checked: Option<Result<(), String>>,
    locks: Vec<LockInputs>,
    closed: bool,
}

/// The inputs of one lock.
struct LockInputs {
    reply: Option<(u64, Ended)>,
    queue: WatchQueue,
    limit: RateLimit,
    /// The number of events taken in a row, each with a newer state waiting behind it.
    past: usize,
}

impl Inbox {
    /// An inbox for `locks` locks. After a burst, one watch event per `period` and lock is taken.
    pub(super) fn new(locks: usize, period: Duration) -> Inbox {
        let inputs = || LockInputs {
            reply: None,
            queue: WatchQueue::default(),
            limit: RateLimit::new(WATCH_BURST, period, Instant::now()),
            past: 0,
        };
        let locks = std::iter::repeat_with(inputs).take(locks).collect();
        let state = Mutex::new(State {
            stopped: false,
            reports: VecDeque::new(),
            alarm_due: false,
            checked: None,
            locks,
            closed: false,
        });
        Inbox(Arc::new(Shared { state, added: Condvar::new(), taken: Condvar::new() }))
    }

    pub(super) fn outbox(&self) -> Outbox {
        Outbox(Arc::clone(&self.0))
    }

    /// Blocks until there is an input, and takes the most urgent one.
    pub(super) fn take(&self) -> Input {
        let mut state = self.0.lock();
        loop {
            if let Some(input) = state.take_urgent() {
                self.0.taken.notify_all();
                return input;
            }
            // This clock may stop while the machine sleeps. Watch events then wait a little longer.
            let now = Instant::now();
            let wait = match state.take_watch_message(now) {
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

    /// Returns `false` if the candidate is gone.
    pub(super) fn ring(&self) -> bool {
        self.add(|state| state.alarm_due = true)
    }

    /// A report of a task.
    pub(super) fn task(&self, report: TaskReport) {
        self.add(|state| state.reports.push_back(report));
    }

    /// The result of a health check. Blocks until the previous result was taken, because each one counts. Returns
    /// `false` if the candidate is gone.
    pub(super) fn checked(&self, result: Result<(), String>) -> bool {
        let state = self.0.lock();
        let is_full = |state: &mut State| !state.closed && state.checked.is_some();
        let state = self.0.taken.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        self.add_to(state, |state| state.checked = Some(result))
    }

    /// The outcome of a request. The outcome of an older, abandoned request is ignored.
    pub(super) fn reply(&self, index: usize, number: u64, ended: Ended) {
        self.add(|state| {
            let reply = &mut state.locks[index].reply;
            if reply.as_ref().is_none_or(|(waiting, _)| *waiting < number) {
                *reply = Some((number, ended));
            }
        });
    }

    /// A watch event. Blocks until the end of the previous watch was taken. Returns `false` if the candidate is gone.
    pub(super) fn watch_message(&self, index: usize, since: Time, message: WatchMessage) -> bool {
        let state = self.0.lock();
        let is_full = |state: &mut State| !state.closed && !state.locks[index].queue.has_room_for(&message);
        let state = self.0.taken.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        self.add_to(state, |state| state.locks[index].queue.push(since, message))
    }

    fn add(&self, add: impl FnOnce(&mut State)) -> bool {
        self.add_to(self.0.lock(), add)
    }

    fn add_to(&self, mut state: MutexGuard<'_, State>, add: impl FnOnce(&mut State)) -> bool {
        add(&mut state);
        let is_open = !state.closed;
        drop(state); // the candidate needs it as soon as it wakes
        self.0.added.notify_one();
        is_open
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
        if std::mem::take(&mut self.alarm_due) {
            return Some(Input::Alarm);
        }
        self.checked.take().map(Input::Checked)
    }

    /// A watch event that may be taken now, or the time until one may be; `None` if there are none.
    fn take_watch_message(&mut self, now: Instant) -> Result<Input, Option<Duration>> {
        let mut shortest = None;
        for (index, lock) in self.locks.iter_mut().enumerate() {
            if lock.queue.is_empty() {
                continue;
            }
            // After a past state, take the next state at once: the past state alone could cause a useless write. But
            // in a flood there would always be a next one.
            let continues = (1..=MOST_STATES).contains(&lock.past);
            let (past, wait) = if continues { (lock.past, Duration::ZERO) } else { (0, lock.limit.wait(now)) };
            if !wait.is_zero() {
                shortest = Some(shortest.map_or(wait, |other: Duration| other.min(wait)));
            } else if let Some((since, message)) = lock.queue.pop() {
                lock.limit.take();
                lock.past = if lock.queue.has_state() { past + 1 } else { 0 };
                return Ok(Input::Watch(index, since, message));
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
            Input::Alarm => "alarm_due".into(),
            Input::Task(report) => format!("{report:?}"),
            Input::Checked(result) => format!("checked {result:?}"),
            Input::Ended(index, number, _) => format!("reply {number} of {index}"),
            Input::Watch(index, _, message) => format!("{message:?} of {index}"),
        }
    }

    #[test]
    fn urgent_inputs_come_first() {
        let inbox = Inbox::new(2, NEVER);
        let outbox = inbox.outbox();
        assert!(outbox.watch_message(1, Time::ZERO, WatchMessage::Bookmark));
        assert!(outbox.watch_message(0, Time::ZERO, WatchMessage::Opened));
        assert!(outbox.checked(Ok(())));
        assert!(outbox.ring());
        outbox.reply(1, 7, Err(NotSent));
        outbox.reply(0, 3, Err(NotSent));
        outbox.stop();
        outbox.stop();
        assert!(outbox.ring());
        let all: Vec<String> = (0..7).map(|_| next(&inbox)).collect();
        let expected =
            ["stop", "reply 3 of 0", "reply 7 of 1", "alarm_due", "checked Ok(())", "Opened of 0", "Bookmark of 1"];
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
    fn of_two_replies_the_one_to_the_later_request_counts() {
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
    fn events_of_a_flood_are_delayed_and_delay_nothing_else() {
        let inbox = Inbox::new(2, NEVER);
        let outbox = inbox.outbox();
        let flood =
            |times: u32| (0..times).for_each(|_| assert!(outbox.watch_message(0, Time::ZERO, WatchMessage::Bookmark)));
        for _ in 0..WATCH_BURST {
            flood(10);
            assert_eq!(next(&inbox), "Bookmark of 0");
        }
        flood(1000);
        outbox.reply(0, 1, Err(NotSent));
        assert!(outbox.watch_message(1, Time::ZERO, WatchMessage::Bookmark));
        assert!(outbox.ring());
        let all: Vec<String> = (0..3).map(|_| next(&inbox)).collect();
        assert_eq!(all, ["reply 1 of 0", "alarm_due", "Bookmark of 1"]);
        thread::scope(|scope| {
            let waits = scope.spawn(|| next(&inbox));
            outbox.stop();
            assert_eq!(waits.join().unwrap(), "stop");
        });
    }

    #[test]
    fn delayed_events_are_taken_when_their_time_has_come() {
        let inbox = Inbox::new(1, Duration::from_millis(1));
        for _ in 0..2 * WATCH_BURST {
            assert!(inbox.outbox().watch_message(0, Time::ZERO, WatchMessage::Bookmark));
            assert_eq!(next(&inbox), "Bookmark of 0");
        }
    }

    #[test]
    fn after_a_past_state_the_next_is_taken_at_once() {
        let inbox = Inbox::new(1, NEVER);
        for _ in 1..WATCH_BURST {
            assert!(inbox.outbox().watch_message(0, Time::ZERO, WatchMessage::Bookmark));
            assert_eq!(next(&inbox), "Bookmark of 0");
        }
        let past = WatchMessage::Superseded { resource_version: 1, sight: Sight::MISSING };
        assert!(inbox.outbox().watch_message(0, Time::ZERO, past));
        assert!(inbox.outbox().watch_message(0, Time::ZERO, WatchMessage::Deleted { resource_version: 2 }));
        assert!(inbox.outbox().watch_message(0, Time::ZERO, WatchMessage::Bookmark));
        let take = || inbox.0.lock().take_watch_message(Instant::now());
        assert!(matches!(take(), Ok(Input::Watch(0, _, WatchMessage::Superseded { .. }))));
        assert!(matches!(take(), Ok(Input::Watch(0, _, WatchMessage::Deleted { .. }))));
        assert!(take().is_err());
    }

    #[test]
    fn in_a_flood_of_states_only_a_few_are_taken_at_once() {
        let inbox = Inbox::new(1, NEVER);
        let mut versions = 1..;
        let mut take = || {
            for resource_version in versions.by_ref().take(2) {
                inbox.outbox().watch_message(0, Time::ZERO, WatchMessage::Deleted { resource_version });
            }
            inbox.0.lock().take_watch_message(Instant::now())
        };
        let taken = std::iter::from_fn(|| take().ok()).take(1000).count();
        assert!((WATCH_BURST as usize..=WATCH_BURST as usize + MOST_STATES).contains(&taken), "{taken}");
    }

    #[test]
    fn a_watch_is_opened_when_the_end_of_the_last_one_was_taken() {
        let inbox = Inbox::new(1, NEVER);
        let outbox = inbox.outbox();
        assert!(outbox.watch_message(0, Time::ZERO, WatchMessage::Closed(None)));
        let taken = AtomicBool::new(false);
        thread::scope(|scope| {
            let opens = scope.spawn(|| {
                assert!(outbox.watch_message(0, Time::ZERO, WatchMessage::Opened));
                assert!(taken.load(Ordering::SeqCst), "it has waited");
            });
            taken.store(true, Ordering::SeqCst);
            assert_eq!(next(&inbox), "Closed(None) of 0");
            opens.join().unwrap();
        });
        assert_eq!(next(&inbox), "Opened of 0");
    }

    #[test]
    fn senders_notice_that_the_candidate_is_gone_also_while_they_wait() {
        let inbox = Inbox::new(1, NEVER);
        let outbox = inbox.outbox();
        assert!(outbox.watch_message(0, Time::ZERO, WatchMessage::Closed(None)));
        thread::scope(|scope| {
            let opens = scope.spawn(|| outbox.watch_message(0, Time::ZERO, WatchMessage::Opened));
            drop(inbox);
            assert!(!opens.join().unwrap());
        });
        assert!(!outbox.ring());
        assert!(!outbox.watch_message(0, Time::ZERO, WatchMessage::Bookmark));
    }
}
