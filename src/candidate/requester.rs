//! One blocking thread that turns calls into replies, one at a time, so that the candidate never waits.

use crate::api::{Api, Failure, Verb};
use crate::lock::{LockName, Object};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// What to ask of the API server.
#[derive(Clone, Debug)]
pub struct Job {
    /// Comes back with the reply.
    pub number: u64,
    /// How long all of it may take.
    pub timeout: Duration,
    pub task: Task,
}

#[derive(Clone, Debug)]
pub enum Task {
    Read,
    /// The body to create the object from.
    Create(Vec<u8>),
    /// The body to replace the object by.
    Update(Vec<u8>),
}

/// The object as the API server has it, or what came instead.
pub type Outcome = Result<Object, Failure>;

/// The thread and its connection. It ends when this is dropped and the request under way has ended.
pub struct Requester {
    jobs: Sender<Job>,
    api: Arc<Api>,
}

impl Requester {
    /// Starts the thread; `deliver` gets the outcome of each job, with its number.
    pub fn start(api: Api, lock: LockName, deliver: impl Fn(u64, Outcome) + Send + 'static) -> io::Result<Requester> {
        let api = Arc::new(api);
        let (jobs, inbox) = channel::<Job>();
        let client = Arc::clone(&api);
        thread::Builder::new().name("requester".into()).spawn(move || {
            for job in inbox {
                deliver(job.number, perform(&client, &lock, &job));
            }
        })?;
        Ok(Requester { jobs, api })
    }

    /// Has this done after what is under way.
    pub fn send(&self, job: Job) {
        // The thread lives as long as this value.
        let _ = self.jobs.send(job);
    }

    /// A client with the same credentials and no connection, for a requester that takes over from this one.
    pub fn fresh_api(&self) -> Api {
        self.api.fresh()
    }

    /// Breaks off the request under way.
    pub fn abandon(self) {
        self.api.abandon();
    }
}

fn perform(api: &Api, lock: &LockName, job: &Job) -> Outcome {
    let (verb, reply) = match &job.task {
        Task::Read => (Verb::Get, api.get(lock, job.timeout)),
        Task::Create(body) => (Verb::Create, api.create(lock, body, job.timeout)),
        Task::Update(body) => (Verb::Update, api.update(lock, body, job.timeout)),
    };
    let body = reply?;
    Object::parse(lock, &body).map_err(|why| Failure::unreadable(verb, lock, &body, &why))
}
