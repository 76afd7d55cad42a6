//! Work that a candidate starts for its leadership. The rules for claims apply to it too: it may continue only while a
//! claim could, and never at the same time as the claim or work of another process.

use super::{Content, Oracle, ProcessId};

/// The records of the last claim, on which its work depends.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Terms {
    /// The term of each record, and when its last successful write was sent.
    terms: [Option<(i64, u32)>; 2],
    sent: [u64; 2],
    /// The work of the claim had to end.
    over: bool,
}

impl Oracle {
    /// Work has been started for the claim with this token.
    pub fn work_begins(&mut self, process: ProcessId, now: u64, token: u64) {
        if !self.claims(process, now) {
            self.violated("work", now, || format!("process {process} begins a work without a claim"));
        }
        self.processes[process].works.push(token);
        self.note_terms(process);
        let others: Vec<ProcessId> = (0..self.processes.len()).filter(|other| self.acts(*other, now)).collect();
        self.check_others(process, now, others);
    }

    /// The work has ended.
    pub fn work_ends(&mut self, process: ProcessId, now: u64, token: u64) {
        let works = &mut self.processes[process].works;
        match works.iter().position(|work| *work == token) {
            Some(index) => drop(works.swap_remove(index)),
            None => self.violated("work", now, || format!("a work of process {process} ends that did not go on")),
        }
    }

    /// Sets until when the work of the last claim may continue. S1, S6: only while the candidate's writes would allow a
    /// claim. Work that had to end may not be continued; a new claim starts new work.
    pub fn may_work(&mut self, process: ProcessId, now: u64, until: Option<u64>) {
        let claims = self.claims(process, now);
        let Some(until) = until else {
            self.processes[process].terms.over = true;
            return;
        };
        if claims {
            self.note_terms(process);
        }
        let terms = self.processes[process].terms;
        if terms.over {
            return self.violated("work", now, || format!("process {process} lets a work go on that had to be over"));
        }
        let facts = &self.processes[process].facts;
        for lock in (0..2).filter(|lock| facts.locks[*lock]) {
            let view = &self.processes[process].locks[lock];
            if view.own == 0 || view.own <= view.foreign {
                return self.violated("work", now, || {
                    format!("process {process} works though a record not its own was shown")
                });
            }
            if self.elapsed(process, terms.sent[lock], until) > facts.renew_deadline + 3 {
                return self.violated("work", now, || {
                    format!("process {process} works for longer than D from its last write")
                });
            }
        }
    }

    /// The term in each lock is that of the own record which it was shown last, or of its newest write.
    fn note_terms(&mut self, process: ProcessId) {
        let it = &self.processes[process];
        let terms = [0, 1].map(|lock| {
            let (view, states) = (&it.locks[lock], &self.locks[lock]);
            let is_own = states[view.shown].author == Some(process);
            states[if is_own { view.shown } else { view.own }].commit.content.term()
        });
        self.processes[process].terms = Terms { terms, sent: it.locks.map(|view| view.own_sent), over: false };
    }

    /// A write was carried out.
    pub(super) fn term_goes_on(&mut self, process: ProcessId, lock: usize, written: Content, sent: u64) {
        let terms = &mut self.processes[process].terms;
        if written.is_held_record() && terms.terms[lock] == written.term() {
            terms.sent[lock] = terms.sent[lock].max(sent);
        }
    }

    /// S5: the process exits by itself.
    pub fn finishes(&mut self, process: ProcessId, now: u64) {
        if !self.processes[process].works.is_empty() {
            self.violated("work", now, || format!("process {process} ends while its work goes on"));
        }
    }

    /// Whether any work of any process has not ended.
    pub fn any_work(&self) -> bool {
        self.processes.iter().any(|process| !process.works.is_empty())
    }

    /// Whether it claims to lead, or its work has not ended.
    pub(super) fn acts(&self, process: ProcessId, now: u64) -> bool {
        self.claims(process, now) || !self.processes[process].works.is_empty()
    }

    /// A process claims or works while others do.
    pub(super) fn check_others(&mut self, process: ProcessId, now: u64, mut others: Vec<ProcessId>) {
        others.retain(|other| *other != process);
        if others.is_empty() {
            return;
        }
        if now < self.exempt_until {
            self.exemptions.two_leaders += 1;
        } else {
            let works = |process: &ProcessId| !self.processes[*process].works.is_empty();
            let rule = if others.iter().any(|other| self.claims(*other, now)) { "two leaders" } else { "work" };
            let working: Vec<ProcessId> = others.iter().copied().filter(works).collect();
            self.violated(rule, now, || {
                format!("process {process} and {others:?} lead at once; the works of {working:?} go on")
            });
        }
    }
}
