//! Candidates that end their claim by their own will: because they were told to leave or to stand back, were asked to step
//! down, or their application is not well.

use super::{LifeId, Oracle, ROUNDING, Sent, Stopped, Writer};

/// A claim that a life had to end, for another reason than being told to leave.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Left {
    at: u64,
    token: u64,
    /// Surely for that reason, and for no other: then its release delay counts.
    knows: bool,
}

/// It leaves the locks to others for one lease.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Back {
    since: u64,
    /// The terms of the records that it is surely to release: the first state of each.
    terms: [Option<usize>; 2],
}

impl Oracle {
    /// It was told to leave.
    pub fn stopped(&mut self, life: LifeId, now: u64) {
        let claimed = self.claims(life, now);
        self.lives[life].stopped.get_or_insert(Stopped { at: now, claimed });
    }

    /// It has to end its claim now, if it has one, by its own will.
    pub(super) fn leaves(&mut self, life: LifeId, now: u64) {
        if self.claims(life, now)
            && let Some(claim) = self.lives[life].claim
        {
            self.lives[life].left = Some(Left { at: now, token: claim.token, knows: true });
        }
    }

    /// It was told to stand back: it leaves the locks to others for one lease.
    pub fn stands_back(&mut self, life: LifeId, now: u64) {
        self.leaves_to_others(life, now, [true; 2]);
    }

    /// It was shown its own record while it claimed: that may ask it to step down.
    pub(super) fn was_shown_own(&mut self, life: LifeId, lock: usize, now: u64) {
        let view = &self.lives[life].locks[lock];
        let what = |state: usize| (self.locks[lock][state].commit.content, self.locks[lock][state].commit.object);
        // Where somebody denied that it was written, it does not know its own record when it is first shown.
        let knows = what(view.shown) == what(view.kept);
        if !self.claims(life, now) || !self.is_asked(life, lock) {
            return;
        }
        self.leaves(life, now);
        if let Some(left) = &mut self.lives[life].left {
            left.knows = knows;
        }
        if knows {
            self.leaves_to_others(life, now, [lock == 0, lock == 1]);
        }
    }

    fn leaves_to_others(&mut self, life: LifeId, now: u64, releases: [bool; 2]) {
        if self.lives[life].stopped.is_none() {
            self.leaves(life, now);
            let term = |lock: usize| self.locks[lock][self.lives[life].locks[lock].own].term;
            let terms = [0, 1].map(|lock| releases[lock].then(|| term(lock)));
            self.lives[life].back = Some(Back { since: now, terms });
        }
    }

    /// A record of this term was released: whoever stands back does so from the sending on.
    pub(super) fn released(&mut self, life: LifeId, lock: usize, term: usize, sent: u64) {
        if let Some(back) = self.lives[life].back.as_mut().filter(|back| back.terms[lock] == Some(term)) {
            back.since = back.since.max(sent);
        }
    }

    /// S5: nothing is released that somebody still relies on.
    pub(super) fn judge_release(&mut self, life: LifeId, now: u64) {
        if self.claims(life, now) {
            self.violated("S5", now, || format!("life {life} releases while it claims"));
        }
        if !self.lives[life].works.is_empty() {
            self.violated("work", now, || format!("life {life} releases while its work goes on"));
        }
        let it = &self.lives[life];
        let stopped = it.stopped.filter(|stopped| stopped.claimed).map(|stopped| stopped.at);
        let early = |at: u64| self.elapsed(life, at, now) + ROUNDING < it.facts.release_delay;
        if stopped.is_some_and(early) || it.left.is_some_and(|left| left.knows && early(left.at)) {
            self.violated("S5", now, || format!("life {life} releases before its release delay is over"));
        }
    }

    /// It sends an acquisition: not before it has been well for long enough, and has stood back for one lease.
    pub(super) fn judge_candidacy(&mut self, life: LifeId, lock: usize, now: u64, sent: Sent) {
        if sent != Sent::Acquisition || self.may_rewrite(life, lock, now) {
            return;
        }
        self.judge_fitness(life, now);
        if let Some(Back { since, .. }) = self.lives[life].back.take() {
            let stood_back = self.elapsed(life, since, now);
            if stood_back + ROUNDING < self.lives[life].facts.lease {
                self.violated("step-down", now, || format!("life {life} acquires and stood back for {stood_back} ns"));
            }
        }
    }

    /// Whether what it writes may be what was taken away from it: it may write that anew for as long as its term lasts.
    fn may_rewrite(&self, life: LifeId, lock: usize, now: u64) -> bool {
        let it = &self.lives[life];
        let view = &it.locks[lock];
        let nothing = self.locks[lock][view.shown].commit.content == super::Content::Nothing;
        let lasts = self.elapsed(life, view.own_sent, now) < it.facts.renew_deadline + ROUNDING;
        (nothing || view.misled) && view.own > view.foreign && lasts
    }

    /// Whether the claim that it made last ended by its own will.
    pub(super) fn left_willingly(&self, life: LifeId) -> bool {
        let it = &self.lives[life];
        it.left.is_some() || it.stopped.is_some_and(|stopped| stopped.claimed)
    }

    /// It claims: not what it had to end, and not while its own record asks it to step down.
    pub(super) fn judge_will(&mut self, life: LifeId, now: u64, token: u64) {
        let it = &mut self.lives[life];
        if it.left.is_some_and(|left| left.token == token) {
            return self.violated("S5", now, || format!("life {life} claims after it had to step down"));
        }
        it.left = None;
        if (0..2).any(|lock| self.is_asked(life, lock)) {
            self.violated("step-down", now, || format!("life {life} claims though it is asked to step down"));
        }
    }

    /// Whether a lock was last shown to it with what it wrote last, and the wish that it steps down. What others put back, or what
    /// came late, it need not know for its own.
    fn is_asked(&self, life: LifeId, lock: usize) -> bool {
        let it = &self.lives[life];
        let view = &it.locks[lock];
        let states = &self.locks[lock];
        if states[view.shown].commit.step_down != it.facts.identity || !it.facts.locks[lock] {
            return false;
        }
        let mut written = view.shown;
        while written > 0 && states[written].commit.touches(&states[written - 1].commit) {
            written -= 1;
        }
        let commit = &states[written].commit;
        commit.writer == Writer::Candidate { life, sent: view.own_sent } && commit.content.is_held_record()
    }
}
