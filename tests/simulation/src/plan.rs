//! What a schedule is to be like: who takes part, on which clocks, and which faults come how often. All of it follows
//! from the seed.

use crate::chance::Random;
use crate::clock::MILLI;
use crate::wire::Wire;
use leader_elector::election::Settings;
use leader_elector::record::Host;
use std::time::Duration;

/// Defines the kinds of faults, and the list of all of them.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A kind of fault, that can be left out of a schedule to see whether it fails without.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$name,)*];
        }
    };
}

faults! {
    RequestLost,
    AnswerLost,
    Delayed,
    SentTwice,
    Refused,
    WrongAnswer,
    /// Somebody in between says that there is no object, though there is.
    FalseAbsence,
    Hung,
    Outage,
    WatchLate,
    WatchSilent,
    WatchCut,
    WatchStale,
    Pause,
    Crash,
    Stop,
    Touch,
    Delete,
    Edit,
    /// The object is deleted, and another one put in its place at once.
    Replace,
    /// Watches and reads show an object of another name. Only where the codecs are part of the world.
    OtherObject,
    /// What is sent goes through the program's codecs: no fault, but it can be left out like one.
    Codecs,
    Clone,
    Peers,
    ClockRates,
    WallClock,
    Timings,
    /// Deletions and edits that DESIGN's assumptions exclude. Two leaders are then no violation for a while.
    BrokenAssumption,
    /// Leaders start something for their leadership: no fault, but it can be left out like one.
    Work,
    /// Applications are checked, and are not always well.
    Health,
    /// Somebody asks holders to step down.
    StepDown,
}

impl Fault {
    /// The name on the command line: `request-lost`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

/// Which faults there are to be: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults(u32);

impl Faults {
    pub const ALL: Faults = Faults(u32::MAX);
    pub const NONE: Faults = Faults(0);

    #[must_use]
    pub fn without(self, fault: Fault) -> Faults {
        Faults(self.0 & !(1 << fault as u32))
    }

    pub fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }
}

/// Which locks a candidate stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    First,
    Second,
    Both,
}

/// One candidate, and each of its lives.
#[derive(Clone, Debug)]
pub struct Member {
    pub identity: u8,
    /// Its network namespace.
    pub network: u8,
    pub stands: Stands,
    pub lease: u64,
    pub renew_deadline: u64,
    pub retry_period: u64,
    pub request_timeout: u64,
    pub health: Option<HealthChecks>,
}

/// How the application beside a candidate is checked.
#[derive(Clone, Copy, Debug)]
pub struct HealthChecks {
    /// So many failures in a row end the leadership.
    pub failures: u32,
    pub interval: u64,
}

impl Member {
    /// As the program computes them from `--ttl`.
    fn from_ttl(lease: u64) -> Member {
        let (renew_deadline, retry_period) = (lease / 3 * 2, lease / 5);
        let request_timeout = (renew_deadline / 3).min((renew_deadline - retry_period) / 20 * 9);
        let (identity, network, stands) = (b'a', b'a', Stands::First);
        Member { identity, network, stands, lease, renew_deadline, retry_period, request_timeout, health: None }
    }

    /// Within `2R ≤ D < L`, and nothing else.
    fn drawn(random: &mut Random, lease: u64) -> Member {
        let renew_deadline = random.between(lease / 4, lease / 10 * 9);
        let retry_period = random.between(renew_deadline / 8, renew_deadline / 2);
        let request_timeout = (renew_deadline / 3).min((renew_deadline - retry_period) / 20 * 9);
        Member { renew_deadline, retry_period, request_timeout, ..Member::from_ttl(lease) }
    }

    pub fn settings(&self, random: &mut Random) -> Settings {
        let release_delay = if random.happens(0.5) { random.below(self.lease) } else { 0 };
        Settings {
            identity: std::str::from_utf8(&[self.identity]).expect("a letter").into(),
            process: u128::from(random.bits()),
            host: Some(Host {
                boot: "boot".into(),
                network: std::str::from_utf8(&[self.network]).expect("a letter").into(),
            }),
            lease: Duration::from_nanos(self.lease),
            renew_deadline: Duration::from_nanos(self.renew_deadline),
            retry_period: Duration::from_nanos(self.retry_period),
            request_timeout: Duration::from_nanos(self.request_timeout),
            release_delay: Duration::from_nanos(release_delay),
            health_failures: self.health.map(|health| health.failures),
        }
    }
}

/// How likely each fault of the network is.
#[derive(Clone, Debug, Default)]
pub struct Chances {
    pub request_lost: f64,
    pub answer_lost: f64,
    pub delayed: f64,
    pub sent_twice: f64,
    pub refused: f64,
    pub wrong_answer: f64,
    pub false_absence: f64,
    pub other_object: f64,
    pub hung: f64,
    pub watch_late: f64,
    pub watch_silent: f64,
    pub watch_cut: f64,
    pub watch_stale: f64,
}

/// What happens to candidates and to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    Pause,
    Crash,
    Stop,
    Outage,
    Touch,
    Delete,
    Edit,
    Replace,
    Roll,
    /// An application falls ill, or is well again.
    Health,
    StepDown,
}

/// A peer of another make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// leader-elector:0.5.
    Old,
    /// client-go.
    ClientGo,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub members: Vec<Member>,
    pub peers: Vec<Make>,
    pub chances: Chances,
    pub mischief: Vec<Mischief>,
    pub mischief_every: u64,
    /// The longest lease of anybody.
    pub longest_lease: u64,
    /// Clock rates lie between 1 / this and this.
    pub fastest: f64,
    pub faults_until: u64,
    /// From now on fleets move from one kind of lock to the next.
    pub rolling: bool,
    pub breaks_assumptions: bool,
    /// Whether wall clocks stand still, or say anything at all.
    pub frozen_wall_clock: bool,
    pub wild_wall_clock: bool,
    /// What is sent goes through the program's codecs.
    pub wire: Option<Wire>,
    /// The lock objects are there before anybody has been a candidate, and hold no record.
    pub bare_objects: bool,
    /// What an update without a uid does to a missing object: create it (Endpoints, Leases) or 404 (ConfigMaps).
    pub creates_on_update: bool,
    /// Whether both kinds of lock objects have one counter of versions.
    pub one_store: bool,
    /// Leaders start something for their leadership.
    pub work: bool,
}

impl Plan {
    pub fn drawn(random: &mut Random, faults: Faults) -> Plan {
        let mut chance = |fault: Fault, most: f64| {
            let (drawn, part) = (random.happens(0.4), random.unit());
            if drawn && faults.has(fault) { part * most } else { 0.0 }
        };
        let chances = Chances {
            request_lost: chance(Fault::RequestLost, 0.3),
            answer_lost: chance(Fault::AnswerLost, 0.3),
            delayed: chance(Fault::Delayed, 0.3),
            sent_twice: chance(Fault::SentTwice, 0.2),
            refused: chance(Fault::Refused, 0.2),
            wrong_answer: chance(Fault::WrongAnswer, 0.05),
            false_absence: chance(Fault::FalseAbsence, 0.3),
            other_object: chance(Fault::OtherObject, 0.2),
            hung: chance(Fault::Hung, 0.1),
            watch_late: chance(Fault::WatchLate, 0.4),
            watch_silent: chance(Fault::WatchSilent, 0.05),
            watch_cut: chance(Fault::WatchCut, 0.2),
            watch_stale: chance(Fault::WatchStale, 0.5),
        };
        let mut has = |fault: Fault, probability: f64| random.happens(probability) & faults.has(fault);
        let (clones, peers, rates, timings) =
            (has(Fault::Clone, 0.2), has(Fault::Peers, 0.15), has(Fault::ClockRates, 0.7), has(Fault::Timings, 0.25));
        let (breaks_assumptions, frozen_wall_clock, wild_wall_clock) =
            (has(Fault::BrokenAssumption, 0.05), has(Fault::WallClock, 0.15), has(Fault::WallClock, 0.3));
        let of_fault = [
            (Mischief::Pause, Fault::Pause),
            (Mischief::Pause, Fault::Pause),
            (Mischief::Crash, Fault::Crash),
            (Mischief::Stop, Fault::Stop),
            (Mischief::Outage, Fault::Outage),
            (Mischief::Touch, Fault::Touch),
            (Mischief::Delete, Fault::Delete),
            (Mischief::Edit, Fault::Edit),
            (Mischief::Replace, Fault::Replace),
        ];
        let mut mischief: Vec<Mischief> =
            of_fault.into_iter().filter(|(_, fault)| has(*fault, 0.5)).map(|(mischief, _)| mischief).collect();

        let lease = random.between(500, 20_000) * MILLI;
        let count = 1 + random.clone().below(random.between(2, 7)) as usize;
        let (dual, rolling) = (random.happens(0.2), random.happens(0.15));
        let other_lock = random.happens(0.5);
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            let own_lease = if timings { random.between(lease / 2, lease * 2) } else { lease };
            let mut member = if timings { Member::drawn(random, own_lease) } else { Member::from_ttl(own_lease) };
            let other = random.below(index as u64 + 1) as u8;
            member.identity = b'a' + if clones && random.happens(0.4) { other } else { index as u8 };
            member.network = b'a' + if random.happens(0.2) { other } else { index as u8 };
            member.stands = match (rolling, dual) {
                (true, _) if other_lock => Stands::Both,
                (true, _) => Stands::First,
                (false, true) => Stands::Both,
                (false, false) => Stands::First,
            };
            members.push(member);
        }
        if rolling {
            mischief.push(Mischief::Roll);
        }
        let peers = if peers {
            (0..random.between(1, 2)).map(|_| random.one_of(&[Make::Old, Make::ClientGo])).collect()
        } else {
            Vec::new()
        };
        let longest_lease = members.iter().map(|member| member.lease).max().unwrap_or(lease);
        let least_ratio = members.iter().map(|m| m.lease as f64 / m.renew_deadline as f64).fold(f64::MAX, f64::min);
        let also =
            |random: &mut Random, fault: Fault, probability: f64| random.happens(probability) & faults.has(fault);
        let (work, health, step_down) =
            (also(random, Fault::Work, 0.4), also(random, Fault::Health, 0.25), also(random, Fault::StepDown, 0.35));
        if health {
            for member in &mut members {
                let interval = random.between(member.lease / 8, member.lease / 2);
                member.health = Some(HealthChecks { failures: random.between(1, 3) as u32, interval });
            }
            mischief.push(Mischief::Health);
        }
        if step_down {
            mischief.push(Mischief::StepDown);
        }
        let with_codecs = random.happens(0.25) & faults.has(Fault::Codecs);
        let wire = Wire::drawn(random, !(dual || rolling));
        Plan {
            wire: with_codecs.then_some(wire),
            members,
            peers,
            chances,
            mischief,
            mischief_every: random.between(longest_lease / 16, 2 * longest_lease),
            longest_lease,
            fastest: if rates { (least_ratio * 0.999).sqrt().clamp(1.0, 3.0) } else { 1.0 },
            faults_until: 8 * longest_lease,
            rolling,
            breaks_assumptions,
            frozen_wall_clock,
            wild_wall_clock,
            bare_objects: random.happens(0.1),
            creates_on_update: random.happens(0.5),
            // The tokens of a moving fleet grow only where both kinds are in one store.
            one_store: random.happens(0.5) | rolling,
            work,
        }
    }
}
