//! The thread that sends requests, one at a time, so that the candidate never blocks.

use crate::api::{Api, Failure, Verb};
use crate::lock::{LockName, Object};
use crate::threads;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// A request to the API server.
#[derive(Clone, Debug)]
pub struct Job {
    /// The number that comes back with the outcome.
    pub number: u64,
    /// The timeout of the whole request.
    pub timeout: Duration,
    pub task: Task,
}

#[derive(Clone, Debug)]
pub enum Task {
    Read,
    /// Create the object from this body.
    Create(Vec<u8>),
    /// Replace the object with this body.
    Update(Vec<u8>),
}

/// The object as the API server returned it, or a failure.
pub type RequestResult = Result<Object, Failure>;

/// The thread and its connection. The thread ends when this is dropped and the current request has ended.
pub struct Requester {
    jobs: Sender<Job>,
    api: Arc<Api>,
}

impl Requester {
    /// Starts the thread. `deliver` gets the number and the outcome of each job.
    pub fn start(
        api: Api,
        lock: LockName,
        deliver: impl Fn(u64, RequestResult) + Send + 'static,
    ) -> io::Result<Requester> {
        let api = Arc::new(api);
        let (jobs, inbox) = channel::<Job>();
        let client = Arc::clone(&api);
        threads::spawn("requester", move || {
            for job in inbox {
                deliver(job.number, perform(&client, &lock, &job));
            }
        })?;
        Ok(Requester { jobs, api })
    }

    /// Queues a job.
    pub fn send(&self, job: Job) {
        // The thread lives as long as this value.
        let _ = self.jobs.send(job);
    }

    /// A client for the successor of this requester.
    pub fn sibling_api(&self) -> Api {
        self.api.sibling()
    }

    /// Aborts the current request.
    pub fn abandon(self) {
        self.api.abandon();
    }
}

fn perform(api: &Api, lock: &LockName, job: &Job) -> RequestResult {
    let (verb, reply) = match &job.task {
        Task::Read => (Verb::Get, api.get(lock, job.timeout)),
        Task::Create(body) => (Verb::Create, api.create(lock, body, job.timeout)),
        Task::Update(body) => (Verb::Update, api.update(lock, body, job.timeout)),
    };
    let body = reply?;
    Object::parse(lock, &body).map_err(|why| Failure::unreadable(verb, lock, &body, &why))
}
