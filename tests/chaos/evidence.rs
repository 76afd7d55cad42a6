//! Checks a run with the simulation's oracle, and reports only certain violations.
//!
//! In a real run it is unknown when exactly a candidate sent a request, and at which instant between request and answer
//! the answer was true. For everything that is unknown, the check assumes what is best for the candidate. So a
//! violation is certain. One clock times everything, because all processes run on this machine.
//!
//! - **When a write was sent**: when the server had read it completely. A later time is better for the candidate: it
//!   has waited for longer (S3), and its claim may last for longer (S1).
//! - **A claim**: an answer in which a process names itself proves a claim at one instant in `asked..=answered`. The
//!   check takes the first instant at which the lock had a record of that process, less than D after it was sent, and
//!   before a release was sent. If there is no such instant, the answer was false. From this instant the process is
//!   assumed to claim until F of its last write, as long as writes of the same term follow in time, or until its
//!   release. This is sound, because nobody may take the lock before both.
//! - **When it was stopped**: known is when the signal was sent, and when its release reaches the server. If its claim had
//!   not ended when the signal was sent, it is assumed to have ended by choice.
//! - **When it ended**: before a successor of the same name, which may take the lock at once by S9, can know that; see
//!   [`ProcessTrace::died`].
//!
//! Not used is `shown` of the oracle, because only the process knows what its watch shows, and when. So S6 and S10 are
//! not checked, nor S3 after a deletion; no run deletes the lock. The token is assumed to be the resourceVersion of the
//! acquisition (S8); whether answers show the same token is not checked. S2, S4 and S5 are checked for each request,
//! and each commit is checked as in the simulation.

use crate::common::claim_checker::{Answer, first_false_answer};
use crate::common::lock::{MARK, RECORD, holder_of, record_of, transitions_of};
use crate::replay::{Event, Replay};
use apiserver::{Change, ChangeKind, RequestSeen};
use serde_json::Value;
use simulation::oracle::{Commit, Content, ProcessId, Violation, Writer};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was observed of a process.
#[derive(Debug)]
pub struct ProcessTrace {
    /// Its identity.
    pub identity: &'static str,
    /// After its last answer, and before another process can know that it ended: just before it was killed. Or, if no
    /// process of its name had started before, when it was known to have ended.
    pub died: Option<Instant>,
    /// When SIGTERM was sent to it.
    pub terminated: Option<Instant>,
    pub answers: Vec<Answer>,
}

/// Everything that was observed of a run.
pub struct Evidence {
    pub start: Instant,
    pub lease: Duration,
    pub renew_deadline: Duration,
    /// By their numbers.
    pub processes: Vec<ProcessTrace>,
    /// The writes that reached the server, each with the process that sent it.
    pub requests: Vec<(ProcessId, RequestSeen)>,
    pub history: Vec<Change>,
}

/// The statistics of a run without violation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub processes: usize,
    pub changes: usize,
    pub answers: usize,
    /// Terms in which an answer of the leader named itself.
    pub terms: u64,
}

/// A write that reached the server.
#[derive(Debug)]
pub struct Sent {
    pub process: ProcessId,
    /// In nanoseconds since the start, like all numeric times here.
    pub at: u64,
    pub mark: String,
    pub base: Option<(u64, bool)>,
    pub is_release: bool,
}

/// A state of the lock, from a moment on.
#[derive(Clone, Debug)]
pub struct State {
    pub at: u64,
    /// The process that wrote the record.
    pub author: Option<ProcessId>,
    pub holder: String,
    /// The latest possible F of the author.
    pub until: u64,
    /// The resourceVersion at which its term began.
    pub token: u64,
    pub commit: Commit,
}

impl Evidence {
    /// Checks everything. The error is the first violation.
    pub fn check(&self) -> Result<Summary, Violation> {
        let sent = self.sent();
        let states = self.states(&sent)?;
        self.check_names(&states)?;
        let mut events: Vec<(u64, Event)> = Vec::new();
        events.extend(sent.iter().enumerate().map(|(index, sent)| (sent.at, Event::Sent(index))));
        events.extend(states.iter().enumerate().map(|(index, state)| (state.at, Event::Committed(index))));
        for (process, trace) in self.processes.iter().enumerate() {
            events.extend(trace.died.map(|died| (self.time(died), Event::Died(process))));
            for answer in trace.answers.iter().filter(|answer| answer.names_itself()) {
                let instant = self.first_possible_instant(process, answer, &states, &sent);
                let at = instant.unwrap_or(self.time(answer.asked));
                events.push((at, Event::Claimed { process, proved: instant.is_some() }));
            }
        }
        events.sort_unstable();
        let mut replay = Replay::new(self, &sent, &states);
        for (at, event) in events {
            replay.replay(at, event);
            if let Some(violation) = replay.oracle.violation.take() {
                return Err(violation);
            }
        }
        self.check_answers(&states)?;
        let answers = self.processes.iter().map(|process| process.answers.len()).sum();
        Ok(Summary { processes: self.processes.len(), changes: states.len(), answers, terms: replay.oracle.terms })
    }

    pub fn time(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.start).as_nanos() as u64
    }

    /// All writes that were sent, successful or not.
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

    /// The lock after each change, and the author of the change.
    fn states(&self, sent: &[Sent]) -> Result<Vec<State>, Violation> {
        let mut by_mark: HashMap<&str, &Sent> = HashMap::new();
        for sent in sent {
            // If a write was received twice: the later one, which is better for the candidate.
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
                (Writer::Foreign, before.and_then(|it| it.author), before.map_or(0, |it| it.token))
            } else {
                let by = by_mark.get(mark).ok_or_else(|| breach(format!("nobody sent what bears the mark {mark}")))?;
                let same_term =
                    before.is_some_and(|it| it.author == Some(by.process)) && record["acquireTime"] == term_before;
                let token = before.filter(|_| same_term).map_or(change.resource_version, |it| it.token);
                // A renewal that is carried out after F was answered even later: it extends no term.
                let is_late = same_term && at >= until[by.process];
                if !holder_of(&record).is_empty() && !is_late {
                    until[by.process] = until[by.process].max(by.at + self.renew_deadline.as_nanos() as u64);
                }
                (Writer::Candidate { process: by.process, sent: by.at }, Some(by.process), token)
            };
            let commit = Commit {
                object: 1, // no run deletes it
                resource_version: change.resource_version,
                content,
                mark: None, // not needed here: records are distinguished by their content
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

    /// The number of an identity; 0 if it is empty.
    pub fn identity(&self, name: &str) -> Option<u8> {
        let numbers = self.processes.iter().position(|process| process.identity == name).map(|index| index as u8 + 1);
        if name.is_empty() { Some(0) } else { numbers }
    }

    /// The first instant at which the process may have named itself in this answer.
    fn first_possible_instant(
        &self,
        process: ProcessId,
        answer: &Answer,
        states: &[State],
        sent: &[Sent],
    ) -> Option<u64> {
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

    /// Checks that `/` names only candidates that have held the lock.
    fn check_names(&self, states: &[State]) -> Result<(), Violation> {
        for (process, trace) in self.processes.iter().enumerate() {
            for answer in &trace.answers {
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

    /// Checks the answers with the claim checker too. It knows only identities, so each process gets one of its own.
    fn check_answers(&self, states: &[State]) -> Result<(), Violation> {
        let name = |process: ProcessId| format!("process-{process}");
        let renamed = |(change, state): (&Change, &State)| {
            let holder = state.author.filter(|_| !state.holder.is_empty()).map(name).unwrap_or_default();
            Change { object: Arc::new(crate::common::cluster::lock_of(&holder, 1)), ..change.clone() }
        };
        let history: Vec<Change> = self.history.iter().zip(states).map(renamed).collect();
        for (process, trace) in self.processes.iter().enumerate() {
            let (id, body) = (name(process), format!("{{\"name\":\"{}\"}}", name(process)));
            let claims = trace.answers.iter().filter(|answer| answer.names_itself());
            let claims: Vec<Answer> =
                claims.map(|answer| Answer { id: id.clone(), body: body.clone(), ..answer.clone() }).collect();
            if let Some((answer, why)) = first_false_answer(&claims, &history) {
                let what = format!("process {process} names itself: {why}");
                return Err(Violation { rule: "claims", at: self.time(answer.asked), what });
            }
        }
        Ok(())
    }
}

fn mark_of(object: &Value) -> &str {
    object["metadata"]["annotations"][MARK].as_str().unwrap_or_default()
}

/// Whether a request is a release.
fn release(request: &RequestSeen, object: &Value) -> bool {
    let mut object = object.clone();
    if request.resource == "leases" {
        object["kind"] = "Lease".into();
    }
    record_of(&object)["holderIdentity"] == ""
}

/// A time stamp as a number: the digits of a stamp with microseconds, without the century.
fn stamp(text: &str) -> Option<i64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.get(2..20).filter(|_| digits.len() == 20)?.parse().ok()
}

/// A hash of all fields except the record, the mark and the server's own fields.
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
