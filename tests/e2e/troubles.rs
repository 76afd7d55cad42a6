//! What goes wrong in clusters, and how people find out.

use crate::application::{Application, IDLE};
use crate::cluster::Cluster;
use crate::common::scenarios::Verdict;
use crate::handovers::few;
use crate::logs::{Line, Logs};
use crate::sampler::figures;
use crate::sidecars::terms_of;
use crate::stage::Stage;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// More than it may have, as its only process, so that its container ends.
const EAT: &str =
    "trap 'exec dd if=/dev/zero of=/dev/null bs=512M count=1' USR1; trap exit TERM; while :; do sleep 1; done";

pub fn an_application_that_is_killed_for_its_memory_costs_no_leadership(cluster: &Cluster) -> Verdict<String> {
    let stage = Application { memory: Some("32Mi"), ..Application::of(EAT, &[]) }.start(cluster, "memory");
    let sampler = stage.sample();
    let leader = sampler.leader(&stage);
    for _ in 0..few(cluster).min(2) {
        let before = restarts(&stage, &leader.pod);
        stage.kubectl(&["exec", &leader.pod, "--container=app", "--", "kill", "-USR1", "1"]);
        stage.wait_until("it is killed and started again", || restarts(&stage, &leader.pod) > before);
        let status = stage.get(&format!("pods/{}", leader.pod))["status"]["containerStatuses"].clone();
        let app = status.as_array().into_iter().flatten().find(|it| it["name"] == "app").expect("it is there");
        assert_eq!(app["lastState"]["terminated"]["reason"], "OOMKilled", "{app}");
        stage.wait_for_rollout();
    }
    let now = sampler.leader(&stage);
    assert_eq!((now.pod, now.token), (leader.pod, leader.token));
    Ok(sampler.judge())
}

/// Run mode needs the elector in the application's image. Here it is taken from the container beside it.
const RUN_MODE: &str = r#"
trap exit TERM
until pid=$(pidof leader-elector) && cp /proc/${pid%% *}/root/leader-elector /work/; do usleep 100000; done
exec /work/leader-elector --election=inner --election-namespace=$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)     --lock=leases --ttl=6s --http=:4041 -- sh -c '
        while [ ! -e /work/eat ]; do echo works $LEADER_ELECTION_FENCING_TOKEN; usleep 50000; done
        rm /work/eat
        exec dd if=/dev/zero of=/dev/null bs=512M count=1'
"#;

/// Where all processes of a container are killed together, the lease has to run out; else the elector releases the lock.
pub fn a_command_that_is_killed_for_its_memory_is_followed_by_one_at_a_time(cluster: &Cluster) -> Verdict<String> {
    let more = json!({
        "shareProcessNamespace": true, "volumes": [{"name": "work", "emptyDir": {}}],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    let mounts = json!([{"name": "work", "mountPath": "/work"}]);
    let stage = Application { memory: Some("32Mi"), mounts, more, ..Application::of(RUN_MODE, &[]) };
    let stage = stage.start(cluster, "command-memory");
    let lines = thread::scope(|scope| {
        let logs = Logs::follow(scope, &stage, "app");
        let last = || logs.lines().into_iter().rfind(|line| term(line).is_some());
        for _ in 0..few(cluster).min(3) {
            stage.wait_until("the command runs", || last().is_some());
            let before = last().expect("just seen");
            stage.kubectl(&["exec", &before.pod, "--container=app", "--", "touch", "/work/eat"]);
            stage.wait_until("another one runs", || last().and_then(|it| term(&it)) != term(&before));
        }
        logs.lines()
    });
    let terms = terms_of(&lines, term);
    let gaps = terms.windows(2).map(|pair| Duration::from_micros((pair[1].0 - pair[0].1) as u64)).collect();
    Ok(format!("{}, last line to first line", figures("gap", gaps)))
}

fn term(line: &Line) -> Option<String> {
    line.text.strip_prefix("works ").map(str::to_owned)
}

fn restarts(stage: &Stage, pod: &str) -> u64 {
    stage.pods().into_iter().find(|it| it.name == pod).map_or(0, |it| it.restarts)
}

pub fn rights_taken_away_end_the_leadership_and_given_back_restore_it(cluster: &Cluster) -> Verdict<String> {
    let stage = Application::of(IDLE, &["--ttl=6s"]).start(cluster, "rights");
    let sampler = stage.sample();
    let leader = sampler.leader(&stage);
    let role = stage.kubectl(&["get", "role/leader-elector", "--output=json"]);
    let role: Value = serde_json::from_str(&role).expect("that was asked for");
    stage.kubectl(&["patch", "role/leader-elector", "--type=merge", "--patch={\"rules\":[]}"]);
    let taken = Instant::now();
    stage.wait_until("nobody leads", || sampler.terms().last().is_some_and(|it| it.lasted_to.elapsed().as_secs() >= 1));
    let ended = sampler.terms().last().expect("just seen").lasted_to - taken;
    stage.wait_until("the log names the rule", || {
        stage.kubectl(&["logs", &leader.pod, "--container=elector"]).contains("grant the verb")
    });
    let given = Instant::now();
    stage.kubectl(&[
        "patch",
        "role/leader-elector",
        "--type=merge",
        "--patch",
        &json!({"rules": role["rules"]}).to_string(),
    ]);
    let next = sampler.wait_for_next(&stage, &leader);
    let begun = next.began_by - given;
    let figure = sampler.judge();
    Ok(format!("ended after {:.1} s, led again after {:.1} s; {figure}", ended.as_secs_f64(), begun.as_secs_f64()))
}

pub fn kubectl_and_exec_probes_ask_the_elector(cluster: &Cluster) -> Verdict<String> {
    let probe = json!({"exec": {"command": ["/leader-elector", "--check"]}, "periodSeconds": 1});
    let stage = Application::of(IDLE, &[]).start(cluster, "ask");
    let sampler = stage.sample();
    let leader = sampler.leader(&stage).pod;
    let answer = format!("{{\"name\":\"{leader}\"}}");
    let mut leaders = 0;
    for pod in stage.pods() {
        let check = ["exec", &pod.name, "--container=elector", "--", "/leader-elector", "--check"];
        let output = stage.program().args(check).output().expect("it could be run before");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), answer);
        leaders += usize::from(output.status.success());
        assert_eq!(output.status.success(), pod.name == leader, "{output:?}");
        let printed = stage.kubectl(&["logs", &pod.name, "--container=elector"]);
        assert!(printed.contains(&format!("{leader} is the leader")), "{printed}");
        let path = format!("/api/v1/namespaces/{}/pods/{}:4040/proxy/", stage.namespace, pod.name);
        assert_eq!(stage.kubectl(&["get", "--raw", &path]).trim(), answer);
    }
    assert_eq!(leaders, 1);
    // One of them is ready then, and the rollout stops: that is what an exec probe of `--check` means.
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "elector", "livenessProbe": null, "startupProbe": null,
        "readinessProbe": {"httpGet": null, "exec": probe["exec"], "periodSeconds": 1}}]}}}});
    stage.kubectl(&["patch", "deployment/app", "--patch", &patch.to_string()]);
    stage.wait_until("a new pod runs and is not ready", || has_new_pod(&stage));
    Ok(String::new())
}

fn has_new_pod(stage: &Stage) -> bool {
    stage.pods().iter().filter(|pod| !pod.is_ready && !pod.is_leaving).count() >= 1
}
