//! Tests of [`Evidence::check`] with invented runs: it reports the rule that was broken, and nothing if no rule was
//! broken for certain.

use crate::common::claim_checker::Answer;
use crate::common::lock::{MARK, RECORD};
use crate::evidence::{Evidence, ProcessTrace};
use apiserver::{Change, ChangeKind, RequestSeen};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run with L = 10 s and D = 6 s. Times are in milliseconds. Process 0 is a, process 1 is b, process 2 is a again.
struct Scenario(Evidence);

impl Scenario {
    fn new() -> Scenario {
        let trace = |identity| ProcessTrace { identity, died: None, terminated: None, answers: Vec::new() };
        Scenario(Evidence {
            start: Instant::now(),
            lease: Duration::from_secs(10),
            renew_deadline: Duration::from_secs(6),
            processes: ["a", "b", "a"].map(trace).into(),
            requests: Vec::new(),
            history: Vec::new(),
        })
    }

    fn at(&self, ms: u64) -> Instant {
        self.0.start + Duration::from_millis(ms)
    }

    fn version(&self) -> u64 {
        1000 + self.0.history.len() as u64
    }

    /// A process replaces the newest version by a record of the term that began at `acquired`. It is received and
    /// carried out at once.
    fn writes(mut self, process: usize, ms: u64, holder: &str, acquired: u64, transitions: u64) -> Scenario {
        let stamp = |ms: u64| format!("2026-01-01T00:00:{:02}.{:03}000Z", ms / 1000, ms % 1000);
        let record = json!({
            "holderIdentity": holder, "leaseDurationSeconds": 10, "acquireTime": stamp(acquired),
            "renewTime": stamp(ms), "leaderTransitions": transitions,
        });
        let annotations = json!({RECORD: record.to_string(), MARK: format!("{process} {ms}")});
        let version = self.version().to_string();
        let labels = self.0.history.last().map_or(json!({"x": "y"}), |it| it.object["metadata"]["labels"].clone());
        self.commits(ms, json!({"metadata": {"annotations": annotations, "labels": labels}}));
        let mut body = Value::clone(&self.0.history.last().unwrap().object);
        body["metadata"]["resourceVersion"] = version.into();
        body["metadata"]["uid"] = "uid".into();
        let request = RequestSeen {
            when: self.at(ms),
            answered: None,
            method: "PUT".into(),
            path: String::new(),
            verb: if self.0.history.len() == 1 { "create" } else { "update" },
            resource: "endpoints",
            namespace: "default".into(),
            name: "example".into(),
            user: None,
            groups: Vec::new(),
            user_agent: String::new(),
            body: body.to_string().into_bytes().into(),
            status: Some(200),
            connection: 1,
        };
        self.0.requests.push((process, request));
        self
    }

    fn commits(&mut self, ms: u64, object: Value) {
        self.0.history.push(Change {
            when: self.at(ms),
            kind: ChangeKind::Modified,
            resource: "endpoints",
            namespace: "default".into(),
            name: "example".into(),
            resource_version: self.version() + 1,
            object: Arc::new(object),
        });
    }

    /// Another client changes another field.
    fn touched(mut self, ms: u64) -> Scenario {
        let mut object = Value::clone(&self.0.history.last().unwrap().object);
        object["metadata"]["labels"]["x"] = "z".into();
        self.commits(ms, object);
        self
    }

    fn says(mut self, process: usize, from: u64, to: u64, name: &str) -> Scenario {
        let (asked, answered) = (self.at(from), self.at(to));
        let body = format!("{{\"name\":\"{name}\"}}");
        let id = self.0.processes[process].identity.to_owned();
        self.0.processes[process].answers.push(Answer { id, asked, answered, body });
        self
    }

    fn dies(mut self, process: usize, ms: u64) -> Scenario {
        self.0.processes[process].died = Some(self.at(ms));
        self
    }

    fn gets_sigterm(mut self, process: usize, ms: u64) -> Scenario {
        self.0.processes[process].terminated = Some(self.at(ms));
        self
    }

    /// The rule that was broken; empty if none was.
    fn broken_rule(&self) -> &'static str {
        self.0.check().map_or_else(|violation| violation.rule, |_| "")
    }
}

/// a leads from 1 s on and renews at 3 s, so it may claim until 9 s.
fn a_leads() -> Scenario {
    Scenario::new().writes(0, 1000, "a", 1000, 0).writes(0, 3000, "a", 1000, 0)
}

fn a_releases() -> Scenario {
    a_leads().writes(0, 5000, "", 1000, 0)
}

/// a claims until 9 s, and releases afterwards. b leads at once.
fn a_releases_late() -> Scenario {
    let released = a_leads().says(0, 1500, 1501, "a").writes(0, 9500, "", 1000, 0);
    released.writes(1, 9501, "b", 9501, 1).says(1, 9501, 9502, "b")
}

#[test]
fn runs_that_may_have_kept_the_rules_pass() {
    for (index, scenario) in [
        a_leads().says(0, 500, 1500, "a").says(0, 8999, 60_000, "a").says(1, 1500, 1501, "a").says(1, 0, 1, ""),
        // It was not asked for longer than D, and led all the time.
        a_leads().says(0, 1500, 1501, "a").writes(0, 8000, "a", 1000, 0).says(0, 13_000, 13_001, "a"),
        a_releases().says(0, 4999, 5500, "a").writes(1, 5001, "b", 5001, 1).says(1, 4000, 5001, "b"),
        a_leads().writes(1, 13_000, "b", 13_000, 1).says(1, 13_000, 13_001, "b").says(0, 8000, 14_000, "a"),
        a_leads().touched(4000).writes(0, 5000, "a", 1000, 0).says(0, 10_000, 10_001, "a"),
        a_leads().touched(12_000).writes(1, 13_000, "b", 13_000, 1),
        // A renewal is carried out after F. Then it leads again.
        a_leads()
            .says(0, 8000, 8001, "a")
            .writes(0, 9500, "a", 1000, 0)
            .writes(0, 9600, "a", 9600, 1)
            .says(0, 9400, 9700, "a"),
        // Its last renewal was in flight when it was killed.
        a_leads().says(0, 1500, 1501, "a").dies(0, 4000).writes(0, 5000, "a", 1000, 0),
        a_leads().dies(0, 3500).writes(2, 3501, "a", 3501, 1).says(2, 3501, 3502, "a"),
        // It ended its claim when it got the signal, and could not reach the server before.
        a_releases_late().gets_sigterm(0, 8999),
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(scenario.broken_rule(), "", "scenario {index}: {:?}", scenario.0.check());
    }
}

#[test]
fn runs_that_certainly_broke_a_rule_fail() {
    let without = |name: &str| {
        let mut scenario = a_leads();
        let request = &mut scenario.0.requests[1].1;
        let mut body = request.json().unwrap();
        body["metadata"][name] = "".into();
        request.body = body.to_string().into_bytes().into();
        scenario
    };
    let overwritten = {
        let mut scenario = a_leads().touched(3500).writes(0, 4000, "a", 1000, 0);
        let last = scenario.0.history.last_mut().unwrap();
        Arc::make_mut(&mut last.object)["metadata"]["labels"] = json!({"x": "what it was before"});
        scenario
    };
    for (index, (rule, scenario)) in [
        ("S1", a_leads().says(0, 9000, 9001, "a")),
        ("S1", a_leads().says(0, 1500, 1501, "a").says(0, 9000, 9001, "a")),
        // The answer to its renewal arrived after the term; it may lead again, but in a new term.
        ("S1", a_leads().says(0, 1500, 1501, "a").writes(0, 9000, "a", 1000, 0).says(0, 9001, 9002, "a")),
        // Another process of the same name, which wrote nothing.
        ("S6", a_leads().says(2, 2000, 2001, "a")),
        ("S5", a_releases().says(0, 5000, 5001, "a")),
        ("S5", a_releases().writes(1, 5001, "b", 5001, 1).says(0, 5002, 5003, "a")),
        ("S3", a_leads().writes(1, 12_999, "b", 12_999, 1)),
        ("S3", a_leads().touched(3500).writes(1, 12_999, "b", 12_999, 1)),
        // Another process of the same name, while the first one is running.
        ("S3", a_leads().writes(2, 3501, "a", 3501, 1)),
        ("S4", a_leads().writes(1, 4000, "", 1000, 0).says(0, 5000, 5001, "a")),
        ("S5", a_releases().writes(0, 6000, "a", 6000, 1).says(0, 6000, 6001, "a")),
        ("S2", without("uid")),
        ("S2", without("resourceVersion")),
        ("S2", overwritten),
        ("terms", a_releases().writes(1, 6000, "b", 6000, 0)),
        ("terms", a_leads().writes(0, 4000, "a", 4000, 0)),
        ("S9", a_releases().writes(1, 6000, "a", 6000, 1)),
        ("names", a_leads().says(1, 2000, 2001, "b\"x")),
        ("names", a_leads().says(1, 500, 501, "a")),
        ("L - D", a_releases_late().gets_sigterm(0, 9000)),
        ("L - D", a_releases_late()),
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(scenario.broken_rule(), *rule, "scenario {index}: {:?}", scenario.0.check());
    }
}
