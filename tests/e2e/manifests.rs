//! The manifests in `deploy/`, and the commands in the README and in docs/operations.md.

use crate::application::IDLE;
use crate::cluster::Cluster;
use crate::common::deploy::{self, Overlay};
use crate::common::scenarios::ScenarioResult;
use crate::logs::{Line, Logs};
use crate::namespace::TestNamespace;
use crate::sidecars::terms_of;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

pub fn the_manifests_run_unchanged(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = TestNamespace::new(cluster, "native");
    namespace.apply_deploy(&[]);
    check_handover(&namespace)
}

pub fn the_manifests_with_a_plain_sidecar_run(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = TestNamespace::new(cluster, "plain");
    let (native, plain) = ("- sidecar-native.yaml", "- sidecar-plain.yaml");
    namespace.apply_overlay(&Overlay::of_changed(
        "kustomization.yaml",
        native,
        plain,
        &namespace.kustomization_fields(),
    ));
    check_handover(&namespace)
}

/// Checks that all replicas become ready without restarts and warning events, and that the application works in one pod
/// at a time.
fn check_handover(namespace: &TestNamespace) -> ScenarioResult<String> {
    namespace.wait_for_rollout();
    let (lines, count) = thread::scope(|scope| {
        let logs = Logs::follow(scope, namespace, "app");
        namespace.wait_until("the application works", || logs.lines().len() > 20);
        let leader = logs.lines().last().expect("the wait above has seen it").pod.clone();
        namespace.kubectl(&["delete", "pod", &leader, "--wait=false"]);
        let is_of_other_pod = |line: &Line| line.pod != leader;
        namespace.wait_until("the application of another pod works", || {
            logs.lines().iter().filter(|it| is_of_other_pod(it)).count() > 20
        });
        let lines = logs.lines();
        (lines.clone(), lines.len())
    });
    namespace.wait_for_rollout();
    let is_of_work = |line: &Line| line.text.ends_with(" begins") || line.text.ends_with(" ends");
    assert!(lines.iter().all(is_of_work), "{lines:?}");
    let terms = terms_of(&lines, |line| Some(line.pod.clone()));
    let restarts: u64 = namespace.pods().iter().map(|pod| pod.restarts).sum();
    assert_eq!(restarts, 0, "a container was restarted");
    let events = namespace.get("events?fieldSelector=type%3DWarning");
    let warnings = events["items"].as_array().into_iter().flatten().filter_map(|it| it["message"].as_str());
    assert_eq!(warnings.collect::<Vec<_>>(), [""; 0], "warning events");
    Ok(format!("{count} lines of {} pods, one after the other", terms.len()))
}

/// Runs the commands of the README in their order. The application is a shell script, whose image may lack curl.
pub fn the_commands_of_the_readme_work(cluster: &Cluster) -> ScenarioResult<String> {
    // The README's sidecar has no security context, so the standard is `baseline`.
    let namespace = TestNamespace::with_standard(cluster, "readme", "baseline");
    let blocks = deploy::yaml_in("README.md");
    let [rights, sidecar] = &blocks[..] else { panic!("the README must have two YAML blocks") };
    let dir = TempDir::new();
    dir.write("rights.yaml", &rights.replace("namespace: default", &format!("namespace: {}", namespace.name)));
    let sidecar = sidecar.replace("registry.example.com/leader-elector:0.6.0", &cluster.image);
    let template: String = sidecar.lines().map(|line| format!("    {line}\n")).collect();
    let application = format!("{{name: my-app, image: \"{}\", command: [sh, -c, \"{IDLE}\"]}}", cluster.shell_image);
    let head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: my-app}\nspec:\n  replicas: 3\n";
    let labels = "{app: my-app}";
    dir.write(
        "my-app.yaml",
        &format!(
            "{head}  selector: {{matchLabels: {labels}}}\n  template:\n    metadata: {{labels: {labels}}}\n{template}      \
             containers:\n      - {application}\n"
        ),
    );
    let run = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        namespace.kubectl_command().current_dir(dir.path()).args(words).output().expect("cannot run kubectl")
    };
    let run_successfully = |line: &str| {
        let output = run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("kubectl prints UTF-8")
    };
    run_successfully("kubectl apply -f rights.yaml -f my-app.yaml");
    run_successfully("kubectl rollout status deployment/my-app --timeout=180s");
    let name =
        |text: &str| text.trim().strip_prefix("{\"name\":\"").and_then(|it| it.strip_suffix("\"}").map(str::to_owned));
    let lease = || namespace.kubectl(&["get", "lease", "my-app", "--output=jsonpath={.spec.holderIdentity}"]);
    namespace.wait_until("a pod leads", || !run("kubectl get lease my-app").stdout.is_empty() && !lease().is_empty());
    let leader = lease();
    let prints_leader = |line: &str| name(&String::from_utf8_lossy(&run(line).stdout)).as_ref() == Some(&leader);
    // The README's sidecar has no readiness probe, so the electors may start after the end of the rollout.
    namespace.wait_until("the application gets the name of the leader", || {
        prints_leader("kubectl exec deploy/my-app -c my-app -- curl --silent localhost:4040")
            || prints_leader("kubectl exec deploy/my-app -c my-app -- wget -q -O - localhost:4040")
    });
    namespace.wait_until("--check prints the name of the leader", || {
        prints_leader("kubectl exec deploy/my-app -c elector -- /leader-elector --check")
    });
    let table = run_successfully("kubectl get lease my-app");
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((words[0][1], words[1][1]), ("HOLDER", leader.as_str()), "{table}");
    run_successfully(&format!("kubectl delete pod {leader} --wait=false"));
    namespace.wait_until("another pod leads", || !lease().is_empty() && lease() != leader);
    Ok(String::new())
}

/// Runs the commands of the example in docs/operations.md.
pub fn the_example_of_the_operations_guide_works(cluster: &Cluster) -> ScenarioResult<String> {
    let namespace = TestNamespace::new(cluster, "example");
    let dir = TempDir::new();
    for file in ["rbac.yaml", "example.yaml"] {
        let text = deploy::text(file).replace("namespace: default", &format!("namespace: {}", namespace.name));
        dir.write(file, &text.replace("leader-elector:0.6.0", &cluster.image));
        namespace.kubectl(&["apply", "-f", &dir.path().join(file).display().to_string()]);
    }
    namespace.kubectl(&["rollout", "status", "deployment/leader-elector-example", "--timeout=180s"]);
    let pods = namespace.kubectl(&["get", "pods", "-l", "app=leader-elector-example", "--no-headers"]);
    let names: Vec<&str> = pods.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.len(), 3, "{pods}");
    assert!(pods.lines().all(|line| line.contains("1/1") && line.contains("Running")), "{pods}");
    let table = namespace.kubectl(&["get", "lease", "example"]);
    let leader = *names.iter().find(|name| table.contains(**name)).expect(&table);
    for name in &names {
        let log = namespace.kubectl(&["logs", name]);
        assert!(log.contains(&format!("{leader} is the leader\n")), "{log}");
        let path = format!("/api/v1/namespaces/{}/pods/{name}:4040/proxy/", namespace.name);
        let answer = cluster.get(&path).expect("no answer from the pod");
        assert_eq!(answer, (200, format!("{{\"name\":\"{leader}\"}}")));
    }
    namespace.kubectl(&["delete", "pod", leader]);
    let other = names.iter().find(|name| **name != leader).expect("there are three pods");
    namespace
        .wait_until("another pod leads", || namespace.kubectl(&["logs", other]).matches(" is the leader").count() == 2);
    Ok(String::new())
}

/// A temporary directory; removed when dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).expect("cannot create the directory");
        TempDir(dir)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect("cannot write the file");
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
