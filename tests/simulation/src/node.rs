//! One candidate of the world: the machine that ships, and round it what `src/candidate.rs` does in the program.

use crate::clock::Clock;
use crate::oracle::LifeId;
use crate::plan::{Member, Stands};
use crate::server::OtherFields;
use crate::work::Tasks;
use leader_elector::election::lock_set::LockSet;
use leader_elector::election::{Answer, Call, Request};
use leader_elector::lock::Object;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// What reaches the candidate's thread.
#[derive(Clone, Debug)]
pub enum Input {
    Tick,
    Stop,
    /// Something that it started has ended.
    WorkEnded,
    StandBack,
    Checked {
        healthy: bool,
    },
    /// An answer to the message of this index.
    Answered {
        message: usize,
        answer: Box<Answer>,
        state: Option<usize>,
    },
    /// The watch of this generation shows a state of the object, by its index.
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
    /// What was meant for an earlier stream reaches nobody.
    pub generation: u64,
    pub open: bool,
    pub silent: bool,
    /// How many states the stream has shown.
    pub shown: usize,
    /// Nothing overtakes anything else: the next state is shown no earlier than this.
    pub busy_until: u64,
}

/// One lock, as the candidate deals with it.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    pub watch: Watch,
    /// The message that has not been answered yet.
    pub outstanding: Option<usize>,
    /// The object in hand: its version, and what is in it beside record and mark.
    pub object: Option<(u64, OtherFields)>,
    /// The same as the program keeps it, where the codecs are part of the world.
    pub json: Option<Rc<Object>>,
}

impl Lane {
    /// No stream of one life has the generation of another one's.
    pub fn of(life: LifeId) -> Lane {
        Lane { watch: Watch { generation: (life as u64) << 32, ..Watch::default() }, ..Lane::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub member: Member,
    /// What the next life in this place stands for.
    pub next_stands: Stands,
    pub life: LifeId,
    pub running: bool,
    /// It was told to leave.
    pub stopped: bool,
    pub clock: Clock,
    pub lock_set: LockSet,
    pub lanes: [Lane; 2],
    /// The locks it stands for: the index of each machine's lock.
    pub locks: &'static [usize],
    pub inbox: VecDeque<Input>,
    pub paused_until: u64,
    /// Since when nothing has gone wrong for it: it runs, all that it sent was answered truly and soon, and no news came
    /// late.
    pub sound_since: u64,
    /// The one deadline that counts, and when somebody looks next whether it has come.
    pub wakes_at: u64,
    pub looks_at: u64,
    /// Whether it holds the socket that only one process of its name and network can hold.
    pub holds_socket: bool,
    /// What it has started for its leadership.
    pub tasks: Tasks,
    /// Whether the application beside it is well.
    pub healthy: bool,
    /// Whether it would lead if the locks were free, and when it last would not.
    pub stands: bool,
    pub not_standing_at: Option<u64>,
    /// The wall clock is so much ahead, in microseconds.
    pub wall_offset: i64,
}

impl Node {
    /// Keeps the object if it is the one that the machine believes in.
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
            let lane = &mut self.lanes[self.locks[machine]];
            lane.object = Some((shown, fields));
            lane.json = json;
        }
    }

    /// The number of the machine that has this lock.
    pub fn machine_of(&self, lock: usize) -> usize {
        usize::from(self.locks.first() != Some(&lock))
    }
}

/// Whether a machine has taken in what the answer to its request showed.
///
/// An answer to a request that the machine may have given up counts only if it has taken it in. So does one to a write,
/// which it may know already to have been done, and that there is no object, for nothing tells how old that is.
pub fn believes(
    lock_set: &LockSet,
    machine: usize,
    request: &Request,
    took: Duration,
    gave_up: bool,
    shown: Option<u64>,
) -> bool {
    let may_be_given_up = took >= request.timeout.mul_f64(1.5) || gave_up || lock_set.locks().len() > 1;
    let sure = request.call == Call::Read && !may_be_given_up && shown.is_some();
    let version = lock_set.locks()[machine].lock().and_then(|lock| lock.version.as_ref());
    sure || version.map(|version| version.resource_version) == shown
}
