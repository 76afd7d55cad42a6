//! `deploy/` as it stands, and what README has people type.

use crate::application::IDLE;
use crate::cluster::Cluster;
use crate::common::deploy::{self, Overlay};
use crate::common::scenarios::Verdict;
use crate::logs::{Line, Logs};
use crate::sidecars::terms_of;
use crate::stage::Stage;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

pub fn the_manifests_run_as_they_are(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::new(cluster, "native");
    stage.apply_deploy(&[]);
    judge(&stage)
}

pub fn the_manifests_with_a_plain_sidecar_run(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::new(cluster, "plain");
    let (native, plain) = ("- sidecar-native.yaml", "- sidecar-plain.yaml");
    stage.apply_overlay(&Overlay::of_changed("kustomization.yaml", native, plain, &stage.fields()));
    judge(&stage)
}

/// All replicas become ready and stay what they are, and the application works in one of them at a time.
fn judge(stage: &Stage) -> Verdict<String> {
    stage.wait_for_rollout();
    let (lines, count) = thread::scope(|scope| {
        let logs = Logs::follow(scope, stage, "app");
        stage.wait_until("the application works", || logs.lines().len() > 20);
        let leader = logs.lines().last().expect("just seen").pod.clone();
        stage.kubectl(&["delete", "pod", &leader, "--wait=false"]);
        let is_other = |line: &Line| line.pod != leader;
        stage.wait_until("another one works", || logs.lines().iter().filter(|it| is_other(it)).count() > 20);
        let lines = logs.lines();
        (lines.clone(), lines.len())
    });
    stage.wait_for_rollout();
    let pieces = |line: &Line| line.text.ends_with(" begins") || line.text.ends_with(" ends");
    assert!(lines.iter().all(pieces), "{lines:?}");
    let terms = terms_of(&lines, |line| Some(line.pod.clone()));
    let restarts: u64 = stage.pods().iter().map(|pod| pod.restarts).sum();
    assert_eq!(restarts, 0, "restarts");
    let events = stage.get("events?fieldSelector=type%3DWarning");
    let warnings = events["items"].as_array().into_iter().flatten().filter_map(|it| it["message"].as_str());
    assert_eq!(warnings.collect::<Vec<_>>(), [""; 0], "warning events");
    Ok(format!("{count} lines of {} pods in turn", terms.len()))
}

/// The commands of README, in their order. The application is a shell; a shell's image may have no curl.
pub fn the_walk_of_the_readme_works(cluster: &Cluster) -> Verdict<String> {
    // Its sidecar shows what is needed to run, without a security context.
    let stage = Stage::at_level(cluster, "walk", "baseline");
    let blocks = deploy::yaml_in("README.md");
    let [rights, sidecar] = &blocks[..] else { panic!("it shows two manifests") };
    let folder = Folder::new();
    folder.write("rights.yaml", &rights.replace("namespace: default", &format!("namespace: {}", stage.namespace)));
    let sidecar = sidecar.replace("registry.example.com/leader-elector:0.6.0", &cluster.image);
    let template: String = sidecar.lines().map(|line| format!("    {line}\n")).collect();
    let application = format!("{{name: my-app, image: \"{}\", command: [sh, -c, \"{IDLE}\"]}}", cluster.shell_image);
    let head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: my-app}\nspec:\n  replicas: 3\n";
    let labels = "{app: my-app}";
    folder.write(
        "my-app.yaml",
        &format!(
            "{head}  selector: {{matchLabels: {labels}}}\n  template:\n    metadata: {{labels: {labels}}}\n{template}      \
             containers:\n      - {application}\n"
        ),
    );
    let run = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        stage.program().current_dir(folder.path()).args(words).output().expect("it could be run before")
    };
    let must = |line: &str| {
        let output = run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    must("kubectl apply -f rights.yaml -f my-app.yaml");
    must("kubectl rollout status deployment/my-app --timeout=180s");
    let name =
        |text: &str| text.trim().strip_prefix("{\"name\":\"").and_then(|it| it.strip_suffix("\"}").map(str::to_owned));
    let lease = || stage.kubectl(&["get", "lease", "my-app", "--output=jsonpath={.spec.holderIdentity}"]);
    stage.wait_until("somebody leads", || !run("kubectl get lease my-app").stdout.is_empty() && !lease().is_empty());
    let leader = lease();
    let names_it = |line: &str| name(&String::from_utf8_lossy(&run(line).stdout)).as_ref() == Some(&leader);
    // Without a readiness probe a rollout waits for no elector.
    stage.wait_until("the application is answered", || {
        names_it("kubectl exec deploy/my-app -c my-app -- curl --silent localhost:4040")
            || names_it("kubectl exec deploy/my-app -c my-app -- wget -q -O - localhost:4040")
    });
    stage.wait_until("the elector is answered", || {
        names_it("kubectl exec deploy/my-app -c elector -- /leader-elector --check")
    });
    let table = must("kubectl get lease my-app");
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((words[0][1], words[1][1]), ("HOLDER", leader.as_str()), "{table}");
    must(&format!("kubectl delete pod {leader} --wait=false"));
    stage.wait_until("another one leads", || !lease().is_empty() && lease() != leader);
    Ok(String::new())
}

/// The first look of docs/operations.md.
pub fn the_first_look_of_the_operations_works(cluster: &Cluster) -> Verdict<String> {
    let stage = Stage::new(cluster, "look");
    let folder = Folder::new();
    for file in ["rbac.yaml", "example.yaml"] {
        let text = deploy::text(file).replace("namespace: default", &format!("namespace: {}", stage.namespace));
        folder.write(file, &text.replace("leader-elector:0.6.0", &cluster.image));
        stage.kubectl(&["apply", "-f", &folder.path().join(file).display().to_string()]);
    }
    stage.kubectl(&["rollout", "status", "deployment/leader-elector-example", "--timeout=180s"]);
    let pods = stage.kubectl(&["get", "pods", "-l", "app=leader-elector-example", "--no-headers"]);
    let names: Vec<&str> = pods.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.len(), 3, "{pods}");
    assert!(pods.lines().all(|line| line.contains("1/1") && line.contains("Running")), "{pods}");
    let table = stage.kubectl(&["get", "lease", "example"]);
    let leader = *names.iter().find(|name| table.contains(**name)).expect(&table);
    for name in &names {
        let log = stage.kubectl(&["logs", name]);
        assert!(log.contains(&format!("{leader} is the leader\n")), "{log}");
        let path = format!("/api/v1/namespaces/{}/pods/{name}:4040/proxy/", stage.namespace);
        let answer = cluster.get(&path).expect("there is an answer");
        assert_eq!(answer, (200, format!("{{\"name\":\"{leader}\"}}")));
    }
    stage.kubectl(&["delete", "pod", leader]);
    let other = names.iter().find(|name| **name != leader).expect("there are three");
    stage.wait_until("another one leads", || stage.kubectl(&["logs", other]).matches(" is the leader").count() == 2);
    Ok(String::new())
}

/// A folder of files; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("it can be made");
        Folder(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect("it can be written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
