//! What there is in the model: the lock's object, what each candidate knows of it, and what is on its way between them.
//!
//! Times are counted from now, backwards or forwards, and stop at the largest value that makes a difference. Versions,
//! uids and the numbers of writes are replaced by their ranks among those still known to somebody (see
//! `reduction`). So runs without end go through finitely many states.

/// The writer of records that no candidate wrote.
pub const STRANGER: u8 = u8::MAX;

/// `C` candidates and `K` locks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State<const C: usize, const K: usize> {
    pub locks: [Lock; K],
    pub candidates: [Candidate<K>; C],
    /// Writes given up by their senders, which may still arrive.
    pub strays: [[Option<Stray>; K]; C],
    pub budget: Budget,
    pub history: History<C, K>,
}

/// What may happen as often as one likes.
pub const UNLIMITED: u8 = u8::MAX;

/// How often things may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub crashes: u8,
    pub stops: u8,
    /// Edits by strangers.
    pub strangers: u8,
    /// Writes given up by their sender: in doubt.
    pub doubts: u8,
    /// With two locks: claims that a candidate ends by itself, to give the locks back.
    pub resignations: u8,
}

/// What nobody in the model knows, kept for the properties.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History<const C: usize, const K: usize> {
    /// For each lock, the token of the last term that anybody claimed.
    pub tokens: [u8; K],
    /// For how long nobody else may claim, because of a claim of this candidate.
    pub protected: [u8; C],
    /// For how long a claim may last whose record was taken away by a stranger.
    pub removal_wait: u8,
    pub broken: Option<Broken>,
}

/// A step that broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A term whose token is not greater than those before.
    Token,
    /// A claim that ended because of something older than what was known.
    OldNews,
    /// A release that replaced something else than the last write of who released.
    Release,
}

/// One lock, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    pub sight: Sight,
    /// The newest resourceVersion given.
    pub latest: u8,
    /// The newest uid given.
    pub latest_uid: u8,
}

/// The lock as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    /// `None` when the object does not exist.
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

/// A record with its mark: which write of whom it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub writer: u8,
    /// The process that wrote it is no more.
    pub dead: bool,
    /// The mark names the place of the writer, which was alone there.
    pub place: bool,
    pub number: u8,
    pub free: bool,
}

/// A process that takes part, or the absence of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate<const K: usize> {
    pub life: Life,
    /// It holds the socket of its name and place: earlier processes there are dead.
    pub alone: bool,
    /// How many ticks in a row its clock has advanced, up to those after which it may miss one.
    pub since_miss: u8,
    /// It says that it leads.
    pub claims: bool,
    /// How long the locks must be kept, because of a claim that was made.
    pub keep: u8,
    pub elections: [Election; K],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    Down,
    Up,
    /// Told to leave; the locks are kept for so long.
    Stopping {
        delay: u8,
    },
}

/// What a candidate knows of one lock, and what it has under way there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    pub belief: Option<Sight>,
    /// How long the record in `belief`, or its absence, is known.
    pub age: u8,
    /// For how long a holder whose record was taken away may still claim.
    pub removal_wait: u8,
    pub seen: Seen,
    /// What is in `belief` is the own record.
    pub own: bool,
    pub term: Option<Term>,
    pub doubts: [Option<Write>; 2],
    pub under_way: UnderWay,
    /// News up to this resourceVersion is old.
    pub floor: u8,
    /// What the watch is about to show: the first version that was written since it showed the last.
    pub news: Option<News>,
}

/// What was ever seen in the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    NoHolder,
    Unreadable,
    Holder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// F, from now.
    pub left: u8,
    /// The fencing token, until a claim was based on this term.
    pub token: Option<u8>,
    /// What it began with, at the moment it begins.
    pub after: After,
}

/// What was in the lock that somebody acquired.
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
    /// What it will show, and whether the watch has shown something since.
    Read {
        shown: Sight,
        crossed: bool,
    },
    /// `void`: something else was seen in its place. `done`: it has arrived, and made this version.
    Write {
        write: Write,
        void: bool,
        done: Option<Version>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// What it replaces; `None` creates the object.
    pub base: Option<Version>,
    pub record: Record,
    pub purpose: Purpose,
    /// How long ago it was sent, by the sender's clock.
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

/// A write that its sender has given up, on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stray {
    pub base: Option<Version>,
    pub record: Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct News {
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
    pub fn new(life: Life, alone: bool, since_miss: u8) -> Candidate<K> {
        let elections = std::array::from_fn(|_| Election::new());
        Candidate { life, alone, since_miss, claims: false, keep: 0, elections }
    }

    pub fn is_up(&self) -> bool {
        self.life != Life::Down
    }

    /// All that is left to do is to release.
    pub fn is_releasing(&self) -> bool {
        self.life == Life::Stopping { delay: 0 } && self.keep == 0
    }
}

impl Election {
    fn new() -> Election {
        Election {
            belief: None,
            age: 0,
            removal_wait: 0,
            seen: Seen::NoHolder,
            own: false,
            term: None,
            doubts: [None; 2],
            under_way: UnderWay::Idle,
            floor: 0,
            news: None,
        }
    }
}
