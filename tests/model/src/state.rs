//! The state of the model: the lock objects, what each candidate knows of them, and the requests in flight.
//!
//! Times are relative to now, and stop at the largest value that matters. Versions, uids and the numbers of writes are
//! replaced by their ranks among those that are still known (see `reduction`). So endless runs visit finitely many
//! states.

/// The writer of records that no candidate wrote.
pub const OTHER_WRITER: u8 = u8::MAX;

/// `C` candidates and `K` locks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State<const C: usize, const K: usize> {
    pub locks: [Lock; K],
    pub candidates: [Candidate<K>; C],
    /// Writes that their senders have given up, and that may still arrive.
    pub late_writes: [[Option<LateWrite>; K]; C],
    pub budget: Budget,
    pub history: History<C, K>,
}

/// No limit on how often something may happen.
pub const UNLIMITED: u8 = u8::MAX;

/// How often things may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub crashes: u8,
    pub stops: u8,
    /// Edits by other clients.
    pub edits: u8,
    /// Writes that their senders give up, so that they are in doubt.
    pub doubts: u8,
    /// With two locks: claims that a candidate ends by itself, to give up the locks.
    pub resignations: u8,
}

/// Facts that no candidate knows, kept for the properties.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History<const C: usize, const K: usize> {
    /// For each lock, the token of the last claimed term.
    pub tokens: [u8; K],
    /// For how long nobody else may claim, because of a claim of this candidate.
    pub protected: [u8; C],
    /// How long a claim may last whose record was removed by another client.
    pub removal_wait: u8,
    pub broken: Option<Broken>,
}

/// A rule that a step violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A term whose token is not greater than earlier ones.
    Token,
    /// A claim that ended because of a stale observation.
    OldNews,
    /// A release that did not replace the last write of its sender.
    Release,
}

/// One lock in the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    pub sight: Sight,
    /// The newest resourceVersion.
    pub latest: u8,
    /// The newest uid.
    pub latest_uid: u8,
}

/// One observation of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    /// `None` if the object does not exist.
    pub version: Option<Version>,
    pub content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub uid: u8,
    pub resource_version: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// No object, or one without a record.
    Nothing,
    Unreadable,
    Record(Record),
}

/// A record with its mark, which identifies the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub writer: u8,
    /// The process that wrote it has ended.
    pub dead: bool,
    /// The mark names the writer's host, because the writer held the socket.
    pub place: bool,
    pub number: u8,
    pub free: bool,
}

/// A candidate, which may be down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate<const K: usize> {
    pub phase: Phase,
    /// It holds the socket of its name in its network namespace: earlier processes of that name are dead.
    pub alone: bool,
    /// How many ticks its clock has advanced since the last one that it missed, up to the number after which it may
    /// miss one.
    pub since_miss: u8,
    /// It says that it leads.
    pub claims: bool,
    /// How long the locks must be kept because of an earlier claim.
    pub keep: u8,
    pub elections: [Election; K],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Down,
    Up,
    /// It got SIGTERM; the locks are kept for `delay`.
    Stopping {
        delay: u8,
    },
}

/// What a candidate knows of one lock, and its request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    pub observed: Option<Sight>,
    /// How long the record in `belief`, or its absence, is known.
    pub age: u8,
    /// For how long a holder whose record was removed may still claim.
    pub removal_wait: u8,
    pub seen: Seen,
    /// What is in `belief` is the own record.
    pub own: bool,
    pub term: Option<Term>,
    pub doubts: [Option<Write>; 2],
    pub under_way: UnderWay,
    /// Observations up to this resourceVersion are old.
    pub floor: u8,
    /// The next watch event: the first version that was written after the last event.
    pub watch_event: Option<WatchEvent>,
}

/// What the candidate has ever seen in the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    NoHolder,
    Unreadable,
    Holder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// F, relative to now.
    pub left: u8,
    /// The fencing token, until a claim was based on this term.
    pub token: Option<u8>,
    /// What its acquisition replaced, at the moment when it begins.
    pub after: After,
}

/// What an acquisition replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum After {
    Other,
    /// The free record of another candidate.
    Release,
    /// The record of another candidate, which has crashed.
    Crash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnderWay {
    Idle,
    /// What the read will show, and whether the watch has shown something since.
    Read {
        shown: Sight,
        crossed: bool,
    },
    /// `void`: another record was seen in its place. `done`: it was carried out, with this version.
    Write {
        write: Write,
        void: bool,
        done: Option<Version>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The version that it replaces; `None` creates the object.
    pub base: Option<Version>,
    pub record: Record,
    pub purpose: Purpose,
    /// How long ago it was sent, on the sender's clock.
    pub age: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Begin a term.
    Acquire,
    /// Extend the term.
    Renew,
    /// Give the lock up.
    Release,
}

/// A write in flight that its sender has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LateWrite {
    pub base: Option<Version>,
    pub record: Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    pub resource_version: u8,
    pub sight: Sight,
}

impl Sight {
    pub const MISSING: Sight = Sight { version: None, content: Content::Nothing };

    pub fn record(&self) -> Option<&Record> {
        match &self.content {
            Content::Record(record) => Some(record),
            _ => None,
        }
    }

    pub fn uid(&self) -> Option<u8> {
        self.version.map(|version| version.uid)
    }
}

impl<const K: usize> Candidate<K> {
    /// `since_miss`: see [`Candidate::since_miss`].
    pub fn new(phase: Phase, alone: bool, since_miss: u8) -> Candidate<K> {
        let elections = std::array::from_fn(|_| Election::new());
        Candidate { phase, alone, since_miss, claims: false, keep: 0, elections }
    }

    pub fn is_up(&self) -> bool {
        self.phase != Phase::Down
    }

    /// Whether only the release is left to do.
    pub fn is_releasing(&self) -> bool {
        self.phase == Phase::Stopping { delay: 0 } && self.keep == 0
    }
}

impl Election {
    fn new() -> Election {
        Election {
            observed: None,
            age: 0,
            removal_wait: 0,
            seen: Seen::NoHolder,
            own: false,
            term: None,
            doubts: [None; 2],
            under_way: UnderWay::Idle,
            floor: 0,
            watch_event: None,
        }
    }
}
