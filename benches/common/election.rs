//! An election with three candidates.

use super::api_server::ApiServer;
use super::candidate::Candidate;
use super::program::Program;
use super::{TIMEOUT, wait_until};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// How long to pause between two polls of the survivors, by the time since the leader was ended: until the first
/// duration, pause for the second one.
const POLL_PAUSES: [(Duration, Duration); 2] =
    [(Duration::from_millis(100), Duration::from_micros(500)), (Duration::MAX, Duration::from_millis(1))];

pub struct Election<'a> {
    server: &'a ApiServer,
    program: Program,
    name: String,
    /// The service account of all candidates; `None` if each has its own.
    shared_account: Option<String>,
    flags: Vec<String>,
    /// The additional flags of the candidate with this identity.
    own_flags: fn(&str) -> Vec<String>,
    pub candidates: Vec<Candidate>,
}

/// When the first survivor named the new leader, and when all survivors did.
pub struct Handover {
    pub first: Instant,
    pub all: Instant,
}

impl<'a> Election<'a> {
    /// Starts the candidates, and waits until all name the same leader. Without `shared_account` each candidate has its own
    /// account.
    pub fn start(
        server: &'a ApiServer,
        program: &Program,
        name: &str,
        shared_account: Option<&str>,
        ttl: &str,
    ) -> Election<'a> {
        Election::start_with(server, program, name, shared_account, ttl, |_| Vec::new())
    }

    pub fn start_with(
        server: &'a ApiServer,
        program: &Program,
        name: &str,
        shared_account: Option<&str>,
        ttl: &str,
        own_flags: fn(&str) -> Vec<String>,
    ) -> Election<'a> {
        let shared_account = shared_account.map(str::to_owned);
        let flags = vec![format!("--election={name}"), ttl.to_owned()];
        let (program, name) = (program.clone(), name.to_owned());
        let mut election = Election { server, program, name, shared_account, flags, own_flags, candidates: Vec::new() };
        for id in ["a", "b", "c"] {
            let candidate = election.spawn(id);
            election.candidates.push(candidate);
        }
        election.leader();
        election
    }

    /// The account of a candidate.
    pub fn account(&self, id: &str) -> String {
        self.shared_account.clone().unwrap_or_else(|| format!("{}-{id}", self.name))
    }

    fn spawn(&self, id: &str) -> Candidate {
        let flags = [self.server.flags(&self.account(id)), self.flags.clone(), (self.own_flags)(id)].concat();
        Candidate::spawn(&self.program, id, &flags)
    }

    /// Waits until all candidates name the same leader, and returns its index.
    pub fn leader(&mut self) -> usize {
        let candidates = &mut self.candidates;
        let mut leader = String::new();
        wait_until("all candidates name the same leader", Duration::from_millis(2), || {
            assert!(
                candidates.iter_mut().all(Candidate::is_running),
                "a candidate has exited; set BENCH_LOGS=DIRECTORY to keep the logs"
            );
            leader = candidates[0].named_leader().unwrap_or_default();
            !leader.is_empty() && candidates[1..].iter_mut().all(|it| it.named_leader().as_ref() == Some(&leader))
        });
        self.candidates
            .iter()
            .position(|candidate| candidate.id == leader)
            .expect("the leader is one of the candidates")
    }

    /// Sends this signal to the leader, polls the survivors until all name a new leader, and restarts the old one.
    /// `meanwhile` runs right after the signal.
    pub fn end_leader(&mut self, signal: Signal, meanwhile: impl FnOnce(&ApiServer, &str)) -> Handover {
        let leader = self.leader();
        let old = self.candidates.remove(leader);
        let begin = Instant::now();
        old.signal(signal);
        meanwhile(self.server, &self.name);
        let mut first = None;
        let all = loop {
            let names: Vec<_> = self.candidates.iter_mut().map(Candidate::named_leader).collect();
            let is_new = |name: &Option<String>| self.candidates.iter().any(|it| Some(&it.id) == name.as_ref());
            let now = Instant::now();
            if names.iter().any(is_new) {
                first.get_or_insert(now);
            }
            if is_new(&names[0]) && names.iter().all(|name| *name == names[0]) {
                break now;
            }
            let elapsed = now.duration_since(begin);
            assert!(elapsed < TIMEOUT, "the survivors do not agree on a new leader; they name {names:?}");
            let (_, pause) = POLL_PAUSES.iter().find(|(until, _)| elapsed < *until).expect("the last entry has no end");
            std::thread::sleep(*pause);
        };
        let id = old.id.clone();
        old.wait_to_end();
        let again = self.spawn(&id);
        self.candidates.push(again);
        self.leader();
        Handover { first: first.unwrap_or(all), all }
    }
}
