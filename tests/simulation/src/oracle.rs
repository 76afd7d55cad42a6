//! The oracle: whether what candidates sent and said, and what the server did, keeps to S1 to S10.
//!
//! It shares no code with what it judges, and knows of a candidate only what can be seen from outside: its settings and
//! clock, when it sent which write, what reached it, and what it would say at each instant. Times are true time in
//! nanoseconds unless they are said to be local.

use std::fmt;

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
    pub resource_version: u64,
    pub content: Content,
    pub writer: Writer,
    /// All that is not the record, as a number.
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
    alive: bool,
    claim: Option<Claim>,
    /// The token of the claim before, which may not come back.
    spent_token: u64,
    stopped: Option<Stopped>,
    locks: [View; 2],
    /// The creations it has sent: when, and what it had done and been shown by then.
    creations: Vec<(u64, [View; 2])>,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Stopped {
    at: u64,
    claimed: bool,
}

/// What one life did to, and was shown of, one lock.
#[derive(Clone, Copy, Debug, Default, Hash)]
struct View {
    /// How many states of the lock it has been shown, up to the newest.
    shown: usize,
    /// The newest state shown that bore a record which is not its own.
    foreign: usize,
    /// The newest committed write of a record of its own: its state, and when the latest such was sent.
    own: usize,
    own_sent: u64,
    /// The L of the last held record shown, local.
    last_lease: Option<u64>,
}

/// How often an assumption of DESIGN was broken on purpose, and the verdict therefore withheld.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exemptions {
    /// The lock was deleted, or its record edited, where somebody who never saw it could be fooled.
    pub fooled: u64,
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
                resource_version: 0,
                content: Content::Nothing,
                writer: Writer::Stranger,
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
        self.lives.push(Life {
            facts,
            alive: true,
            claim: None,
            spent_token: 0,
            stopped: None,
            locks,
            creations: Vec::new(),
        });
        self.lives.len() - 1
    }

    pub fn died(&mut self, life: LifeId) {
        self.lives[life].alive = false;
        self.lives[life].claim = None;
    }

    /// It was told to leave.
    pub fn stopped(&mut self, life: LifeId, now: u64) {
        let claimed = self.claims(life, now);
        self.lives[life].stopped.get_or_insert(Stopped { at: now, claimed });
    }

    /// From now until then the assumptions are broken, and two leaders prove nothing.
    pub fn exempt(&mut self, until: u64) {
        self.exempt_until = self.exempt_until.max(until);
    }

    // ---- What it sent, and what came of it ------------------------------------------------------------

    /// It sends a write: naming which version of which object, and for a release or not.
    pub fn sends(&mut self, life: LifeId, now: u64, base: Option<(u64, bool)>, release: bool) {
        if let Some((resource_version, has_uid)) = base
            && (resource_version == 0 || !has_uid)
        {
            self.violated("S2", now, || format!("life {life} sends a write without a resourceVersion or uid"));
        }
        if base.is_none() {
            let it = &mut self.lives[life];
            it.creations.push((now, it.locks));
        }
        if release && self.claims(life, now) {
            self.violated("S5", now, || format!("life {life} releases while it claims"));
        }
        if let Some(Stopped { at, claimed: true }) = self.lives[life].stopped
            && release
            && self.elapsed(life, at, now) + 1_000 < self.lives[life].facts.release_delay
        {
            self.violated("S5", now, || format!("life {life} releases before its release delay is over"));
        }
    }

    /// The server made a change.
    pub fn committed(&mut self, lock: usize, now: u64, commit: Commit) {
        let index = self.locks[lock].len();
        let before = self.locks[lock][index - 1].clone();
        let touched = commit.content == before.commit.content && commit.writer == Writer::Stranger;
        let (since, author) = match commit.writer {
            _ if touched => (before.since, before.author),
            Writer::Candidate { life, .. } => (now, Some(life)),
            // Whoever missed what was there in between sees no change where somebody puts a record back.
            Writer::Stranger => {
                let same = self.locks[lock].iter().rev().find(|state| state.commit.content == commit.content);
                same.filter(|_| commit.content.is_held_record())
                    .map_or((now, None), |state| (state.since, state.author))
            }
        };
        if let Writer::Candidate { life, sent } = commit.writer {
            self.judge_write(lock, now, &before, &commit, life, sent);
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

    fn judge_write(&mut self, lock: usize, now: u64, before: &State, commit: &Commit, life: LifeId, sent: u64) {
        let facts = self.lives[life].facts.clone();
        let Content::Record { holder, lease, acquired, renewed, transitions } = commit.content else {
            return self.violated("S2", now, || format!("life {life} wrote what is no record"));
        };
        if commit.foreign_fields != before.commit.foreign_fields && before.commit.content != Content::Nothing {
            self.violated("S2", now, || format!("life {life} changed fields that are not the record"));
        }
        if lease < facts.lease {
            self.violated("L", now, || format!("life {life} wrote a lease shorter than its own"));
        }
        let own = before.author == Some(life);
        if let Content::Record { renewed: earlier, .. } = before.commit.content
            && (renewed == earlier || own && renewed < earlier)
        {
            self.violated("S2", now, || format!("life {life} wrote the renewTime that was there, or an earlier one"));
        }
        if holder == 0 {
            if !own {
                self.violated("S4", now, || format!("life {life} released a record that it did not write"));
            }
            return;
        }
        if holder != facts.identity {
            self.violated("S9", now, || format!("life {life} wrote another identity"));
        }
        if let Content::Record { acquired: a, transitions: t, .. } = before.commit.content {
            let same_term = own && acquired == a && transitions == t;
            let next_term = acquired == renewed && transitions == (t + 1).min(i32::MAX as u32);
            if !same_term && !next_term {
                self.violated("terms", now, || {
                    format!("life {life} wrote acquired {acquired}, transitions {transitions} after {a}, {t}")
                });
            }
        }
        if !own {
            self.judge_acquisition(lock, now, before, life, sent);
        }
    }

    /// S3, S9, S10: was the lock free when the write was sent?
    fn judge_acquisition(&mut self, lock: usize, now: u64, before: &State, life: LifeId, sent: u64) {
        if before.commit.content == Content::Nothing && sent < before.since {
            return; // a creation names no version: a late one may meet another absence than the one it was sent for
        }
        let Life { facts, stopped, locks, creations, .. } = &self.lives[life];
        // What it had been shown when it sent this counts, and not what came meanwhile.
        let shown = creations.iter().rev().find(|(at, _)| *at == sent).map_or(locks, |(_, views)| views);
        let view = &shown[lock];
        let last_lease = view.last_lease;
        // It may write anew what was taken away from it, for as long as it could have led.
        let rewrites = before.commit.content == Content::Nothing
            && view.own > view.foreign
            && self.elapsed(life, view.own_sent, sent) < facts.renew_deadline + 3;
        let must_wait = match before.commit.content {
            Content::Record { holder: 0, .. } => 0,
            Content::Record { lease, .. } if !self.author_is_dead(lock, before, facts) => lease.max(facts.lease),
            Content::Record { .. } => 0,
            Content::Unreadable => facts.lease.max(last_lease.unwrap_or(0)),
            Content::Nothing if rewrites => 0,
            Content::Nothing => last_lease.map_or(0, |lease| lease.max(facts.lease)),
        };
        if stopped.is_some_and(|stopped| stopped.at < sent) && !rewrites {
            self.violated("S4", now, || format!("life {life} took the lock after it was told to leave"));
        }
        let waited = self.elapsed(life, before.since, sent);
        // Clocks are read in whole nanoseconds.
        if waited + 3 < must_wait && self.exempt_until < now {
            let content = before.commit.content;
            self.violated("S3", now, || format!("life {life} took {content:?} after {waited} of {must_wait} ns"));
        }
    }

    /// S9: an earlier run of the same candidate in the same place wrote the holder and the renewTime, and runs no more.
    fn author_is_dead(&self, lock: usize, state: &State, facts: &Facts) -> bool {
        let original = &self.locks[lock][state.original];
        let (Content::Record { holder, renewed, .. }, Content::Record { holder: by, renewed: at, .. }) =
            (state.commit.content, original.commit.content)
        else {
            return false;
        };
        let author = original.author.map(|life| &self.lives[life]);
        (holder, renewed) == (by, at)
            && holder == facts.identity
            && author.is_some_and(|author| !author.alive && author.facts.network == facts.network)
    }

    /// A state of the lock reached a candidate, and it has taken it in. What answers a write is believed only if it shows
    /// that write.
    pub fn shown(&mut self, life: LifeId, lock: usize, index: usize, answers_write: bool) {
        let Some(state) = self.locks[lock].get(index) else { return };
        let author = state.author;
        if answers_write && author != Some(life) {
            return;
        }
        let content = state.commit.content;
        let view = &mut self.lives[life].locks[lock];
        if index <= view.shown {
            return;
        }
        view.shown = index;
        if let Content::Record { holder, lease, .. } = content {
            if author != Some(life) {
                view.foreign = index;
            }
            if holder != 0 {
                view.last_lease = Some(lease);
            }
        }
    }

    // ---- What it says ---------------------------------------------------------------------------------

    fn claims(&self, life: LifeId, now: u64) -> bool {
        self.lives[life].claim.is_some_and(|claim| now < claim.until)
    }

    /// Who leads now, each of them.
    pub fn leaders(&self, now: u64) -> impl Iterator<Item = LifeId> {
        (0..self.lives.len()).filter(move |life| self.claims(*life, now))
    }

    /// What a candidate says from now on: its claim, and whom it names otherwise.
    pub fn says(&mut self, life: LifeId, now: u64, claim: Option<Claim>, other: Option<u8>) {
        let it = &mut self.lives[life];
        if other == Some(it.facts.identity) {
            return self.violated("S6", now, || format!("life {life} names itself as if it were another"));
        }
        let before = it.claim;
        let claim = claim.filter(|claim| now < claim.until);
        if let Some(before) = before
            && (now >= before.until || claim.is_none_or(|claim| claim.token != before.token))
        {
            it.spent_token = before.token;
        }
        it.claim = claim;
        if let Some(claim) = claim {
            self.judge_claim(life, now, claim, before);
        }
    }

    fn judge_claim(&mut self, life: LifeId, now: u64, claim: Claim, before: Option<Claim>) {
        if before == Some(claim) && self.lives[life].spent_token != claim.token {
            return; // judged when it was made
        }
        let it = &self.lives[life];
        if it.stopped.is_some() {
            return self.violated("S5", now, || format!("life {life} claims after it was told to leave"));
        }
        if claim.token == it.spent_token {
            return self
                .violated("S1", now, || format!("life {life} claims again with the token of a term that ended"));
        }
        if before.is_none_or(|before| before.token != claim.token) {
            self.judge_token(life, now, claim.token);
        }
        let facts = &self.lives[life].facts;
        for lock in (0..2).filter(|lock| facts.locks[*lock]) {
            let view = &self.lives[life].locks[lock];
            if view.own == 0 || view.own <= view.foreign {
                return self
                    .violated("S6", now, || format!("life {life} claims though a record not its own was shown"));
            }
            // S1, S7: never longer than D from the sending of a write that was done.
            if self.elapsed(life, view.own_sent, claim.until) > facts.renew_deadline + 3 {
                return self
                    .violated("S1", now, || format!("life {life} claims for longer than D from its last write"));
            }
        }
        let others = (0..self.lives.len()).filter(|other| *other != life && self.claims(*other, now));
        let others: Vec<LifeId> = others.collect();
        if !others.is_empty() {
            if now < self.exempt_until {
                self.exemptions.fooled += 1;
            } else {
                self.violated("two leaders", now, || format!("life {life} and {others:?} lead at once"));
            }
        }
    }

    /// S8: a version at which the lock bore a record of its own, above all earlier ones.
    fn judge_token(&mut self, life: LifeId, now: u64, token: u64) {
        self.terms += 1;
        // Of two that lead at once because somebody was fooled, the one with the lower token may be told so later.
        if token <= self.highest_token && self.exempt_until < now {
            let highest = self.highest_token;
            self.violated("S8", now, || format!("life {life} has the token {token} after {highest}"));
        }
        self.highest_token = self.highest_token.max(token);
        let is_own = |state: &State| state.commit.resource_version == token && state.author == Some(life);
        if !self.locks.iter().any(|lock| lock.iter().rev().any(is_own)) {
            self.violated("S8", now, || format!("life {life} has the token {token}, at which it wrote nothing"));
        }
    }

    // ---- For whoever plans faults ---------------------------------------------------------------------

    /// Whether anybody who lives, and stands for this lock, could be fooled if its record were gone now, or replaced by one
    /// with this lease: somebody who would wait for less than the lease of whoever may hold it.
    pub fn can_be_fooled(&self, lock: usize, replaced_by: Option<u64>) -> bool {
        let state = self.locks[lock].last().expect("there is a first one");
        let present = match state.commit.content {
            Content::Record { holder, lease, .. } if holder != 0 => lease,
            Content::Record { .. } | Content::Nothing => 0,
            Content::Unreadable => u64::MAX,
        };
        let longest = self.lives.iter().map(|life| life.facts.lease).max().unwrap_or(0);
        let fooled = |life: &Life| match (replaced_by, life.locks[lock].last_lease) {
            (Some(lease), _) => lease.max(life.facts.lease) < longest,
            (None, Some(last)) => life.locks[lock].shown < state.term || last.max(life.facts.lease) < present,
            (None, None) => present > 0,
        };
        self.lives.iter().any(|life| life.alive && life.facts.locks[lock] && fooled(life))
    }

    /// When the last claim that exists now ends, or that can be made of what was sent until now.
    pub fn last_claim_ends(&self, now: u64) -> u64 {
        let lasts =
            |life: &Life| (u128::from(life.facts.renew_deadline) << 20).div_ceil(u128::from(life.facts.rate)) as u64;
        now + self.lives.iter().map(lasts).max().unwrap_or(0) + 1
    }
}
