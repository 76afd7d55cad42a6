//! The candidate: the compare-and-swap loop. Events in, the machine, actions out.
//!
//! Only here is the clock read for a decision, and only here is the snapshot written. The thread never waits
//! for anything but its one channel: requests, the watch, the clock and signals are threads of their own.

use crate::api::{Api, Class, Failure, FailureKind, Reply, Verb};
use crate::clock::{self, Alarm, Time};
use crate::election::{Answer, Call, Election, Event, Moment, Output, Purpose, Request, Settings, Sight};
use crate::lock::{LockName, Object};
use crate::place::Socket;
use crate::random;
use crate::record::Content;
use crate::report::Report;
use crate::requester::{Job, Requester, Task};
use crate::status::{Snapshot, Status};
use crate::watcher::{News, Watcher};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much later than it meant to the candidate may run before it counts as stuck, beyond 2 L.
const STUCK_ALLOWANCE: Duration = Duration::from_secs(5);

/// What reaches the candidate.
enum Input {
    /// The moment that was waited for has come.
    Rang,
    /// The request of this number ended.
    Replied(u64, Reply),
    /// What the watch showed, and a moment before which that had not come.
    Watch(Time, News),
    /// Leave.
    Stop,
}

/// Tells the candidate to leave; may be cloned and used by any thread.
#[derive(Clone)]
pub struct Stop(Sender<Input>);

impl Stop {
    /// Ends the claim, releases the lock, and lets [`Candidate::run`] return.
    pub fn stop(&self) {
        let _ = self.0.send(Input::Stop); // it may be gone already
    }
}

/// One running elector: everything but its HTTP port.
pub struct Candidate {
    machine: Election,
    settings: Settings,
    lock: Arc<LockName>,
    status: Arc<Status>,
    report: Report,
    inbox: Receiver<Input>,
    outbox: Sender<Input>,
    alarm: Alarm,
    requester: Requester,
    watcher: Watcher,
    /// The object that the machine has in mind, with all its fields.
    object: Option<Object>,
    /// The request that the requester has not answered yet.
    outstanding: Option<Outstanding>,
    /// The proof that nobody else has this name in this network namespace.
    socket: Option<Socket>,
    server_reached: Option<Time>,
    lock_seen: Option<Time>,
}

/// A request on its way.
struct Outstanding {
    number: u64,
    verb: Verb,
    /// A moment before its sending.
    sent: Time,
    /// It renews a term.
    renews: bool,
}

impl Candidate {
    /// Starts the threads it needs. Nothing is decided or sent for the election before [`Candidate::run`].
    pub fn start(settings: Settings, lock: LockName, api: Api, status: Arc<Status>) -> io::Result<Candidate> {
        let (outbox, inbox) = channel();
        let ring = outbox.clone();
        let news = outbox.clone();
        let watch_timeout = settings.request_timeout;
        Ok(Candidate {
            alarm: Alarm::start(move || ring.send(Input::Rang).is_ok())?,
            watcher: Watcher::start(api.fresh(), lock.clone(), watch_timeout, random::fraction, move |since, it| {
                news.send(Input::Watch(since, it)).is_ok()
            })?,
            requester: start_requester(api, &lock, &outbox)?,
            machine: Election::new(settings.clone()),
            report: Report::new(lock.clone(), settings.identity.clone(), Arc::clone(status.metrics())),
            settings,
            lock: Arc::new(lock),
            status,
            inbox,
            outbox,
            object: None,
            outstanding: None,
            socket: None,
            server_reached: None,
            lock_seen: None,
        })
    }

    /// What tells this candidate to leave.
    pub fn stop_handle(&self) -> Stop {
        Stop(self.outbox.clone())
    }

    /// Takes part in the election until it is told to leave and has released the lock, or could not in time.
    ///
    /// An error says why it cannot go on; by then it has stopped claiming.
    pub fn run(mut self) -> io::Result<()> {
        let outcome = self.take_part();
        if outcome.is_err() {
            // The socket is about to be let go, and with it the proof that nobody of this name claims anything.
            let now = clock::now();
            let Settings { identity, lease, .. } = &self.settings;
            self.status.publish(Snapshot::unknown(identity.clone(), self.lock.clone(), *lease, now));
        }
        outcome
    }

    fn take_part(&mut self) -> io::Result<()> {
        let mut finished = self.take_socket()?;
        while !finished {
            let Ok(input) = self.inbox.recv() else { break }; // it holds a sender itself
            finished = self.take(input)?;
            if !finished && self.socket.is_none() && self.machine.name_is_taken() {
                finished = self.take_socket()?;
            }
        }
        self.report.left(&self.machine);
        Ok(())
    }

    /// S9: tries to become provably the only one of its name here.
    fn take_socket(&mut self) -> io::Result<bool> {
        self.socket = Socket::hold(&self.lock, &self.settings.identity).ok();
        self.step(Event::Alone(self.socket.is_some()), None)
    }

    /// Takes in one input; `true` when there is nothing left to do.
    fn take(&mut self, input: Input) -> io::Result<bool> {
        match input {
            Input::Rang => self.step(Event::Tick, None),
            Input::Replied(number, reply) => self.replied(number, reply),
            Input::Watch(since, news) => self.watched(since, news),
            Input::Stop => {
                self.report.leaving(self.machine.holds().then_some(self.settings.release_delay));
                self.step(Event::Stop, None)
            }
        }
    }

    fn watched(&mut self, since: Time, news: News) -> io::Result<bool> {
        let now = clock::now();
        if !matches!(news, News::Closed(_)) {
            self.reached(since);
        }
        // A stream that opens and shows nothing sensible is no watch yet.
        if !matches!(news, News::Closed(_) | News::Opened) {
            self.report.success(Verb::Watch);
        }
        match &news {
            News::Opened => self.status.metrics().api_request(Verb::Watch, None),
            News::Closed(Some(failure)) => self.status.metrics().api_request(Verb::Watch, Some(failure.class())),
            _ => {}
        }
        match news {
            News::Opened => self.step(Event::WatchOpened, None),
            News::Bookmark => self.step(Event::Tick, None),
            News::Object(object) => {
                let resource_version = object.version().resource_version;
                self.step(Event::Watched { resource_version, sight: object.sight() }, Some(object))
            }
            News::Deleted { resource_version } => {
                self.step(Event::Watched { resource_version, sight: Sight::MISSING }, None)
            }
            News::Closed(failure) => {
                if let Some(failure) = failure {
                    self.report.failure(Verb::Watch, &failure, now);
                }
                self.step(Event::WatchClosed, None)
            }
        }
    }

    fn replied(&mut self, number: u64, reply: Reply) -> io::Result<bool> {
        let Some(outstanding) = self.outstanding.take_if(|outstanding| outstanding.number == number) else {
            return Ok(false); // given up
        };
        let verb = outstanding.verb;
        let reply = reply.and_then(|body| match Object::parse(self.lock.kind, &body) {
            Ok(object) => Ok(object),
            Err(why) => Err(Failure::unreadable(verb, &self.lock, &body, &why)),
        });
        let now = clock::now();
        if shows_server(&reply) {
            self.reached(outstanding.sent);
        }
        self.count(&outstanding, reply.as_ref().err().map(Failure::class), now);
        match reply {
            Ok(object) => {
                self.report.success(verb);
                self.step(Event::Answered { request: number, answer: Answer::Seen(object.sight()) }, Some(object))
            }
            Err(failure) => {
                self.report.failure(verb, &failure, now);
                self.step(Event::Answered { request: number, answer: answer(verb, &failure) }, None)
            }
        }
    }

    /// The API server was there at this moment or later. When its answer was read says nothing: this process may have
    /// stood still meanwhile.
    fn reached(&mut self, at: Time) {
        self.server_reached = self.server_reached.max(Some(at));
    }

    fn count(&self, ended: &Outstanding, failure: Option<Class>, now: Time) {
        let metrics = self.status.metrics();
        metrics.api_request(ended.verb, failure);
        match failure {
            None if ended.renews => metrics.renewed(now.saturating_sub(ended.sent)),
            Some(_) if ended.renews => metrics.slow_path.add(),
            _ => {}
        }
    }

    /// One tick: the moment, the machine, the snapshot, and only then what the machine asks for (S5).
    fn step(&mut self, event: Event, object: Option<Object>) -> io::Result<bool> {
        let now = clock::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        let output = self.machine.step(Moment { now, wall_micros, jitter: random::fraction() }, event);
        self.keep(object);
        let alarm = self.next_alarm(now, &output);
        let mut snapshot = self.snapshot(now, alarm);
        self.report.state(&self.machine, &snapshot, now);
        snapshot.last_error = self.report.last_error();
        self.status.publish(snapshot);
        if output.finished {
            return Ok(true);
        }
        self.alarm.set(alarm)?;
        if output.reopen_watch {
            log::debug!("the watch of {} missed something, or is silent: opening it anew", self.lock);
            self.watcher.reopen();
        }
        if let Some(request) = output.request {
            self.send(request)?;
        }
        Ok(false)
    }

    /// Keeps the object if it is the one that the machine believes in.
    fn keep(&mut self, object: Option<Object>) {
        let version = self.machine.lock().and_then(|lock| lock.version.as_ref());
        if let Some(object) = object
            && version == Some(object.version())
        {
            self.object = Some(object);
        }
    }

    /// At least once in L, so that whoever asks can tell that this thread is alive.
    fn next_alarm(&self, now: Time, output: &Output) -> Time {
        let heartbeat = now.saturating_add(self.settings.lease);
        output.deadline.map_or(heartbeat, |deadline| deadline.min(heartbeat))
    }

    fn snapshot(&mut self, now: Time, alarm: Time) -> Snapshot {
        if self.machine.lock().is_some() && self.lock_seen.is_none() {
            self.lock_seen = Some(now);
        }
        let allowance = self.settings.lease.saturating_mul(2).saturating_add(STUCK_ALLOWANCE);
        let (claim, other) = (self.machine.claim(), self.machine.other());
        let record = match self.machine.lock().map(|lock| &lock.content) {
            Some(Content::Record(record)) => Some(record.clone()),
            _ => None,
        };
        let sent = claim.map(|claim| claim.until.saturating_sub(self.settings.renew_deadline));
        let seen =
            other.as_ref().zip(record.as_ref()).map(|(other, record)| other.until.saturating_sub(record.lease()));
        Snapshot {
            identity: self.settings.identity.clone(),
            lock: self.lock.clone(),
            claim,
            other,
            record,
            renewed: sent.or(seen),
            last_error: None,
            lock_seen: self.lock_seen,
            server_reached: self.server_reached,
            lease_duration: self.settings.lease,
            stuck_at: alarm.saturating_add(allowance),
        }
    }

    fn send(&mut self, request: Request) -> io::Result<()> {
        let (number, sent) = (request.number, clock::now());
        let Some((verb, task)) = self.task(&request.call) else {
            // Nothing was sent, and a look at the lock mends it.
            log::error!("{}: the object in hand is not the one to be replaced", self.lock);
            let conflict = Failure::new(FailureKind::Conflict, Verb::Update, &self.lock, "not sent");
            self.outstanding = Some(Outstanding { number, verb: Verb::Update, sent, renews: false });
            let _ = self.outbox.send(Input::Replied(number, Err(conflict))); // the other end is here
            return Ok(());
        };
        if let Some(outstanding) = self.outstanding.take() {
            self.count(&outstanding, Some(Class::Unavailable), sent);
            // The machine gave the request under way up: nothing may wait behind it.
            let fresh = start_requester(self.requester.fresh_api(), &self.lock, &self.outbox)?;
            std::mem::replace(&mut self.requester, fresh).abandon();
        }
        let renews = matches!(&request.call, Call::Write(write) if matches!(write.purpose, Purpose::Renew { .. }));
        self.outstanding = Some(Outstanding { number, verb, sent, renews });
        self.requester.send(Job { number, timeout: request.timeout, task });
        Ok(())
    }

    fn task(&self, call: &Call) -> Option<(Verb, Task)> {
        match call {
            Call::Read => Some((Verb::Get, Task::Read)),
            Call::Write(write) => match &write.base {
                None => Some((Verb::Create, Task::Create(Object::created(&self.lock, &write.record, &write.mark)))),
                Some(base) => {
                    let object = self.object.as_ref().filter(|object| object.version() == base)?;
                    Some((Verb::Update, Task::Update(object.updated(&write.record, &write.mark))))
                }
            },
        }
    }
}

fn start_requester(api: Api, lock: &LockName, outbox: &Sender<Input>) -> io::Result<Requester> {
    let outbox = outbox.clone();
    Requester::start(api, lock.clone(), move |number, reply| {
        let _ = outbox.send(Input::Replied(number, reply)); // the candidate may be gone
    })
}

/// Whether a reply shows an API server at work.
fn shows_server(reply: &Result<Object, Failure>) -> bool {
    match reply {
        Ok(_) => true,
        Err(failure) => !matches!(failure.kind, FailureKind::Unknown | FailureKind::BrokenOff),
    }
}

/// What a failure means to the machine.
fn answer(verb: Verb, failure: &Failure) -> Answer {
    let reading = verb == Verb::Get;
    match failure.kind {
        FailureKind::Absent if reading => Answer::Seen(Sight::MISSING),
        FailureKind::Absent => Answer::Absent,
        FailureKind::Conflict => Answer::Conflict,
        FailureKind::Denied | FailureKind::Invalid => Answer::Denied,
        FailureKind::Busy => Answer::Busy(failure.retry_after),
        // A read does no harm: what the server asks for (503) is granted.
        FailureKind::Unknown if reading && failure.retry_after.is_some() => Answer::Busy(failure.retry_after),
        FailureKind::Unknown | FailureKind::Expired | FailureKind::BrokenOff => Answer::Unknown,
    }
}
