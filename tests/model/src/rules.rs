//! How a candidate processes observations and answers: the rules S1 to S10.

use crate::state::{
    After, Candidate, Content, Election, Phase, Purpose, Record, Seen, Sight, Term, UnderWay, Version, Write,
};
use crate::weakened::Weakened;

/// The settings of all candidates.
#[derive(Clone, Debug)]
pub struct Rules {
    /// L.
    pub lease: u8,
    /// D.
    pub renew_deadline: u8,
    pub release_delay: u8,
    /// The name of each candidate. Two with the same name are in different network namespaces.
    pub names: &'static [u8],
    /// The rule that is weakened.
    pub weakened: Option<Weakened>,
}

impl Rules {
    pub fn lacks(&self, rule: Weakened) -> bool {
        self.weakened == Some(rule)
    }
}

impl Election {
    /// Accepts an observation: whose record it shows, and since when.
    pub fn see(&mut self, rules: &Rules, releasing: bool, sight: Sight) {
        let unchanged = self.observed.is_some_and(|observed| sight.unchanged_since(&observed));
        if !unchanged {
            self.age = 0;
        }
        // During the own term nobody else can have taken the lock.
        let is_its_own = self.own && (self.term.is_some() || rules.lacks(Weakened::OwnOldRecordTrusted));
        if self.saw_holder(rules) && !is_its_own && self.was_removed(rules, &sight) {
            self.removal_wait = rules.lease;
        }
        let still_own = unchanged && self.own;
        let recognised = self.recognise(&sight);
        match &sight.content {
            Content::Record(record) if !record.free => self.seen = Seen::Holder,
            Content::Unreadable => self.seen = self.seen.max(Seen::Unreadable), // S10
            _ => {}
        }
        if let Some(write) = recognised
            && let Some(version) = sight.version
        {
            self.settle(rules, releasing, write, version);
        } else if !still_own {
            self.lose_own(rules, &sight);
        }
        self.observed = Some(sight);
    }

    /// Processes an observation, unless it is old.
    pub fn observe(&mut self, rules: &Rules, releasing: bool, resource_version: u8, sight: Sight) {
        if resource_version <= self.floor && !rules.lacks(Weakened::StaleEventAccepted) {
            return;
        }
        if let UnderWay::Read { crossed, .. } = &mut self.under_way {
            *crossed = true;
        }
        self.floor = resource_version;
        self.see(rules, releasing, sight);
    }

    /// A read is answered with a sight.
    pub fn read_answered(&mut self, rules: &Rules, releasing: bool, shown: Sight, crossed: bool) {
        let version = shown.version.map(|version| version.resource_version);
        if crossed && version.is_none_or(|version| version < self.floor) {
            return; // the watch has shown something newer in the meantime
        }
        self.floor = version.unwrap_or(self.floor);
        self.see(rules, releasing, shown);
    }

    /// A write is acknowledged with its new version.
    pub fn acknowledged(&mut self, rules: &Rules, releasing: bool, mut write: Write, void: bool, version: Version) {
        let shown = Sight { version: Some(version), content: Content::Record(write.record) };
        if void {
            return self.observe(rules, releasing, version.resource_version, shown); // S7: carried out, but possibly overwritten since
        }
        if rules.lacks(Weakened::DeadlineFromAnswer) {
            write.age = 0;
        }
        self.floor = version.resource_version;
        if !write.record.free {
            self.seen = Seen::Holder;
        }
        self.settle(rules, releasing, write, version);
        self.age = 0;
        self.observed = Some(shown);
    }

    /// S7: a write has no clear answer.
    pub fn doubt(&mut self, rules: &Rules, releasing: bool, write: Write, void: bool) {
        if rules.lacks(Weakened::DoubtTakenAsDone) {
            self.settle(rules, releasing, write, Version { uid: 0, resource_version: self.floor + 1 });
            self.own = false;
        } else if !void {
            self.doubts.rotate_right(1); // Forgetting one is safe: its record then counts as that of another candidate.
            self.doubts[0] = Some(write);
        }
    }

    /// S3, S9, S10: whether the lock may be taken.
    pub fn is_takeable(&self, rules: &Rules, me: usize, alone: bool) -> bool {
        let Some(observed) = &self.observed else { return false };
        let lease = if rules.lacks(Weakened::TakenAfterDeadline) { rules.renew_deadline } else { rules.lease };
        let expired = self.age >= lease;
        let free = match &observed.content {
            Content::Record(record) if record.free => true,
            Content::Record(record) if is_own_name_taken_at_once(rules, me, alone, record) => true,
            Content::Nothing if !self.saw_holder(rules) || is_absence_free(rules, observed) => true,
            Content::Record(_) | Content::Nothing | Content::Unreadable => expired,
        };
        free && self.removal_wait == 0
    }

    /// One tick of its clock.
    pub fn advance(&mut self, rules: &Rules) {
        let counts = match self.observed.map(|observed| observed.content) {
            Some(Content::Record(record)) => !record.free && !self.own,
            Some(Content::Nothing) => self.seen != Seen::NoHolder,
            Some(Content::Unreadable) => true,
            None => false,
        };
        if counts {
            self.age = (self.age + 1).min(rules.lease);
        }
        self.removal_wait = self.removal_wait.saturating_sub(1);
        self.term = self.term.and_then(|term| {
            let left = term.left - 1;
            (left > 0).then_some(Term { left, after: After::Other, ..term }) // S1
        });
        let grow = |write: &mut Write| {
            if write.purpose != Purpose::Release {
                write.age = (write.age + 1).min(rules.renew_deadline);
            }
        };
        self.doubts.iter_mut().flatten().for_each(grow);
        if let UnderWay::Write { write, .. } = &mut self.under_way {
            grow(write);
        }
    }

    /// Whether its possible actions depend on its clock.
    pub fn is_timed(&self, rules: &Rules) -> bool {
        let mut later = self.clone();
        later.advance(rules);
        later != *self
    }

    pub fn saw_holder(&self, rules: &Rules) -> bool {
        let least = if rules.lacks(Weakened::UnreadableUntilGone) { Seen::Holder } else { Seen::Unreadable };
        self.seen >= least
    }

    /// Whether a record that was seen earlier was removed and not replaced by its successor.
    fn was_removed(&self, rules: &Rules, sight: &Sight) -> bool {
        let Some(earlier) = self.observed.filter(|earlier| earlier.content != Content::Nothing) else { return false };
        let is_free = sight.record().is_some_and(|record| record.free);
        let lacks = sight.uid() != earlier.uid()
            || sight.content == Content::Nothing
            || earlier.content == Content::Unreadable && is_free;
        lacks && !is_absence_free(rules, sight) && !rules.lacks(Weakened::RemovedHolderForgotten)
    }

    /// S7: the write of this process that a sight shows, if it was in doubt or in flight.
    fn recognise(&mut self, sight: &Sight) -> Option<Write> {
        let record = sight.record()?;
        if let UnderWay::Write { write, void: false, .. } = self.under_way
            && write.record == *record
        {
            self.under_way = UnderWay::Idle; // the answer is not needed any more
            return Some(write);
        }
        self.doubts.iter().flatten().find(|write| write.record == *record).copied()
    }

    fn lose_own(&mut self, rules: &Rules, sight: &Sight) {
        self.own = false;
        if sight.record().is_some() && !rules.lacks(Weakened::ClaimDespiteForeignRecord) {
            self.term = None; // S6; if the record is gone or unreadable, the claim is kept until F
        }
        // S7: only a write that names the observed version can still be carried out.
        for doubt in &mut self.doubts {
            *doubt = doubt.filter(|write| write.base == sight.version);
        }
        self.doubts.sort_by_key(Option::is_none);
        if let UnderWay::Write { write, void, .. } = &mut self.under_way {
            *void |= write.base != sight.version;
        }
    }

    /// A write of this process has been carried out.
    fn settle(&mut self, rules: &Rules, releasing: bool, write: Write, version: Version) {
        let left = rules.renew_deadline - write.age; // S1
        match write.purpose {
            Purpose::Acquire => {
                let token = Some(version.resource_version); // S8
                let after = self.after(&write);
                self.term = (left > 0 && !releasing).then_some(Term { left, token, after });
            }
            Purpose::Renew => {
                if let Some(term) = &mut self.term {
                    term.left = term.left.max(left);
                }
            }
            Purpose::Release => self.term = None,
        }
        self.own = write.purpose != Purpose::Release;
        self.doubts = [None; 2]; // each of them names an older version
    }

    /// What this write has replaced, as far as is known.
    fn after(&self, write: &Write) -> After {
        match self.observed {
            Some(Sight { version, content: Content::Record(before) })
                if version == write.base && before.writer != write.record.writer =>
            {
                if before.free {
                    After::Release
                } else if before.dead {
                    After::Crash
                } else {
                    After::Other
                }
            }
            _ => After::Other,
        }
    }
}

impl Sight {
    /// Whether this sight shows the same record as an earlier one, with no write in between.
    fn unchanged_since(&self, earlier: &Sight) -> bool {
        let same_object = match (self.uid(), earlier.uid()) {
            (Some(a), Some(b)) => a == b,
            _ => self.content == Content::Nothing,
        };
        same_object && self.content == earlier.content
    }
}

/// S9: the own name in a record of a process that is provably dead.
fn is_own_name_taken_at_once(rules: &Rules, me: usize, alone: bool, record: &Record) -> bool {
    let writer = usize::from(record.writer);
    let same_name = rules.names.get(writer) == Some(&rules.names[me]);
    // It was written in this candidate's network namespace, by another process.
    let is_dead = alone && writer == me && record.place && record.dead;
    is_dead || same_name && rules.lacks(Weakened::OwnNameTakenAtOnce)
}

fn is_absence_free(rules: &Rules, sight: &Sight) -> bool {
    match sight {
        Sight { version: None, .. } => rules.lacks(Weakened::AbsentTakenAtOnce),
        Sight { content: Content::Nothing, .. } => rules.lacks(Weakened::RecordRemovedTakenAtOnce),
        Sight { .. } => false,
    }
}

impl<const K: usize> Candidate<K> {
    /// Updates the claim from the terms. Returns the tokens of a claim that begins, or that continues with a new token.
    pub fn follow_terms(&mut self, rules: &Rules) -> Option<[u8; K]> {
        if self.is_releasing() {
            self.elections.iter_mut().for_each(|election| election.term = None); // S5
        }
        if self.phase != Phase::Up {
            self.elections.iter_mut().filter_map(|election| election.term.as_mut()).for_each(|term| term.token = None);
        }
        let terms = || self.elections.iter().map(|election| election.term);
        let holds_all = terms().all(|term| term.is_some());
        let has_new = terms().flatten().any(|term| term.token.is_some());
        // With two locks, each claim needs a new term of both.
        if self.claims && !(holds_all && (K == 1 || !has_new)) {
            self.end_claim(rules);
        }
        let is_new = |election: &Election| election.term.is_some_and(|term| term.token.is_some());
        let all_new = self.elections.iter().all(is_new);
        let one_new = rules.lacks(Weakened::OneNewTermIsEnough) && holds_all && self.elections.iter().any(is_new);
        if !all_new && !one_new {
            return None;
        }
        self.claims = true;
        self.keep = 0;
        let tokens = self.elections.each_mut().map(|it| it.term.as_mut().and_then(|term| term.token.take()));
        Some(tokens.map(Option::unwrap_or_default))
    }

    /// Called before a write to this lock is sent. A candidate that takes the lock from its own dead predecessor keeps
    /// it for that one's claim, which may have lasted until just now.
    pub fn keep_for_predecessor(&mut self, rules: &Rules, me: usize, index: usize) {
        let record = self.elections[index].observed.as_ref().and_then(Sight::record);
        let from_dead = record.is_some_and(|record| !record.free && usize::from(record.writer) == me && record.dead);
        if from_dead && !rules.lacks(Weakened::PredecessorForgotten) && !self.claims {
            self.keep = rules.lease - rules.renew_deadline;
        }
    }

    /// Ends the claim, not because of a stop.
    pub fn end_claim(&mut self, rules: &Rules) {
        self.claims = false;
        self.keep = rules.lease - rules.renew_deadline;
        if rules.lacks(Weakened::LockReleasedAtOnce) {
            self.keep = 0;
        }
    }

    /// The process gets SIGTERM.
    pub fn stop(&mut self, rules: &Rules) {
        let holds = self.elections.iter().all(|election| election.term.is_some() || election.own);
        self.phase = Phase::Stopping { delay: if holds { rules.release_delay } else { 0 } };
        if self.claims {
            self.claims = false;
            self.keep = 0;
        }
    }

    /// One tick of its clock.
    pub fn advance(&mut self, rules: &Rules) {
        self.elections.iter_mut().for_each(|election| election.advance(rules));
        self.keep = self.keep.saturating_sub(1);
        if let Phase::Stopping { delay } = &mut self.phase {
            *delay = delay.saturating_sub(1);
        }
    }
}
