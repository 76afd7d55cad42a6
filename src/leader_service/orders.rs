//! What the thread of the leader Service is told: the latest word counts, and telling never waits.

use super::Leadership;
use super::route::Goal;
use crate::clock;
use crate::time::Time;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Orders {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    latest: Option<(Goal, Time)>,
    look_ahead: bool,
    /// Something was told since the thread last asked.
    news: bool,
    closed: bool,
    /// A request for the goal before is under way.
    working_for: Option<Goal>,
}

/// What the thread is to do.
pub(super) struct Order {
    pub(super) latest: Option<(Goal, Time)>,
    pub(super) look_ahead: bool,
}

impl Orders {
    /// Whether a request is under way that nobody wants any longer.
    pub(super) fn tell(&self, leadership: Leadership) -> bool {
        let (goal, until) = match leadership {
            Leadership::Leading { fencing_token, until } => (Goal::Lead { fencing_token }, until),
            Leadership::Ended { fencing_token, until } => (Goal::Withdraw { fencing_token }, until),
        };
        let mut state = self.lock();
        state.latest = Some((goal, until));
        self.wake(&mut state);
        state.working_for.is_some_and(|of| of != goal)
    }

    pub(super) fn look_ahead(&self) {
        let mut state = self.lock();
        state.look_ahead = true;
        self.wake(&mut state);
    }

    /// Lets the thread end.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.wake(&mut state);
    }

    /// Waits until something is told or the moment has come; `None` when the thread is to end.
    ///
    /// The wait is by a clock that stands still while the machine sleeps. It may be late, then: whoever waits compares
    /// the boot-time clock before each request.
    pub(super) fn next(&self, due: Option<Time>) -> Option<Order> {
        let mut state = self.lock();
        state.working_for = None;
        while !state.news && !state.closed {
            let left = due.map(|due| due.since(clock::now()));
            state = match left {
                None => self.told.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => self.told.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        if state.closed {
            return None;
        }
        state.news = false;
        Some(Order { latest: state.latest, look_ahead: std::mem::take(&mut state.look_ahead) })
    }

    /// Asked before each request for this goal: the time that is left for it, or `None` if there is another goal by now.
    pub(super) fn begin_request(&self, goal: Goal) -> Option<Time> {
        let mut state = self.lock();
        let until = state.latest.filter(|(latest, _)| *latest == goal && !state.closed).map(|(_, until)| until);
        state.working_for = until.map(|_| goal);
        until
    }

    fn wake(&self, state: &mut State) {
        state.news = true;
        self.told.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
