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
    /// Why a request is in flight.
    in_flight: Option<SentFor>,
}

/// Why a request is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SentFor {
    NextTerm,
    Goal(Goal),
}

impl SentFor {
    /// Whether a request for this is of no use for a goal. What a look-ahead reads is of use for the next term.
    fn is_useless_for(self, goal: Goal) -> bool {
        match self {
            SentFor::NextTerm => matches!(goal, Goal::Withdraw { .. }),
            SentFor::Goal(other) => other != goal,
        }
    }
}

/// What the thread is to do.
pub(super) struct Order {
    pub(super) latest: Option<(Goal, Time)>,
    pub(super) look_ahead: bool,
}

impl Orders {
    /// Gives an order. Calls `abort` if a request is in flight that is of no use for it; no other request begins
    /// meanwhile.
    pub(super) fn tell(&self, leadership: Leadership, abort: impl FnOnce()) {
        let (goal, until) = match leadership {
            Leadership::Leading { fencing_token, until } => (Goal::Lead { fencing_token }, until),
            Leadership::Ended { fencing_token, until } => (Goal::Withdraw { fencing_token }, until),
        };
        self.add(|state| {
            state.latest = Some((goal, until));
            if state.in_flight.is_some_and(|it| it.is_useless_for(goal)) {
                abort();
            }
        });
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
        state.in_flight = None;
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
        state.in_flight = until.map(|_| SentFor::Goal(goal));
        until
    }

    /// Call before each request of a look-ahead: returns whether it may be sent. An order comes first.
    pub(super) fn begin_look_ahead(&self) -> bool {
        let mut state = self.lock();
        let may = !state.pending && !state.closed;
        state.in_flight = may.then_some(SentFor::NextTerm);
        may
    }

    /// Changes the state and wakes the thread.
    fn add(&self, add: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        state.pending = true;
        add(&mut state);
        drop(state); // the thread needs it as soon as it wakes
        self.told.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
