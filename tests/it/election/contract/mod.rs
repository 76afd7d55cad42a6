//! The contract of the election, S1 to S10, and its speed: one candidate, driven event by event.
//!
//! Times are milliseconds of the candidate's clock. It has L = 10 s, D = 6 s, R = 2 s and T = 1.8 s.

mod health_gate;
mod s10_an_unreadable_record_counts_as_held;
mod s1_a_claim_ends_at_f;
mod s2_every_write_is_a_compare_and_swap;
mod s3_a_held_lock_is_left_alone;
mod s4_a_release_is_written_over_the_own_last_write;
mod s5_the_claim_ends_before_the_release;
mod s6_a_record_that_is_not_ours_ends_the_claim;
mod s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen;
mod s8_each_term_has_a_greater_token;
mod s9_the_own_name_of_another_process_is_another_candidate;
mod speed;
mod step_down;
mod work;

use leader_elector::election::lock_set::{LockSet, LockSetOutput};
use leader_elector::election::{
    Answer, Call, CandidateEvent, Election, Event, LockRequest, Moment, Output, Purpose, Settings, Sight, Version,
    Write, whole_seconds,
};
use leader_elector::record::{Content, Host, Mark, Record, Stamp};
use leader_elector::time::Time;
use std::time::Duration;

const ME: &str = "me";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The candidate's clock at this number of milliseconds.
fn at(ms: u64) -> Time {
    Time::after_boot(Duration::from_millis(ms))
}

fn host() -> Host {
    Host { boot: "boot".into(), network: "network".into() }
}

fn settings() -> Settings {
    Settings {
        identity: ME.into(),
        process: 1,
        host: Some(host()),
        lease: ms(10_000),
        renew_deadline: ms(6_000),
        retry_period: ms(2_000),
        request_timeout: ms(1_800),
        release_delay: Duration::ZERO,
        creation_delay: Duration::ZERO,
        health_failures: None,
    }
}

/// One candidate, its clock, and its last output.
struct Scenario {
    lock_set: LockSet,
    now: u64,
    wall_micros: i64,
    output: Output,
    request: Option<LockRequest>,
    steps: u32,
}

impl Scenario {
    fn new(settings: Settings) -> Scenario {
        let lock_set = LockSet::single(settings);
        let mut new = Scenario { lock_set, now: 0, wall_micros: 7, output: Output::default(), request: None, steps: 0 };
        new.happens(Event::WatchOpened);
        new
    }

    /// A candidate that has just seen this sight.
    fn that_sees(sight: Sight) -> Scenario {
        let mut new = Scenario::new(settings());
        new.reads(sight);
        new
    }

    /// A leader since 0 ms, with fencing token 100.
    fn leader(settings: Settings) -> Scenario {
        Scenario::leader_with_write(settings).0
    }

    /// The same, and its write.
    fn leader_with_write(settings: Settings) -> (Scenario, Write) {
        let mut new = Scenario::new(settings);
        new.reads(Sight::MISSING);
        let write = new.writes();
        new.acknowledged(&write, 100);
        assert!(new.leads());
        (new, write)
    }

    fn machine(&self) -> &Election {
        &self.lock_set.locks()[0]
    }

    fn happens(&mut self, event: Event) {
        self.steps += 1;
        assert!(self.steps < 1_000, "it goes on without end");
        let output = self.lock_set.step(self.moment(), 0, event);
        self.obeys(output);
    }

    /// An event of the candidate itself.
    fn befalls(&mut self, event: CandidateEvent) {
        let output = self.lock_set.step_candidate(self.moment(), event);
        self.obeys(output);
    }

    fn befalls_at(&mut self, now: u64, event: CandidateEvent) {
        self.now = now;
        self.befalls(event);
    }

    fn moment(&self) -> Moment {
        Moment { now: at(self.now), wall_micros: self.wall_micros, jitter: 0.0 }
    }

    fn obeys(&mut self, output: LockSetOutput) {
        let [lock, _] = output.locks;
        self.output = Output {
            request: lock.request,
            deadline: output.deadline,
            reopen_watch: lock.reopen_watch,
            finished: output.finished,
        };
        if let Some(deadline) = self.output.deadline {
            assert!(deadline > at(self.now), "it asks to be called again at once");
        }
        self.request = self.output.request.clone().or(self.request.take());
    }

    fn happens_at(&mut self, now: u64, event: Event) {
        self.now = now;
        self.happens(event);
    }

    /// The request in flight, or the next one that is sent when time passes.
    fn asks(&mut self) -> LockRequest {
        for _ in 0..100 {
            if let Some(request) = &self.request {
                return request.clone();
            }
            let deadline = self.output.deadline.expect("it waits for nothing, and would never ask again");
            self.happens_at(deadline.uptime().as_millis() as u64, Event::Tick);
        }
        panic!("it asks for nothing, a hundred times");
    }

    fn writes(&mut self) -> Write {
        match self.asks().call {
            Call::Write(write) => Write::clone(&write),
            Call::Read => panic!("it reads at {} ms", self.now),
        }
    }

    fn answered(&mut self, answer: Answer) {
        let request = self.request.take().expect("nothing was asked").number;
        self.happens(Event::Answered { request, answer });
    }

    fn answered_at(&mut self, now: u64, answer: Answer) {
        self.now = now;
        self.answered(answer);
    }

    /// Expects the next request to be a read, and answers it with this sight.
    fn reads(&mut self, sight: Sight) {
        assert_eq!(self.asks().call, Call::Read, "at {} ms", self.now);
        self.answered(Answer::Seen(sight));
    }

    /// Answers each read with this sight, until it writes.
    fn reads_until_it_writes(&mut self, sight: &Sight) {
        while self.asks().call == Call::Read {
            self.reads(sight.clone());
        }
    }

    /// It releases the lock now, and acquires it again one lease later.
    fn releases_for_one_lease(&mut self, resource_version: u64) {
        let (release, released_at) = (self.writes(), self.now);
        assert_eq!(release.purpose, Purpose::Release);
        self.acknowledged(&release, resource_version);
        self.reads_until_it_writes(&shown(&release, resource_version));
        assert_eq!((self.writes().purpose, self.now), (Purpose::Acquire, released_at + 10_000));
    }

    fn acknowledged(&mut self, write: &Write, resource_version: u64) {
        self.answered(Answer::Seen(shown(write, resource_version)));
    }

    fn watches(&mut self, now: u64, sight: Sight) {
        let resource_version = sight.version.as_ref().expect("a deletion has no version").resource_version;
        self.happens_at(now, Event::Watched { resource_version, sight });
    }

    fn sees_deletion(&mut self, now: u64, resource_version: u64) {
        self.happens_at(now, Event::Watched { resource_version, sight: Sight::MISSING });
    }

    fn leads(&self) -> bool {
        self.lock_set.claim().is_some_and(|claim| at(self.now) < claim.until)
    }

    fn leads_at(&self, now: u64) -> bool {
        self.lock_set.claim().is_some_and(|claim| at(now) < claim.until)
    }

    fn token(&self) -> Option<u64> {
        self.lock_set.claim().map(|claim| claim.fencing_token)
    }
}

/// The lock after this write.
fn shown(write: &Write, resource_version: u64) -> Sight {
    let version = Some(Version { uid: "uid".into(), resource_version });
    Sight { version, content: Content::Record(write.record.clone()), mark: Some(write.mark.clone()), step_down: None }
}

/// A record with this holder, lease and time.
fn held(resource_version: u64, holder: &str, lease_seconds: u32, stamp: i64) -> Sight {
    let record = Record {
        holder: holder.into(),
        lease_seconds,
        acquired: Stamp::Micros(1),
        renewed: Stamp::Micros(stamp),
        transitions: 3,
    };
    let version = Some(Version { uid: "uid".into(), resource_version });
    Sight { version, content: Content::Record(record), mark: None, step_down: None }
}

fn unreadable(resource_version: u64) -> Sight {
    let content = Content::Unreadable { text: "{".into(), why: "it is not JSON" };
    Sight { content, ..held(resource_version, "", 1, 0) }
}

fn without_record(resource_version: u64) -> Sight {
    Sight { content: Content::Nothing, ..held(resource_version, "", 1, 0) }
}

/// The same record, written by a process whose mark names its host.
fn in_another_object(sight: Sight) -> Sight {
    let version = sight.version.map(|version| Version { uid: "another".into(), ..version });
    Sight { version, ..sight }
}

fn marked(sight: Sight, process: u128, host: Option<Host>) -> Sight {
    let Content::Record(record) = &sight.content else { panic!("nothing to mark") };
    let mark = Some(Mark { process, write: 1, holder: record.holder.clone(), renewed: record.renewed.clone(), host });
    Sight { mark, ..sight }
}
