//! The commands in the documents: each is run here or by a test that is named here, or needs something that tests do
//! not have. The code for applications is run too.

use super::markdown::{self, ROOT};
use crate::common::cluster::{elector, plain_server};
use crate::common::deploy::{self, is_there};
use crate::common::{Elector, PATIENCE, wait_until};
use apiserver::Server;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::iter;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

/// How a command is tested.
enum Run {
    /// It queries an elector, and the output has the shape that the document shows.
    Asks,
    /// By a test in this file.
    Here,
    /// By this function in this file of `tests/`.
    Test(&'static str, &'static str),
    /// By this step of `.ci/run`.
    Ci(&'static str),
    /// Not at all, because this is missing.
    Needs(&'static str),
}

const COMMANDS: &[(&str, Run)] = &[
    ("curl localhost:4040", Run::Asks),
    ("curl localhost:4040/status", Run::Asks),
    ("curl --no-buffer localhost:4040/events", Run::Asks),
    ("curl --header 'Content-Length: 9999999999999999' http://127.0.0.1:33411/", Run::Asks),
    ("kubectl create role leader-elector --verb=get,update,watch --resource=leases --resource-name=example", Run::Here),
    ("kubectl create role leader-elector-create --verb=create --resource=leases", Run::Here),
    (
        "KEY=release-key SOURCE=https://code.example.com/leader-elector .ci/dist",
        Run::Needs("an hour, for all architectures"),
    ),
    (
        "IMAGE=registry.example.com/leader-elector TAG=v0.6.0 .ci/publish target/release-files",
        Run::Needs("a registry, and a code host"),
    ),
    (
        "ssh-keygen -Y verify -f allowed_signers -I leader-elector -n file -s SHA256SUMS.sig <SHA256SUMS && sha256sum --check --ignore-missing SHA256SUMS",
        Run::Test("it/documents/releases.rs", "a_changed_byte_of_a_release_is_noticed"),
    ),
    (
        "skopeo inspect --raw docker://registry.example.com/leader-elector:0.6.0 | ssh-keygen -Y verify -f allowed_signers -I leader-elector -n file -s leader-elector-0.6.0-oci-index.sig",
        Run::Test("it/documents/releases.rs", "a_changed_byte_of_a_release_is_noticed"),
    ),
    (
        r#"jq --exit-status --arg sha256 "$(sha256sum <leader-elector-0.6.0-linux-amd64 | cut -c-64)" 'select(any(.subject[]; .digest.sha256 == $sha256)).predicate.buildDefinition.resolvedDependencies[0].digest.gitCommit' leader-elector-0.6.0-linux-amd64.provenance.json"#,
        Run::Test("it/documents/releases.rs", "a_changed_byte_of_a_release_is_noticed"),
    ),
    (
        "git config --global url.https://mirror.example.com/.insteadOf https://github.com/RustSec/",
        Run::Needs("a mirror of the advisories"),
    ),
    ("kubectl apply -f rights.yaml -f my-app.yaml", Run::Test("e2e/manifests.rs", "the_commands_of_the_readme_work")),
    ("cat mine/kustomization.yaml", Run::Test("it/deploy/manifests.rs", "the_output_of_kustomize_agrees")),
    ("kubectl apply -k deploy", Run::Test("e2e/manifests.rs", "the_manifests_run_unchanged")),
    (
        "kubectl apply -f deploy/rbac.yaml -f deploy/example.yaml",
        Run::Test("e2e/manifests.rs", "the_example_of_the_operations_guide_works"),
    ),
    ("kubectl get lease example", Run::Test("conformance/readme.rs", "kubectl_shows_who_leads")),
    ("kubectl get endpoints example -o yaml", Run::Test("conformance/readme.rs", "kubectl_shows_who_leads")),
    (
        "kubectl get endpointslices my-app-leader",
        Run::Test("it/leader_service/terms.rs", "kubectl_shows_where_the_service_leads"),
    ),
    ("kubectl get lease my-app", Run::Test("conformance/readme.rs", "kubectl_shows_who_leads")),
    ("kubectl proxy &", Run::Test("conformance/readme.rs", "kubectl_proxy_is_enough_for_a_server")),
    (".ci/image", Run::Ci("image")),
    ("cargo run --example demo", Run::Ci("demo")),
    ("cargo test --workspace --no-fail-fast", Run::Ci("tests")),
    ("cargo bench --bench http -- serve-with-tiny-http", Run::Needs("a build of the benchmarks, which takes minutes")),
    ("kubectl delete namespace -l leader-elector-e2e", Run::Needs("a run that was killed")),
    (".ci/cluster up", Run::Needs("the programs of Kubernetes")),
    (".ci/cluster load target/image/image.tar", Run::Needs("the programs of Kubernetes")),
    ("IMAGE=leader-elector:0.6.0 .ci/cluster run just e2e", Run::Needs("the programs of Kubernetes")),
    (".ci/cluster down", Run::Needs("the programs of Kubernetes")),
    ("kind load image-archive target/image/image.tar", Run::Needs("kind")),
    ("IMAGE=leader-elector:0.6.0 just e2e", Run::Needs("a cluster")),
    ("docker load --input target/image/image.tar", Run::Needs("a container engine")),
    ("docker tag leader-elector:0.6.0 registry.example.com/leader-elector:0.6.0", Run::Needs("a container engine")),
    ("docker push registry.example.com/leader-elector:0.6.0", Run::Needs("a registry")),
    (
        "kubectl exec deploy/my-app -c my-app -- curl --silent localhost:4040",
        Run::Test("e2e/manifests.rs", "the_commands_of_the_readme_work"),
    ),
    (
        "kubectl exec deploy/my-app -c elector -- /leader-elector --check",
        Run::Test("e2e/manifests.rs", "the_commands_of_the_readme_work"),
    ),
    (
        "kubectl exec web-6d4cf56db6-xk2p9 --container=elector -- /leader-elector --check",
        Run::Test("e2e/probes.rs", "kubectl_and_exec_probes_query_the_elector"),
    ),
    (
        "kubectl get pods -l app=leader-elector-example",
        Run::Test("e2e/manifests.rs", "the_example_of_the_operations_guide_works"),
    ),
    (
        "kubectl logs leader-elector-example-5b9c8d7f6c-4xq2m",
        Run::Test("e2e/manifests.rs", "the_example_of_the_operations_guide_works"),
    ),
    (
        "kubectl logs -f leader-elector-example-5b9c8d7f6c-4xq2m",
        Run::Test("e2e/manifests.rs", "the_example_of_the_operations_guide_works"),
    ),
    (
        "kubectl delete pod leader-elector-example-5b9c8d7f6c-hv7rd",
        Run::Test("e2e/manifests.rs", "the_example_of_the_operations_guide_works"),
    ),
    (
        "curl http://localhost:8001/api/v1/namespaces/default/pods/leader-elector-example-5b9c8d7f6c-4xq2m:4040/proxy/",
        Run::Test("e2e/manifests.rs", "the_example_of_the_operations_guide_works"),
    ),
];

/// A command in a document, and the output that the document shows.
pub struct Typed {
    pub document: String,
    pub command: String,
    shown: Vec<String>,
}

pub fn typed() -> Vec<Typed> {
    let mut all = Vec::new();
    for document in markdown::all() {
        for block in document.blocks("console") {
            let mut last: Option<Typed> = None;
            for line in block.text.lines() {
                if let Some(command) = line.strip_prefix("$ ") {
                    let command = command.split("  #").next().unwrap_or_default().trim().to_owned();
                    all.extend(last.replace(Typed { document: document.path.clone(), command, shown: Vec::new() }));
                } else if let Some(typed) = &mut last {
                    typed.shown.push(line.to_owned());
                }
            }
            all.extend(last);
        }
    }
    all
}

#[test]
fn each_command_is_run_by_a_test_or_cannot_be() {
    let typed = typed();
    for Typed { document, command, .. } in &typed {
        assert!(COMMANDS.iter().any(|(known, _)| known == command), "{document}: nobody runs {command:?}");
    }
    let steps = fs::read_to_string(Path::new(ROOT).join(".ci/run")).unwrap();
    for (command, run) in COMMANDS {
        assert!(typed.iter().any(|it| it.command == *command), "no document has {command:?}");
        match run {
            Run::Asks | Run::Here => {}
            Run::Test(file, name) => {
                let test = fs::read_to_string(Path::new(ROOT).join("tests").join(file));
                assert!(test.is_ok_and(|it| it.contains(&format!("fn {name}("))), "{command:?}: no {name} in {file}");
            }
            Run::Ci(step) => assert!(steps.contains(&format!("\n{step}() {{\n")), "{command:?}: no step {step}"),
            Run::Needs(what) => assert!(!what.is_empty()),
        }
    }
}

#[test]
fn recipes_and_scripts_in_documents_exist() {
    let justfile = fs::read_to_string(Path::new(ROOT).join("Justfile")).unwrap();
    let recipes: BTreeSet<&str> = justfile
        .lines()
        .filter(|line| line.contains(':') && line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split([' ', ':']).next())
        .collect();
    for document in markdown::all() {
        for code in document.code() {
            let mut words = code.split_whitespace();
            let (first, second) = (words.next().unwrap_or_default(), words.next());
            if let ("just", Some(recipe)) = (first, second) {
                assert!(recipes.contains(recipe), "{}: {code}", document.path);
            }
            let is_script = first.starts_with(".ci/");
            assert!(!is_script || Path::new(ROOT).join(first).is_file(), "{}: {code}", document.path);
        }
    }
}

#[test]
fn commands_that_query_an_elector_print_what_is_shown() {
    if !is_there("curl", "--version") {
        return;
    }
    let server = plain_server();
    let elector = elector(&server, "a", &["--ttl=10s"]);
    elector.wait_to_lead();
    for Typed { document, command, shown } in typed() {
        if !COMMANDS.iter().any(|(known, run)| *known == command && matches!(run, Run::Asks)) {
            continue;
        }
        let address = elector.address().to_string();
        let here = command.replace("localhost:4040", &address).replace("127.0.0.1:33411", &address);
        // Of a stream only the lines before the first change: an event and `retry`.
        let lines = if command.contains("/events") { 2 } else { shown.len() };
        let said = Stream::of(&format!("exec {here} --silent")).lines(lines);
        for (shown, said) in shown.iter().zip(&said) {
            assert_eq!(shape(said), shape(shown), "{document}: {command} said {said:?}");
        }
        assert_eq!(said.len(), lines, "{document}: {command} said {said:?}");
    }
}

/// A line with the keys of its JSON, without the values.
fn shape(line: &str) -> String {
    let Some((before, _)) = line.split_once('{') else { return line.to_owned() };
    let object: Value = serde_json::from_str(&line[before.len()..]).unwrap_or_else(|error| panic!("{line}: {error}"));
    let keys: Vec<&String> = object.as_object().expect("it begins as one").keys().collect();
    format!("{before}{keys:?}")
}

#[test]
fn the_rights_granted_by_hand_are_those_of_the_manifest() {
    if !is_there("kubectl", "help") {
        return;
    }
    let server = Server::start(apiserver::Options::default()).unwrap();
    let mut made = Vec::new();
    for (command, _) in COMMANDS.iter().filter(|(command, _)| command.starts_with("kubectl create role")) {
        let mut kubectl = Command::new("bash");
        kubectl.arg("-c").arg(format!("{command} --server={} --dry-run=client --output=json", server.url()));
        let output = kubectl.env("KUBECONFIG", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let role: Value = serde_json::from_slice(&output.stdout).unwrap();
        made.extend(role["rules"].as_array().unwrap().iter().cloned());
    }
    let manifest = deploy::text("rbac.yaml");
    assert_eq!(made.len(), 2);
    for rule in &made {
        for list in ["verbs", "resources", "resourceNames"] {
            let Some(names) = rule.get(list) else { continue };
            let written = serde_json::to_string(names).unwrap().replace(',', ", ");
            assert!(manifest.contains(&format!("{list}: {written}")), "deploy/rbac.yaml has no {list}: {written}");
        }
    }
}

#[test]
fn the_code_for_applications_that_ask_works() {
    if !is_there("node", "--version") {
        return;
    }
    let [code] = &markdown::read("docs/operations.md").blocks("js")[..] else { panic!("there is one example") };
    let server = plain_server();
    let (a, b) = (elector(&server, "a", &["--ttl=10s"]), elector(&server, "b", &["--ttl=10s"]));
    wait_until("one leads", || a.leads() || b.leads());
    let (leader, follower) = if a.leads() { (&a, &b) } else { (&b, &a) };
    let start = |elector: &Elector| {
        let code = code.text.replace("localhost:4040", &elector.address().to_string()).replace("}, 1000);", "}, 10);");
        Stream::of_command(Command::new("node").arg("-e").arg(code))
    };
    let beside_follower = start(follower);
    assert_eq!(start(leader).lines(2), ["doing what only the leader does"; 2]);
    assert_eq!(beside_follower.end(), "");
}

#[test]
fn the_code_for_applications_that_listen_works() {
    if !is_there("node", "--version") {
        return;
    }
    let [code] = &markdown::read("docs/reference.md").blocks("js")[..] else { panic!("there is one example") };
    let around = |name: &str, seconds: &str| {
        // Node.js has no EventSource without a flag.
        let before = "globalThis.EventSource = class {};\n";
        let told =
            format!("events.onmessage({{data: JSON.stringify({{name: {name}, validForSeconds: {seconds}}})}});\n");
        let script = format!("{before}{}{told}console.log(leads());\n", code.text);
        Stream::of_command(Command::new("node").arg("-e").arg(script)).lines(1)
    };
    assert_eq!(around("hostname", "60"), ["true"]);
    assert_eq!(around("hostname", "0"), ["false"]);
    assert_eq!(around("'another'", "60"), ["false"]);
}

/// A process whose output is read; killed when dropped.
struct Stream(Child);

impl Stream {
    fn of(script: &str) -> Stream {
        Stream::of_command(Command::new("bash").args(["-c", script]))
    }

    fn of_command(command: &mut Command) -> Stream {
        Stream(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it can be run"))
    }

    /// Its first `count` lines, or fewer if it ends before or takes too long.
    fn lines(mut self, count: usize) -> Vec<String> {
        let output = BufReader::new(self.0.stdout.take().expect("it is piped"));
        let (read, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| read.send(line)));
        let next = || lines.recv_timeout(PATIENCE).ok();
        iter::from_fn(next).take(count).collect()
    }

    /// Kills it, and returns what it has printed.
    fn end(mut self) -> String {
        let _ = self.0.kill();
        let mut output = String::new();
        let _ = self.0.stdout.take().expect("it is piped").read_to_string(&mut output);
        output
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
