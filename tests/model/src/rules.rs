//! What one candidate makes of what it sees and hears: the rules S1 to S10.

use crate::state::{
    After, Candidate, Content, Election, Life, Purpose, Record, Seen, Sight, Term, UnderWay, Version, Write,
};
use crate::weakened::Weakened;

/// What all candidates agree on.
#[derive(Clone, Debug)]
pub struct Rules {
    /// L.
    pub lease: u8,
    /// D.
    pub renew_deadline: u8,
    pub release_delay: u8,
    /// The name of each candidate; two of the same name are in different places.
    pub names: &'static [u8],
    /// A rule that does not hold.
    pub weakened: Option<Weakened>,
}

impl Rules {
    pub fn lacks(&self, rule: Weakened) -> bool {
        self.weakened == Some(rule)
    }
}

impl Election {
    /// Believes a sight: whose record is it, and since when?
    pub fn see(&mut self, rules: &Rules, releasing: bool, sight: Sight) {
        let unchanged = self.belief.is_some_and(|belief| sight.unchanged_since(&belief));
        if !unchanged {
            self.age = 0;
        }
        // While the own term lasts, nobody else can have taken the lock.
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
        self.belief = Some(sight);
    }

    /// Takes in what was not asked for, unless it is old.
    pub fn news(&mut self, rules: &Rules, releasing: bool, resource_version: u8, sight: Sight) {
        if resource_version <= self.floor && !rules.lacks(Weakened::OldNewsBelieved) {
            return;
        }
        if let UnderWay::Read { crossed, .. } = &mut self.under_way {
            *crossed = true;
        }
        self.floor = resource_version;
        self.see(rules, releasing, sight);
    }

    /// A read is answered with what it has found.
    pub fn read_answered(&mut self, rules: &Rules, releasing: bool, shown: Sight, crossed: bool) {
        let version = shown.version.map(|version| version.resource_version);
        if crossed && version.is_none_or(|version| version < self.floor) {
            return; // The watch has shown something newer meanwhile.
        }
        self.floor = version.unwrap_or(self.floor);
        self.see(rules, releasing, shown);
    }

    /// A write is answered with the version it made.
    pub fn acknowledged(&mut self, rules: &Rules, releasing: bool, mut write: Write, void: bool, version: Version) {
        let shown = Sight { version: Some(version), content: Content::Record(write.record) };
        if void {
            return self.news(rules, releasing, version.resource_version, shown); // S7: done, but perhaps undone since
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
        self.belief = Some(shown);
    }

    /// S7: nobody says what became of a write.
    pub fn doubt(&mut self, rules: &Rules, releasing: bool, write: Write, void: bool) {
        if rules.lacks(Weakened::DoubtTakenAsDone) {
            self.settle(rules, releasing, write, Version { uid: 0, resource_version: self.floor + 1 });
            self.own = false;
        } else if !void {
            self.doubts.rotate_right(1); // Forgetting one is safe: its record then counts as somebody else's.
            self.doubts[0] = Some(write);
        }
    }

    /// S3, S9, S10: whether the lock may be taken.
    pub fn is_takeable(&self, rules: &Rules, me: usize, alone: bool) -> bool {
        let Some(belief) = &self.belief else { return false };
        let lease = if rules.lacks(Weakened::TakenAfterDeadline) { rules.renew_deadline } else { rules.lease };
        let expired = self.age >= lease;
        let free = match &belief.content {
            Content::Record(record) if record.free => true,
            Content::Record(record) if is_own_name_taken_at_once(rules, me, alone, record) => true,
            Content::Nothing if !self.saw_holder(rules) || is_absence_free(rules, belief) => true,
            Content::Record(_) | Content::Nothing | Content::Unreadable => expired,
        };
        free && self.removal_wait == 0
    }

    /// One tick of its clock.
    pub fn advance(&mut self, rules: &Rules) {
        let counts = match self.belief.map(|belief| belief.content) {
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

    /// Whether a clock of its own is needed to know what it may do.
    pub fn is_timed(&self, rules: &Rules) -> bool {
        let mut later = self.clone();
        later.advance(rules);
        later != *self
    }

    pub fn saw_holder(&self, rules: &Rules) -> bool {
        let least = if rules.lacks(Weakened::UnreadableUntilGone) { Seen::Holder } else { Seen::Unreadable };
        self.seen >= least
    }

    /// Whether a record that was seen earlier was not replaced in the order of things.
    fn was_removed(&self, rules: &Rules, sight: &Sight) -> bool {
        let Some(earlier) = self.belief.filter(|earlier| earlier.content != Content::Nothing) else { return false };
        let is_free = sight.record().is_some_and(|record| record.free);
        let lacks = sight.uid() != earlier.uid()
            || sight.content == Content::Nothing
            || earlier.content == Content::Unreadable && is_free;
        lacks && !is_absence_free(rules, sight) && !rules.lacks(Weakened::RemovedHolderForgotten)
    }

    /// S7: the write of this process that a sight shows, if it was in doubt or not yet answered.
    fn recognise(&mut self, sight: &Sight) -> Option<Write> {
        let record = sight.record()?;
        if let UnderWay::Write { write, void: false, .. } = self.under_way
            && write.record == *record
        {
            self.under_way = UnderWay::Idle; // The answer has nothing to add.
            return Some(write);
        }
        self.doubts.iter().flatten().find(|write| write.record == *record).copied()
    }

    fn lose_own(&mut self, rules: &Rules, sight: &Sight) {
        self.own = false;
        if sight.record().is_some() && !rules.lacks(Weakened::ClaimDespiteForeignRecord) {
            self.term = None; // S6; gone or unreadable, the claim stands to F
        }
        // S7: only what replaces the very version that is seen can still be done.
        for doubt in &mut self.doubts {
            *doubt = doubt.filter(|write| write.base == sight.version);
        }
        self.doubts.sort_by_key(Option::is_none);
        if let UnderWay::Write { write, void, .. } = &mut self.under_way {
            *void |= write.base != sight.version;
        }
    }

    /// A write of this process is known to have been done.
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
        self.doubts = [None; 2]; // each of them names a version that is no more
    }

    /// What this write has taken the place of, as far as is known.
    fn after(&self, write: &Write) -> After {
        match self.belief {
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
    /// Whether this shows the same record as an earlier sight: not written since, by anybody.
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
    // Its place is that of this candidate, and its process is another one.
    let is_dead = alone && writer == me && record.place && record.dead;
    is_dead || same_name && rules.lacks(Weakened::OwnNameTakenAtOnce)
}

fn is_absence_free(rules: &Rules, sight: &Sight) -> bool {
    match sight {
        Sight { version: None, .. } => rules.lacks(Weakened::AbsentTakenAtOnce),
        Sight { content: Content::Nothing, .. } => rules.lacks(Weakened::StrippedTakenAtOnce),
        Sight { .. } => false,
    }
}

impl<const K: usize> Candidate<K> {
    /// The claim follows from the terms. Returns the tokens of a claim that begins, or that goes on with a new one.
    pub fn follow_terms(&mut self, rules: &Rules) -> Option<[u8; K]> {
        if self.is_releasing() {
            self.elections.iter_mut().for_each(|election| election.term = None); // S5
        }
        if self.life != Life::Up {
            self.elections.iter_mut().filter_map(|election| election.term.as_mut()).for_each(|term| term.token = None);
        }
        let terms = || self.elections.iter().map(|election| election.term);
        let holds_all = terms().all(|term| term.is_some());
        let has_new = terms().flatten().any(|term| term.token.is_some());
        // Of two locks, each claim needs a new term of both.
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

    /// Before a write to this lock is sent. Who takes it from a dead process of its own keeps it for the sake of that one's
    /// claim, which may have lasted until just now.
    pub fn keep_for_predecessor(&mut self, rules: &Rules, me: usize, index: usize) {
        let record = self.elections[index].belief.as_ref().and_then(Sight::record);
        let from_dead = record.is_some_and(|record| !record.free && usize::from(record.writer) == me && record.dead);
        if from_dead && !rules.lacks(Weakened::PredecessorForgotten) && !self.claims {
            self.keep = rules.lease - rules.renew_deadline;
        }
    }

    /// Other than by a stop.
    pub fn end_claim(&mut self, rules: &Rules) {
        self.claims = false;
        self.keep = rules.lease - rules.renew_deadline;
        if rules.lacks(Weakened::LockReleasedAtOnce) {
            self.keep = 0;
        }
    }

    /// Told to leave.
    pub fn stop(&mut self, rules: &Rules) {
        let holds = self.elections.iter().all(|election| election.term.is_some() || election.own);
        self.life = Life::Stopping { delay: if holds { rules.release_delay } else { 0 } };
        if self.claims {
            self.claims = false;
            self.keep = 0;
        }
    }

    /// One tick of its clock.
    pub fn advance(&mut self, rules: &Rules) {
        self.elections.iter_mut().for_each(|election| election.advance(rules));
        self.keep = self.keep.saturating_sub(1);
        if let Life::Stopping { delay } = &mut self.life {
            *delay = delay.saturating_sub(1);
        }
    }
}
