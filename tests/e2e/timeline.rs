//! How long each step of a handover takes, from the deletion of the leader's pod to the first answer of the next leader.
//!
//! The times come from the electors' debug logs and from the applications' logs, by the clocks of the nodes. The time of
//! the deletion is by the clock of this machine. With several machines the differences of the clocks are errors.

use crate::application::{Application, FETCH, STREAM};
use crate::cluster::Cluster;
use crate::common::scenarios::ScenarioResult;
use crate::logs::{self, Line, Logs};
use crate::namespace::TestNamespace;
use serde_json::Value;
use std::thread;
use std::time::Duration;

/// A connection that was idle for twice R is not used again. In practice handovers are rare, so the connection of the
/// next leader has been idle for longer. This pause makes that so here.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// Prints each event of `/events`, and then the answer of `/`. Exits at once on SIGTERM.
const SUBSCRIBER: &str = "
trap 'echo got SIGTERM; exit' TERM
while :; do
    stream http://127.0.0.1:4040/events | while read -r line; do
        case $line in data:*) echo \"$line\"; fetch http://127.0.0.1:4040/; echo ;; esac
    done
    usleep 100000
done &
wait
";

/// The steps, each of which causes the next one.
const STEPS: [&str; 9] = [
    "the pod is deleted",
    "the application gets SIGTERM",
    "the elector gets SIGTERM (the application has ended)",
    "the elector sends the release",
    "another elector gets the watch event of the release",
    "that elector sends its acquisition",
    "that elector leads (acquisition acknowledged)",
    "its application gets the event of `/events`",
    "its application gets the answer of `/`",
];

pub fn a_handover_has_a_timeline(cluster: &Cluster) -> ScenarioResult<String> {
    let script = [FETCH, STREAM, SUBSCRIBER].join("\n");
    let application = Application { has_native_sidecar: true, ..Application::of(&script, &["--log-level=debug"]) };
    let namespace = application.start(cluster, "timeline");
    let (deletions, electors, applications) = thread::scope(|scope| {
        let electors = Logs::follow(scope, &namespace, "elector");
        let applications = Logs::follow(scope, &namespace, "app");
        let mut deletions = Vec::new();
        for _ in 0..cluster.rounds {
            namespace.wait_for_rollout();
            thread::sleep(IDLE_TIME);
            let leader = namespace.kubectl(&["get", "lease", "example", "--output=jsonpath={.spec.holderIdentity}"]);
            let deletion = delete(&namespace, &leader);
            let is_next = |line: &&Line| line.at > deletion.at && line.pod != leader && names(line, &line.pod);
            namespace.wait_until("another pod names itself", || applications.lines().iter().any(|it| is_next(&it)));
            deletions.push(deletion);
        }
        namespace.wait_until("the logs contain all terms", || term_count(&electors.lines()) > cluster.rounds);
        (deletions, electors.lines(), applications.lines())
    });
    let rounds: Vec<[i64; STEPS.len()]> =
        deletions.iter().filter_map(|deletion| steps(deletion, &electors, &applications)).collect();
    let acknowledged: Vec<i64> = deletions.iter().filter_map(|it| release_time(&electors, it)).collect();
    Ok(format_table(&rounds, acknowledged))
}

struct Deletion {
    pod: String,
    /// In microseconds since 1970.
    at: i64,
}

fn delete(namespace: &TestNamespace, pod: &str) -> Deletion {
    let url = namespace.cluster.url(&format!("/api/v1/namespaces/{}/pods/{pod}", namespace.name));
    let at = logs::now();
    let answer = namespace.cluster.agent.delete(&url).call().expect("no answer to the deletion");
    assert!(answer.status().is_success(), "{answer:?}");
    Deletion { pod: pod.to_owned(), at }
}

/// The time of each step of a handover. None if a line is missing, because the pod and its log were deleted first.
fn steps(deletion: &Deletion, electors: &[Line], applications: &[Line]) -> Option<[i64; STEPS.len()]> {
    let is_old = |line: &&Line| line.pod == deletion.pod;
    let application_stopped = applications.iter().filter(is_old).find(|line| line.text == "got SIGTERM")?.at;
    let old: Vec<(i64, &Line)> = logged(electors, &deletion.pod);
    let signal = old.iter().find(|(_, line)| line.text.contains("stopping: releasing"))?.0;
    let released = old.iter().find(|(at, line)| *at >= signal && is_write(line))?.0;
    let others = electors.iter().filter(|line| line.pod != deletion.pod && line.text.contains("the fencing token"));
    let led = others.filter_map(|line| Some((logs::logged_at(line)?, &line.pod))).filter(|(at, _)| *at >= released);
    let (led, next) = led.min()?;
    let new: Vec<(i64, &Line)> = logged(electors, next);
    let before = |is: &dyn Fn(&Line) -> bool| new.iter().rfind(|(at, line)| (signal..=led).contains(at) && is(line));
    let seen = before(&|line| line.text.contains("has no known leader"))?.0;
    let acquired = before(&is_write)?.0;
    let beside: Vec<&Line> = applications.iter().filter(|line| line.pod == *next && line.at >= led).collect();
    let event = beside.iter().find(|line| line.text.starts_with("data:") && line.text.contains(next.as_str()))?.at;
    let answer = beside.iter().find(|line| line.at >= event && names(line, next))?.at;
    Some([deletion.at, application_stopped, signal, released, seen, acquired, led, event, answer])
}

/// The time from the sending of the release to its acknowledgement.
fn release_time(electors: &[Line], deletion: &Deletion) -> Option<i64> {
    let old = logged(electors, &deletion.pod);
    let signal = old.iter().position(|(_, line)| line.text.contains("stopping: releasing"))?;
    let sent = old[signal..].iter().find(|(_, line)| is_write(line))?.0;
    let acknowledged = old[signal..].iter().find(|(_, line)| line.text.contains("is free; exiting"))?.0;
    Some(acknowledged - sent)
}

/// The log lines of a pod's elector, with the times in the lines.
fn logged<'l>(electors: &'l [Line], pod: &str) -> Vec<(i64, &'l Line)> {
    let lines = electors.iter().filter(|line| line.pod == pod);
    lines.filter_map(|line| Some((logs::logged_at(line)?, line))).collect()
}

/// A line of the HTTP client, which it logs when it has a connection and sends a write.
fn is_write(line: &Line) -> bool {
    line.text.contains(" DEBUG Request { method: PUT")
}

fn term_count(electors: &[Line]) -> usize {
    electors.iter().filter(|line| line.text.contains("the fencing token")).count()
}

fn names(line: &Line, pod: &str) -> bool {
    serde_json::from_str::<Value>(&line.text).is_ok_and(|answer| answer["name"] == pod)
}

fn format_table(rounds: &[[i64; STEPS.len()]], acknowledged: Vec<i64>) -> String {
    let mut text =
        format!("{} handovers; in ms: p50, p90 and maximum after the previous step; p50 after SIGTERM\n", rounds.len());
    let mut row = |what: &str, since_before: Vec<i64>, since_signal: Vec<i64>| {
        let [p50, p90, most] = percentiles_ms(since_before);
        let [sum, ..] = percentiles_ms(since_signal);
        text += &format!("    {what:<55}{p50:>8.1}{p90:>8.1}{most:>8.1}{sum:>9.1}\n");
    };
    for (index, what) in STEPS.iter().enumerate().skip(1) {
        let since = |from: usize| rounds.iter().map(|at| at[index] - at[from]).collect();
        row(what, since(index - 1), since(2));
    }
    row("(from sending the release to its acknowledgement)", acknowledged, Vec::new());
    text
}

/// p50, p90 and the maximum, in milliseconds.
fn percentiles_ms(mut micros: Vec<i64>) -> [f64; 3] {
    micros.sort_unstable();
    let at = |part: f64| micros.get((micros.len().saturating_sub(1) as f64 * part).round() as usize);
    [0.5, 0.9, 1.0].map(|part| at(part).copied().unwrap_or_default() as f64 / 1000.0)
}
