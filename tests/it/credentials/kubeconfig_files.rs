//! Which kubeconfig files are used, and which context.

use crate::common::cluster::{ServiceAccount, tls_server};
use crate::common::kubeconfig::{Dir, run_to_end};
use crate::common::{Elector, thread_names, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A kubeconfig with a context, a cluster and a user of this name, and this address.
fn file(name: &str, url: &str) -> String {
    format!(
        "current-context: {name}\n\
         contexts:\n- name: {name}\n  context: {{cluster: {name}, user: {name}}}\n\
         clusters:\n- name: {name}\n  cluster:\n    server: {url}\n\
         users:\n- name: {name}\n  user:\n    token: secret-of-{name}\n"
    )
}

/// The address to which such an elector connects. Nothing listens there.
fn goes_to(command: Command, args: &[&str]) -> String {
    let elector = Elector::start_as(command, "a", args);
    let log = elector.log();
    assert!(!log.contains("secret"), "{log}");
    let line = log.lines().find(|line| line.contains("standing for ")).unwrap_or_else(|| panic!("{log}"));
    line.split(" at ").nth(1).and_then(|rest| rest.split(';').next()).unwrap().to_owned()
}

fn with_env(variables: &[(&str, &str)]) -> Command {
    let mut command = Elector::program();
    command.envs(variables.iter().copied());
    command
}

#[test]
fn a_flag_has_precedence_over_the_variable_and_the_variable_over_the_home() {
    let dir = Dir::new();
    let home = dir.name("");
    dir.write(".kube/config", file("home", "http://127.0.0.1:1"));
    let of_variable = dir.write("variable", file("variable", "http://127.0.0.1:2"));
    let of_flag = format!("--kubeconfig={}", dir.write("flag", file("flag", "http://127.0.0.1:3")));
    let (home, variable) = (("HOME", home.as_str()), ("KUBECONFIG", of_variable.as_str()));
    assert_eq!(goes_to(with_env(&[home]), &[]), "http://127.0.0.1:1");
    assert_eq!(goes_to(with_env(&[home, ("KUBECONFIG", "")]), &[]), "http://127.0.0.1:1");
    assert_eq!(goes_to(with_env(&[home, variable]), &[]), "http://127.0.0.1:2");
    assert_eq!(goes_to(with_env(&[home, variable]), &[&of_flag]), "http://127.0.0.1:3");
    assert_eq!(goes_to(with_env(&[home, variable]), &["--server=http://127.0.0.1:4"]), "http://127.0.0.1:4");
}

#[test]
fn a_pod_uses_its_service_account_unless_a_kubeconfig_says_otherwise() {
    let dir = Dir::new();
    let account = ServiceAccount::new("token", apiserver_ca().as_str());
    let pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "5")];
    let in_pod = "https://127.0.0.1:5";
    let home = dir.name("");
    for home in [None, Some(""), Some("/nonexistent"), Some("/dev/null")] {
        let mut command = with_env(&pod);
        command.env_remove("HOME").envs(home.map(|home| ("HOME", home)));
        let (code, log) = run_to_end(command, &[]);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("cannot read /var/run/secrets/kubernetes.io/serviceaccount/token"), "{home:?}: {log}");
    }

    // So do the flag for the directory of a service account and the flag for cluster credentials.
    dir.write(".kube/config", file("home", "http://127.0.0.1:1"));
    let at_home = |extra: &[(&str, &str)]| with_env(&[pod.as_slice(), &[("HOME", home.as_str())], extra].concat());
    assert_eq!(goes_to(at_home(&[]), &[]), "http://127.0.0.1:1");
    assert_eq!(goes_to(at_home(&[]), &[&account.flag()]), in_pod);
    assert_eq!(goes_to(at_home(&[]), &[&account.flag(), "--use-cluster-credentials"]), in_pod);
    let (code, log) = run_to_end(at_home(&[]), &["--use-cluster-credentials"]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("/var/run/secrets/kubernetes.io/serviceaccount"), "{log}");
}

/// A CA certificate.
fn apiserver_ca() -> String {
    tls_server("127.0.0.1:0", &[]).ca_pem().unwrap().to_owned()
}

#[test]
fn without_a_current_context_a_pod_uses_its_service_account() {
    let dir = Dir::new();
    let home = dir.name("");
    let pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "5"), ("HOME", home.as_str())];
    for content in ["", "{}", "# nothing\n", "current-context: \"\"\nclusters: []\n"] {
        dir.write(".kube/config", content);
        let (code, log) = run_to_end(with_env(&pod), &[]);
        assert_eq!(code, Some(1), "{content:?}: {log}");
        assert!(log.contains("/var/run/secrets/kubernetes.io/serviceaccount"), "{content:?}: {log}");
    }
}

#[test]
fn of_several_files_the_first_definition_of_a_name_wins() {
    let dir = Dir::new();
    // Its user of the context is in the second file, and its cluster in the third.
    dir.write(
        "one",
        "current-context: c\ncontexts:\n- name: c\n  context:\n    cluster: three\n    user: two\n\
         clusters:\n- name: one\n  cluster: {server: 'http://127.0.0.1:1'}\n",
    );
    dir.write("two", file("two", "http://127.0.0.1:2"));
    dir.write("three", file("three", "http://127.0.0.1:3"));
    dir.write("four", file("three", "http://127.0.0.1:4").replace("current-context: three", "current-context: two"));
    let list = |names: &[&str]| names.iter().map(|name| dir.name(name)).collect::<Vec<_>>().join(":");
    let goes = |names: &[&str], args: &[&str]| goes_to(with_env(&[("KUBECONFIG", &list(names))]), args);
    assert_eq!(goes(&["one", "two", "three", "four"], &[]), "http://127.0.0.1:3");
    assert_eq!(goes(&["one", "two", "four", "three"], &[]), "http://127.0.0.1:4");
    assert_eq!(goes(&["missing", "two", "one", "three"], &[]), "http://127.0.0.1:2");
    assert_eq!(goes(&["three", "two"], &["--context=two"]), "http://127.0.0.1:2");
}

#[test]
fn the_log_says_which_context_is_used() {
    let dir = Dir::new();
    let path = dir.write("config", file("dev", "http://127.0.0.1:1/k8s/clusters/c-1/"));
    let elector = Elector::start("a", &[format!("--kubeconfig={path}")]);
    elector.wait_for_log(&format!("using the context \"dev\" of {path}"));
    elector.wait_for_log("at http://127.0.0.1:1/k8s/clusters/c-1; lease");
}

#[test]
fn a_relative_path_is_relative_to_the_file_that_contains_it() {
    let dir = Dir::new();
    let ca = apiserver_ca();
    dir.write("pki/ca.crt", ca);
    dir.write("secrets/token", "secret");
    let text = file("a", "https://127.0.0.1:1\n    certificate-authority: ../pki/ca.crt")
        .replace("token: secret-of-a", "tokenFile: ../secrets/token");
    let path = dir.write("deep/config", text);
    assert_eq!(goes_to(with_env(&[("KUBECONFIG", &path)]), &[]), "https://127.0.0.1:1");
    let mut command = Elector::program();
    command.current_dir(dir.path("deep"));
    assert_eq!(goes_to(command, &["--kubeconfig=config"]), "https://127.0.0.1:1");
}

#[test]
fn the_namespace_of_the_context_is_not_that_of_the_election() {
    let dir = Dir::new();
    let text = file("a", "http://127.0.0.1:1").replace("user: a}", "user: a, namespace: other}");
    let elector = Elector::start("a", &[format!("--kubeconfig={}", dir.write("config", text))]);
    elector.wait_for_log("standing for endpoints default/example as");
}

#[test]
fn an_unreadable_default_file_is_skipped() {
    let dir = Dir::new();
    let home = dir.name("");
    let path = dir.write(".kube/config", file("home", "http://127.0.0.1:1"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so root changes its user.
    let as_user = |variable| {
        let mut command = with_env(&[variable]);
        if rustix::process::getuid().is_root() {
            command.uid(65_534);
        }
        command
    };
    let (code, log) = run_to_end(as_user(("HOME", &home)), &[]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(": Permission denied") && log.contains("KUBERNETES_SERVICE_HOST"), "{log}");
    let (code, log) = run_to_end(as_user(("KUBECONFIG", &path)), &[]);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains(&format!("cannot read the kubeconfig {path}: Permission denied")), "{log}");
}

#[test]
fn a_file_that_blocks_does_not_prevent_the_exit() {
    let dir = Dir::new();
    let flag = format!("--kubeconfig={}", dir.pipe("config"));
    let mut program = Elector::program();
    program.args(["--election=example", "--http=", &flag]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut elector = program.spawn().unwrap();
    wait_until("it waits for signals", || thread_names(elector.id()).iter().any(|name| name == "signals"));
    kill_process(Pid::from_child(&elector), Signal::TERM).unwrap();
    wait_until("it has ended", || elector.try_wait().unwrap().is_some());
    assert_eq!(elector.wait().unwrap().code(), Some(0));
}
