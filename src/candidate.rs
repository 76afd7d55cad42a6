//! The candidate: the loop that steps the state machine and does what it asks for.
//!
//! Only this code reads the clock for a decision, and only this code writes the snapshot. The thread blocks only on its
//! inbox: requests, watches, the clock and signals have threads of their own.

mod acting;
mod inbox;
mod rate_limit;
pub mod requester;
pub mod sole_instance;
mod tasks;
mod watch_queue;
pub mod watcher;
mod worker;

use self::acting::CommandState;
use self::inbox::{Inbox, Input, NotSent, Outbox};
use self::tasks::Tasks;
use self::watcher::WatchMessage;
use self::worker::{LockWorker, Outstanding};
use crate::api::{Api, Class, Failure, FailureKind, Verb};
use crate::clock::{self, Alarm};
use crate::election::lock_set::{LockSet, LockSetOutput};
use crate::election::{Answer, Call, CandidateEvent, Election, Event, Moment, Purpose, Settings, Sight};
use crate::health::HealthCheck;
use crate::lock::{Locks, Object};
use crate::metrics::Metrics;
use crate::random;
use crate::record::Content;
use crate::report::Reporter;
use crate::status::{Published, Seen, Snapshot, Status};
use crate::time::Time;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How late the candidate may run before it counts as stuck, in addition to 2 L.
const STUCK_ALLOWANCE: Duration = Duration::from_secs(5);

/// The longest period of the rate limit for watch events, see [`watch_message_period`].
const LONGEST_WATCH_PERIOD: Duration = Duration::from_millis(100);

/// Stops the candidate. May be cloned and used by any thread.
#[derive(Clone)]
pub struct Stop(Outbox);

impl Stop {
    /// Ends the claim, releases the lock, and lets [`Candidate::run`] return.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// One running elector without its HTTP port.
pub struct Candidate {
    lock_set: LockSet,
    settings: Settings,
    locks: Arc<Locks>,
    workers: Vec<LockWorker>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    report: Reporter,
    tasks: Tasks,
    command: CommandState,
    inbox: Inbox,
    alarm: Alarm,
    server_reached: Option<Time>,
    locks_seen: Option<Time>,
}

impl Candidate {
    /// Starts its threads. It decides and sends nothing before [`Candidate::run`].
    pub fn start(
        settings: Settings,
        locks: Arc<Locks>,
        api: Api,
        status: Arc<Status>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Candidate> {
        let inbox = Inbox::new(locks.kinds.len(), watch_message_period(&settings));
        let ring = inbox.outbox();
        let worker =
            |(index, lock)| LockWorker::start(index, lock, &settings, &api, &inbox.outbox(), Arc::clone(&metrics));
        let workers: Vec<LockWorker> = locks.names().enumerate().map(worker).collect::<io::Result<_>>()?;
        let of = if workers.len() > 1 { LockSet::dual } else { LockSet::single };
        Ok(Candidate {
            alarm: Alarm::start(move || ring.ring())?,
            lock_set: of(settings.clone()),
            report: Reporter::new(Arc::clone(&locks), settings.identity.clone(), Arc::clone(&metrics)),
            settings,
            locks,
            workers,
            status,
            metrics,
            tasks: Tasks::default(),
            command: CommandState::default(),
            inbox,
            server_reached: None,
            locks_seen: None,
        })
    }

    /// The handle that stops this candidate.
    pub fn stop_handle(&self) -> Stop {
        Stop(self.inbox.outbox())
    }

    /// Starts the health check: from now on the candidate leads only while the application is healthy. The settings
    /// must contain the number of failures.
    pub fn check_health(&mut self, check: HealthCheck) -> io::Result<()> {
        self.report.checks(check.target.to_string());
        let outbox = self.inbox.outbox();
        check.start(move |result| outbox.checked(result))
    }

    /// Takes part in the election until it is stopped and has released the lock, or could not release it in time.
    ///
    /// Returns the exit code of the command in run mode. An error says why it cannot continue; the claim has ended by
    /// then.
    pub fn run(mut self) -> io::Result<Option<u8>> {
        let result = self.run_loop();
        self.end(result)
    }

    /// Dropping this value closes the sockets, which prove that no other process with this identity claims to lead
    /// (S9).
    fn end(self, result: io::Result<()>) -> io::Result<Option<u8>> {
        if result.is_err() {
            let Settings { identity, lease, .. } = &self.settings;
            self.status.publish(Snapshot::unknown(identity.clone(), self.locks.clone(), *lease, clock::now()));
        }
        result.map(|()| self.command.exit_code)
    }

    fn run_loop(&mut self) -> io::Result<()> {
        let mut finished = self.take_sockets()?;
        while !finished {
            let input = self.inbox.take();
            finished = self.take(input)?;
            if !finished && self.lock_set.name_is_taken() && !self.workers.iter().all(LockWorker::holds_socket) {
                finished = self.take_sockets()?;
            }
        }
        self.report.left(self.lock_set.locks());
        Ok(())
    }

    /// S9: tries to bind the sockets that prove this is the only process with its identity here.
    fn take_sockets(&mut self) -> io::Result<bool> {
        for worker in &mut self.workers {
            worker.take_socket(&self.settings.identity);
        }
        let is_sole = self.workers.iter().all(LockWorker::holds_socket);
        self.step(0, Event::SoleInstance(is_sole), None)
    }

    /// Handles one input. Returns `true` when nothing is left to do.
    fn take(&mut self, input: Input) -> io::Result<bool> {
        match input {
            Input::Alarm => self.alarm_rang(),
            Input::Ended(index, number, Ok(reply)) => self.replied(index, number, reply),
            // The server would have answered the same.
            Input::Ended(index, request, Err(NotSent)) => {
                self.step(index, Event::Answered { request, answer: Answer::Conflict }, None)
            }
            Input::Watch(index, since, message) => self.watched(index, since, message),
            Input::Task(report) => self.task_reported(report),
            Input::Checked(result) => {
                self.metrics.health_check(result.is_ok());
                self.report.checked(&result, clock::now());
                self.step_candidate(CandidateEvent::Checked { healthy: result.is_ok() })
            }
            Input::Stop => {
                self.tasks.stop(clock::now().saturating_add(self.settings.release_delay));
                self.report.leaving(self.lock_set.holds().then_some(self.settings.release_delay));
                self.step(0, Event::Stop, None)
            }
        }
    }

    fn watched(&mut self, index: usize, since: Time, message: WatchMessage) -> io::Result<bool> {
        let now = clock::now();
        if !matches!(message, WatchMessage::Closed(_)) {
            self.reached(since);
        }
        // An open stream without a valid event does not count as a success.
        if !matches!(message, WatchMessage::Closed(_) | WatchMessage::Opened) {
            self.report.success(index, Verb::Watch);
        }
        match message {
            WatchMessage::Opened => self.step(index, Event::WatchOpened, None),
            WatchMessage::Bookmark => self.step(index, Event::Tick, None),
            WatchMessage::Superseded { resource_version, sight } => {
                self.step(index, Event::Watched { resource_version, sight }, None)
            }
            WatchMessage::Object(object) => {
                let resource_version = object.version().resource_version;
                self.step(index, Event::Watched { resource_version, sight: object.sight() }, Some(object))
            }
            WatchMessage::Deleted { resource_version } => {
                self.step(index, Event::Watched { resource_version, sight: Sight::MISSING }, None)
            }
            WatchMessage::Closed(failure) => {
                if let Some(failure) = failure {
                    self.report.failure(index, Verb::Watch, &failure, now);
                }
                self.step(index, Event::WatchClosed, None)
            }
        }
    }

    fn replied(&mut self, index: usize, number: u64, reply: requester::RequestResult) -> io::Result<bool> {
        let worker = &mut self.workers[index];
        let Some(outstanding) = worker.ended(number) else {
            return Ok(false); // abandoned
        };
        let verb = outstanding.verb;
        let now = clock::now();
        if shows_server(&reply) {
            self.reached(outstanding.sent);
        }
        count(&self.metrics, &outstanding, reply.as_ref().err().map(Failure::class), now);
        match reply {
            Ok(object) => {
                self.report.success(index, verb);
                self.step(
                    index,
                    Event::Answered { request: number, answer: Answer::Seen(object.sight()) },
                    Some(object),
                )
            }
            Err(failure) => {
                self.report.failure(index, verb, &failure, now);
                self.step(index, Event::Answered { request: number, answer: answer(verb, &failure) }, None)
            }
        }
    }

    /// Records that the API server was reached at `at` or later. `at` is the time of sending: the process may have been
    /// paused before it read the answer.
    fn reached(&mut self, at: Time) {
        self.server_reached = self.server_reached.max(Some(at));
    }

    /// Steps the state machine with an event of a lock, and does what it asks for.
    fn step(&mut self, index: usize, event: Event, object: Option<Object>) -> io::Result<bool> {
        let moment = moment();
        let output = self.lock_set.step(moment, index, event);
        if let Some(object) = object {
            self.workers[index].keep(object, &self.lock_set.locks()[index]);
        }
        self.publish_and_act(moment.now, output)
    }

    /// The same for an event that concerns no lock.
    fn step_candidate(&mut self, event: CandidateEvent) -> io::Result<bool> {
        let moment = moment();
        let output = self.lock_set.step_candidate(moment, event);
        self.publish_and_act(moment.now, output)
    }

    /// Publishes the snapshot first, then does what the state machine asks for (S5).
    fn publish_and_act(&mut self, now: Time, output: LockSetOutput) -> io::Result<bool> {
        let alarm = self.next_alarm(now, &output);
        let mut snapshot = self.snapshot(now, alarm);
        self.report.state(self.lock_set.locks(), &snapshot, now);
        snapshot.last_error = self.report.last_error();
        let published = self.status.publish(snapshot);
        self.tell_tasks(now);
        if output.finished {
            return Ok(true);
        }
        self.alarm.set(alarm)?;
        self.act(output, published)?;
        Ok(false)
    }

    fn act(&mut self, output: LockSetOutput, _: Published) -> io::Result<()> {
        for (worker, lock) in self.workers.iter_mut().zip(output.locks) {
            if lock.reopen_watch {
                log::debug!("the watch of {} missed something, or is silent: reopening it", worker.lock);
                worker.watcher.reopen();
            }
            let Some(request) = lock.request else { continue };
            let acquires = matches!(&request.call, Call::Write(write) if write.purpose == Purpose::Acquire);
            if let Some(given_up) = worker.send(request)? {
                count(&self.metrics, &given_up, Some(Class::Unavailable), clock::now());
            }
            if acquires {
                self.tasks.look_ahead();
            }
        }
        Ok(())
    }

    /// At least once in L, to show that this thread is alive.
    fn next_alarm(&self, now: Time, output: &LockSetOutput) -> Time {
        let heartbeat = now.saturating_add(self.settings.lease);
        let moments = [output.deadline, self.command.restart_at, self.tasks.gives_service_up_at()];
        moments.into_iter().flatten().fold(heartbeat, Time::min)
    }

    fn snapshot(&mut self, now: Time, alarm: Time) -> Snapshot {
        let machines = self.lock_set.locks();
        if machines.iter().all(|machine| machine.lock().is_some()) && self.locks_seen.is_none() {
            self.locks_seen = Some(now);
        }
        let allowance = self.settings.lease.saturating_mul(2).saturating_add(STUCK_ALLOWANCE);
        let claim = self.lock_set.claim();
        let renewed = claim.map(|claim| claim.until.saturating_sub(self.settings.renew_deadline));
        let seen = self.lock_set.locks().iter().rev().map(seen).collect();
        Snapshot {
            identity: self.settings.identity.clone(),
            locks: self.locks.clone(),
            claim,
            renewed,
            candidacy: self.lock_set.candidacy(now),
            seen,
            last_error: None,
            lock_seen: self.locks_seen,
            server_reached: self.server_reached,
            lease_duration: self.settings.lease,
            stuck_at: alarm.saturating_add(allowance),
        }
    }
}

fn moment() -> Moment {
    let now = clock::now();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall_micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
    Moment { now, wall_micros, jitter: random::fraction() }
}

/// The period of the rate limit for watch events of one lock. It is far shorter than R, the period of renewals, so it
/// delays none.
fn watch_message_period(settings: &Settings) -> Duration {
    (settings.retry_period / 4).min(LONGEST_WATCH_PERIOD)
}

/// What the lock of this state machine shows.
fn seen(machine: &Election) -> Seen {
    let record = match machine.lock().map(|lock| &lock.content) {
        Some(Content::Record(record)) => Some(record.clone()),
        _ => None,
    };
    let other = machine.other();
    let renewed = other.as_ref().zip(record.as_ref()).map(|(other, record)| other.until.saturating_sub(record.lease()));
    Seen { other, record, renewed }
}

/// Counts a finished request.
fn count(metrics: &Metrics, ended: &Outstanding, failure: Option<Class>, now: Time) {
    metrics.api_request(ended.verb, failure);
    match failure {
        None if ended.renews => metrics.renewed(now.since(ended.sent)),
        Some(_) if ended.renews => metrics.slow_path.add(),
        _ => {}
    }
}

/// Whether a reply shows that an API server works.
fn shows_server(reply: &requester::RequestResult) -> bool {
    match reply {
        Ok(_) => true,
        Err(failure) => !matches!(failure.kind, FailureKind::Unknown | FailureKind::Aborted),
    }
}

/// What a failure means for the state machine.
fn answer(verb: Verb, failure: &Failure) -> Answer {
    let reading = verb == Verb::Get;
    match failure.kind {
        FailureKind::Absent if reading => Answer::Seen(Sight::MISSING),
        FailureKind::Absent => Answer::Absent,
        FailureKind::Conflict => Answer::Conflict,
        FailureKind::Denied | FailureKind::Invalid => Answer::Denied,
        FailureKind::Busy => Answer::Busy(failure.retry_after),
        // A read may safely wait as long as the server asks for with a 503.
        FailureKind::Unknown if reading && failure.retry_after.is_some() => Answer::Busy(failure.retry_after),
        FailureKind::Unknown | FailureKind::Expired | FailureKind::Aborted => Answer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;
    use crate::election::{Claim, Version};
    use crate::leader_service::{Addresses, LeaderService, Pod, ServiceSpec};
    use crate::lock::LockKind;
    use std::net::Ipv4Addr;

    /// A candidate that does not run, with a server that does not exist.
    fn candidate() -> Candidate {
        let second = Duration::from_secs(1);
        let settings = Settings {
            identity: "me".into(),
            process: 1,
            host: None,
            lease: 3 * second,
            renew_deadline: 2 * second,
            retry_period: second,
            request_timeout: second,
            release_delay: Duration::ZERO,
            creation_delay: Duration::ZERO,
            health_failures: None,
        };
        let locks = Arc::new(Locks { kinds: &[LockKind::Leases], namespace: "n".into(), name: "e".into() });
        let credentials = Credentials::server("http://127.0.0.1:1", None).unwrap();
        let api = Api::new(Arc::new(credentials), second);
        let status = Arc::new(Status::new(Snapshot::unknown("me".into(), Arc::clone(&locks), second, Time::ZERO)));
        Candidate::start(settings, locks, api, status, Arc::default()).unwrap()
    }

    #[test]
    fn a_candidate_that_fails_claims_nothing() {
        let candidate = candidate();
        let status = Arc::clone(&candidate.status);
        let claim = Some(Claim { until: Time::MAX, fencing_token: 1 });
        status.publish(Snapshot { claim, ..(*status.snapshot()).clone() });
        assert!(candidate.end(Err(io::Error::other("no more threads"))).is_err());
        assert_eq!(status.snapshot().claim, None);
    }

    /// Like one whose thread waits for a credential plugin.
    #[test]
    fn a_stopped_candidate_does_not_wait_for_a_leader_service_that_reports_nothing() {
        let mut candidate = candidate();
        let spec = ServiceSpec {
            service: "web".to_owned(),
            namespace: "n".to_owned(),
            ports: Vec::new(),
            addresses: Addresses { v4: Some(Ipv4Addr::LOCALHOST), v6: None },
            pod: Pod { name: "p".to_owned(), uid: None, node: None },
            election: "e".to_owned(),
            identity: "me".to_owned(),
        };
        let api = Api::new(Arc::new(Credentials::server("http://127.0.0.1:1", None).unwrap()), Duration::ZERO);
        let service = LeaderService::start(spec, api, Duration::ZERO, |_| std::thread::park(), |_, _| ()).unwrap();
        candidate.tasks.set_service(service);
        assert!(candidate.tasks.tell(Some(Claim { until: Time::MAX, fencing_token: 1 }), None));
        candidate.lock_set.begin_work();
        let began = clock::now();
        let mut finished = candidate.take(Input::Stop).unwrap();
        let alarm = candidate.next_alarm(began, &LockSetOutput::default());
        assert_eq!(Some(alarm), candidate.tasks.gives_service_up_at());
        while !finished {
            assert!(clock::now().since(began) < Duration::from_secs(60), "it waits");
            let input = candidate.inbox.take();
            finished = candidate.take(input).unwrap();
        }
    }

    #[test]
    fn a_write_without_the_current_object_causes_a_read_and_is_no_conflict() {
        let mut candidate = candidate();
        candidate.step(0, Event::Tick, None).unwrap();
        let version = Some(Version { uid: "u".into(), resource_version: 5 });
        let bare = Sight { version, content: Content::Nothing, mark: None, step_down: None };
        candidate.step(0, Event::Answered { request: 1, answer: Answer::Seen(bare) }, None).unwrap();
        assert!(candidate.workers[0].ended(2).is_none(), "it was sent");
        let not_sent = loop {
            match candidate.inbox.take() {
                Input::Ended(_, 2, reply) => break Input::Ended(0, 2, reply),
                _ => continue, // the read failed, for there is no server
            }
        };
        candidate.take(not_sent).unwrap();
        assert_eq!(candidate.workers[0].ended(3).map(|read| read.verb), Some(Verb::Get));
        let (snapshot, now) = candidate.status.now();
        let page = candidate.metrics.page(&snapshot, now);
        let conflicts: Vec<&str> = page.lines().filter(|line| line.contains("conflict")).collect();
        assert!(!conflicts.is_empty() && conflicts.iter().all(|line| line.ends_with(" 0")), "{conflicts:?}");
        assert_eq!((snapshot.last_error, snapshot.server_reached), (None, None));
    }
}
