//! Claims: whether a candidate may claim to lead, and whether a claim ends without a reason.

use super::{Claim, Named, Oracle, ProcessId, ROUNDING, State};

impl Oracle {
    pub(super) fn claims(&self, process: ProcessId, now: u64) -> bool {
        self.processes[process].claim.is_some_and(|claim| now < claim.until)
    }

    /// All processes that claim to lead now.
    pub fn leaders(&self, now: u64) -> impl Iterator<Item = ProcessId> {
        (0..self.processes.len()).filter(move |process| self.claims(*process, now))
    }

    /// What a candidate says from now on: its claim, or the holder that it names.
    pub fn says(&mut self, process: ProcessId, now: u64, claim: Option<Claim>, other: Option<Named>) {
        let it = &mut self.processes[process];
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
            Some(claim) => self.check_claim(process, now, claim, before),
            None => self.check_loss(process, now, before),
        }
        self.check_name(process, now, other);
    }

    /// A claim ends before F only for a reason: by choice, or because the candidate was shown a record that is not its
    /// own.
    fn check_loss(&mut self, process: ProcessId, now: u64, before: Option<Claim>) {
        let it = &self.processes[process];
        if !it.alive || it.stopped.is_some() || it.left.is_some() || before.is_none_or(|before| before.until <= now) {
            return;
        }
        // With two locks there are further reasons, which are not checked here.
        if it.facts.locks == [true; 2] {
            return;
        }
        let lock = usize::from(it.facts.locks[1]);
        let view = &it.locks[lock];
        let (shown, kept) = (&self.locks[lock][view.shown], &self.locks[lock][view.kept]);
        let what = |state: &State| (state.original, state.commit.content, state.commit.object);
        let same = what(shown) == what(kept);
        if same && shown.author == Some(process) {
            self.violated("S6", now, || {
                format!("process {process} does not claim any more, although its record is in the lock")
            });
        }
    }

    fn check_claim(&mut self, process: ProcessId, now: u64, claim: Claim, before: Option<Claim>) {
        // S6, at every moment and not only when a claim begins.
        let locks = self.processes[process].facts.locks;
        for lock in (0..2).filter(|lock| locks[*lock]) {
            let view = &mut self.processes[process].locks[lock];
            if view.own == 0 || view.own <= view.foreign {
                return self
                    .violated("S6", now, || format!("process {process} claims though a record not its own was shown"));
            }
            view.kept = view.shown;
            view.confirmed = true;
        }
        let goes_on = before.is_some_and(|before| now < before.until && before.token == claim.token);
        self.check_claim_health(process, now, !goes_on);
        self.check_end_by_choice(process, now, claim.token);
        if before == Some(claim) && self.processes[process].spent_token != claim.token {
            return; // it was checked when it began
        }
        let it = &self.processes[process];
        if it.stopped.is_some() {
            return self.violated("S5", now, || format!("process {process} claims after SIGTERM"));
        }
        if claim.token == it.spent_token {
            return self
                .violated("S1", now, || format!("process {process} claims again with the token of a term that ended"));
        }
        if before.is_none_or(|before| before.token != claim.token) {
            self.check_token(process, now, claim.token);
        }
        let facts = &self.processes[process].facts;
        for lock in (0..2).filter(|lock| facts.locks[*lock]) {
            let view = &self.processes[process].locks[lock];
            // S1, S7: never longer than D after sending a write that was carried out.
            if self.elapsed(process, view.own_sent, claim.until) > facts.renew_deadline + 3 {
                return self
                    .violated("S1", now, || format!("process {process} claims for longer than D from its last write"));
            }
        }
        let others = (0..self.processes.len()).filter(|other| self.acts(*other, now)).collect();
        self.check_others(process, now, others);
        if before.is_none_or(|before| before.until <= now) {
            self.check_gap(process, now);
        }
    }

    /// Nobody leads for L - D after another process's claim, unless that one ended it by choice. L is measured on the
    /// clock of the candidate that waits, and D on the clock of the one that claimed.
    fn check_gap(&mut self, process: ProcessId, now: u64) {
        let fastest = self.processes.iter().map(|process| process.facts.rate).max().unwrap_or(1 << 20).max(1 << 20);
        let lasts = |local: u64, rate: u64| ((u128::from(local) << 20) / u128::from(rate)) as u64;
        let too_soon = self.processes.iter().enumerate().find(|&(other, it)| {
            let ended = it.claim.map_or(it.claimed_to, |claim| claim.until.min(now));
            let left = self.ended_by_choice(other);
            let gap = lasts(it.facts.lease, fastest).saturating_sub(lasts(it.facts.renew_deadline, it.facts.rate));
            other != process && ended > 0 && !left && !it.succeeded && now + ROUNDING < ended + gap
        });
        if let Some((other, _)) = too_soon
            && self.exempt_until < now
        {
            self.violated("L - D", now, || format!("process {process} leads too soon after process {other}"));
        }
    }

    /// S8: the token is a version at which the lock had a record of this process, and is greater than all earlier
    /// tokens.
    fn check_token(&mut self, process: ProcessId, now: u64, token: u64) {
        self.terms += 1;
        // If two lead because an assumption was broken, the one with the lower token may learn of it later.
        if token <= self.highest_token && self.exempt_until < now {
            let highest = self.highest_token;
            self.violated("S8", now, || format!("process {process} has the token {token} after {highest}"));
        }
        self.highest_token = self.highest_token.max(token);
        let is_own = |state: &State| state.commit.resource_version == token && state.author == Some(process);
        if !self.locks.iter().any(|lock| lock.iter().rev().any(is_own)) {
            self.violated("S8", now, || format!("process {process} has the token {token}, at which it wrote nothing"));
        }
    }
}
