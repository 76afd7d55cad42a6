//! What a candidate starts for its leadership: it leads like a claim, for it may go on only where a claim could, and never
//! beside another one's.

use super::{Content, LifeId, Oracle};

/// The records that made up the last claim, by which what it started may go on.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Terms {
    /// Which term each belongs to, and when the last write of that was sent that was done.
    terms: [Option<(i64, u32)>; 2],
    sent: [u64; 2],
    /// What the claim started has had to be over.
    over: bool,
}

impl Oracle {
    /// Something has been started for the claim with this token.
    pub fn work_begins(&mut self, life: LifeId, now: u64, token: u64) {
        if !self.claims(life, now) {
            self.violated("work", now, || format!("life {life} begins a work without a claim"));
        }
        self.lives[life].works.push(token);
        self.note_terms(life);
        let others: Vec<LifeId> = (0..self.lives.len()).filter(|other| self.acts(*other, now)).collect();
        self.judge_others(life, now, others);
    }

    /// It has ended.
    pub fn work_ends(&mut self, life: LifeId, now: u64, token: u64) {
        let works = &mut self.lives[life].works;
        match works.iter().position(|work| *work == token) {
            Some(index) => drop(works.swap_remove(index)),
            None => self.violated("work", now, || format!("a work of life {life} ends that did not go on")),
        }
    }

    /// What the last claim started may go on until then. S1, S6: while a claim could stand by the candidate's writes, but for
    /// its own will. Once it has to be over, only another claim begins another one.
    pub fn may_work(&mut self, life: LifeId, now: u64, until: Option<u64>) {
        let claims = self.claims(life, now);
        let Some(until) = until else {
            self.lives[life].terms.over = true;
            return;
        };
        if claims {
            self.note_terms(life);
        }
        let terms = self.lives[life].terms;
        if terms.over {
            return self.violated("work", now, || format!("life {life} lets a work go on that had to be over"));
        }
        let facts = &self.lives[life].facts;
        for lock in (0..2).filter(|lock| facts.locks[*lock]) {
            let view = &self.lives[life].locks[lock];
            if view.own == 0 || view.own <= view.foreign {
                return self
                    .violated("work", now, || format!("life {life} works though a record not its own was shown"));
            }
            if self.elapsed(life, terms.sent[lock], until) > facts.renew_deadline + 3 {
                return self
                    .violated("work", now, || format!("life {life} works for longer than D from its last write"));
            }
        }
    }

    fn note_terms(&mut self, life: LifeId) {
        let it = &self.lives[life];
        let terms = [0, 1].map(|lock| self.locks[lock][it.locks[lock].own].commit.content.term());
        self.lives[life].terms = Terms { terms, sent: it.locks.map(|view| view.own_sent), over: false };
    }

    /// A write was done.
    pub(super) fn term_goes_on(&mut self, life: LifeId, lock: usize, written: Content, sent: u64) {
        let terms = &mut self.lives[life].terms;
        if written.is_held_record() && terms.terms[lock] == written.term() {
            terms.sent[lock] = terms.sent[lock].max(sent);
        }
    }

    /// S5: its process ends by itself.
    pub fn finishes(&mut self, life: LifeId, now: u64) {
        if !self.lives[life].works.is_empty() {
            self.violated("work", now, || format!("life {life} ends while its work goes on"));
        }
    }

    /// Whether anything that was started for a leadership goes on, whoever started it.
    pub fn any_work(&self) -> bool {
        self.lives.iter().any(|life| !life.works.is_empty())
    }

    /// Whether it leads, or what it has started goes on.
    pub(super) fn acts(&self, life: LifeId, now: u64) -> bool {
        self.claims(life, now) || !self.lives[life].works.is_empty()
    }

    /// A life claims, or works, beside others that do.
    pub(super) fn judge_others(&mut self, life: LifeId, now: u64, mut others: Vec<LifeId>) {
        others.retain(|other| *other != life);
        if others.is_empty() {
            return;
        }
        if now < self.exempt_until {
            self.exemptions.two_leaders += 1;
        } else {
            let works = |life: &LifeId| !self.lives[*life].works.is_empty();
            let rule = if others.iter().any(|other| self.claims(*other, now)) { "two leaders" } else { "work" };
            let working: Vec<LifeId> = others.iter().copied().filter(works).collect();
            self.violated(rule, now, || {
                format!("life {life} and {others:?} lead at once; the works of {working:?} go on")
            });
        }
    }
}
