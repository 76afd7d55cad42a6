//! What the thread of the leader Service is told. The latest order replaces earlier ones, and giving one never blocks.

use super::Leadership;
use super::reconciler::Goal;
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
    /// There is an order that the thread has not taken yet.
    pending: bool,
    closed: bool,
    /// The goal for which a request is in flight.
    working_for: Option<Goal>,
}

/// What the thread is to do.
pub(super) struct Order {
    pub(super) latest: Option<(Goal, Time)>,
    pub(super) look_ahead: bool,
}

impl Orders {
    /// Gives an order. Returns whether a request for another goal is in flight.
    pub(super) fn tell(&self, leadership: Leadership) -> bool {
        let (goal, until) = match leadership {
            Leadership::Leading { fencing_token, until } => (Goal::Lead { fencing_token }, until),
            Leadership::Ended { fencing_token, until } => (Goal::Withdraw { fencing_token }, until),
        };
        self.add(|state| {
            state.latest = Some((goal, until));
            state.working_for.is_some_and(|of| of != goal)
        })
    }

    pub(super) fn look_ahead(&self) {
        self.add(|state| state.look_ahead = true);
    }

    /// Makes the thread end.
    pub(super) fn close(&self) {
        self.add(|state| state.closed = true);
    }

    /// Waits for an order or until `due`; `None` when the thread must end. The clock of this wait stops while the
    /// machine is suspended, so it may return late. Callers read the boot-time clock before each request.
    pub(super) fn next(&self, due: Option<Time>) -> Option<Order> {
        let mut state = self.lock();
        state.working_for = None;
        while !state.pending && !state.closed {
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
        state.pending = false;
        Some(Order { latest: state.latest, look_ahead: std::mem::take(&mut state.look_ahead) })
    }

    /// Call before each request for this goal: returns until when it may be sent, or `None` if there is a new goal.
    pub(super) fn begin_request(&self, goal: Goal) -> Option<Time> {
        let mut state = self.lock();
        let until = state.latest.filter(|(latest, _)| *latest == goal && !state.closed).map(|(_, until)| until);
        state.working_for = until.map(|_| goal);
        until
    }

    /// Changes the state and wakes the thread.
    fn add<T>(&self, add: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.pending = true;
        let result = add(&mut state);
        drop(state); // the thread needs it as soon as it wakes
        self.told.notify_one();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
