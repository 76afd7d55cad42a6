//! The actions of a run and their times, all determined by one seed before the run.

use apiserver::Fault;
use simulation::random::Random;
use std::time::Duration;

pub const MEMBERS: usize = 3;

/// L, which is also the unit of times in the plan. The record cannot contain less.
pub const LEASE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub enum Action {
    Stop(usize),
    Continue(usize),
    Kill(usize),
    Terminate(usize),
    Start(usize),
    /// Starts another process of the same name while the member's process is paused.
    Replace(usize),
    /// Resumes the replaced process.
    ContinueOld(usize),
    KillOld(usize),
    Freeze,
    Thaw,
    Down,
    Up,
    Cut(CutMode),
    /// Watches must start again.
    Compact,
    /// Increases the resourceVersion, as writes of other objects do.
    Bump(u64),
    /// Another client writes another field.
    Touch(u64),
    /// A number of a member's requests with these verbs get this fault.
    Fault(usize, &'static [&'static str], Fault, u32),
}

#[derive(Clone, Copy, Debug)]
pub enum CutMode {
    Plainly,
    MidLine,
    Reset,
    Everything,
}

/// The plan of one run.
#[derive(Debug)]
pub struct Plan {
    /// `--lock`.
    pub kind: &'static str,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
    /// Ordered by their times since the start.
    pub actions: Vec<(Duration, Action)>,
}

impl Plan {
    /// The same seed gives the same plan. A shorter plan is the beginning of a longer one.
    pub fn new(seed: u64, length: Duration, kinds: &[&'static str]) -> Plan {
        let mut random = Random::new(seed);
        let kind = random.one_of(kinds);
        let (renew_deadline, retry_period) = random.one_of(&[(600, 120), (700, 200), (900, 150)]);
        let mut actions = Vec::new();
        for member in 0..MEMBERS {
            plan_member(&mut Random::new(random.bits()), length, member, &mut actions);
        }
        plan_server(&mut Random::new(random.bits()), length, &mut actions);
        // The sort is stable: actions at the same time keep their order.
        actions.sort_by_key(|(at, _)| *at);
        let ms = Duration::from_millis;
        Plan { kind, renew_deadline: ms(renew_deadline), retry_period: ms(retry_period), actions }
    }
}

/// A random time, with bounds in hundredths of L.
fn share(random: &mut Random, least: u64, most: u64) -> Duration {
    LEASE.mul_f64(random.between(least, most) as f64 / 100.0)
}

/// Adds actions one after another.
struct Track<'a> {
    random: &'a mut Random,
    now: Duration,
    actions: &'a mut Vec<(Duration, Action)>,
}

impl Track<'_> {
    /// Adds a random time, with bounds in hundredths of L.
    fn wait(&mut self, least: u64, most: u64) -> &mut Self {
        self.now += share(self.random, least, most);
        self
    }

    fn then(&mut self, action: Action) -> &mut Self {
        self.actions.push((self.now, action));
        self
    }
}

fn plan_member(random: &mut Random, length: Duration, member: usize, actions: &mut Vec<(Duration, Action)>) {
    use Action::*;
    let mut track = Track { random, now: Duration::ZERO, actions };
    track.wait(50, 150);
    while track.now < length {
        match track.random.below(16) {
            0..2 => track.then(Stop(member)).wait(5, 110).then(Continue(member)),
            2..5 => track.then(Stop(member)).wait(90, 250).then(Continue(member)),
            5..7 => track.then(Kill(member)).wait(0, 120).then(Start(member)),
            7..11 => track.then(Terminate(member)).wait(1, 80).then(Start(member)),
            11 => {
                // A paused process gets the signal only when it is resumed.
                track.then(Stop(member)).wait(5, 150).then(Terminate(member)).wait(5, 100).then(Continue(member));
                track.wait(10, 100).then(Start(member))
            }
            _ => {
                track.then(Stop(member)).wait(1, 70).then(Replace(member));
                track.wait(10, 250).then(ContinueOld(member)).wait(1, 150).then(KillOld(member))
            }
        };
        track.wait(10, 250);
    }
}

fn plan_server(random: &mut Random, length: Duration, actions: &mut Vec<(Duration, Action)>) {
    use Action::*;
    let mut track = Track { random, now: Duration::ZERO, actions };
    track.wait(50, 150);
    while track.now < length {
        match track.random.below(16) {
            0 => track.then(Freeze).wait(5, 60).then(Thaw),
            1 => track.then(Freeze).wait(80, 180).then(Thaw),
            2 => track.then(Down).wait(5, 60).then(Up),
            3 => track.then(Down).wait(60, 180).then(Up),
            4..7 => {
                let how =
                    track.random.one_of(&[CutMode::Plainly, CutMode::MidLine, CutMode::Reset, CutMode::Everything]);
                track.then(Cut(how))
            }
            7 => track.then(Compact).then(Cut(CutMode::Plainly)),
            8 => {
                let by = track.random.between(1, 1000);
                track.then(Bump(by))
            }
            9..12 => {
                let value = track.random.bits();
                track.then(Touch(value))
            }
            _ => {
                let fault = plan_fault(track.random);
                track.then(fault)
            }
        };
        track.wait(5, 120);
    }
}

const WRITES: &[&str] = &["create", "update"];
const ALL: &[&str] = &["create", "update", "get", "watch"];
const WATCH: &[&str] = &["watch"];

fn plan_fault(random: &mut Random) -> Action {
    let (member, times) = (random.below(MEMBERS as u64) as usize, random.between(1, 4) as u32);
    let short = share(random, 1, 150);
    // No 401 and no 403: a candidate that is refused waits for minutes.
    let status = Fault::Status { code: random.one_of(&[429, 500, 503, 504]), retry_after: None };
    let (verbs, fault) = match random.below(16) {
        0 => (ALL, Fault::DropRequest),
        1..3 => (WRITES, Fault::DropAnswer),
        3 => (ALL, Fault::ResetRequest),
        4 => (WRITES, Fault::ResetAnswer),
        5 => (ALL, Fault::HangRequest),
        6..8 => (WRITES, Fault::HangAnswer),
        8..10 => (WRITES, Fault::DelayRequest(short)),
        10 => (ALL, Fault::DelayAnswer(short)),
        11 => (ALL, status),
        12 => (WRITES, Fault::Committed(Box::new(status))),
        13 => (WRITES, Fault::HalfAnswer),
        14 => (WRITES, Fault::StallAnswer),
        _ => (WATCH, Fault::SilenceWatch { after_events: times as usize }),
    };
    Action::Fault(member, verbs, fault, times)
}
