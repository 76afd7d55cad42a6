//! Where the time of a handover goes, from the request that deletes the leader's pod to the answer of the next one.
//!
//! The electors tell of their own steps, at the level `debug`, and the applications beside them of what they are told:
//! all by the clocks of the nodes, and the deletion by the clock here. On several machines these may differ.

use crate::application::{ASK, Application, STREAM};
use crate::cluster::Cluster;
use crate::common::scenarios::Verdict;
use crate::logs::{self, Line, Logs};
use crate::stage::Stage;
use serde_json::Value;
use std::thread;
use std::time::Duration;

/// A connection that was idle for twice R is not used again. Handovers are rare, so the next leader's is.
const CALM: Duration = Duration::from_secs(5);

/// It ends at once when it is told to. It prints each event, and asks then.
const LISTENER: &str = "
trap 'echo told to end; exit' TERM
while :; do
    stream http://127.0.0.1:4040/events | while read -r line; do
        case $line in data:*) echo \"$line\"; ask http://127.0.0.1:4040/; echo ;; esac
    done
    usleep 100000
done &
wait
";

/// What happens, in the order in which it is caused. Each row is told with the time since the one before.
const STEPS: [&str; 9] = [
    "deletion asked for",
    "the application has SIGTERM",
    "the elector has SIGTERM (the application has ended)",
    "it sends the release",
    "another one has the event that shows it",
    "it sends its acquisition, on a new connection",
    "it leads (the acquisition is acknowledged)",
    "the application beside it has the event of `/events`",
    "`/`, asked after that, has answered",
];

pub fn a_timeline_of_a_handover(cluster: &Cluster) -> Verdict<String> {
    let script = [ASK, STREAM, LISTENER].join("\n");
    let application = Application { is_native: true, ..Application::of(&script, &["--log-level=debug"]) };
    let stage = application.start(cluster, "timeline");
    let (deletions, electors, applications) = thread::scope(|scope| {
        let electors = Logs::follow(scope, &stage, "elector");
        let applications = Logs::follow(scope, &stage, "app");
        let mut deletions = Vec::new();
        for _ in 0..cluster.rounds {
            stage.wait_for_rollout();
            thread::sleep(CALM);
            let leader = stage.kubectl(&["get", "lease", "example", "--output=jsonpath={.spec.holderIdentity}"]);
            let deletion = delete(&stage, &leader);
            let is_next = |line: &&Line| line.at > deletion.at && line.pod != leader && names(line, &line.pod);
            stage.wait_until("another one names itself", || applications.lines().iter().any(|it| is_next(&it)));
            deletions.push(deletion);
        }
        stage.wait_until("the last log is complete", || leads(&electors.lines()) > cluster.rounds);
        (deletions, electors.lines(), applications.lines())
    });
    let rounds: Vec<[i64; STEPS.len()]> =
        deletions.iter().filter_map(|deletion| steps(deletion, &electors, &applications)).collect();
    let acknowledged: Vec<i64> = deletions.iter().filter_map(|it| release(&electors, it)).collect();
    Ok(table(&rounds, acknowledged))
}

struct Deletion {
    pod: String,
    /// In microseconds since 1970.
    at: i64,
}

fn delete(stage: &Stage, pod: &str) -> Deletion {
    let url = stage.cluster.url(&format!("/api/v1/namespaces/{}/pods/{pod}", stage.namespace));
    let at = logs::now();
    let answer = stage.cluster.agent.delete(&url).call().expect("there is an answer");
    assert!(answer.status().is_success(), "{answer:?}");
    Deletion { pod: pod.to_owned(), at }
}

/// When each step of a handover was, unless a line of it is missing: a log may go with its pod.
fn steps(deletion: &Deletion, electors: &[Line], applications: &[Line]) -> Option<[i64; STEPS.len()]> {
    let is_old = |line: &&Line| line.pod == deletion.pod;
    let told = applications.iter().filter(is_old).find(|line| line.text == "told to end")?.at;
    let old: Vec<(i64, &Line)> = logged(electors, &deletion.pod);
    let signal = old.iter().find(|(_, line)| line.text.contains("stopping: releasing"))?.0;
    let released = old.iter().find(|(at, line)| *at >= signal && sends(line))?.0;
    let others = electors.iter().filter(|line| line.pod != deletion.pod && line.text.contains("the fencing token"));
    let led = others.filter_map(|line| Some((logs::logged_at(line)?, &line.pod))).filter(|(at, _)| *at >= released);
    let (led, next) = led.min()?;
    let new: Vec<(i64, &Line)> = logged(electors, next);
    let before = |is: &dyn Fn(&Line) -> bool| new.iter().rfind(|(at, line)| (signal..=led).contains(at) && is(line));
    let seen = before(&|line| line.text.contains("has no known leader"))?.0;
    let acquired = before(&sends)?.0;
    let beside: Vec<&Line> = applications.iter().filter(|line| line.pod == *next && line.at >= led).collect();
    let event = beside.iter().find(|line| line.text.starts_with("data:") && line.text.contains(next.as_str()))?.at;
    let answer = beside.iter().find(|line| line.at >= event && names(line, next))?.at;
    Some([deletion.at, told, signal, released, seen, acquired, led, event, answer])
}

/// How long the leader waited for the acknowledgement of its release.
fn release(electors: &[Line], deletion: &Deletion) -> Option<i64> {
    let old = logged(electors, &deletion.pod);
    let signal = old.iter().position(|(_, line)| line.text.contains("stopping: releasing"))?;
    let sent = old[signal..].iter().find(|(_, line)| sends(line))?.0;
    let acknowledged = old[signal..].iter().find(|(_, line)| line.text.contains("is free; exiting"))?.0;
    Some(acknowledged - sent)
}

/// What the elector of a pod has logged, by its own clock.
fn logged<'l>(electors: &'l [Line], pod: &str) -> Vec<(i64, &'l Line)> {
    let lines = electors.iter().filter(|line| line.pod == pod);
    lines.filter_map(|line| Some((logs::logged_at(line)?, line))).collect()
}

/// The HTTP client's own line, when it has a connection.
fn sends(line: &Line) -> bool {
    line.text.contains(" DEBUG Request { method: PUT")
}

/// How many terms there were.
fn leads(electors: &[Line]) -> usize {
    electors.iter().filter(|line| line.text.contains("the fencing token")).count()
}

fn names(line: &Line, pod: &str) -> bool {
    serde_json::from_str::<Value>(&line.text).is_ok_and(|answer| answer["name"] == pod)
}

fn table(rounds: &[[i64; STEPS.len()]], acknowledged: Vec<i64>) -> String {
    let mut text = format!(
        "{} handovers; in milliseconds, since the line before: p50, p90, most; since SIGTERM: p50\n",
        rounds.len()
    );
    let mut row = |what: &str, since_before: Vec<i64>, since_signal: Vec<i64>| {
        let [p50, p90, most] = figures(since_before);
        let [sum, ..] = figures(since_signal);
        text += &format!("    {what:<55}{p50:>8.1}{p90:>8.1}{most:>8.1}{sum:>9.1}\n");
    };
    for (index, what) in STEPS.iter().enumerate().skip(1) {
        let since = |from: usize| rounds.iter().map(|at| at[index] - at[from]).collect();
        row(what, since(index - 1), since(2));
    }
    row("(the release is acknowledged, after it was sent)", acknowledged, Vec::new());
    text
}

/// Half of them, nine of ten, and the most, in milliseconds.
fn figures(mut micros: Vec<i64>) -> [f64; 3] {
    micros.sort_unstable();
    let at = |part: f64| micros.get((micros.len().saturating_sub(1) as f64 * part).round() as usize);
    [0.5, 0.9, 1.0].map(|part| at(part).copied().unwrap_or_default() as f64 / 1000.0)
}
