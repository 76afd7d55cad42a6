//! The application has stopped before the next leader's begins, whichever way the elector is beside it.

use crate::application::{ASK, Application, IDLE};
use crate::cluster::Cluster;
use crate::common::scenarios::Verdict;
use crate::handovers::few;
use crate::logs::{Line, Logs};
use crate::sampler::figures;
use crate::stage::Stage;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// Asks before each piece of work, and goes on for half a second more after SIGTERM, as whoever has to finish something.
const SCRIPT: &str = r#"
trap 'ending=yes' TERM
token() { ask http://127.0.0.1:4040/status | sed -n 's/.*"fencingToken":\([0-9]*\).*/\1/p'; }
while [ -z "$ending" ]; do
    term=$(token)
    if [ -n "$term" ]; then echo "works $term"; usleep 20000; else usleep 200000; fi
done
if [ -n "$term" ]; then
    for piece in 1 2 3 4 5 6 7 8 9 10; do echo "works $term"; usleep 50000; done
fi
"#;

pub fn a_native_sidecar_outlives_its_application(cluster: &Cluster) -> Verdict<String> {
    let stage = application(&script(), true, &[]).start(cluster, "native-lines");
    update_again_and_again(&stage, cluster.rounds)
}

pub fn a_plain_sidecar_with_a_release_delay_outlives_its_application(cluster: &Cluster) -> Verdict<String> {
    let stage = application(&script(), false, &["--release-delay=3s"]).start(cluster, "plain-lines");
    update_again_and_again(&stage, few(cluster))
}

/// The only program in the image is the elector itself, so the command is one, of another election.
pub fn a_command_runs_in_one_pod_at_a_time(cluster: &Cluster) -> Verdict<String> {
    let command = ["/leader-elector", "--election=inner", "--election-namespace=$(NAMESPACE)", "--lock=leases"];
    let flags = [&["--", command[0]], &command[1..], &["--http=:4041"]].concat();
    let stage = Application::of(IDLE, &flags).start(cluster, "command");
    let of_command = |line: &Line| line.text.contains("/inner").then(|| line.pod.clone());
    let sampler = stage.sample();
    let lines = thread::scope(|scope| {
        let logs = Logs::follow(scope, &stage, "elector");
        for _ in 0..few(cluster) {
            stage.wait_for_rollout();
            let leader = sampler.leader(&stage);
            stage.wait_until("the command runs", || {
                logs.lines().iter().any(|it| of_command(it).as_ref() == Some(&leader.pod))
            });
            stage.kubectl(&["delete", "pod", &leader.pod, "--wait=false"]);
            let next = sampler.wait_for_next(&stage, &leader);
            stage.wait_until("the command runs", || {
                logs.lines().iter().any(|it| of_command(it).as_ref() == Some(&next.pod))
            });
        }
        logs.lines()
    });
    let terms = terms_of(&lines, of_command);
    let gaps = terms.windows(2).map(|pair| Duration::from_micros((pair[1].0 - pair[0].1) as u64)).collect();
    Ok(format!("{}, from the command's last line to its next one's first", figures("gap", gaps)))
}

fn application<'a>(script: &'a str, is_native: bool, flags: &'a [&'a str]) -> Application<'a> {
    Application { replicas: 2, is_native, ..Application::of(script, flags) }
}

fn script() -> String {
    format!("{ASK}\n{SCRIPT}")
}

fn update_again_and_again(stage: &Stage, updates: usize) -> Verdict<String> {
    stage.wait_for_rollout();
    let lines = thread::scope(|scope| {
        let logs = Logs::follow(scope, stage, "app");
        let terms = || terms_of(&logs.lines(), token).len();
        stage.wait_until("the application works", || terms() > 0);
        for _ in 0..updates {
            let before = terms();
            stage.kubectl(&["rollout", "restart", "deployment/app"]);
            stage.wait_until("another one works", || terms() > before);
            stage.wait_for_rollout();
        }
        logs.lines()
    });
    let terms = terms_of(&lines, token);
    let gaps = terms.windows(2).map(|pair| Duration::from_micros((pair[1].0 - pair[0].1) as u64)).collect();
    Ok(format!("{}, last line to first line, in {} lines", figures("gap", gaps), lines.len()))
}

fn token(line: &Line) -> Option<String> {
    line.text.strip_prefix("works ").map(str::to_owned)
}

/// When the first and the last line of each term were printed, in order; panics if two overlap.
pub fn terms_of(lines: &[Line], term: impl Fn(&Line) -> Option<String>) -> Vec<(i64, i64)> {
    let mut terms = BTreeMap::<String, (i64, i64)>::new();
    for (line, term) in lines.iter().filter_map(|line| Some((line, term(line)?))) {
        let (first, last) = terms.entry(term).or_insert((line.at, line.at));
        (*first, *last) = ((*first).min(line.at), (*last).max(line.at));
    }
    let mut terms: Vec<(i64, i64)> = terms.into_values().collect();
    terms.sort_unstable();
    let overlap = terms.windows(2).find(|pair| pair[1].0 <= pair[0].1);
    assert_eq!(overlap, None, "one began before the other's last line");
    terms
}
