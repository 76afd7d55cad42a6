//! The oracle: checks that what candidates sent and said, and what the server did, complies with S1 to S10. It shares
//! no code with the state machine. It knows only what can be seen from outside: a candidate's settings and clock, when
//! it sent which write, what reached it, and what it would say at each instant. Times are true time in nanoseconds,
//! unless a comment says that they are local.

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
use self::withdrawal::{EndedClaim, StandBack};
use self::work::Terms;
use std::fmt;

/// Clocks are read in whole nanoseconds, and their rates are rounded.
const ROUNDING: u64 = 1_000;

/// The index of a process. A candidate that is restarted is another process.
pub type ProcessId = usize;

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

/// The settings of a process.
#[derive(Clone, Debug, Hash)]
pub struct Facts {
    pub identity: u8,
    pub network: u8,
    /// L, D and the release delay, local.
    pub lease: u64,
    pub renew_deadline: u64,
    pub release_delay: u64,
    /// R, local: the least time for which an application must be healthy again after it was not.
    pub retry_period: u64,
    /// This many failed health checks in a row end its leadership, if there are health checks.
    pub health_failures: Option<u32>,
    /// How much its clock advances in 2^20 nanoseconds of true time.
    pub rate: u64,
    /// The locks that it must hold to lead.
    pub locks: [bool; 2],
}

impl Facts {
    /// A process that is restarted is the same candidate (S9): the identity, and the network namespace.
    fn candidate(&self) -> (u8, u8) {
        (self.identity, self.network)
    }
}

/// The content of a lock after a change.
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

    /// The fields that are the same in all records of a term.
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

/// The purpose of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Acquisition,
    Renewal,
    Release,
}

/// Who made a change of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// A candidate, with a write that it sent at this moment.
    Candidate { process: ProcessId, sent: u64 },
    /// Another implementation, or a person.
    Foreign,
}

/// A change that the server made.
#[derive(Clone, Debug, Hash)]
pub struct Commit {
    /// The number of the object; 0 if there is none.
    pub object: u64,
    pub resource_version: u64,
    pub content: Content,
    /// The process and the write in the mark beside the record.
    pub mark: Option<(u128, u64)>,
    pub writer: Writer,
    /// Which holder is asked to step down; 0 if none is.
    pub step_down: u8,
    /// All other fields of the object, as a number.
    pub foreign_fields: u64,
}

/// One state of a lock.
#[derive(Clone, Debug, Hash)]
struct State {
    commit: Commit,
    /// Since when the content is unchanged, and who wrote it. Changes of other fields do not count.
    since: u64,
    author: Option<ProcessId>,
    /// The newest state that a candidate wrote.
    original: usize,
    /// The first state of this term: in a row with the same author, and with no release in between.
    term: usize,
}

/// A candidate's claim to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub until: u64,
    pub token: u64,
}

#[derive(Clone, Debug, Hash)]
struct Process {
    facts: Facts,
    /// Whether it runs, and whether it has ended.
    alive: bool,
    over: bool,
    claim: Option<Claim>,
    /// The last instant at which it certainly claimed.
    claimed_to: u64,
    /// It has ended, and another process of the same candidate has replaced it.
    succeeded: bool,
    /// The token of its previous claim, which must not be claimed again.
    spent_token: u64,
    stopped: Option<Stopped>,
    /// The last claim that had to end for another reason than SIGTERM.
    left: Option<EndedClaim>,
    back: Option<StandBack>,
    health: Health,
    /// The tokens of the claims whose work has not ended.
    works: Vec<u64>,
    terms: Terms,
    locks: [View; 2],
    /// The creates that it has sent: when, and what it had done and been shown before.
    creations: Vec<(u64, [View; 2])>,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Stopped {
    at: u64,
    claimed: bool,
}

/// How often a violation was not reported because the schedule had broken an assumption on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exemptions {
    /// Two candidates lead after the lock was deleted or its record edited while a candidate that never saw it could
    /// take it.
    pub two_leaders: u64,
}

#[derive(Clone, Debug, Hash)]
pub struct Oracle {
    processes: Vec<Process>,
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
                writer: Writer::Foreign,
                step_down: 0,
                foreign_fields: 0,
            },
            since: 0,
            author: None,
            original: 0,
            term: 0,
        };
        Oracle {
            processes: Vec::with_capacity(16),
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

    /// How much the clock of a process advances in an interval of true time.
    fn elapsed(&self, process: ProcessId, from: u64, to: u64) -> u64 {
        ((u128::from(to.saturating_sub(from)) * u128::from(self.processes[process].facts.rate)) >> 20) as u64
    }

    // ---- Who is there ---------------------------------------------------------------------------------

    pub fn add_process(&mut self, facts: Facts) -> ProcessId {
        let locks = [View::default(); 2];
        let health = Health::new(facts.health_failures.is_some());
        self.processes.push(Process {
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
        self.processes.len() - 1
    }

    /// The process runs from now on.
    pub fn started(&mut self, process: ProcessId) {
        self.processes[process].alive = true;
    }

    pub fn died(&mut self, process: ProcessId, now: u64) {
        self.processes[process].alive = false;
        self.processes[process].over = true;
        self.says(process, now, None, None);
    }

    /// From now on until `until` an assumption is broken, so two leaders are no violation.
    pub fn exempt(&mut self, until: u64) {
        self.exempt_until = self.exempt_until.max(until);
    }

    // ---- What it sent, and what came of it ------------------------------------------------------------

    /// A process sends a write, which names a version of an object, for a purpose.
    pub fn sends(&mut self, process: ProcessId, lock: usize, now: u64, base: Option<(u64, bool)>, sent: Sent) {
        if let Some((resource_version, has_uid)) = base
            && (resource_version == 0 || !has_uid)
        {
            self.violated("S2", now, || format!("process {process} sends a write without a resourceVersion or uid"));
        }
        if base.is_none() {
            let it = &mut self.processes[process];
            it.creations.push((now, it.locks));
        }
        if sent == Sent::Release {
            self.check_release(process, now);
        }
        self.check_candidacy(process, lock, now, sent);
    }

    /// The server made a change.
    pub fn committed(&mut self, lock: usize, now: u64, commit: Commit) {
        let index = self.locks[lock].len();
        let before = self.locks[lock][index - 1].clone();
        let touched = commit.touches(&before.commit);
        let (since, author) = match commit.writer {
            _ if touched => (before.since, before.author),
            // An absent record is the same in every object, and if there is no object.
            Writer::Foreign if (commit.content, before.commit.content) == (Content::Nothing, Content::Nothing) => {
                (before.since, None)
            }
            Writer::Candidate { process, .. } => (now, Some(process)),
            Writer::Foreign if commit.content.is_held_record() => self.put_back(lock, now, &commit),
            Writer::Foreign => (now, None),
        };
        if let Writer::Candidate { process, sent } = commit.writer {
            self.check_write(lock, now, &before, &commit, process, sent);
            self.succeeds(process);
            self.term_goes_on(process, lock, commit.content, sent);
            if commit.content.is_held_record() {
                let view = &mut self.processes[process].locks[lock];
                view.own = index;
                view.own_sent = view.own_sent.max(sent);
            }
        }
        let same_term = author.is_some() && author == before.author && !before.commit.content.is_free_record();
        let term = if touched || same_term { before.term } else { index };
        let original = if author.is_some() { index } else { before.original };
        self.locks[lock].push(State { commit, since, author, original, term });
    }

    /// Somebody puts a record into the lock by hand. If the same record was there before: since when it counts, and its
    /// author.
    fn put_back(&self, lock: usize, now: u64, commit: &Commit) -> (u64, Option<ProcessId>) {
        let states = &self.locks[lock];
        // A candidate that missed the states in between sees no change.
        if let Some(before) = states.iter().rfind(|it| it.commit.record() == commit.record()) {
            return (before.since, before.author);
        }
        let Some(index) =
            states.iter().position(|it| (it.commit.content, it.commit.mark) == (commit.content, commit.mark))
        else {
            return (now, None);
        };
        // Its writer, if it does not know that it was replaced, cannot distinguish the copy from its own object. To the
        // writer of a creation in doubt, an absent object does not show that.
        let created = index.checked_sub(1).is_some_and(|n| states[n].commit.object == 0);
        let unknown = |process: &ProcessId| {
            let view = &self.processes[*process].locks[lock];
            let shown = if created { view.object_shown } else { view.shown };
            shown < index
        };
        (now, states[index].author.filter(unknown))
    }

    /// The first state with a mark: that of the write which the mark names.
    fn marked(&self, lock: usize, mark: Option<(u128, u64)>) -> Option<&State> {
        mark.and_then(|mark| self.locks[lock].iter().find(|state| state.commit.mark == Some(mark)))
    }

    /// The process replaces earlier processes of the same candidate on the same node, which have ended.
    fn succeeds(&mut self, process: ProcessId) {
        let candidate = self.processes[process].facts.candidate();
        for dead in self.processes.iter_mut().filter(|it| it.over && it.facts.candidate() == candidate) {
            dead.succeeded = true;
        }
    }
}

impl Commit {
    /// The content and its object: equal content in the same object is unchanged to a candidate.
    fn record(&self) -> (Content, u64) {
        (self.content, self.object)
    }

    /// Whether only fields other than the record differ.
    fn touches(&self, before: &Commit) -> bool {
        self.record() == before.record() && self.writer == Writer::Foreign
    }
}
