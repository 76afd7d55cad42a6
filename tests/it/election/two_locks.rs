//! The state machine of two locks, taken in a fixed order and driven event by event. Times are milliseconds;
//! L = 10 s, D = 6 s, R = 2 s.

use leader_elector::election::lock_set::{LockSet, LockSetOutput};
use leader_elector::election::{Answer, Call, Event, LockRequest, Moment, Purpose, Settings, Sight, Version, Write};
use leader_elector::record::{Content, Record, Stamp};
use leader_elector::time::Time;
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The candidate's clock at this number of milliseconds.
fn at(ms: u64) -> Time {
    Time::after_boot(Duration::from_millis(ms))
}

struct Pair {
    lock_set: LockSet,
    now: u64,
    output: LockSetOutput,
    requests: [Option<LockRequest>; 2],
    /// The last sight of each lock.
    seen: [Sight; 2],
    version: u64,
}

impl Pair {
    fn new(release_delay: u64) -> Pair {
        let settings = Settings {
            identity: "me".into(),
            process: 1,
            host: None,
            lease: ms(10_000),
            renew_deadline: ms(6_000),
            retry_period: ms(2_000),
            request_timeout: ms(1_800),
            release_delay: ms(release_delay),
            creation_delay: Duration::ZERO,
            health_failures: None,
        };
        let lock_set = LockSet::dual(settings);
        let (output, seen) = (LockSetOutput::default(), [Sight::MISSING; 2]);
        let mut it = Pair { lock_set, now: 0, output, requests: [None, None], seen, version: 100 };
        (0..2).for_each(|lock| it.happens(lock, Event::WatchOpened));
        it
    }

    /// A candidate that has read both locks, and leads both.
    fn leader(release_delay: u64) -> Pair {
        let mut it = Pair::new(release_delay);
        it.reads(1, Sight::MISSING);
        it.reads(0, Sight::MISSING);
        it.acknowledged(0);
        it.acknowledged(1);
        assert!(it.leads());
        it
    }

    fn happens(&mut self, lock: usize, event: Event) {
        let moment = Moment { now: at(self.now), wall_micros: 7, jitter: 0.0 };
        self.output = self.lock_set.step(moment, lock, event);
        for (lock, lock_output) in self.output.locks.iter().enumerate() {
            self.requests[lock] = lock_output.request.clone().or(self.requests[lock].take());
        }
    }

    fn happens_at(&mut self, now: u64, lock: usize, event: Event) {
        self.now = now;
        self.happens(lock, event);
    }

    /// Until the next deadline.
    fn waits(&mut self) {
        let deadline = self.output.deadline.expect("it waits for something");
        assert!(deadline > at(self.now), "it waits for {deadline:?} at {} ms", self.now);
        self.now = deadline.uptime().as_micros().div_ceil(1_000) as u64;
        self.happens(0, Event::Tick);
    }

    fn answered(&mut self, lock: usize, answer: Answer) {
        let request = self.requests[lock].take().expect("nothing was asked").number;
        self.happens(lock, Event::Answered { request, answer });
    }

    fn reads(&mut self, lock: usize, sight: Sight) {
        assert!(self.asks_to_read(lock));
        self.seen[lock] = sight.clone();
        self.answered(lock, Answer::Seen(sight));
    }

    fn asks_to_read(&self, lock: usize) -> bool {
        self.requests[lock].as_ref().is_some_and(|request| request.call == Call::Read)
    }

    /// Answers a read, if there is one: nothing has changed.
    fn reads_the_same(&mut self, lock: usize) {
        if self.asks_to_read(lock) {
            self.reads(lock, self.seen[lock].clone());
        }
    }

    fn write(&self, lock: usize) -> Option<&Write> {
        match &self.requests[lock].as_ref()?.call {
            Call::Write(write) => Some(write),
            Call::Read => None,
        }
    }

    fn acknowledged(&mut self, lock: usize) {
        let write = self.write(lock).unwrap_or_else(|| panic!("it writes nothing to lock {lock}")).clone();
        self.version += 1;
        let version = Some(Version { uid: "uid".into(), resource_version: self.version });
        let content = Content::Record(write.record);
        self.seen[lock] = Sight { version, content, mark: Some(write.mark), step_down: None };
        self.answered(lock, Answer::Seen(self.seen[lock].clone()));
    }

    /// Checks that it releases this lock exactly from this moment on. It has no right to write the other one.
    fn releases_from(&mut self, lock: usize, at: u64) {
        for _ in 0..100 {
            for other in 0..2 {
                let purpose = self.write(other).map(|write| write.purpose);
                match purpose {
                    Some(Purpose::Release) if other == lock => return assert_eq!(self.now, at),
                    Some(Purpose::Release) => assert!(self.now >= at, "lock {other} is released at {} ms", self.now),
                    Some(_) if other == lock => self.acknowledged(other),
                    Some(_) => self.answered(other, Answer::Denied),
                    None if self.requests[other].is_some() => self.answered(other, Answer::Unknown),
                    None => {}
                }
            }
            self.waits();
        }
        panic!("lock {lock} is not released by {} ms", self.now);
    }

    fn leads(&self) -> bool {
        self.lock_set.claim().is_some_and(|claim| at(self.now) < claim.until)
    }

    fn other(&self) -> Option<String> {
        self.lock_set.others().find(|holder| at(self.now) < holder.until).map(|holder| holder.identity.to_string())
    }
}

fn held(resource_version: u64, holder: &str) -> Sight {
    let stamp = Stamp::Micros(resource_version as i64);
    let record =
        Record { holder: holder.into(), lease_seconds: 10, acquired: stamp.clone(), renewed: stamp, transitions: 3 };
    let version = Some(Version { uid: "uid".into(), resource_version });
    Sight { version, content: Content::Record(record), mark: None, step_down: None }
}

#[test]
fn it_leads_when_it_holds_both_and_the_second_comes_after_the_first() {
    let mut it = Pair::new(0);
    it.reads(0, Sight::MISSING);
    assert!(it.write(0).is_none(), "it stands for the first though nobody knows the second");
    it.reads(1, Sight::MISSING);
    assert!(it.write(1).is_none(), "it stands for the second without the first");
    it.acknowledged(0);
    assert!(!it.leads());
    it.acknowledged(1);
    assert!(it.leads());
    assert_eq!(it.lock_set.claim().unwrap().fencing_token, 102);
}

#[test]
fn it_waits_for_the_second_while_it_holds_the_first() {
    let mut it = Pair::new(0);
    it.reads(1, held(50, "of-the-second"));
    it.reads(0, Sight::MISSING);
    it.acknowledged(0);
    assert!(!it.leads());
    assert_eq!(it.other().as_deref(), Some("of-the-second"));
    while it.write(1).is_none() {
        it.waits();
        if it.write(0).is_some() {
            it.acknowledged(0); // a renewal
        }
        if let Some(Call::Read) = it.requests[1].as_ref().map(|request| &request.call) {
            it.reads(1, held(50, "of-the-second")); // it was not seen for too long
        }
    }
    assert_eq!(it.now, 10_000);
    it.acknowledged(1);
    assert!(it.leads());
}

#[test]
fn asked_to_step_down_with_the_first_in_hand_it_does_not_come_to_lead() {
    let mut it = Pair::new(0);
    it.reads(1, Sight::MISSING);
    it.reads(0, Sight::MISSING);
    let Write { record, mark, .. } = it.write(0).expect("it stands for the first").clone();
    it.acknowledged(0);
    let version = Some(Version { uid: "uid".into(), resource_version: 110 });
    let content = Content::Record(record);
    let asked = Sight { version, content, mark: Some(mark), step_down: Some("me".into()) };
    it.happens(0, Event::Watched { resource_version: 110, sight: asked });
    assert_eq!(it.write(0).map(|write| write.purpose), Some(Purpose::Release));
    assert!(!it.leads());
}

#[test]
fn it_keeps_the_first_while_its_own_name_holds_the_second() {
    let mut it = Pair::new(0);
    it.reads(1, held(50, "me"));
    it.reads(0, Sight::MISSING);
    it.acknowledged(0);
    let mut version = 50;
    while it.now < 25_000 {
        it.waits();
        if let Some(write) = it.write(0) {
            assert!(matches!(write.purpose, Purpose::Renew { .. }), "at {} ms: {write:?}", it.now);
            it.acknowledged(0);
        }
        version += 1;
        it.happens(1, Event::Watched { resource_version: version, sight: held(version, "me") });
    }
}

#[test]
fn the_holder_of_the_first_is_named_if_nobody_holds_the_second() {
    let mut it = Pair::new(0);
    it.reads(0, held(50, "of-the-first"));
    it.reads(1, Sight::MISSING);
    assert_eq!(it.other().as_deref(), Some("of-the-first"));
    it.happens(1, Event::Watched { resource_version: 60, sight: held(60, "of-the-second") });
    assert_eq!(it.other().as_deref(), Some("of-the-second"));
}

#[test]
fn after_losing_the_first_the_second_is_released_after_l_minus_d() {
    let mut it = Pair::leader(0);
    it.happens_at(1_000, 0, Event::Watched { resource_version: 200, sight: held(200, "other") });
    assert!(!it.leads());
    it.releases_from(1, 1_000 + 10_000 - 6_000);
}

#[test]
fn when_one_term_ends_the_other_lock_is_kept_until_the_first_could_be_taken() {
    for lapsed in 0..2 {
        let mut it = Pair::leader(0);
        while it.now < 6_000 {
            it.waits();
            if it.write(lapsed).is_some() {
                it.answered(lapsed, Answer::Denied);
            }
            if it.write(1 - lapsed).is_some() {
                it.acknowledged(1 - lapsed);
            }
        }
        assert!(!it.leads());
        it.releases_from(1 - lapsed, 6_000 + 10_000 - 6_000);
    }
}

#[test]
fn after_a_stop_just_after_the_end_of_a_term_both_are_kept() {
    let mut it = Pair::leader(0);
    it.happens_at(6_001, 0, Event::Stop);
    assert!(!it.output.finished && it.write(0).is_none() && it.write(1).is_none());
    it.releases_from(1, 6_000 + 10_000 - 6_000);
}

#[test]
fn a_second_stop_changes_nothing() {
    let mut it = Pair::leader(5_000);
    it.happens_at(1_000, 0, Event::Stop);
    it.happens_at(1_500, 0, Event::Stop);
    it.releases_from(1, 6_000);
}

#[test]
fn with_a_silent_server_it_ends_as_soon_as_with_one_lock() {
    let mut it = Pair::leader(0);
    it.happens_at(1_000, 0, Event::Stop);
    let mut tried = [false; 2];
    while !it.output.finished {
        (0..2).for_each(|lock| tried[lock] |= it.write(lock).is_some());
        it.waits();
    }
    assert_eq!((it.now, tried), (2_400, [true; 2]));
}

#[test]
fn denied_on_the_second_it_releases_the_first_and_waits_for_one_lease() {
    let mut it = Pair::new(0);
    it.reads(1, Sight::MISSING);
    it.reads(0, Sight::MISSING);
    it.acknowledged(0);
    it.answered(1, Answer::Denied);
    assert_eq!(it.write(0).map(|write| write.purpose), Some(Purpose::Release));
    it.acknowledged(0);
    it.happens_at(9_999, 0, Event::Tick);
    it.reads_the_same(0);
    assert!(it.write(0).is_none());
    it.happens_at(10_000, 0, Event::Tick);
    assert_eq!(it.write(0).map(|write| write.purpose), Some(Purpose::Acquire));
}

#[test]
fn the_second_is_released_before_the_first() {
    let mut it = Pair::leader(0);
    it.happens_at(1_000, 0, Event::Stop);
    assert!(!it.leads());
    assert_eq!(it.write(1).map(|write| write.purpose), Some(Purpose::Release));
    assert!(it.write(0).is_none());
    it.acknowledged(1);
    assert_eq!(it.write(0).map(|write| write.purpose), Some(Purpose::Release));
    assert!(!it.output.finished);
    it.acknowledged(0);
    assert!(it.output.finished);
}

#[test]
fn both_are_kept_until_the_release_delay_is_over() {
    let mut it = Pair::leader(5_000);
    it.happens_at(1_000, 0, Event::Stop);
    while it.now < 6_000 {
        for lock in 0..2 {
            if let Some(write) = it.write(lock) {
                assert!(matches!(write.purpose, Purpose::Renew { .. }), "at {} ms: {write:?}", it.now);
                it.acknowledged(lock);
            }
        }
        it.waits();
    }
    assert_eq!(it.write(1).map(|write| write.purpose), Some(Purpose::Release));
}

#[test]
fn a_new_term_needs_a_new_term_of_both() {
    let mut it = Pair::leader(0);
    it.happens_at(1_000, 1, Event::Watched { resource_version: 200, sight: held(200, "") });
    assert!(!it.leads());
    it.version = 200;
    let spent = it.version;
    (0..2).cycle().take(4).for_each(|lock| {
        if it.write(lock).is_some() {
            it.acknowledged(lock);
        }
    });
    assert!(it.leads());
    assert!(it.lock_set.locks().iter().all(|lock| lock.claim().is_some_and(|claim| claim.fencing_token > spent)));
}

impl Pair {
    /// Lets time pass until it writes to the first lock for this purpose. Until then its requests for the second lock
    /// get this answer, and those for the first one succeed.
    fn writes_first(&mut self, of_second: &Answer, wanted: impl Fn(&Write) -> bool) -> u64 {
        for _ in 0..1_000 {
            self.reads_the_same(0);
            if self.write(0).is_some_and(&wanted) {
                return self.now;
            }
            if self.write(0).is_some() {
                self.acknowledged(0);
            } else if self.requests[1].is_some() {
                self.answered(1, of_second.clone());
            } else {
                self.waits();
            }
        }
        panic!("it never does, by {} ms", self.now);
    }
}

fn is_release(write: &Write) -> bool {
    write.purpose == Purpose::Release
}

fn is_acquisition(write: &Write) -> bool {
    write.purpose == Purpose::Acquire
}

#[test]
fn after_one_lease_it_tries_again() {
    let mut it = Pair::new(0);
    it.reads(1, Sight::MISSING);
    it.happens_at(700, 0, Event::Tick);
    it.reads(0, Sight::MISSING);
    it.acknowledged(0);
    it.answered(1, Answer::Denied);
    assert_eq!(it.writes_first(&Answer::Denied, is_release), 700);
    it.acknowledged(0);
    assert_eq!(it.writes_first(&Answer::Denied, is_acquisition), 10_700);
}

#[test]
fn each_further_denial_doubles_the_wait_up_to_a_limit() {
    let mut it = Pair::new(0);
    it.reads(1, Sight::MISSING);
    it.reads(0, Sight::MISSING);
    let mut waits = Vec::new();
    for _ in 0..5 {
        it.writes_first(&Answer::Denied, is_release);
        let since = it.now;
        it.acknowledged(0);
        waits.push(it.writes_first(&Answer::Denied, is_acquisition) - since);
        it.acknowledged(0);
    }
    assert_eq!(waits, [10_000, 10_000, 10_000, 16_000, 32_000]);
}

#[test]
fn it_gives_the_first_up_when_the_second_was_free_and_could_not_be_had_for_one_lease() {
    let mut it = Pair::new(0);
    it.happens_at(300, 0, Event::Tick);
    it.reads(1, held(50, "of-the-second"));
    it.happens_at(700, 0, Event::Tick);
    it.reads(0, Sight::MISSING);
    it.acknowledged(0);
    while it.write(1).is_none() {
        it.waits();
        if it.write(0).is_some() {
            it.acknowledged(0);
        }
        if it.requests[1].is_some() && it.write(1).is_none() {
            it.reads(1, held(50, "of-the-second"));
        }
    }
    assert_eq!(it.now, 10_300);
    it.happens_at(10_333, 0, Event::Tick);
    assert_eq!(it.writes_first(&Answer::Unknown, is_release), 20_300);
}

#[test]
fn it_gives_the_first_up_when_the_second_was_not_seen_for_one_lease() {
    let mut it = Pair::new(0);
    it.happens_at(300, 0, Event::Tick);
    it.reads(1, held(50, "of-the-second"));
    it.happens_at(600, 0, Event::Tick);
    it.reads(0, Sight::MISSING);
    it.acknowledged(0);
    // Only another field was written, so it may still be taken at 10.3 s.
    let version = Some(Version { uid: "uid".into(), resource_version: 51 });
    let touched = Sight { version, ..held(50, "of-the-second") };
    it.happens_at(750, 1, Event::Watched { resource_version: 51, sight: touched });
    it.happens(1, Event::WatchClosed);
    assert_eq!(it.writes_first(&Answer::Unknown, is_release), 10_750);
}
