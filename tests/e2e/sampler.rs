//! Polls `/status` of every pod, and finds terms that certainly overlapped.
//!
//! An answer was true at some instant between the sending of the request and the end of the answer, by the clock of this
//! process. Answers with the same fencing token belong to one term, and a term has no interruptions. So two terms
//! certainly overlapped if each had begun before the last request of the other one was sent.

use crate::cluster;
use crate::logs::{self, Line, Logs};
use crate::namespace::TestNamespace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two requests to one pod. They go through the API server, which has other work too.
const REQUEST_PAUSE: Duration = Duration::from_millis(5);

/// The pause between two requests for the list of pods.
const LIST_PAUSE: Duration = Duration::from_millis(100);

/// What is known of one term, from the answers in which the leader named itself.
#[derive(Clone, Debug)]
pub struct Term {
    pub pod: String,
    pub token: u64,
    /// The end of the first of these answers: the term had begun by then.
    pub began_by: Instant,
    /// The sending of the last of these requests: the term lasted at least until then.
    pub lasted_until: Instant,
}

pub struct Sampler {
    state: Arc<SamplerState>,
}

#[derive(Default)]
struct SamplerState {
    is_stopped: AtomicBool,
    answers: AtomicUsize,
    terms: Mutex<BTreeMap<u64, Vec<Term>>>,
    /// The answers in which a pod of leader-elector 0.5 named itself: the sending of each request, and its end.
    claims_of_0_5: Mutex<Vec<(Instant, Instant)>>,
}

impl Sampler {
    pub fn start(namespace: &TestNamespace) -> Sampler {
        let pods = format!("/api/v1/namespaces/{}/pods", namespace.name);
        let base = namespace.cluster.url(&pods);
        let state = Arc::<SamplerState>::default();
        let sampler = Sampler { state: Arc::clone(&state) };
        thread::spawn(move || poll_all_pods(&base, &state));
        sampler
    }

    /// The terms so far, in order.
    pub fn terms(&self) -> Vec<Term> {
        self.state.terms.lock().unwrap().values().flatten().cloned().collect()
    }

    /// Waits until a pod leads, and returns its term.
    pub fn leader(&self, namespace: &TestNamespace) -> Term {
        let mut leader = None;
        namespace.wait_until("a pod leads", || {
            leader = self.terms().pop().filter(|term| term.lasted_until.elapsed() < Duration::from_secs(1));
            leader.is_some()
        });
        leader.expect("the wait above has seen it")
    }

    /// Whether a pod of leader-elector 0.5 has named itself.
    pub fn has_leader_of_0_5(&self) -> bool {
        !self.state.claims_of_0_5.lock().unwrap().is_empty()
    }

    /// The longest time in which no pod named itself, counting pods of leader-elector 0.5 too.
    pub fn longest_without_leader(&self) -> Duration {
        let mut claims = self.state.claims_of_0_5.lock().unwrap().clone();
        claims.extend(self.terms().into_iter().map(|term| (term.began_by.min(term.lasted_until), term.lasted_until)));
        claims.sort_unstable();
        let mut longest = Duration::ZERO;
        let mut until = claims.first().map(|(_, until)| *until);
        for (from, to) in claims {
            longest = longest.max(until.map_or(Duration::ZERO, |until| from.saturating_duration_since(until)));
            until = until.max(Some(to));
        }
        longest
    }

    /// Waits for a term after this one, and returns it.
    pub fn wait_for_next(&self, namespace: &TestNamespace, before: &Term) -> Term {
        let mut next = None;
        namespace.wait_until("another pod leads", || {
            next = self.terms().into_iter().find(|term| term.token > before.token);
            next.is_some()
        });
        next.expect("the wait above has seen it")
    }

    /// Runs `handovers` while it polls all pods and follows the electors' logs. Returns a summary of both.
    pub fn measure(namespace: &TestNamespace, handovers: impl FnOnce(&Sampler)) -> String {
        let sampler = Sampler::start(namespace);
        let lines = thread::scope(|scope| {
            let logs = Logs::follow(scope, namespace, "elector");
            handovers(&sampler);
            let terms = sampler.terms().len();
            let terms_in_logs =
                || logs.lines().iter().filter(|line| line.text.contains("with the fencing token")).count();
            namespace.wait_until("all terms are in the logs", || terms_in_logs() >= terms);
            logs.lines()
        });
        let logged = handover_times(&lines);
        let separator = if logged.is_empty() { "" } else { "; " };
        format!("{logged}{separator}{}", sampler.finish())
    }

    /// Stops polling, and returns a summary. Panics if two pods led at the same time.
    pub fn finish(self) -> String {
        self.state.is_stopped.store(true, Ordering::Relaxed);
        check_terms(&self.terms(), self.state.answers.load(Ordering::Relaxed))
    }
}

/// Panics if two of these terms certainly overlapped. Returns a summary: the gaps between them.
pub fn check_terms(terms: &[Term], answers: usize) -> String {
    for (index, a) in terms.iter().enumerate() {
        let overlap = |b: &&Term| a.began_by < b.lasted_until && b.began_by < a.lasted_until;
        assert_eq!(
            terms[index + 1..].iter().find(overlap).map(|b| (a, b)),
            None::<(&Term, &Term)>,
            "two pods led at the same time"
        );
    }
    let gaps = terms.windows(2).map(|pair| pair[1].began_by.saturating_duration_since(pair[0].lasted_until));
    let gaps = if terms.len() > 1 { percentiles("gap", gaps.collect()) + "; " } else { String::new() };
    format!("{gaps}no two leaders in {answers} answers")
}

impl PartialEq for Term {
    fn eq(&self, other: &Term) -> bool {
        (&self.pod, self.token) == (&other.pod, other.token)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.state.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// The times of the handovers according to the electors' logs: from the start of the stop to the release of the lock,
/// and to the next leader. With several nodes, the differences of their clocks are errors in these times.
fn handover_times(lines: &[Line]) -> String {
    let mut stops = Vec::new();
    let (mut release_times, mut leader_times) = (Vec::new(), Vec::new());
    let mut events: Vec<(i64, &Line)> = lines.iter().filter_map(|it| Some((logs::logged_at(it)?, it))).collect();
    events.sort_by_key(|(at, _)| *at);
    for (at, line) in events {
        if line.text.contains("stopping: releasing") || line.text.contains("asked to step down") {
            stops.push((at, line.pod.clone()));
        } else if line.text.contains("is free; exiting") {
            release_times.extend(stops.iter().find(|(_, pod)| *pod == line.pod).map(|(before, _)| since(*before, at)));
        } else if line.text.contains(" leading ") && line.text.contains("with the fencing token") {
            leader_times.extend(stops.pop().map(|(before, _)| since(before, at)));
            stops.clear();
        }
    }
    let released = if release_times.is_empty() {
        String::new()
    } else {
        format!("{}, ", percentiles("released after", release_times))
    };
    format!("{released}{}", percentiles("from the stop until the next one leads", leader_times))
}

fn since(before: i64, after: i64) -> Duration {
    Duration::from_micros(u64::try_from(after - before).unwrap_or_default())
}

/// Formats the percentiles of these times.
pub fn percentiles(what: &str, mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| {
        let last = times.len().saturating_sub(1);
        times.get((last as f64 * part).round() as usize).map_or(0, Duration::as_millis)
    };
    format!("{what} p50 {} ms, p99 {} ms over {}", at(0.5), at(0.99), times.len())
}

/// Starts a polling thread for each pod that appears.
fn poll_all_pods(base: &str, state: &Arc<SamplerState>) {
    let agent = cluster::agent();
    let mut known = BTreeSet::new();
    while !state.is_stopped.load(Ordering::Relaxed) {
        let list = cluster::get(&agent, &format!("{base}?labelSelector=app%3Dapp"));
        let list: Value = list.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
        let may_run = |pod: &Value| !["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or(""));
        let pods = list["items"].as_array().into_iter().flatten().filter(|pod| may_run(pod));
        for name in pods.filter_map(|pod| pod["metadata"]["name"].as_str()) {
            if known.insert(name.to_owned()) {
                let (base, name, state) = (base.to_owned(), name.to_owned(), Arc::clone(state));
                thread::spawn(move || poll_pod(&base, &name, &state));
            }
        }
        thread::sleep(LIST_PAUSE);
    }
}

/// Polls one pod until it is deleted.
fn poll_pod(base: &str, pod: &str, state: &SamplerState) {
    let agent = cluster::agent();
    let url = format!("{base}/{pod}:4040/proxy/status");
    while !state.is_stopped.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let answer = cluster::get(&agent, &url);
        let received = Instant::now();
        match answer {
            Some((200, body)) => {
                state.answers.fetch_add(1, Ordering::Relaxed);
                let status: Value = serde_json::from_str(&body).unwrap_or_default();
                if let (Some(true), Some(token)) = (status["isLeader"].as_bool(), status["fencingToken"].as_u64()) {
                    state.add(pod, token, sent, received);
                } else if status["isLeader"].is_null() && status["name"] == pod {
                    state.claims_of_0_5.lock().unwrap().push((sent, received));
                }
            }
            Some((404, _)) => return,
            _ => thread::sleep(LIST_PAUSE / 2), // it does not serve yet, or it is terminating
        }
        thread::sleep(REQUEST_PAUSE);
    }
}

impl SamplerState {
    fn add(&self, pod: &str, token: u64, sent: Instant, received: Instant) {
        let mut terms = self.terms.lock().unwrap();
        let terms = terms.entry(token).or_default();
        match terms.iter_mut().find(|term| term.pod == pod) {
            Some(term) => term.lasted_until = sent,
            None => terms.push(Term { pod: pod.to_owned(), token, began_by: received, lasted_until: sent }),
        }
    }
}
