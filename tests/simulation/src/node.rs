//! One candidate: the state machine that ships, and a model of what `src/candidate.rs` does around it.

use crate::clock::Clock;
use crate::oracle::ProcessId;
use crate::plan::{LockChoice, Member};
use crate::server::OtherFields;
use crate::work::Tasks;
use leader_elector::election::lock_set::LockSet;
use leader_elector::election::{Answer, Call, LockRequest};
use leader_elector::lock::Object;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The inputs of the candidate's thread.
#[derive(Clone, Debug)]
pub enum Input {
    Tick,
    Stop,
    /// Work that it started has ended.
    WorkEnded,
    StandBack,
    Checked {
        healthy: bool,
    },
    /// An answer to the message with this index.
    Answered {
        message: usize,
        answer: Box<Answer>,
        state: Option<usize>,
    },
    /// The watch of this generation shows the state with this index.
    Shown {
        lock: usize,
        generation: u64,
        state: usize,
    },
    WatchOpened {
        lock: usize,
        generation: u64,
    },
    WatchClosed {
        lock: usize,
        generation: u64,
    },
}

/// The watch of one lock.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Events of an earlier stream are dropped.
    pub generation: u64,
    pub open: bool,
    pub silent: bool,
    /// How many states the stream has shown.
    pub shown: usize,
    /// Events are not reordered: the next state is shown no earlier than this.
    pub busy_until: u64,
}

/// The candidate's request and watch for one lock.
#[derive(Clone, Debug, Default)]
pub struct LockWorker {
    pub watch: Watch,
    /// The request without an answer yet.
    pub outstanding: Option<usize>,
    /// The object that the candidate keeps: its version and its other fields.
    pub object: Option<(u64, OtherFields)>,
    /// The same as the program keeps it, if the codecs are included.
    pub json: Option<Rc<Object>>,
}

impl LockWorker {
    /// Streams of different processes have different generations.
    pub fn of(process: ProcessId) -> LockWorker {
        LockWorker { watch: Watch { generation: (process as u64) << 32, ..Watch::default() }, ..LockWorker::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub member: Member,
    /// The locks of the next process on this node.
    pub next_locks: LockChoice,
    pub process: ProcessId,
    pub running: bool,
    /// When it got SIGTERM.
    pub stopped_at: Option<u64>,
    pub clock: Clock,
    pub lock_set: LockSet,
    pub workers: [LockWorker; 2],
    /// The locks that it competes for: the index of the lock for each state machine.
    pub locks: &'static [usize],
    pub inbox: VecDeque<Input>,
    pub paused_until: u64,
    /// Since when it is undisturbed: it runs, all its requests got right answers in time, and no watch event came late.
    pub sound_since: u64,
    /// Its deadline, and the next scheduled check of the deadline.
    pub wakes_at: u64,
    pub looks_at: u64,
    /// Whether it holds the socket that only one process of its name in its network namespace can hold.
    pub holds_socket: bool,
    /// The work that it has started for its leadership.
    pub tasks: Tasks,
    /// Whether its application is healthy.
    pub healthy: bool,
    /// Whether it would take the locks if they were free, and when it last would not.
    pub stands: bool,
    pub not_standing_at: Option<u64>,
    /// How much the wall clock is ahead, in microseconds.
    pub wall_offset: i64,
}

impl Node {
    /// Keeps the object if it is the one that the state machine has accepted.
    pub fn keep(
        &mut self,
        machine: usize,
        resource_version: Option<u64>,
        fields: OtherFields,
        json: Option<Rc<Object>>,
    ) {
        let believed = self.lock_set.locks()[machine].lock().and_then(|lock| lock.version.as_ref());
        if let Some(shown) = resource_version
            && believed.is_some_and(|version| version.resource_version == shown)
        {
            let worker = &mut self.workers[self.locks[machine]];
            worker.object = Some((shown, fields));
            worker.json = json;
        }
    }

    /// The number of the state machine for this lock.
    pub fn machine_of(&self, lock: usize) -> usize {
        usize::from(self.locks.first() != Some(&lock))
    }
}

/// Whether a state machine has accepted what the answer to its request showed. If the state machine may have given up
/// the request, the answer counts only if it was accepted. The same holds for an answer to a write, which may already
/// be known to have been carried out, and for an absent object, because absence has no resourceVersion that tells how
/// old it is.
pub fn believes(
    lock_set: &LockSet,
    machine: usize,
    request: &LockRequest,
    took: Duration,
    gave_up: bool,
    shown: Option<u64>,
) -> bool {
    let may_be_given_up = took >= request.timeout.mul_f64(1.5) || gave_up || lock_set.locks().len() > 1;
    let sure = request.call == Call::Read && !may_be_given_up && shown.is_some();
    let version = lock_set.locks()[machine].lock().and_then(|lock| lock.version.as_ref());
    sure || version.map(|version| version.resource_version) == shown
}
