//! The oracle: whether what candidates sent and said, and what the server did, keeps to S1 to S10.
//!
//! It shares no code with what it judges, and knows of a candidate only what can be seen from outside: its settings and
//! clock, when it sent which write, what reached it, and what it would say at each instant. Times are true time in
//! nanoseconds unless they are said to be local.

mod assumptions;
mod claims;
mod health;
mod names;
mod views;
mod withdrawal;
mod work;
mod writes;

pub use self::assumptions::Edit;
pub use self::names::Named;
pub use self::views::Via;

use self::health::Health;
use self::views::View;
use self::withdrawal::{Back, Left};
use self::work::Terms;
use std::fmt;

/// Clocks are read in whole nanoseconds, and their rates are rounded.
const ROUNDING: u64 = 1_000;

/// Who: the index of a life, one run of one process.
pub type LifeId = usize;

/// A breach of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// Which rule: `S1` to `S10`, or another name.
    pub rule: &'static str,
    pub at: u64,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.6} s: {}", self.rule, self.at as f64 / 1e9, self.what)
    }
}

/// What is known of a life from its settings.
#[derive(Clone, Debug, Hash)]
pub struct Facts {
    pub identity: u8,
    pub network: u8,
    /// L and D, and the delay of a release, local.
    pub lease: u64,
    pub renew_deadline: u64,
    pub release_delay: u64,
    /// R, local: an application must be well for so long after it was not.
    pub retry_period: u64,
    /// So many failed health checks in a row end its leadership, if its application is checked.
    pub health_failures: Option<u32>,
    /// How much its clock advances in 2^20 nanoseconds.
    pub rate: u64,
    /// The locks that it must hold to lead.
    pub locks: [bool; 2],
}

/// What a lock held after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    Nothing,
    Unreadable,
    Record {
        /// 0 when nobody holds it.
        holder: u8,
        /// L in nanoseconds.
        lease: u64,
        acquired: i64,
        renewed: i64,
        transitions: u32,
    },
}

impl Content {
    fn is_held_record(self) -> bool {
        matches!(self, Content::Record { holder, .. } if holder != 0)
    }

    /// What is the same in all records of a term.
    fn term(self) -> Option<(i64, u32)> {
        match self {
            Content::Record { acquired, transitions, .. } => Some((acquired, transitions)),
            Content::Unreadable | Content::Nothing => None,
        }
    }

    fn is_free_record(self) -> bool {
        matches!(self, Content::Record { holder: 0, .. })
    }
}

/// What a write that is sent is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Acquisition,
    Renewal,
    Release,
}

/// Who made a change of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// A candidate, by a write that it sent at this moment.
    Candidate { life: LifeId, sent: u64 },
    /// A peer of another make, or a person.
    Stranger,
}

/// A change that the server made.
#[derive(Clone, Debug, Hash)]
pub struct Commit {
    /// Which object it is; 0 when there is none.
    pub object: u64,
    pub resource_version: u64,
    pub content: Content,
    /// The process and the number of the write that the mark beside the record names.
    pub mark: Option<(u128, u64)>,
    pub writer: Writer,
    /// Who is asked to step down; 0 when nobody is.
    pub step_down: u8,
    /// All else that is not the record, as a number.
    pub foreign_fields: u64,
}

/// One state of a lock.
#[derive(Clone, Debug, Hash)]
struct State {
    commit: Commit,
    /// Since when the content is what it is, and who made it so: touching other fields changes neither.
    since: u64,
    author: Option<LifeId>,
    /// The newest state that a candidate made.
    original: usize,
    /// The first state in a row that this author made so.
    term: usize,
}

/// What a candidate would say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub until: u64,
    pub token: u64,
}

#[derive(Clone, Debug, Hash)]
struct Life {
    facts: Facts,
    /// Whether its process runs, and whether it has ended.
    alive: bool,
    over: bool,
    claim: Option<Claim>,
    /// The last instant at which it is known to have claimed.
    claimed_to: u64,
    /// It is dead, and another run of the same candidate has taken its place.
    succeeded: bool,
    /// The token of the claim before, which may not come back.
    spent_token: u64,
    stopped: Option<Stopped>,
    /// The last claim, if it had to end for another reason than that.
    left: Option<Left>,
    back: Option<Back>,
    health: Health,
    /// The tokens of the claims that started what still goes on.
    works: Vec<u64>,
    terms: Terms,
    locks: [View; 2],
    /// The creations it has sent: when, and what it had done and been shown by then.
    creations: Vec<(u64, [View; 2])>,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Stopped {
    at: u64,
    claimed: bool,
}

/// How often an assumption of DESIGN was broken on purpose, and the verdict therefore withheld.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exemptions {
    /// Two lead at once after the lock was deleted, or its record edited, where somebody who never saw it might take it.
    pub two_leaders: u64,
}

#[derive(Clone, Debug, Hash)]
pub struct Oracle {
    lives: Vec<Life>,
    locks: [Vec<State>; 2],
    highest_token: u64,
    exempt_until: u64,
    pub exemptions: Exemptions,
    pub violation: Option<Violation>,
    /// Terms that began.
    pub terms: u64,
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle::new()
    }
}

impl Oracle {
    pub fn new() -> Oracle {
        let missing = State {
            commit: Commit {
                object: 0,
                resource_version: 0,
                content: Content::Nothing,
                mark: None,
                writer: Writer::Stranger,
                step_down: 0,
                foreign_fields: 0,
            },
            since: 0,
            author: None,
            original: 0,
            term: 0,
        };
        Oracle {
            lives: Vec::with_capacity(16),
            locks: [vec![missing.clone()], vec![missing]],
            highest_token: 0,
            exempt_until: 0,
            exemptions: Exemptions::default(),
            violation: None,
            terms: 0,
        }
    }

    fn violated(&mut self, rule: &'static str, at: u64, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at, what: what() });
        }
    }

    /// How much a life's clock advances in so much true time.
    fn elapsed(&self, life: LifeId, from: u64, to: u64) -> u64 {
        ((u128::from(to.saturating_sub(from)) * u128::from(self.lives[life].facts.rate)) >> 20) as u64
    }

    // ---- Who is there ---------------------------------------------------------------------------------

    pub fn born(&mut self, facts: Facts) -> LifeId {
        let locks = [View::default(); 2];
        let health = Health::new(facts.health_failures.is_some());
        self.lives.push(Life {
            facts,
            alive: false,
            over: false,
            claim: None,
            claimed_to: 0,
            succeeded: false,
            spent_token: 0,
            stopped: None,
            left: None,
            back: None,
            health,
            works: Vec::new(),
            terms: Terms::default(),
            locks,
            creations: Vec::new(),
        });
        self.lives.len() - 1
    }

    /// Its process runs from now on.
    pub fn started(&mut self, life: LifeId) {
        self.lives[life].alive = true;
    }

    pub fn died(&mut self, life: LifeId, now: u64) {
        self.lives[life].alive = false;
        self.lives[life].over = true;
        self.says(life, now, None, None);
    }

    /// From now until then the assumptions are broken, and two leaders prove nothing.
    pub fn exempt(&mut self, until: u64) {
        self.exempt_until = self.exempt_until.max(until);
    }

    // ---- What it sent, and what came of it ------------------------------------------------------------

    /// It sends a write: naming which version of which object, and what for.
    pub fn sends(&mut self, life: LifeId, lock: usize, now: u64, base: Option<(u64, bool)>, sent: Sent) {
        if let Some((resource_version, has_uid)) = base
            && (resource_version == 0 || !has_uid)
        {
            self.violated("S2", now, || format!("life {life} sends a write without a resourceVersion or uid"));
        }
        if base.is_none() {
            let it = &mut self.lives[life];
            it.creations.push((now, it.locks));
        }
        if sent == Sent::Release {
            self.judge_release(life, now);
        }
        self.judge_candidacy(life, lock, now, sent);
    }

    /// The server made a change.
    pub fn committed(&mut self, lock: usize, now: u64, commit: Commit) {
        let index = self.locks[lock].len();
        let before = self.locks[lock][index - 1].clone();
        let touched = commit.touches(&before.commit);
        let (since, author) = match commit.writer {
            _ if touched => (before.since, before.author),
            // No record is no record, in whichever object, or in none.
            Writer::Stranger if (commit.content, before.commit.content) == (Content::Nothing, Content::Nothing) => {
                (before.since, None)
            }
            Writer::Candidate { life, .. } => (now, Some(life)),
            Writer::Stranger if commit.content.is_held_record() => self.put_back(lock, now, &commit),
            Writer::Stranger => (now, None),
        };
        if let Writer::Candidate { life, sent } = commit.writer {
            self.judge_write(lock, now, &before, &commit, life, sent);
            self.succeeds(life);
            self.term_goes_on(life, lock, commit.content, sent);
            if commit.content.is_held_record() {
                let view = &mut self.lives[life].locks[lock];
                view.own = index;
                view.own_sent = view.own_sent.max(sent);
            }
        }
        let term = if touched || author.is_some() && author == before.author { before.term } else { index };
        let original = if author.is_some() { index } else { before.original };
        self.locks[lock].push(State { commit, since, author, original, term });
    }

    /// Somebody puts a record into the lock by hand: since when it counts, and whose it is, if it was there before.
    fn put_back(&self, lock: usize, now: u64, commit: &Commit) -> (u64, Option<LifeId>) {
        let states = &self.locks[lock];
        let Some(index) = states.iter().rposition(|state| state.commit.content == commit.content) else {
            return (now, None);
        };
        let before = &states[index];
        // Whoever missed what was there in between sees no change.
        if before.commit.object == commit.object {
            return (before.since, before.author);
        }
        // Whoever wrote it, and does not know that, cannot tell the copy from the object that it made.
        let unknown = |life: &LifeId| self.lives[*life].locks[lock].shown < index && before.commit.mark == commit.mark;
        (now, before.author.filter(unknown))
    }

    /// It is the same candidate as earlier runs in the same place, which are over.
    fn succeeds(&mut self, life: LifeId) {
        let of = |it: &Life| (it.facts.identity, it.facts.network);
        let candidate = of(&self.lives[life]);
        for dead in self.lives.iter_mut().filter(|it| it.over && of(it) == candidate) {
            dead.succeeded = true;
        }
    }
}

impl Commit {
    /// Whether it changes only other fields of the object than the record.
    fn touches(&self, before: &Commit) -> bool {
        (self.content, self.object) == (before.content, before.object) && self.writer == Writer::Stranger
    }
}
