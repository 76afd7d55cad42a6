//! Claims that end by choice: because of SIGTERM, a step-down, ended work, or an unhealthy application.

use super::{Content, Oracle, ProcessId, ROUNDING, Sent, Stopped, Writer};

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

/// It leaves the locks to others for one lease.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct StandBack {
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

    /// A process was shown its own record while it claimed. The record may ask it to step down.
    pub(super) fn was_shown_own(&mut self, process: ProcessId, lock: usize, now: u64) {
        let view = &self.processes[process].locks[lock];
        let what = |state: usize| (self.locks[lock][state].commit.content, self.locks[lock][state].commit.object);
        // If it was told that the write failed, it does not recognise its own record when that is first shown.
        let knows = what(view.shown) == what(view.kept);
        let required = self.is_asked(process, lock);
        let possible = required || self.processes[process].left.is_none() && self.may_be_asked(process, lock);
        if !possible || !self.claims(process, now) {
            return;
        }
        self.leaves(process, now);
        if let Some(left) = &mut self.processes[process].left {
            *left = EndedClaim { required, knows: required && knows, ..*left };
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

    /// A record of this term was released. The time of standing back counts from when the release was sent.
    pub(super) fn released(&mut self, process: ProcessId, lock: usize, term: usize, sent: u64) {
        if let Some(back) = &mut self.processes[process].back
            && back.terms[lock] == Some(term)
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
        if let Some(StandBack { since, .. }) = self.processes[process].back.take() {
            let stood_back = self.elapsed(process, since, now);
            if stood_back + ROUNDING < self.processes[process].facts.lease {
                self.violated("step-down", now, || {
                    format!("process {process} acquires and stood back for {stood_back} ns")
                });
            }
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
        let states = &self.locks[lock];
        if states[view.shown].commit.step_down != it.facts.identity || !it.facts.locks[lock] {
            return false;
        }
        let mut written = view.shown;
        while written > 0 && states[written].commit.touches(&states[written - 1].commit) {
            written -= 1;
        }
        let commit = &states[written].commit;
        commit.writer == Writer::Candidate { process, sent: view.own_sent } && commit.content.is_held_record()
    }
}
