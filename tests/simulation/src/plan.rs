//! The plan of a schedule: the candidates, their clocks, and the probability of each fault. All of it follows from the
//! seed.

use crate::clock::MILLI;
use crate::random::Random;
use crate::wire::Wire;
use leader_elector::election::Settings;
use leader_elector::record::Host;
use std::time::Duration;

/// Defines the kinds of faults, and the list of all of them.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A kind of fault. It can be left out of a schedule, to see whether the schedule fails without it.
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
    /// A proxy says that there is no object, although there is one.
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
    /// The object is deleted, and another one is created at once.
    Replace,
    /// Watches and reads show an object of another name. Only with codecs.
    OtherObject,
    /// Messages pass through the program's codecs. This is no fault, but it can be left out like one.
    Codecs,
    Clone,
    Peers,
    ClockRates,
    WallClock,
    Timings,
    /// Deletions and edits that break an assumption in docs/guarantees.md. Two leaders are then no violation for a
    /// while.
    BrokenAssumption,
    /// Leaders start work. This is no fault, but it can be left out like one.
    Work,
    /// Applications are checked, and are sometimes unhealthy.
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

/// A set of faults.
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

/// The locks that a candidate competes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockChoice {
    First,
    Second,
    Both,
}

/// The settings of one candidate and its restarts.
#[derive(Clone, Debug)]
pub struct Member {
    pub identity: u8,
    /// Its network namespace.
    pub network: u8,
    pub locks: LockChoice,
    pub lease: u64,
    pub renew_deadline: u64,
    pub retry_period: u64,
    pub request_timeout: u64,
    pub health: Option<HealthChecks>,
}

/// The health check of a candidate's application.
#[derive(Clone, Copy, Debug)]
pub struct HealthChecks {
    /// This many failures in a row end the leadership.
    pub failures: u32,
    pub interval: u64,
}

impl Member {
    /// As the program computes them from `--ttl`.
    fn from_ttl(lease: u64) -> Member {
        let (renew_deadline, retry_period) = (lease / 3 * 2, lease / 5);
        let request_timeout = (renew_deadline / 3).min((renew_deadline - retry_period) / 20 * 9);
        let (identity, network, locks) = (b'a', b'a', LockChoice::First);
        Member { identity, network, locks, lease, renew_deadline, retry_period, request_timeout, health: None }
    }

    /// Random values with `2R ≤ D < L`.
    fn drawn(random: &mut Random, lease: u64) -> Member {
        let renew_deadline = random.between(lease / 4, lease / 10 * 9);
        let retry_period = random.between(renew_deadline / 32, renew_deadline / 2);
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
            creation_delay: Duration::from_nanos(self.retry_period / 8),
            health_failures: self.health.map(|health| health.failures),
        }
    }
}

/// The probability of each network fault.
#[derive(Clone, Debug, Default)]
pub struct FaultRates {
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

/// What can happen to candidates and to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    Pause,
    Crash,
    Stop,
    Outage,
    Touch,
    Delete,
    Edit,
    Replace,
    Roll,
    /// An application becomes unhealthy, or healthy again.
    Health,
    StepDown,
    /// A candidate must stand back, as after work that has ended by itself, whatever it is doing.
    StandBack,
}

/// Another implementation that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// leader-elector:0.5.
    Old,
    /// client-go.
    ClientGo,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub members: Vec<Member>,
    pub peers: Vec<Implementation>,
    pub fault_rates: FaultRates,
    pub disruptions: Vec<Disruption>,
    pub disruption_every: u64,
    /// The longest lease of all candidates.
    pub longest_lease: u64,
    /// Clock rates lie between 1 / this and this.
    pub fastest: f64,
    pub faults_until: u64,
    /// Rolling updates move the candidates from one kind of lock to the next.
    pub rolling: bool,
    pub breaks_assumptions: bool,
    /// Whether wall clocks stop or jump.
    pub frozen_wall_clock: bool,
    pub wild_wall_clock: bool,
    /// Messages pass through the program's codecs.
    pub wire: Option<Wire>,
    /// The lock objects exist before the first candidate starts, and have no record.
    pub bare_objects: bool,
    /// Whether an update without a uid creates a missing object (Endpoints, Leases) or gets 404 (ConfigMaps).
    pub creates_on_update: bool,
    /// Whether both kinds of lock objects share one resourceVersion counter.
    pub one_store: bool,
    /// Leaders start work.
    pub work: bool,
}

impl Plan {
    pub fn drawn(random: &mut Random, faults: Faults) -> Plan {
        let mut rate = |fault: Fault, most: f64| {
            let (drawn, part) = (random.happens(0.4), random.unit());
            if drawn && faults.has(fault) { part * most } else { 0.0 }
        };
        let fault_rates = FaultRates {
            request_lost: rate(Fault::RequestLost, 0.3),
            answer_lost: rate(Fault::AnswerLost, 0.3),
            delayed: rate(Fault::Delayed, 0.3),
            sent_twice: rate(Fault::SentTwice, 0.2),
            refused: rate(Fault::Refused, 0.2),
            wrong_answer: rate(Fault::WrongAnswer, 0.05),
            false_absence: rate(Fault::FalseAbsence, 0.3),
            other_object: rate(Fault::OtherObject, 0.2),
            hung: rate(Fault::Hung, 0.1),
            watch_late: rate(Fault::WatchLate, 0.4),
            watch_silent: rate(Fault::WatchSilent, 0.05),
            watch_cut: rate(Fault::WatchCut, 0.2),
            watch_stale: rate(Fault::WatchStale, 0.5),
        };
        let mut has = |fault: Fault, probability: f64| random.happens(probability) & faults.has(fault);
        let (clones, peers, rates, timings) =
            (has(Fault::Clone, 0.2), has(Fault::Peers, 0.15), has(Fault::ClockRates, 0.7), has(Fault::Timings, 0.25));
        let (breaks_assumptions, frozen_wall_clock, wild_wall_clock) =
            (has(Fault::BrokenAssumption, 0.05), has(Fault::WallClock, 0.15), has(Fault::WallClock, 0.3));
        let of_fault = [
            (Disruption::Pause, Fault::Pause),
            (Disruption::Pause, Fault::Pause),
            (Disruption::Crash, Fault::Crash),
            (Disruption::Stop, Fault::Stop),
            (Disruption::Outage, Fault::Outage),
            (Disruption::Touch, Fault::Touch),
            (Disruption::Delete, Fault::Delete),
            (Disruption::Edit, Fault::Edit),
            (Disruption::Replace, Fault::Replace),
        ];
        let mut disruptions: Vec<Disruption> =
            of_fault.into_iter().filter(|(_, fault)| has(*fault, 0.5)).map(|(disruptions, _)| disruptions).collect();

        let lease = random.between(500, 20_000) * MILLI;
        let count = 1 + random.clone().below(random.between(2, 7)) as usize;
        let (dual, rolling) = (random.happens(0.2), random.happens(0.15));
        let other_lock = random.happens(0.5);
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            let own_lease = if timings { random.between(lease / 2, lease * 2) } else { lease };
            let mut member = if timings { Member::drawn(random, own_lease) } else { Member::from_ttl(own_lease) };
            let other = random.below(index as u64 + 1) as u8;
            let is_clone = clones && random.happens(0.4);
            member.identity = b'a' + if is_clone { other } else { index as u8 };
            let shares_network = random.happens(if is_clone { 0.5 } else { 0.2 });
            member.network = b'a' + if shares_network { other } else { index as u8 };
            member.locks = match (rolling, dual) {
                (true, _) if other_lock => LockChoice::Both,
                (true, _) => LockChoice::First,
                (false, true) => LockChoice::Both,
                (false, false) => LockChoice::First,
            };
            members.push(member);
        }
        if rolling {
            disruptions.push(Disruption::Roll);
        }
        let peers = if peers {
            (0..random.between(1, 2)).map(|_| random.one_of(&[Implementation::Old, Implementation::ClientGo])).collect()
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
            disruptions.push(Disruption::Health);
        }
        if step_down {
            disruptions.push(Disruption::StepDown);
        }
        if work {
            disruptions.push(Disruption::StandBack);
        }
        let with_codecs = random.happens(0.25) & faults.has(Fault::Codecs);
        let wire = Wire::drawn(random, !(dual || rolling));
        Plan {
            wire: with_codecs.then_some(wire),
            members,
            peers,
            fault_rates,
            disruptions,
            disruption_every: random.between(longest_lease / 16, 2 * longest_lease),
            longest_lease,
            fastest: if rates { (least_ratio * 0.999).sqrt().clamp(1.0, 3.0) } else { 1.0 },
            faults_until: 8 * longest_lease,
            rolling,
            breaks_assumptions,
            frozen_wall_clock,
            wild_wall_clock,
            bare_objects: random.happens(0.1),
            creates_on_update: random.happens(0.5),
            // During a migration the tokens grow only if both kinds share one counter.
            one_store: random.happens(0.5) | rolling,
            work,
        }
    }
}
