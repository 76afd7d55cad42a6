//! The world round the machines: true time, the candidates with their clocks, the network and its faults.

use crate::candidate::Candidate;
use crate::chance::{Faults, Random};
use crate::model::Server;
use leader_elector::election::{Answer, Call, Election, Event, Moment, Request, Settings, Sight};
use leader_elector::record::{Content, Place};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

const MS: u64 = 1_000_000;
/// L, D, R and T in nanoseconds of the candidate's own clock, as `--ttl=10s` gives them.
pub const L: u64 = 10_000 * MS;
const D: u64 = 6_666 * MS;
const R: u64 = 2_000 * MS;
const T: u64 = 2_099 * MS;
/// Faults end here, and then somebody must lead before the end.
const FAULTS_UNTIL: u64 = 12 * L;
const END: u64 = FAULTS_UNTIL + 8 * L;

/// A schedule has some thousands of events; this many mean that something goes round in circles.
const MOST_EVENTS: u64 = 100_000;

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
enum What {
    Start { candidate: usize, life: u64, alone: bool },
    Wake { candidate: usize, life: u64 },
    AtServer { candidate: usize, life: u64, message: usize },
    BackAt { candidate: usize, life: u64, message: usize },
    TimedOut { candidate: usize, life: u64, message: usize },
    Watch { candidate: usize, life: u64 },
    OpenWatch { candidate: usize, life: u64 },
    Resume { candidate: usize, life: u64 },
    Mischief,
}

struct Message {
    request: Request,
    answer: Option<Answer>,
    answered: bool,
}

pub struct World {
    seed: u64,
    trace: bool,
    random: Random,
    faults: Faults,
    now: u64,
    server: Server,
    candidates: Vec<Candidate>,
    queue: BinaryHeap<Reverse<(u64, u64, What)>>,
    scheduled: u64,
    messages: Vec<Message>,
    highest_token: u64,
    deleted_at: Option<u64>,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> World {
        let mut random = Random(seed);
        let faults = Faults::drawn(&mut random);
        let count = 1 + random.below(5) as usize;
        let mut world = World {
            seed,
            trace,
            random,
            faults,
            now: 0,
            server: Server::new(),
            candidates: Vec::new(),
            queue: BinaryHeap::new(),
            scheduled: 0,
            messages: Vec::new(),
            highest_token: 0,
            deleted_at: None,
        };
        for index in 0..count {
            let candidate = world.new_candidate(index, 0);
            world.candidates.push(candidate);
            world.schedule(0, What::Start { candidate: index, life: 0, alone: true });
        }
        world.schedule(0, What::Mischief);
        world
    }

    fn new_candidate(&mut self, index: usize, life: u64) -> Candidate {
        let name = if self.faults.same_identity { "same".to_owned() } else { format!("candidate-{index}") };
        let settings = Settings {
            identity: name.into(),
            process: u128::from(self.random.next()),
            place: Some(Place { boot: "boot".into(), network: format!("net-{index}").into() }),
            lease: Duration::from_nanos(L),
            renew_deadline: Duration::from_nanos(D),
            retry_period: Duration::from_nanos(R),
            request_timeout: Duration::from_nanos(T),
            release_delay: Duration::from_nanos(if self.random.happens(0.3) { self.random.below(L) } else { 0 }),
        };
        Candidate {
            machine: Election::new(settings),
            life,
            running: false,
            paused_until: 0,
            wakes_at: 0,
            offset: self.random.below(1_000_000) * MS,
            // Rates differ by less than L/D = 1.5.
            rate: 0.83 + self.random.unit() * 0.4,
            watch: None,
            watch_delivers_at: 0,
            last_token: 0,
        }
    }

    fn schedule(&mut self, at: u64, what: What) {
        self.scheduled += 1;
        self.queue.push(Reverse((at, self.scheduled, what)));
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.6} {}", self.now as f64 / 1e9, text());
        }
    }

    fn faulty(&self) -> bool {
        self.now < FAULTS_UNTIL
    }

    /// Runs the schedule to its end, or to the first violation.
    pub fn run(mut self) -> Result<(), String> {
        while let Some(Reverse((at, _, what))) = self.queue.pop() {
            if at > END {
                break;
            }
            if self.scheduled > MOST_EVENTS {
                return Err(format!("seed {}: a storm of events at {} ms", self.seed, self.now / MS));
            }
            self.now = at;
            self.happen(what)?;
        }
        let leaders = self.candidates.iter().filter(|candidate| candidate.claims(self.now)).count();
        if leaders != 1 {
            return Err(format!(
                "seed {}: {leaders} leaders, {} after the faults ended",
                self.seed,
                (END - FAULTS_UNTIL) / L
            ));
        }
        Ok(())
    }

    fn happen(&mut self, what: What) -> Result<(), String> {
        match what {
            What::Mischief => self.mischief()?,
            What::Start { candidate, life, alone } => self.start(candidate, life, alone)?,
            // Only the latest deadline counts.
            What::Wake { candidate, .. } if self.candidates[candidate].wakes_at != self.now => {}
            What::Wake { candidate, life } => self.step(candidate, life, Event::Tick)?,
            What::Resume { candidate, life } => self.step(candidate, life, Event::Tick)?,
            What::OpenWatch { candidate, life } => self.open_watch(candidate, life)?,
            What::Watch { candidate, life } => self.deliver_watch(candidate, life)?,
            What::AtServer { candidate, life, message } => self.at_server(candidate, life, message),
            What::BackAt { candidate, life, message } => {
                let answer = self.messages[message].answer.clone().unwrap_or(Answer::Unknown);
                self.answer(candidate, life, message, answer)?;
            }
            What::TimedOut { candidate, life, message } => self.answer(candidate, life, message, Answer::Unknown)?,
        }
        Ok(())
    }

    /// Hands an event to a candidate, unless it is paused (then it comes later) or was another life's.
    fn step(&mut self, index: usize, life: u64, event: Event) -> Result<(), String> {
        let candidate = &mut self.candidates[index];
        if candidate.life != life || !candidate.running {
            return Ok(());
        }
        if candidate.paused_until > self.now {
            // Events wait in the channel; a tick is all that this world needs to bring back later.
            let at = candidate.paused_until;
            match event {
                Event::Tick => self.schedule(at, What::Resume { candidate: index, life }),
                other => self.deferred(index, life, at, other),
            }
            return Ok(());
        }
        let now = Duration::from_nanos(candidate.clock(self.now));
        let wall_micros = if candidate.offset.is_multiple_of(3) { 1_000 } else { (self.now / 1000) as i64 };
        let moment = Moment { now, wall_micros, jitter: self.random.unit() };
        let text = if self.trace { format!("{index} {event:?}") } else { String::new() };
        let output = candidate.machine.step(moment, event);
        let claim = candidate.machine.claim();
        let deadline = output.deadline.map(|at| candidate.true_time_of(at));
        self.say(|| format!("{text}\n    -> {output:?} claim {claim:?}"));
        self.judge(index)?;
        if let Some(request) = output.request {
            self.send(index, life, request);
        }
        if output.reopen_watch {
            self.candidates[index].watch = None;
            self.schedule(self.now + MS, What::OpenWatch { candidate: index, life });
        }
        if output.finished {
            self.candidates[index].running = false;
            self.restart_at(index, self.now + 1 + self.random.0 % L);
        } else if let Some(at) = deadline {
            self.candidates[index].wakes_at = at.max(self.now);
            self.schedule(at.max(self.now), What::Wake { candidate: index, life });
        }
        Ok(())
    }

    fn deferred(&mut self, index: usize, life: u64, at: u64, event: Event) {
        match event {
            Event::Answered { request, answer } => {
                let message = self.messages.len();
                let call = Call::Read;
                let request = Request { number: request, timeout: Duration::ZERO, call };
                self.messages.push(Message { request, answer: Some(answer), answered: false });
                self.schedule(at, What::BackAt { candidate: index, life, message });
            }
            Event::Watched { .. } | Event::WatchOpened | Event::WatchClosed => {
                // The watch is cut by such a pause and opened anew.
                self.candidates[index].watch = None;
                self.schedule(at, What::OpenWatch { candidate: index, life });
            }
            _ => {}
        }
    }

    /// The oracle: what do they all say at this instant?
    fn judge(&mut self, index: usize) -> Result<(), String> {
        let claiming: Vec<usize> =
            (0..self.candidates.len()).filter(|&i| self.candidates[i].claims(self.now)).collect();
        if claiming.len() > 1 {
            return Err(format!("seed {}: {claiming:?} lead at once at {} ms", self.seed, self.now / MS));
        }
        let candidate = &mut self.candidates[index];
        if let Some(claim) = candidate.machine.claim()
            && claim.fencing_token != candidate.last_token
        {
            if claim.fencing_token <= self.highest_token {
                return Err(format!("seed {}: token {} after {}", self.seed, claim.fencing_token, self.highest_token));
            }
            candidate.last_token = claim.fencing_token;
            self.highest_token = claim.fencing_token;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, life: u64, request: Request) {
        let message = self.messages.len();
        let timeout = (request.timeout.as_nanos() as f64 / self.candidates[index].rate) as u64;
        self.messages.push(Message { request, answer: None, answered: false });
        self.schedule(self.now + timeout, What::TimedOut { candidate: index, life, message });
        let faulty = self.faulty();
        if faulty && self.random.happens(self.faults.request_lost) {
            return;
        }
        let delay = self.delay();
        self.schedule(self.now + delay, What::AtServer { candidate: index, life, message });
        if faulty && self.random.happens(self.faults.sent_twice) {
            let again = self.now + delay + self.delay();
            self.schedule(again, What::AtServer { candidate: index, life, message });
        }
    }

    fn delay(&mut self) -> u64 {
        if self.faulty() && self.random.happens(self.faults.delayed) {
            return self.random.below(3 * L);
        }
        self.random.below(5 * MS) + MS / 10
    }

    fn at_server(&mut self, index: usize, life: u64, message: usize) {
        let refused = self.faulty() && self.random.happens(self.faults.refused);
        let answer = if refused {
            match self.random.below(4) {
                0 => Answer::Denied,
                1 => Answer::Busy(Some(Duration::from_nanos(self.random.below(L)))),
                2 => Answer::Conflict,
                _ => Answer::Unknown,
            }
        } else {
            let before = self.server.history.len();
            let answer = self.server.handle(&self.messages[message].request.call.clone());
            if self.server.history.len() > before {
                self.changed();
            }
            answer
        };
        self.say(|| format!("server: {} {:?} -> {answer:?}", index, self.messages[message].request.call));
        // What is sent twice is answered by the second time: an earlier answer was lost on the way.
        self.messages[message].answer = Some(answer);
        if self.faulty() && self.random.happens(self.faults.answer_lost) {
            return;
        }
        let delay = self.delay();
        self.schedule(self.now + delay, What::BackAt { candidate: index, life, message });
    }

    fn answer(&mut self, index: usize, life: u64, message: usize, answer: Answer) -> Result<(), String> {
        if std::mem::replace(&mut self.messages[message].answered, true) {
            return Ok(());
        }
        let request = self.messages[message].request.number;
        self.step(index, life, Event::Answered { request, answer })
    }

    /// The object changed: every watch will show it, sooner or later.
    fn changed(&mut self) {
        for index in 0..self.candidates.len() {
            let lag = if self.faulty() && self.random.happens(self.faults.watch_lags) {
                self.random.below(2 * L)
            } else {
                2 * MS
            };
            let (now, candidate) = (self.now, &mut self.candidates[index]);
            candidate.watch_delivers_at = candidate.watch_delivers_at.max(now + lag);
            let (at, life) = (candidate.watch_delivers_at, candidate.life);
            self.schedule(at, What::Watch { candidate: index, life });
        }
    }

    fn open_watch(&mut self, index: usize, life: u64) -> Result<(), String> {
        if self.candidates[index].life != life {
            return Ok(());
        }
        // A fresh watch begins with the object as it is now, if it exists.
        self.candidates[index].watch = Some(self.server.history.len());
        self.step(index, life, Event::WatchOpened)?;
        match self.server.object.version.clone() {
            Some(version) => {
                let sight = self.server.object.clone();
                self.step(index, life, Event::Watched { resource_version: version.resource_version, sight })
            }
            None => Ok(()),
        }
    }

    fn deliver_watch(&mut self, index: usize, life: u64) -> Result<(), String> {
        if self.faulty() && self.random.happens(self.faults.watch_cut) {
            self.candidates[index].watch = None;
            let at = self.now + self.random.below(L);
            self.schedule(at, What::OpenWatch { candidate: index, life });
            return self.step(index, life, Event::WatchClosed);
        }
        while self.candidates[index].life == life
            && let Some(shown) = self.candidates[index].watch
            && let Some((resource_version, sight)) = self.server.history.get(shown).cloned()
        {
            self.candidates[index].watch = Some(shown + 1);
            self.step(index, life, Event::Watched { resource_version, sight })?;
        }
        Ok(())
    }

    /// Something happens to a candidate or to the lock.
    fn mischief(&mut self) -> Result<(), String> {
        if !self.faulty() {
            return Ok(());
        }
        let next = self.now + self.faults.mischief_every / 2 + self.random.below(self.faults.mischief_every);
        self.schedule(next, What::Mischief);
        let index = self.random.below(self.candidates.len() as u64) as usize;
        let life = self.candidates[index].life;
        match self.random.below(7) {
            0 | 1 => {
                let longest = if self.random.happens(0.5) { 3 * L } else { L / 4 };
                let pause = self.random.below(longest);
                self.say(|| format!("{index} is paused for {} ms", pause / MS));
                self.candidates[index].paused_until = self.now + pause;
                self.schedule(self.now + pause, What::Resume { candidate: index, life });
            }
            2 if self.may_restart() => {
                self.say(|| format!("{index} is killed"));
                self.candidates[index].running = false;
                let at = self.now + self.random.below(2 * L);
                self.restart_at(index, at);
            }
            3 => {
                let running = self.candidates[index].running;
                if running && self.may_restart() && self.candidates[index].paused_until <= self.now {
                    self.say(|| format!("{index} is told to leave"));
                    return self.step(index, life, Event::Stop);
                }
            }
            4 => {
                self.server.touch();
                self.changed();
            }
            5 if self.may_delete() => {
                self.say(|| "the lock is deleted".to_owned());
                self.server.delete();
                self.deleted_at = Some(self.now);
                self.changed();
            }
            _ => {}
        }
        Ok(())
    }

    /// The assumption: nobody deletes the lock where a candidate that never saw the present record of its
    /// present term can be fooled.
    fn may_delete(&self) -> bool {
        let term = |sight: &Sight| match &sight.content {
            Content::Record(record) => Some((sight.version.clone()?.uid, record.acquired.clone(), record.transitions)),
            _ => None,
        };
        let present = term(&self.server.object);
        let knows = |candidate: &Candidate| candidate.running && candidate.machine.lock().and_then(term) == present;
        present.is_some() && self.candidates.iter().all(knows)
    }

    fn may_restart(&self) -> bool {
        self.deleted_at.is_none_or(|at| self.now >= at + 3 * L)
    }

    fn restart_at(&mut self, index: usize, at: u64) {
        let life = self.candidates[index].life + 1;
        let candidate = self.new_candidate(index, life);
        self.candidates[index] = candidate;
        let alone = self.random.happens(0.7);
        self.schedule(at, What::Start { candidate: index, life, alone });
    }

    fn start(&mut self, index: usize, life: u64, alone: bool) -> Result<(), String> {
        if self.deleted_at.is_some_and(|since| self.now < since + 3 * L) {
            // The assumption of may_delete, seen from the other side.
            self.schedule(self.now + L / 4, What::Start { candidate: index, life, alone });
            return Ok(());
        }
        self.candidates[index].running = true;
        self.step(index, life, Event::Alone(alone))?;
        self.open_watch(index, life)
    }
}
