//! What is done to whom, and when: all of it drawn from one seed, before anything runs.

use apiserver::Fault;
use simulation::random::Random;
use std::time::Duration;

pub const MEMBERS: usize = 3;

/// L, and the unit of all that is planned. The record cannot say less.
pub const LEASE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub enum Deed {
    Stop(usize),
    Continue(usize),
    Kill(usize),
    Terminate(usize),
    Start(usize),
    /// Another process of the same name takes the place of one that stands still.
    Replace(usize),
    /// That one goes on, until it is killed.
    ContinueOld(usize),
    KillOld(usize),
    Freeze,
    Thaw,
    Down,
    Up,
    Cut(Cutting),
    /// Watches have to begin anew.
    Compact,
    /// The server has other objects too.
    Bump(u64),
    /// A third party writes a field that is not the record.
    Touch(u64),
    /// So many of a member's requests of these verbs are to fail like that.
    Fault(usize, &'static [&'static str], Fault, u32),
}

#[derive(Clone, Copy, Debug)]
pub enum Cutting {
    Plainly,
    MidLine,
    Reset,
    Everything,
}

/// One game.
#[derive(Debug)]
pub struct Plan {
    /// `--lock`, and D and R.
    pub kind: &'static str,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
    /// In the order of their times, counted from the beginning.
    pub deeds: Vec<(Duration, Deed)>,
}

impl Plan {
    /// The same seed makes the same plan; a shorter one is the beginning of a longer one.
    pub fn new(seed: u64, length: Duration, kinds: &[&'static str]) -> Plan {
        let mut random = Random::new(seed);
        let kind = random.one_of(kinds);
        let (renew_deadline, retry_period) = random.one_of(&[(600, 120), (700, 200), (900, 150)]);
        let mut deeds = Vec::new();
        for member in 0..MEMBERS {
            plan_member(&mut Random::new(random.bits()), length, member, &mut deeds);
        }
        plan_server(&mut Random::new(random.bits()), length, &mut deeds);
        // Stable: what follows at once stays behind.
        deeds.sort_by_key(|(at, _)| *at);
        let ms = Duration::from_millis;
        Plan { kind, renew_deadline: ms(renew_deadline), retry_period: ms(retry_period), deeds }
    }
}

/// So many hundredths of L.
fn share(random: &mut Random, least: u64, most: u64) -> Duration {
    LEASE.mul_f64(random.between(least, most) as f64 / 100.0)
}

/// Adds deeds one after the other.
struct Track<'a> {
    random: &'a mut Random,
    now: Duration,
    deeds: &'a mut Vec<(Duration, Deed)>,
}

impl Track<'_> {
    /// Waits for so many hundredths of L.
    fn wait(&mut self, least: u64, most: u64) -> &mut Self {
        self.now += share(self.random, least, most);
        self
    }

    fn then(&mut self, deed: Deed) -> &mut Self {
        self.deeds.push((self.now, deed));
        self
    }
}

fn plan_member(random: &mut Random, length: Duration, member: usize, deeds: &mut Vec<(Duration, Deed)>) {
    use Deed::*;
    let mut track = Track { random, now: Duration::ZERO, deeds };
    track.wait(50, 150);
    while track.now < length {
        match track.random.below(16) {
            0..2 => track.then(Stop(member)).wait(5, 110).then(Continue(member)),
            2..5 => track.then(Stop(member)).wait(90, 250).then(Continue(member)),
            5..7 => track.then(Kill(member)).wait(0, 120).then(Start(member)),
            7..11 => track.then(Terminate(member)).wait(1, 80).then(Start(member)),
            11 => {
                // The signal waits with everything else.
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

fn plan_server(random: &mut Random, length: Duration, deeds: &mut Vec<(Duration, Deed)>) {
    use Deed::*;
    let mut track = Track { random, now: Duration::ZERO, deeds };
    track.wait(50, 150);
    while track.now < length {
        match track.random.below(16) {
            0 => track.then(Freeze).wait(5, 60).then(Thaw),
            1 => track.then(Freeze).wait(80, 180).then(Thaw),
            2 => track.then(Down).wait(5, 60).then(Up),
            3 => track.then(Down).wait(60, 180).then(Up),
            4..7 => {
                let how =
                    track.random.one_of(&[Cutting::Plainly, Cutting::MidLine, Cutting::Reset, Cutting::Everything]);
                track.then(Cut(how))
            }
            7 => track.then(Compact).then(Cut(Cutting::Plainly)),
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

fn plan_fault(random: &mut Random) -> Deed {
    let (member, times) = (random.below(MEMBERS as u64) as usize, random.between(1, 4) as u32);
    let short = share(random, 1, 150);
    // No 401 and no 403: who is refused stands back for minutes.
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
    Deed::Fault(member, verbs, fault, times)
}
