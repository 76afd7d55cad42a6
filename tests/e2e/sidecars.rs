//! The application of the old leader ends before the application of the next one works: with a native sidecar, with a
//! normal container, and in run mode.

use crate::application::{Application, FETCH, IDLE};
use crate::cluster::Cluster;
use crate::common::scenarios::ScenarioResult;
use crate::handovers::few_rounds;
use crate::logs::{Line, Logs};
use crate::namespace::TestNamespace;
use crate::sampler::percentiles;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// Asks the elector before each piece of work. After SIGTERM it works for half a second more, like an application that
/// has to finish something.
const SCRIPT: &str = r#"
trap 'ending=yes' TERM
token() { fetch http://127.0.0.1:4040/status | sed -n 's/.*"fencingToken":\([0-9]*\).*/\1/p'; }
while [ -z "$ending" ]; do
    term=$(token)
    if [ -n "$term" ]; then echo "works $term"; usleep 20000; else usleep 200000; fi
done
if [ -n "$term" ]; then
    for piece in 1 2 3 4 5 6 7 8 9 10; do echo "works $term"; usleep 50000; done
fi
"#;

pub fn a_native_sidecar_outlives_its_application(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = application(&script(), true, &[]).start(cluster, "native-lines");
    update_repeatedly(&namespace, cluster.rounds)
}

pub fn a_plain_sidecar_with_a_release_delay_outlives_its_application(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = application(&script(), false, &["--release-delay=3s"]).start(cluster, "plain-lines");
    update_repeatedly(&namespace, few_rounds(cluster))
}

/// The image contains no other program than the elector, so the command is an elector of another election.
pub fn a_command_runs_in_one_pod_at_a_time(cluster: &Cluster) -> ScenarioResult<String> {
    let command = ["/leader-elector", "--election=inner", "--election-namespace=$(NAMESPACE)", "--lock=leases"];
    let flags = [&["--", command[0]], &command[1..], &["--http=:4041"]].concat();
    let namespace = Application::of(IDLE, &flags).start(cluster, "command");
    let pod_of_command = |line: &Line| line.text.contains("/inner").then(|| line.pod.clone());
    let sampler = namespace.start_sampler();
    let lines = thread::scope(|scope| {
        let logs = Logs::follow(scope, &namespace, "elector");
        for _ in 0..few_rounds(cluster) {
            namespace.wait_for_rollout();
            let leader = sampler.leader(&namespace);
            namespace.wait_until("the command runs", || {
                logs.lines().iter().any(|it| pod_of_command(it).as_ref() == Some(&leader.pod))
            });
            namespace.kubectl(&["delete", "pod", &leader.pod, "--wait=false"]);
            let next = sampler.wait_for_next(&namespace, &leader);
            namespace.wait_until("the command runs", || {
                logs.lines().iter().any(|it| pod_of_command(it).as_ref() == Some(&next.pod))
            });
        }
        logs.lines()
    });
    let terms = terms_of(&lines, pod_of_command);
    let gaps = terms.windows(2).map(|pair| Duration::from_micros((pair[1].0 - pair[0].1) as u64)).collect();
    Ok(format!("{}, from the last line of a command to the first line of the next one", percentiles("gap", gaps)))
}

fn application<'a>(script: &'a str, has_native_sidecar: bool, flags: &'a [&'a str]) -> Application<'a> {
    Application { replicas: 2, has_native_sidecar, ..Application::of(script, flags) }
}

fn script() -> String {
    format!("{FETCH}\n{SCRIPT}")
}

fn update_repeatedly(namespace: &TestNamespace, updates: usize) -> ScenarioResult<String> {
    namespace.wait_for_rollout();
    let lines = thread::scope(|scope| {
        let logs = Logs::follow(scope, namespace, "app");
        let terms = || terms_of(&logs.lines(), token).len();
        namespace.wait_until("the application works", || terms() > 0);
        for _ in 0..updates {
            let before = terms();
            namespace.kubectl(&["rollout", "restart", "deployment/app"]);
            namespace.wait_until("the application of another pod works", || terms() > before);
            namespace.wait_for_rollout();
        }
        logs.lines()
    });
    let terms = terms_of(&lines, token);
    let gaps = terms.windows(2).map(|pair| Duration::from_micros((pair[1].0 - pair[0].1) as u64)).collect();
    Ok(format!("{}, last line to first line, in {} lines", percentiles("gap", gaps), lines.len()))
}

fn token(line: &Line) -> Option<String> {
    line.text.strip_prefix("works ").map(str::to_owned)
}

/// The times of the first and the last line of each term, in order. Panics if two terms overlap.
pub fn terms_of(lines: &[Line], term: impl Fn(&Line) -> Option<String>) -> Vec<(i64, i64)> {
    let mut terms = BTreeMap::<String, (i64, i64)>::new();
    for (line, term) in lines.iter().filter_map(|line| Some((line, term(line)?))) {
        let (first, last) = terms.entry(term).or_insert((line.at, line.at));
        (*first, *last) = ((*first).min(line.at), (*last).max(line.at));
    }
    let mut terms: Vec<(i64, i64)> = terms.into_values().collect();
    terms.sort_unstable();
    let overlap = terms.windows(2).find(|pair| pair[1].0 <= pair[0].1);
    assert_eq!(overlap, None, "a term began before the last line of the earlier one");
    terms
}
