//! Asks every pod all the time whether it leads, and works out what follows for sure.
//!
//! An answer was true at some instant between the sending of the question and the end of the answer, by the clock of
//! this process. The fencing token says which answers are of one term, and a term has no holes. So two terms overlapped
//! for certain if each had begun before the other one's last question was sent.

use crate::cluster;
use crate::logs::{self, Line, Logs};
use crate::stage::Stage;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Between two questions to one pod: they go through the API server, which has other things to do.
const PAUSE: Duration = Duration::from_millis(5);

/// Between two looks for new pods.
const LOOK: Duration = Duration::from_millis(100);

/// The answers of one pod in one term that said that it leads.
#[derive(Clone, Debug)]
pub struct Term {
    pub pod: String,
    pub token: u64,
    /// Of the first answer: the end.
    pub began_by: Instant,
    /// Of the last answer: the sending of its question.
    pub lasted_to: Instant,
}

pub struct Sampler {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    answers: AtomicUsize,
    terms: Mutex<BTreeMap<u64, Vec<Term>>>,
    /// When pods of another make named themselves: the sending of each question, and the end of its answer.
    peers: Mutex<Vec<(Instant, Instant)>>,
}

impl Sampler {
    pub fn start(stage: &Stage) -> Sampler {
        let pods = format!("/api/v1/namespaces/{}/pods", stage.namespace);
        let base = stage.cluster.url(&pods);
        let shared = Arc::<Shared>::default();
        let sampler = Sampler { shared: Arc::clone(&shared) };
        thread::spawn(move || find_pods(&base, &shared));
        sampler
    }

    /// The terms so far, in order.
    pub fn terms(&self) -> Vec<Term> {
        self.shared.terms.lock().unwrap().values().flatten().cloned().collect()
    }

    /// The term that goes on.
    pub fn leader(&self, stage: &Stage) -> Term {
        let mut leader = None;
        stage.wait_until("somebody leads", || {
            leader = self.terms().pop().filter(|term| term.lasted_to.elapsed() < Duration::from_secs(1));
            leader.is_some()
        });
        leader.expect("just seen")
    }

    /// Whether a pod of another make has named itself.
    pub fn peer_leads(&self) -> bool {
        !self.shared.peers.lock().unwrap().is_empty()
    }

    /// The longest time without an answer that names who answers, pods of another make included.
    pub fn longest_without_leader(&self) -> Duration {
        let mut claims = self.shared.peers.lock().unwrap().clone();
        claims.extend(self.terms().into_iter().map(|term| (term.began_by.min(term.lasted_to), term.lasted_to)));
        claims.sort_unstable();
        let mut longest = Duration::ZERO;
        let mut until = claims.first().map(|(_, until)| *until);
        for (from, to) in claims {
            longest = longest.max(until.map_or(Duration::ZERO, |until| from.saturating_duration_since(until)));
            until = until.max(Some(to));
        }
        longest
    }

    /// Waits until there was another term than this and those before.
    pub fn wait_for_next(&self, stage: &Stage, before: &Term) -> Term {
        let mut next = None;
        stage.wait_until("somebody else leads", || {
            next = self.terms().into_iter().find(|term| term.token > before.token);
            next.is_some()
        });
        next.expect("just seen")
    }

    /// Plays a game while all pods are asked and what the electors log is followed; what is worth telling of it.
    pub fn measure(stage: &Stage, game: impl FnOnce(&Sampler)) -> String {
        let sampler = Sampler::start(stage);
        let lines = thread::scope(|scope| {
            let logs = Logs::follow(scope, stage, "elector");
            game(&sampler);
            let terms = sampler.terms().len();
            let begun = || logs.lines().iter().filter(|line| line.text.contains("with the fencing token")).count();
            stage.wait_until("all terms are in the logs", || begun() >= terms);
            logs.lines()
        });
        let logged = handovers(&lines);
        let separator = if logged.is_empty() { "" } else { "; " };
        format!("{logged}{separator}{}", sampler.judge())
    }

    /// Ends the questions; panics if two led at a time. What is worth telling: the gaps between the terms.
    pub fn judge(self) -> String {
        self.shared.is_over.store(true, Ordering::Relaxed);
        judge(&self.terms(), self.shared.answers.load(Ordering::Relaxed))
    }
}

/// Panics if two of these terms overlapped for certain. What is worth telling: the gaps between them.
pub fn judge(terms: &[Term], answers: usize) -> String {
    for (index, a) in terms.iter().enumerate() {
        let overlap = |b: &&Term| a.began_by < b.lasted_to && b.began_by < a.lasted_to;
        assert_eq!(
            terms[index + 1..].iter().find(overlap).map(|b| (a, b)),
            None::<(&Term, &Term)>,
            "two led at a time"
        );
    }
    let gaps = terms.windows(2).map(|pair| pair[1].began_by.saturating_duration_since(pair[0].lasted_to));
    let gaps = if terms.len() > 1 { figures("gap", gaps.collect()) + "; " } else { String::new() };
    format!("{gaps}no two leaders in {answers} answers")
}

impl PartialEq for Term {
    fn eq(&self, other: &Term) -> bool {
        (&self.pod, self.token) == (&other.pod, other.token)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// What the electors' own logs say of the handovers in them: when the old leader began to stop, when it had released
/// the lock, and when the next one led. The clocks of several nodes may differ.
pub fn handovers(lines: &[Line]) -> String {
    let mut told = Vec::new();
    let (mut released, mut led) = (Vec::new(), Vec::new());
    let mut events: Vec<(i64, &Line)> = lines.iter().filter_map(|it| Some((logs::logged_at(it)?, it))).collect();
    events.sort_by_key(|(at, _)| *at);
    for (at, line) in events {
        if line.text.contains("stopping: releasing") || line.text.contains("asked to step down") {
            told.push((at, line.pod.clone()));
        } else if line.text.contains("is free; exiting") {
            released.extend(told.iter().find(|(_, pod)| *pod == line.pod).map(|(before, _)| since(*before, at)));
        } else if line.text.contains(" leading ") && line.text.contains("with the fencing token") {
            led.extend(told.pop().map(|(before, _)| since(before, at)));
            told.clear();
        }
    }
    let released =
        if released.is_empty() { String::new() } else { format!("{}, ", figures("released after", released)) };
    format!("{released}{}", figures("from the stop until the next one leads", led))
}

fn since(before: i64, after: i64) -> Duration {
    Duration::from_micros(u64::try_from(after - before).unwrap_or_default())
}

/// Half of them, nearly all of them, and the longest.
pub fn figures(what: &str, mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| {
        let last = times.len().saturating_sub(1);
        times.get((last as f64 * part).round() as usize).map_or(0, Duration::as_millis)
    };
    format!("{what} p50 {} ms, p99 {} ms over {}", at(0.5), at(0.99), times.len())
}

/// Gives every pod that there is a thread of its own.
fn find_pods(base: &str, shared: &Arc<Shared>) {
    let agent = cluster::agent();
    let mut known = BTreeSet::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        let list = cluster::get(&agent, &format!("{base}?labelSelector=app%3Dapp"));
        let list: Value = list.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
        let is_there = |pod: &Value| !["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or(""));
        let pods = list["items"].as_array().into_iter().flatten().filter(|pod| is_there(pod));
        for name in pods.filter_map(|pod| pod["metadata"]["name"].as_str()) {
            if known.insert(name.to_owned()) {
                let (base, name, shared) = (base.to_owned(), name.to_owned(), Arc::clone(shared));
                thread::spawn(move || ask(&base, &name, &shared));
            }
        }
        thread::sleep(LOOK);
    }
}

/// Asks one pod until it is gone.
fn ask(base: &str, pod: &str, shared: &Shared) {
    let agent = cluster::agent();
    let url = format!("{base}/{pod}:4040/proxy/status");
    while !shared.is_over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let answer = cluster::get(&agent, &url);
        let answered = Instant::now();
        match answer {
            Some((200, body)) => {
                shared.answers.fetch_add(1, Ordering::Relaxed);
                let status: Value = serde_json::from_str(&body).unwrap_or_default();
                if let (Some(true), Some(token)) = (status["isLeader"].as_bool(), status["fencingToken"].as_u64()) {
                    shared.add(pod, token, asked, answered);
                } else if status["isLeader"].is_null() && status["name"] == pod {
                    shared.peers.lock().unwrap().push((asked, answered));
                }
            }
            Some((404, _)) => return,
            _ => thread::sleep(LOOK / 2), // it has not begun to serve, or is about to go
        }
        thread::sleep(PAUSE);
    }
}

impl Shared {
    fn add(&self, pod: &str, token: u64, asked: Instant, answered: Instant) {
        let mut terms = self.terms.lock().unwrap();
        let terms = terms.entry(token).or_default();
        match terms.iter_mut().find(|term| term.pod == pod) {
            Some(term) => term.lasted_to = asked,
            None => terms.push(Term { pod: pod.to_owned(), token, began_by: answered, lasted_to: asked }),
        }
    }
}
