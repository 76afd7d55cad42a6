//! Judges a game by the simulator's oracle, with nothing but what is certain.
//!
//! In a real run nobody knows when a candidate sent what reached the server at some moment, nor at which instant between
//! question and answer the answer was true. So whatever is not known is taken as it speaks for the candidate, and what
//! is a breach all the same is one for certain. One clock times everything: the lives run on its machine.
//!
//! - **When a write was sent**: no later than it had been read whole by the server. Later is kinder: a taker has waited
//!   for longer (S3), and a claim may last for longer (S1).
//! - **A claim**: an answer in which a life names itself proves a claim at one instant in `asked..=answered`. The kindest
//!   is the first at which the lock bore a record of that life, less than D after it was sent, and no release had been
//!   sent. If there is none the answer was false. From its instant on the life claims as long as it possibly may: to F
//!   of its last write, as long as writes of the same term keep coming in time, and no longer than to its release. That
//!   is sound, for nobody may take the lock before all of these.
//! - **That it was told to leave**: when its release reaches the server at the latest. When the signal did is unknown.
//! - **When it died**: before a successor of its name that S9 lets take the lock at once can have known; see
//!   [`Witness::died`].
//!
//! What of the oracle is not used: `shown`, for what a watch shows a process, and when, is known to that process alone,
//! and S6 and S10 with it, and S3 where a lock has gone; no game deletes it. A token is the resourceVersion of the
//! acquisition, which S8 makes it: that no answer shows another is not checked here. S2's naming of versions, S4 and S5
//! are judged of each request that came, and all that is judged of a commit is judged here as there.

use crate::common::lock::{MARK, RECORD, holder_of, record_of, transitions_of};
use crate::common::referee::{Answer, first_false_answer};
use apiserver::{Change, ChangeKind, RequestSeen};
use serde_json::Value;
use simulation::oracle::{Claim, Commit, Content, Facts, Oracle, ProcessId, Violation, Writer};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was seen of a life.
#[derive(Debug)]
pub struct Witness {
    /// Its name in the lock.
    pub identity: &'static str,
    /// After its last answer, and before it was dead for anybody: when it was about to be killed, unasked. Or, if nobody
    /// of its name started before, when it was known to have ended.
    pub died: Option<Instant>,
    pub answers: Vec<Answer>,
}

/// All that was seen of a game.
pub struct Evidence {
    pub start: Instant,
    pub lease: Duration,
    pub renew_deadline: Duration,
    /// By number.
    pub processes: Vec<Witness>,
    /// The writes that reached the server, with the life that sent each.
    pub requests: Vec<(ProcessId, RequestSeen)>,
    pub history: Vec<Change>,
}

/// What a game came to that kept to all rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub processes: usize,
    pub changes: usize,
    pub answers: usize,
    /// Terms in which the leader was asked and said so.
    pub terms: u64,
}

/// A write that reached the server.
#[derive(Debug)]
struct Sent {
    process: ProcessId,
    /// In nanoseconds since the start, as all numbers here that are times.
    at: u64,
    mark: String,
    base: Option<(u64, bool)>,
    is_release: bool,
}

/// What the lock was from a moment on.
#[derive(Clone, Debug)]
struct State {
    at: u64,
    /// Whose write made the record what it is.
    author: Option<ProcessId>,
    holder: String,
    /// The latest F that the author can have; the resourceVersion at which its term began.
    until: u64,
    token: u64,
    commit: Commit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Sent(usize),
    Committed(usize),
    Claimed { process: ProcessId, proved: bool },
    Died(ProcessId),
}

impl Evidence {
    /// Passes all of it in review; the error is the first breach.
    pub fn judge(&self) -> Result<Summary, Violation> {
        let sent = self.sent();
        let states = self.states(&sent)?;
        self.check_names(&states)?;
        let mut events: Vec<(u64, Event)> = Vec::new();
        events.extend(sent.iter().enumerate().map(|(index, sent)| (sent.at, Event::Sent(index))));
        events.extend(states.iter().enumerate().map(|(index, state)| (state.at, Event::Committed(index))));
        for (process, witness) in self.processes.iter().enumerate() {
            events.extend(witness.died.map(|died| (self.time(died), Event::Died(process))));
            for answer in witness.answers.iter().filter(|answer| answer.names_itself()) {
                let instant = self.kindest_instant(process, answer, &states, &sent);
                let at = instant.unwrap_or(self.time(answer.asked));
                events.push((at, Event::Claimed { process, proved: instant.is_some() }));
            }
        }
        events.sort_unstable();
        let mut hearing = Hearing::new(self, &sent, &states);
        for (at, event) in events {
            hearing.hear(at, event);
            if let Some(violation) = hearing.oracle.violation.take() {
                return Err(violation);
            }
        }
        self.ask_the_referee(&states)?;
        let answers = self.processes.iter().map(|process| process.answers.len()).sum();
        Ok(Summary { processes: self.processes.len(), changes: states.len(), answers, terms: hearing.oracle.terms })
    }

    fn time(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.start).as_nanos() as u64
    }

    /// Every one, whether anything came of it or not.
    fn sent(&self) -> Vec<Sent> {
        let read = |(process, request): &(ProcessId, RequestSeen)| {
            let object = request.json().unwrap_or_default();
            let metadata = &object["metadata"];
            let number = |text: &Value| text.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
            let has_uid = !metadata["uid"].as_str().unwrap_or_default().is_empty();
            let base = (request.verb == "update").then(|| (number(&metadata["resourceVersion"]), has_uid));
            let mark = mark_of(&object).to_owned();
            Sent { process: *process, at: self.time(request.when), mark, base, is_release: release(request, &object) }
        };
        self.requests.iter().map(read).collect()
    }

    /// The lock after each change, and who made it.
    fn states(&self, sent: &[Sent]) -> Result<Vec<State>, Violation> {
        let mut by_mark: HashMap<&str, &Sent> = HashMap::new();
        for sent in sent {
            // Should one ever come twice: the kinder.
            by_mark.insert(&sent.mark, sent);
        }
        let mut states: Vec<State> = Vec::new();
        let mut until = vec![0; self.processes.len()];
        let (mut mark_before, mut term_before) = (String::new(), Value::Null);
        for change in &self.history {
            let at = self.time(change.when);
            let breach = |what: String| Violation { rule: "evidence", at, what };
            if change.kind == ChangeKind::Deleted {
                return Err(breach("somebody deleted the lock".to_owned()));
            }
            let (mark, record, content) = (mark_of(&change.object), record_of(&change.object), self.content(change)?);
            let before = states.last();
            let (writer, author, token) = if mark == mark_before {
                if before.is_some_and(|before| before.commit.content != content) {
                    return Err(breach(format!("a record without a mark of its own: {record}")));
                }
                (Writer::Stranger, before.and_then(|it| it.author), before.map_or(0, |it| it.token))
            } else {
                let by = by_mark.get(mark).ok_or_else(|| breach(format!("nobody sent what bears the mark {mark}")))?;
                let same_term =
                    before.is_some_and(|it| it.author == Some(by.process)) && record["acquireTime"] == term_before;
                let token = before.filter(|_| same_term).map_or(change.resource_version, |it| it.token);
                if !holder_of(&record).is_empty() {
                    until[by.process] = until[by.process].max(by.at + self.renew_deadline.as_nanos() as u64);
                }
                (Writer::Candidate { process: by.process, sent: by.at }, Some(by.process), token)
            };
            let commit = Commit {
                object: 1, // no game deletes it
                resource_version: change.resource_version,
                content,
                mark: None, // which of two equal records it is matters to nobody here
                writer,
                step_down: 0,
                foreign_fields: foreign_fields(&change.object),
            };
            let until = author.map_or(0, |process| until[process]);
            states.push(State { at, author, holder: holder_of(&record), until, token, commit });
            (mark_before, term_before) = (mark.to_owned(), record["acquireTime"].clone());
        }
        Ok(states)
    }

    fn content(&self, change: &Change) -> Result<Content, Violation> {
        let record = record_of(&change.object);
        let stamp = |name: &str| stamp(record[name].as_str()?);
        let read = || {
            let seconds = record["leaseDurationSeconds"].as_u64()?;
            Some(Content::Record {
                holder: self.identity(record["holderIdentity"].as_str()?)?,
                lease: seconds * 1_000_000_000,
                acquired: stamp("acquireTime")?,
                renewed: stamp("renewTime")?,
                transitions: transitions_of(&record) as u32,
            })
        };
        let at = self.time(change.when);
        read().ok_or_else(|| Violation { rule: "record", at, what: format!("no candidate writes {record}") })
    }

    /// 0 for nobody.
    fn identity(&self, name: &str) -> Option<u8> {
        let numbers = self.processes.iter().position(|process| process.identity == name).map(|index| index as u8 + 1);
        if name.is_empty() { Some(0) } else { numbers }
    }

    /// The first instant at which a life may have named itself in this answer.
    fn kindest_instant(&self, process: ProcessId, answer: &Answer, states: &[State], sent: &[Sent]) -> Option<u64> {
        let (asked, answered) = (self.time(answer.asked), self.time(answer.answered));
        let released =
            sent.iter().find(|sent| sent.process == process && sent.is_release).map_or(u64::MAX, |sent| sent.at);
        let may_claim = |at: u64, state: &State| {
            state.author == Some(process) && !state.holder.is_empty() && at < state.until && at < released
        };
        let first = states.partition_point(|state| state.at <= asked);
        let at_once = first.checked_sub(1).filter(|index| may_claim(asked, &states[*index])).map(|_| asked);
        let later = states[first..].iter().take_while(|state| state.at <= answered);
        at_once.or_else(|| later.filter(|state| may_claim(state.at, state)).map(|state| state.at).next())
    }

    /// `/` never names anybody who has not held the lock yet.
    fn check_names(&self, states: &[State]) -> Result<(), Violation> {
        for (process, witness) in self.processes.iter().enumerate() {
            for answer in &witness.answers {
                let at = self.time(answer.answered);
                let name = answer.body.strip_prefix("{\"name\":\"").and_then(|rest| rest.strip_suffix("\"}"));
                let held =
                    |name: &str| states.iter().take_while(|state| state.at <= at).any(|state| state.holder == name);
                if !name.is_some_and(|name| name.is_empty() || held(name)) {
                    let what = format!("process {process} says {:?}, who has not held the lock", answer.body);
                    return Err(Violation { rule: "names", at, what });
                }
            }
        }
        Ok(())
    }

    /// The other judge knows of names only; so each life is given its own.
    fn ask_the_referee(&self, states: &[State]) -> Result<(), Violation> {
        let name = |process: ProcessId| format!("process-{process}");
        let renamed = |(change, state): (&Change, &State)| {
            let holder = state.author.filter(|_| !state.holder.is_empty()).map(name).unwrap_or_default();
            Change { object: Arc::new(crate::common::cluster::lock_of(&holder, 1)), ..change.clone() }
        };
        let history: Vec<Change> = self.history.iter().zip(states).map(renamed).collect();
        for (process, witness) in self.processes.iter().enumerate() {
            let (id, body) = (name(process), format!("{{\"name\":\"{}\"}}", name(process)));
            let claims = witness.answers.iter().filter(|answer| answer.names_itself());
            let claims: Vec<Answer> =
                claims.map(|answer| Answer { id: id.clone(), body: body.clone(), ..answer.clone() }).collect();
            if let Some((answer, why)) = first_false_answer(&claims, &history) {
                let what = format!("process {process} names itself: {why}");
                return Err(Violation { rule: "referee", at: self.time(answer.asked), what });
            }
        }
        Ok(())
    }
}

/// Tells the oracle of one event after the other.
struct Hearing<'a> {
    oracle: Oracle,
    sent: &'a [Sent],
    states: &'a [State],
    /// What each life claims, as far as it has been proved.
    claims: Vec<Option<Claim>>,
    /// The latest F, and the term, of each.
    latest: Vec<Claim>,
}

impl<'a> Hearing<'a> {
    fn new(evidence: &Evidence, sent: &'a [Sent], states: &'a [State]) -> Hearing<'a> {
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
        Hearing {
            oracle,
            sent,
            states,
            claims: vec![None; processes],
            latest: vec![Claim { until: 0, token: 0 }; processes],
        }
    }

    fn hear(&mut self, now: u64, event: Event) {
        match event {
            Event::Sent(index) => {
                let Sent { process, base, is_release, .. } = self.sent[index];
                if is_release {
                    self.oracle.stopped(process, now);
                    self.says(process, now, None);
                }
                let kind =
                    if is_release { simulation::oracle::Sent::Release } else { simulation::oracle::Sent::Renewal };
                self.oracle.sends(process, 0, now, base, kind);
            }
            Event::Committed(index) => {
                let State { until, token, ref commit, .. } = self.states[index];
                self.oracle.committed(0, now, commit.clone());
                if let Writer::Candidate { process, .. } = commit.writer {
                    let renewed = Claim { until, token };
                    self.latest[process] = renewed;
                    // Its answer may have come before F. If not, the term had ended, and does not go on.
                    if self.claims[process].is_some_and(|claim| claim.token == token && now < claim.until) {
                        self.says(process, now, Some(renewed));
                    }
                }
            }
            Event::Claimed { process, proved: true } => self.says(process, now, Some(self.latest[process])),
            Event::Claimed { process, proved: false } => {
                let Claim { until, token } = self.latest[process];
                self.says(process, now, Some(Claim { until: until.max(now) + 10, token }));
                // What the oracle has to say of it has a better name.
                let what = format!("process {process} names itself, and at no instant may have led");
                self.oracle.violation.get_or_insert(Violation { rule: "S1", at: now, what });
            }
            Event::Died(process) => {
                // What it has sent may still be done, and is nobody's claim then.
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

fn mark_of(object: &Value) -> &str {
    object["metadata"]["annotations"][MARK].as_str().unwrap_or_default()
}

/// Whether it is an update by which nobody holds the lock.
fn release(request: &RequestSeen, object: &Value) -> bool {
    let mut object = object.clone();
    if request.resource == "leases" {
        object["kind"] = "Lease".into();
    }
    record_of(&object)["holderIdentity"] == ""
}

/// A number that grows with the time: the digits of a stamp with six digits of the second, without the century.
fn stamp(text: &str) -> Option<i64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.get(2..20).filter(|_| digits.len() == 20)?.parse().ok()
}

/// All that is neither the record nor the server's own.
fn foreign_fields(object: &Value) -> u64 {
    let mut object = object.clone();
    for name in ["resourceVersion", "managedFields"] {
        object["metadata"][name] = Value::Null;
    }
    for name in [RECORD, MARK] {
        object["metadata"]["annotations"][name] = Value::Null;
    }
    if object["kind"] == "Lease" {
        object["spec"] = Value::Null;
    }
    let mut hasher = DefaultHasher::new();
    object.to_string().hash(&mut hasher);
    hasher.finish()
}
