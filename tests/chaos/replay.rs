//! Passes what is known of a run to the simulation's oracle.

use crate::evidence::{Evidence, ProcessTrace, Sent, State};
use simulation::oracle::{self, Claim, Facts, Oracle, ProcessId, Violation, Writer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Sent(usize),
    Committed(usize),
    Claimed { process: ProcessId, proved: bool },
    Died(ProcessId),
}

/// Passes the events to the oracle, one after another.
pub struct Replay<'a> {
    pub oracle: Oracle,
    sent: &'a [Sent],
    states: &'a [State],
    /// The proved claim of each process.
    claims: Vec<Option<Claim>>,
    /// The latest F and the term of each process.
    latest: Vec<Claim>,
    /// When SIGTERM was sent to each process.
    terminated: Vec<u64>,
}

impl<'a> Replay<'a> {
    pub fn new(evidence: &Evidence, sent: &'a [Sent], states: &'a [State]) -> Replay<'a> {
        let mut oracle = Oracle::new();
        for process in &evidence.processes {
            let process = oracle.add_process(Facts {
                identity: evidence.identity(process.identity).expect("it is one of them"),
                network: 0,
                lease: evidence.lease.as_nanos() as u64,
                renew_deadline: evidence.renew_deadline.as_nanos() as u64,
                release_delay: 0,
                retry_period: 0,
                health_failures: None,
                rate: 1 << 20,
                locks: [true, false],
            });
            oracle.started(process);
        }
        let processes = evidence.processes.len();
        let terminated = |it: &ProcessTrace| it.terminated.map_or(u64::MAX, |at| evidence.time(at));
        Replay {
            oracle,
            sent,
            states,
            claims: vec![None; processes],
            latest: vec![Claim { until: 0, token: 0 }; processes],
            terminated: evidence.processes.iter().map(terminated).collect(),
        }
    }

    pub fn replay(&mut self, now: u64, event: Event) {
        match event {
            Event::Sent(index) => {
                let Sent { process, base, is_release, .. } = self.sent[index];
                if is_release {
                    self.oracle.stopped(process, self.terminated[process].min(now));
                    self.says(process, now, None);
                }
                let kind = if is_release { oracle::Sent::Release } else { oracle::Sent::Renewal };
                self.oracle.sends(process, 0, now, base, kind);
            }
            Event::Committed(index) => {
                let State { until, token, ref commit, .. } = self.states[index];
                self.oracle.committed(0, now, commit.clone());
                if let Writer::Candidate { process, .. } = commit.writer {
                    let renewed = Claim { until, token };
                    self.latest[process] = renewed;
                    // The answer may have arrived before F. If it did not, the term has ended.
                    if self.claims[process].is_some_and(|claim| claim.token == token && now < claim.until) {
                        self.says(process, now, Some(renewed));
                    }
                }
            }
            Event::Claimed { process, proved: true } => self.says(process, now, Some(self.latest[process])),
            Event::Claimed { process, proved: false } => {
                let Claim { until, token } = self.latest[process];
                self.says(process, now, Some(Claim { until: until.max(now) + 10, token }));
                // A violation that the oracle reports is more precise.
                let what = format!("process {process} names itself, and at no instant may have led");
                self.oracle.violation.get_or_insert(Violation { rule: "S1", at: now, what });
            }
            Event::Died(process) => {
                // Its requests in flight may still be carried out, but begin no claim.
                self.claims[process] = None;
                self.oracle.died(process, now);
            }
        }
    }

    fn says(&mut self, process: ProcessId, now: u64, claim: Option<Claim>) {
        self.claims[process] = claim;
        self.oracle.says(process, now, claim, None);
    }
}
