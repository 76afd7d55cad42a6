//! Containers that are OOM-killed: the application beside an elector, and the command of run mode.

use crate::application::Application;
use crate::cluster::Cluster;
use crate::common::scenarios::ScenarioResult;
use crate::handovers::few_rounds;
use crate::logs::{Line, Logs};
use crate::namespace::TestNamespace;
use crate::sampler::percentiles;
use crate::sidecars::terms_of;
use serde_json::json;
use std::thread;
use std::time::Duration;

/// Idles until it gets SIGUSR1. Then it allocates more than the memory limit, as the container's only process, so that
/// the whole container ends.
const ALLOCATE_ON_SIGUSR1: &str =
    "trap 'exec dd if=/dev/zero of=/dev/null bs=512M count=1' USR1; trap exit TERM; while :; do sleep 1; done";

pub fn an_oom_killed_application_does_not_end_the_leadership(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = Application { memory_limit: Some("32Mi"), ..Application::of(ALLOCATE_ON_SIGUSR1, &[]) }
        .start(cluster, "memory");
    let sampler = namespace.start_sampler();
    let leader = sampler.leader(&namespace);
    for _ in 0..few_rounds(cluster).min(2) {
        let before = restarts(&namespace, &leader.pod);
        namespace.kubectl(&["exec", &leader.pod, "--container=app", "--", "kill", "-USR1", "1"]);
        namespace.wait_until("the container is killed and restarted", || restarts(&namespace, &leader.pod) > before);
        let status = namespace.get(&format!("pods/{}", leader.pod))["status"]["containerStatuses"].clone();
        let app = status
            .as_array()
            .into_iter()
            .flatten()
            .find(|it| it["name"] == "app")
            .expect("the pod has a container app");
        assert_eq!(app["lastState"]["terminated"]["reason"], "OOMKilled", "{app}");
        namespace.wait_for_rollout();
    }
    let now = sampler.leader(&namespace);
    assert_eq!((now.pod, now.token), (leader.pod, leader.token));
    Ok(sampler.finish())
}

/// Run mode needs the elector in the application's image. Here the script copies it from the elector's container.
const RUN_MODE: &str = r#"
trap exit TERM
until pid=$(pidof leader-elector) && cp /proc/${pid%% *}/root/leader-elector /work/; do usleep 100000; done
exec /work/leader-elector --election=inner --election-namespace=$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)     --lock=leases --ttl=6s --http=:4041 -- sh -c '
        while [ ! -e /work/allocate ]; do echo works $LEADER_ELECTION_FENCING_TOKEN; usleep 50000; done
        rm /work/allocate
        exec dd if=/dev/zero of=/dev/null bs=512M count=1'
"#;

/// If the kernel kills all processes of the container, the lease has to run out. If it kills only the command, the
/// elector releases the lock.
pub fn after_an_oom_kill_one_command_runs_at_a_time(cluster: &Cluster) -> ScenarioResult<String> {
    let pod_fields = json!({
        "shareProcessNamespace": true, "volumes": [{"name": "work", "emptyDir": {}}],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    let mounts = json!([{"name": "work", "mountPath": "/work"}]);
    let application = Application { memory_limit: Some("32Mi"), mounts, pod_fields, ..Application::of(RUN_MODE, &[]) };
    let namespace = application.start(cluster, "command-memory");
    let lines = thread::scope(|scope| {
        let logs = Logs::follow(scope, &namespace, "app");
        let last = || logs.lines().into_iter().rfind(|line| term(line).is_some());
        for _ in 0..few_rounds(cluster).min(3) {
            namespace.wait_until("the command runs", || last().is_some());
            let before = last().expect("the wait above has seen it");
            namespace.kubectl(&["exec", &before.pod, "--container=app", "--", "touch", "/work/allocate"]);
            namespace
                .wait_until("the command of the next term runs", || last().and_then(|it| term(&it)) != term(&before));
        }
        logs.lines()
    });
    let terms = terms_of(&lines, term);
    let gaps = terms.windows(2).map(|pair| Duration::from_micros((pair[1].0 - pair[0].1) as u64)).collect();
    Ok(format!("{}, last line of a command to the first line of the next one", percentiles("gap", gaps)))
}

fn term(line: &Line) -> Option<String> {
    line.text.strip_prefix("works ").map(str::to_owned)
}

fn restarts(namespace: &TestNamespace, pod: &str) -> u64 {
    namespace.pods().into_iter().find(|it| it.name == pod).map_or(0, |it| it.restarts)
}
