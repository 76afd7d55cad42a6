//! What a candidate says of itself: whether it may claim to lead, and whether it keeps what it may claim.

use super::{Claim, LifeId, Named, Oracle, ROUNDING, State};

impl Oracle {
    pub(super) fn claims(&self, life: LifeId, now: u64) -> bool {
        self.lives[life].claim.is_some_and(|claim| now < claim.until)
    }

    /// Who leads now, each of them.
    pub fn leaders(&self, now: u64) -> impl Iterator<Item = LifeId> {
        (0..self.lives.len()).filter(move |life| self.claims(*life, now))
    }

    /// What a candidate says from now on: its claim, and whom it names otherwise.
    pub fn says(&mut self, life: LifeId, now: u64, claim: Option<Claim>, other: Option<Named>) {
        let it = &mut self.lives[life];
        let before = it.claim;
        let claim = claim.filter(|claim| now < claim.until);
        if let Some(before) = before {
            it.claimed_to = it.claimed_to.max(now.min(before.until));
            if now >= before.until || claim.is_none_or(|claim| claim.token != before.token) {
                it.spent_token = before.token;
            }
        }
        it.claim = claim;
        match claim {
            Some(claim) => self.judge_claim(life, now, claim, before),
            None => self.judge_loss(life, now, before),
        }
        self.judge_name(life, now, other);
    }

    /// A claim ends before its time only for a reason: by the candidate's own will, or because it was shown what is not its own.
    fn judge_loss(&mut self, life: LifeId, now: u64, before: Option<Claim>) {
        let it = &self.lives[life];
        if !it.alive || it.stopped.is_some() || it.left.is_some() || before.is_none_or(|before| before.until <= now) {
            return;
        }
        // With two locks a claim ends for more reasons than one lock can show.
        if it.facts.locks == [true; 2] {
            return;
        }
        let lock = usize::from(it.facts.locks[1]);
        let view = &it.locks[lock];
        let (shown, kept) = (&self.locks[lock][view.shown], &self.locks[lock][view.kept]);
        let what = |state: &State| (state.original, state.commit.content, state.commit.object);
        let same = what(shown) == what(kept);
        if same && shown.author == Some(life) {
            self.violated("S6", now, || format!("life {life} does not claim any more, though its record stands"));
        }
    }

    fn judge_claim(&mut self, life: LifeId, now: u64, claim: Claim, before: Option<Claim>) {
        // S6, at every moment and not only when it claims anew.
        let locks = self.lives[life].facts.locks;
        for lock in (0..2).filter(|lock| locks[*lock]) {
            let view = &mut self.lives[life].locks[lock];
            if view.own == 0 || view.own <= view.foreign {
                return self
                    .violated("S6", now, || format!("life {life} claims though a record not its own was shown"));
            }
            view.kept = view.shown;
        }
        let goes_on = before.is_some_and(|before| now < before.until && before.token == claim.token);
        self.judge_health(life, now, !goes_on);
        self.judge_will(life, now, claim.token);
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
            // S1, S7: never longer than D from the sending of a write that was done.
            if self.elapsed(life, view.own_sent, claim.until) > facts.renew_deadline + 3 {
                return self
                    .violated("S1", now, || format!("life {life} claims for longer than D from its last write"));
            }
        }
        let others = (0..self.lives.len()).filter(|other| self.acts(*other, now)).collect();
        self.judge_others(life, now, others);
        if before.is_none_or(|before| before.until <= now) {
            self.judge_gap(life, now);
        }
    }

    /// Nobody leads for L - D after another one's claim, unless that one ended it by its own will.
    ///
    /// L is counted by whoever waits, and D by whoever claimed.
    fn judge_gap(&mut self, life: LifeId, now: u64) {
        let fastest = self.lives.iter().map(|life| life.facts.rate).max().unwrap_or(1 << 20).max(1 << 20);
        let lasts = |local: u64, rate: u64| ((u128::from(local) << 20) / u128::from(rate)) as u64;
        let too_soon = self.lives.iter().enumerate().find(|&(other, it)| {
            let ended = it.claim.map_or(it.claimed_to, |claim| claim.until.min(now));
            let left = self.left_willingly(other);
            let gap = lasts(it.facts.lease, fastest).saturating_sub(lasts(it.facts.renew_deadline, it.facts.rate));
            other != life && ended > 0 && !left && !it.succeeded && now + ROUNDING < ended + gap
        });
        if let Some((other, _)) = too_soon
            && self.exempt_until < now
        {
            self.violated("L - D", now, || format!("life {life} leads too soon after life {other}"));
        }
    }

    /// S8: a version at which the lock bore a record of its own, above all earlier ones.
    fn judge_token(&mut self, life: LifeId, now: u64, token: u64) {
        self.terms += 1;
        // Of two that lead at once because an assumption was broken, the one with the lower token may be told so later.
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
}
