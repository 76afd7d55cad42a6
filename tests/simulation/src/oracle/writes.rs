//! What is written: whether it may be, and whether the lock was free when it was sent.

use super::{Commit, Content, Facts, Life, LifeId, Oracle, State};

/// Clocks of other rates are read in whole nanoseconds, and times that follow from such readings add up.
const ROUNDING: u64 = 100;

impl Oracle {
    pub(super) fn judge_write(
        &mut self,
        lock: usize,
        now: u64,
        before: &State,
        commit: &Commit,
        life: LifeId,
        sent: u64,
    ) {
        let facts = self.lives[life].facts.clone();
        let Content::Record { holder, lease, acquired, renewed, transitions } = commit.content else {
            return self.violated("S2", now, || format!("life {life} wrote what is no record"));
        };
        if commit.foreign_fields != before.commit.foreign_fields && before.commit.content != Content::Nothing {
            self.violated("S2", now, || format!("life {life} changed fields that are not the record"));
        }
        let own = before.author == Some(life);
        // An acquisition takes out whom the term before left asked to step down; whatever else is written leaves that alone.
        let same_term = matches!(before.commit.content,
            Content::Record { acquired: a, transitions: t, .. } if own && (acquired, transitions) == (a, t));
        let step_down = if same_term { before.commit.step_down } else { 0 };
        if commit.step_down != step_down && (own || holder != 0) {
            self.violated("step-down", now, || format!("life {life} wrote who is asked to step down, or left it"));
        }
        if lease < facts.lease {
            self.violated("L", now, || format!("life {life} wrote a lease shorter than its own"));
        }
        if let Content::Record { renewed: earlier, .. } = before.commit.content
            && (renewed == earlier || own && renewed < earlier)
        {
            self.violated("S2", now, || format!("life {life} wrote the renewTime that was there, or an earlier one"));
        }
        if holder == 0 {
            self.released(life, lock, before.term, sent);
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
            && self.elapsed(life, view.own_sent, sent) < facts.renew_deadline + ROUNDING;
        let must_wait = match before.commit.content {
            Content::Record { holder: 0, .. } => 0,
            Content::Record { lease, .. } if !self.author_is_dead(lock, before, facts) => lease.max(facts.lease),
            Content::Record { .. } => 0,
            Content::Unreadable => facts.lease.max(last_lease.unwrap_or(0)),
            Content::Nothing if rewrites => 0,
            Content::Nothing => last_lease.map_or(0, |lease| lease.max(facts.lease)),
        };
        let told_to_leave = stopped.is_some_and(|stopped| stopped.at < sent) && !rewrites;
        let waited = self.elapsed(life, before.since, sent);
        let removed = view.removed.filter(|_| !rewrites);
        let since_removal = removed.map(|it| (self.elapsed(life, it.at, sent), it.wait));
        if told_to_leave {
            self.violated("S4", now, || format!("life {life} took the lock after it was told to leave"));
        }
        if self.exempt_until >= now {
            return;
        }
        if waited + ROUNDING < must_wait {
            let content = before.commit.content;
            self.violated("S3", now, || format!("life {life} took {content:?} after {waited} of {must_wait} ns"));
        }
        if let Some((waited, must_wait)) = since_removal
            && waited + ROUNDING < must_wait
        {
            self.violated("S3", now, || {
                format!("life {life} took a lock whose record was removed after {waited} of {must_wait} ns")
            });
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
            && author
                .is_some_and(|author| !author.alive && author.works.is_empty() && author.facts.network == facts.network)
    }
}
