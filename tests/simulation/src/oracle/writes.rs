//! Writes: whether they are allowed, and whether the lock was free when an acquisition was sent.

use super::{Commit, Content, Facts, Oracle, Process, ProcessId, State};

/// Clocks are read in whole nanoseconds, and the rounding errors of several readings add up.
const ROUNDING: u64 = 100;

impl Oracle {
    pub(super) fn check_write(
        &mut self,
        lock: usize,
        now: u64,
        before: &State,
        commit: &Commit,
        process: ProcessId,
        sent: u64,
    ) {
        let facts = self.processes[process].facts.clone();
        let Content::Record { holder, lease, acquired, renewed, transitions } = commit.content else {
            return self.violated("S2", now, || format!("process {process} wrote what is no record"));
        };
        if commit.foreign_fields != before.commit.foreign_fields && before.commit.content != Content::Nothing {
            self.violated("S2", now, || format!("process {process} changed fields that are not the record"));
        }
        let own = before.author == Some(process);
        // An acquisition removes the step-down annotation of an earlier term; other writes keep it.
        let same_term = matches!(before.commit.content,
            Content::Record { acquired: a, transitions: t, .. } if own && (acquired, transitions) == (a, t));
        let step_down = if same_term { before.commit.step_down } else { 0 };
        if commit.step_down != step_down && (own || holder != 0) {
            self.violated("step-down", now, || {
                format!("process {process} wrote who is asked to step down, or left it")
            });
        }
        if lease < facts.lease {
            self.violated("L", now, || format!("process {process} wrote a lease shorter than its own"));
        }
        if let Content::Record { renewed: earlier, .. } = before.commit.content
            && (renewed == earlier || own && renewed < earlier)
        {
            self.violated("S2", now, || {
                format!("process {process} wrote the renewTime that was there, or an earlier one")
            });
        }
        if holder == 0 {
            self.released(process, lock, self.locks[lock].len() - 1, sent);
            if !own {
                self.violated("S4", now, || format!("process {process} released a record that it did not write"));
            }
            return;
        }
        if holder != facts.identity {
            self.violated("S9", now, || format!("process {process} wrote another identity"));
        }
        if let Content::Record { acquired: a, transitions: t, .. } = before.commit.content {
            let same_term = own && acquired == a && transitions == t;
            let next_term = acquired == renewed && transitions == (t + 1).min(i32::MAX as u32);
            if !same_term && !next_term {
                self.violated("terms", now, || {
                    format!("process {process} wrote acquired {acquired}, transitions {transitions} after {a}, {t}")
                });
            }
        }
        if !own {
            self.check_acquisition(lock, now, before, process, sent);
        }
    }

    /// S3, S9, S10: was the lock free when the write was sent?
    fn check_acquisition(&mut self, lock: usize, now: u64, before: &State, process: ProcessId, sent: u64) {
        if before.commit.content == Content::Nothing && sent < before.since {
            return; // a create names no version: a late one may find the object absent for a second time
        }
        let Process { facts, stopped, locks, creations, .. } = &self.processes[process];
        // Only what it had been shown before sending counts.
        let shown = creations.iter().rev().find(|(at, _)| *at == sent).map_or(locks, |(_, views)| views);
        let view = &shown[lock];
        let last_lease = view.last_lease;
        // It may write its removed record again for as long as it could have led.
        let rewrites = before.commit.content == Content::Nothing
            && view.own > view.foreign
            && self.elapsed(process, view.own_sent, sent) < facts.renew_deadline + ROUNDING;
        let must_wait = match before.commit.content {
            Content::Record { holder: 0, .. } => 0,
            Content::Record { lease, .. } if !self.author_is_dead(lock, before, facts) => lease.max(facts.lease),
            Content::Record { .. } => 0,
            Content::Unreadable => facts.lease.max(last_lease.unwrap_or(0)),
            Content::Nothing if rewrites => 0,
            Content::Nothing => last_lease.map_or(0, |lease| lease.max(facts.lease)),
        };
        let told_to_leave = stopped.is_some_and(|stopped| stopped.at < sent) && !rewrites;
        let waited = self.elapsed(process, before.since, sent);
        let removed = view.removed.filter(|_| !rewrites);
        let since_removal = removed.map(|it| (self.elapsed(process, it.at, sent), it.wait));
        if told_to_leave {
            self.violated("S4", now, || format!("process {process} took the lock after SIGTERM"));
        }
        if self.exempt_until >= now {
            return;
        }
        if waited + ROUNDING < must_wait {
            let content = before.commit.content;
            self.violated("S3", now, || format!("process {process} took {content:?} after {waited} of {must_wait} ns"));
        }
        if let Some((waited, must_wait)) = since_removal
            && waited + ROUNDING < must_wait
        {
            self.violated("S3", now, || {
                format!("process {process} took a lock whose record was removed after {waited} of {must_wait} ns")
            });
        }
    }

    /// S9: an earlier process of the same candidate on the same node wrote the holder and the renewTime, and has ended.
    /// The record is in the object that it wrote, or somebody has put it back with its mark.
    fn author_is_dead(&self, lock: usize, state: &State, facts: &Facts) -> bool {
        let by = |commit: &Commit| match commit.content {
            Content::Record { holder, renewed, .. } => Some((holder, renewed)),
            Content::Unreadable | Content::Nothing => None,
        };
        let is_dead = |author: ProcessId| {
            let author = &self.processes[author];
            !author.alive && author.works.is_empty() && author.facts.candidate() == facts.candidate()
        };
        let wrote_it = |written: &&State| by(&written.commit) == by(&state.commit);
        let marked = self.marked(lock, state.commit.mark).filter(wrote_it);
        let original = marked.or_else(|| Some(&self.locks[lock][state.original]).filter(wrote_it));
        by(&state.commit).is_some_and(|(holder, _)| holder == facts.identity)
            && original.and_then(|written| written.author).is_some_and(is_dead)
    }
}
