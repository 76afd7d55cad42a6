//! Claims that end by choice: because of SIGTERM, a step-down, ended work, or an unhealthy application.

use super::views::View;
use super::{Commit, Content, Oracle, ProcessId, ROUNDING, Sent, Stopped, Writer};

/// A claim that a process had to end by choice, or may have, for another reason than SIGTERM.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct EndedClaim {
    at: u64,
    token: u64,
    /// It had to end.
    required: bool,
    /// It certainly ended for that reason: then the release delay applies.
    knows: bool,
}

/// When it last had to leave the locks to others for one lease.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct StandBack {
    /// It left them at this moment or later.
    since: u64,
    /// The terms whose records it will certainly release: the first state of each.
    terms: [Option<usize>; 2],
}

impl Oracle {
    /// A process got SIGTERM.
    pub fn stopped(&mut self, process: ProcessId, now: u64) {
        let claimed = self.claims(process, now);
        self.processes[process].stopped.get_or_insert(Stopped { at: now, claimed });
    }

    /// A process must end its claim now by choice, if it has one.
    pub(super) fn leaves(&mut self, process: ProcessId, now: u64) {
        if self.claims(process, now)
            && let Some(claim) = self.processes[process].claim
        {
            self.processes[process].left =
                Some(EndedClaim { at: now, token: claim.token, required: true, knows: true });
        }
    }

    /// A process must stand back: it leaves the locks to others for one lease.
    pub fn stands_back(&mut self, process: ProcessId, now: u64) {
        self.leave_to_others(process, now, [true; 2]);
    }

    /// A process was shown a record, which may be its own and ask it to step down.
    pub(super) fn was_shown_own(&mut self, process: ProcessId, lock: usize, now: u64) {
        let claims = self.claims(process, now);
        let view = &self.processes[process].locks[lock];
        let what = |state: usize| self.locks[lock][state].commit.record();
        // If it was told that the write failed, it does not recognise its own record when that is first shown.
        let knows = if claims { what(view.shown) == what(view.kept) } else { view.confirmed };
        let required = self.is_asked(process, lock);
        let possible = required || self.processes[process].left.is_none() && self.may_be_asked(process, lock);
        if claims && possible {
            self.leaves(process, now);
            if let Some(left) = &mut self.processes[process].left {
                *left = EndedClaim { required, knows: required && knows, ..*left };
            }
        }
        if required && knows {
            self.leave_to_others(process, now, [lock == 0, lock == 1]);
        }
    }

    fn leave_to_others(&mut self, process: ProcessId, now: u64, releases: [bool; 2]) {
        if self.processes[process].stopped.is_none() {
            self.leaves(process, now);
            let term = |lock: usize| self.locks[lock][self.processes[process].locks[lock].own].term;
            let terms = [0, 1].map(|lock| releases[lock].then(|| term(lock)));
            self.processes[process].back = Some(StandBack { since: now, terms });
        }
    }

    /// The record in this state was released. The time of standing back counts from when the release was sent. It also
    /// counts from then if the record was written before this time, and carried out late: others could not take the
    /// lock.
    pub(super) fn released(&mut self, process: ProcessId, lock: usize, state: usize, sent: u64) {
        let (term, written) = (self.locks[lock][state].term, self.own_write(process, lock, state));
        if let Some(back) = &mut self.processes[process].back
            && (back.terms[lock] == Some(term) || written.is_some_and(|written| written <= back.since))
        {
            back.since = back.since.max(sent);
        }
    }

    /// S5: no lock is released while a claim or work depends on it.
    pub(super) fn check_release(&mut self, process: ProcessId, now: u64) {
        if self.claims(process, now) {
            self.violated("S5", now, || format!("process {process} releases while it claims"));
        }
        if !self.processes[process].works.is_empty() {
            self.violated("work", now, || format!("process {process} releases while its work goes on"));
        }
        let it = &self.processes[process];
        let stopped = it.stopped.filter(|stopped| stopped.claimed).map(|stopped| stopped.at);
        let early = |at: u64| self.elapsed(process, at, now) + ROUNDING < it.facts.release_delay;
        if stopped.is_some_and(early) || it.left.is_some_and(|left| left.knows && early(left.at)) {
            self.violated("S5", now, || format!("process {process} releases before its release delay is over"));
        }
    }

    /// A process sends an acquisition: only if it has been healthy for long enough, and has stood back for one lease.
    pub(super) fn check_candidacy(&mut self, process: ProcessId, lock: usize, now: u64, sent: Sent) {
        if sent != Sent::Acquisition || self.may_rewrite(process, lock, now) {
            return;
        }
        self.check_acquisition_health(process, now);
        let it = &mut self.processes[process];
        let Some(back) = &mut it.back else { return };
        // What it writes from now on is not what it had to release.
        back.terms = [None; 2];
        let since = back.since;
        // A record that it wrote before that, and that is still in the lock, must be released first. If it does not
        // recognise the record, it must wait until the lease has run out.
        let View { shown, same_since, .. } = it.locks[lock];
        let late = self.own_write(process, lock, shown).is_some_and(|written| written <= since);
        let stood_back = self.elapsed(process, if late { since.max(same_since) } else { since }, now);
        if stood_back + ROUNDING < self.processes[process].facts.lease {
            self.violated("step-down", now, || {
                format!("process {process} acquires and stood back for {stood_back} ns")
            });
        }
    }

    /// When the process sent the write that put the record into this state of the lock; `None` if another one wrote it,
    /// or it is a release.
    fn own_write(&self, process: ProcessId, lock: usize, state: usize) -> Option<u64> {
        let Commit { writer, content, .. } = &self.locks[lock][self.written(lock, state)].commit;
        match writer {
            Writer::Candidate { process: by, sent } if *by == process && content.is_held_record() => Some(*sent),
            _ => None,
        }
    }

    /// Whether it may write a removed record again, which is allowed during its term.
    fn may_rewrite(&self, process: ProcessId, lock: usize, now: u64) -> bool {
        let it = &self.processes[process];
        let view = &it.locks[lock];
        let nothing = self.locks[lock][view.shown].commit.content == Content::Nothing;
        let lasts = self.elapsed(process, view.own_sent, now) < it.facts.renew_deadline + ROUNDING;
        (nothing || view.misled) && view.own > view.foreign && lasts
    }

    /// Whether its last claim ended by choice.
    pub(super) fn ended_by_choice(&self, process: ProcessId) -> bool {
        let it = &self.processes[process];
        it.left.is_some() || it.stopped.is_some_and(|stopped| stopped.claimed)
    }

    /// A process claims: this must not be a claim that it had to end, and its own record must not ask it to step down.
    pub(super) fn check_end_by_choice(&mut self, process: ProcessId, now: u64, token: u64) {
        let it = &mut self.processes[process];
        if it.left.is_some_and(|left| left.required && left.token == token) {
            return self.violated("S5", now, || format!("process {process} claims after it had to step down"));
        }
        it.left = None;
        if (0..2).any(|lock| self.is_asked(process, lock)) {
            self.violated("step-down", now, || format!("process {process} claims though it is asked to step down"));
        }
    }

    /// Whether the last state shown to it bears its name and asks it to step down. Somebody else may have put the record
    /// there, and it may take that for its own.
    fn may_be_asked(&self, process: ProcessId, lock: usize) -> bool {
        let it = &self.processes[process];
        let commit = &self.locks[lock][it.locks[lock].shown].commit;
        let own = matches!(commit.content, Content::Record { holder, .. } if holder == it.facts.identity);
        own && commit.step_down == it.facts.identity && it.facts.locks[lock]
    }

    /// Whether the last state shown to it has its own last write and asks it to step down. It need not recognise a
    /// record that others put back, or a late one.
    fn is_asked(&self, process: ProcessId, lock: usize) -> bool {
        let it = &self.processes[process];
        let view = &it.locks[lock];
        let commit = &self.locks[lock][view.shown].commit;
        commit.step_down == it.facts.identity
            && it.facts.locks[lock]
            && self.own_write(process, lock, view.shown) == Some(view.own_sent)
    }
}
