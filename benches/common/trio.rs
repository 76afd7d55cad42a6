//! Three candidates of one election.

use super::api_server::ApiServer;
use super::candidate::Candidate;
use super::program::Program;
use super::{PATIENCE, wait_until};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Between two questions while it may happen at any moment, and after so long.
const PAUSES: [(Duration, Duration); 2] =
    [(Duration::from_millis(100), Duration::from_micros(100)), (Duration::MAX, Duration::from_millis(1))];

pub struct Trio<'a> {
    server: &'a ApiServer,
    program: Program,
    election: String,
    /// The account that all share; none if each has its own.
    shared_account: Option<String>,
    flags: Vec<String>,
    /// The flags that only the candidate with this id has.
    own_flags: fn(&str) -> Vec<String>,
    pub candidates: Vec<Candidate>,
}

/// When a survivor named the new leader, and when all did.
pub struct Handover {
    pub first: Instant,
    pub all: Instant,
}

impl<'a> Trio<'a> {
    /// Starts them, and waits until they agree. Without an account to share, each has its own.
    pub fn start(
        server: &'a ApiServer,
        program: &Program,
        election: &str,
        shared_account: Option<&str>,
        ttl: &str,
    ) -> Trio<'a> {
        Trio::start_with(server, program, election, shared_account, ttl, |_| Vec::new())
    }

    pub fn start_with(
        server: &'a ApiServer,
        program: &Program,
        election: &str,
        shared_account: Option<&str>,
        ttl: &str,
        own_flags: fn(&str) -> Vec<String>,
    ) -> Trio<'a> {
        let shared_account = shared_account.map(str::to_owned);
        let flags = vec![format!("--election={election}"), ttl.to_owned()];
        let (program, election) = (program.clone(), election.to_owned());
        let mut trio = Trio { server, program, election, shared_account, flags, own_flags, candidates: Vec::new() };
        for id in ["a", "b", "c"] {
            let candidate = trio.spawn(id);
            trio.candidates.push(candidate);
        }
        trio.leader();
        trio
    }

    /// The account of a candidate.
    pub fn account(&self, id: &str) -> String {
        self.shared_account.clone().unwrap_or_else(|| format!("{}-{id}", self.election))
    }

    fn spawn(&self, id: &str) -> Candidate {
        let flags = [self.server.flags(&self.account(id)), self.flags.clone(), (self.own_flags)(id)].concat();
        Candidate::spawn(&self.program, id, &flags)
    }

    /// The index of the leader, as soon as all name it.
    pub fn leader(&mut self) -> usize {
        let candidates = &mut self.candidates;
        let mut leader = String::new();
        wait_until("all name one leader", Duration::from_millis(2), || {
            assert!(
                candidates.iter_mut().all(Candidate::is_running),
                "a candidate has ended; BENCH_LOGS=FOLDER says why"
            );
            leader = candidates[0].names().unwrap_or_default();
            !leader.is_empty() && candidates[1..].iter_mut().all(|it| it.names().as_ref() == Some(&leader))
        });
        self.candidates.iter().position(|candidate| candidate.id == leader).expect("it is one of them")
    }

    /// Ends the leader by this signal, watches what the survivors answer, and starts it anew. `meanwhile` is done right
    /// after the signal.
    pub fn end_leader(&mut self, signal: Signal, meanwhile: impl FnOnce(&ApiServer, &str)) -> Handover {
        let leader = self.leader();
        let old = self.candidates.remove(leader);
        let begin = Instant::now();
        old.signal(signal);
        meanwhile(self.server, &self.election);
        let mut first = None;
        let all = loop {
            let names: Vec<_> = self.candidates.iter_mut().map(Candidate::names).collect();
            let is_new = |name: &Option<String>| self.candidates.iter().any(|it| Some(&it.id) == name.as_ref());
            let now = Instant::now();
            if names.iter().any(is_new) {
                first.get_or_insert(now);
            }
            if is_new(&names[0]) && names.iter().all(|name| *name == names[0]) {
                break now;
            }
            let elapsed = now.duration_since(begin);
            assert!(elapsed < PATIENCE, "the survivors never named one of themselves: {names:?}");
            let (_, pause) = PAUSES.iter().find(|(until, _)| elapsed < *until).expect("the last has no end");
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
