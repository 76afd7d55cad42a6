//! Credentials of exec plugins: fetched when they are needed, refreshed before they expire, and never shown.

use crate::common::cluster::{lines, owned, plain_server, record, requests, wait_for, wait_for_renewals};
use crate::common::kubeconfig::{Dir, certificate, cluster, run_to_end, server, start};
use crate::common::{Elector, wait_until};
use apiserver::Server;
use rustix::process::{Pid, Signal, test_kill_process_group};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

const V1: &str = "client.authentication.k8s.io/v1";

/// A plugin that prints the file `credential`, and adds a line to the file `runs`.
struct Plugin {
    dir: Dir,
    command: String,
}

impl Plugin {
    fn new(status: Value) -> Plugin {
        let dir = Dir::new();
        let home = dir.name("");
        let command = dir.script("plugin", &format!("cd '{home}' || exit\necho run >> runs\ncat credential"));
        let plugin = Plugin { dir, command };
        plugin.hand_out(status);
        plugin
    }

    fn hand_out(&self, status: Value) {
        self.hand_out_as(V1, status);
    }

    fn hand_out_as(&self, version: &str, status: Value) {
        let credential = json!({"kind": "ExecCredential", "apiVersion": version, "status": status});
        self.dir.write("credential", credential.to_string());
    }

    /// Adds shell commands that run before it prints.
    fn first(&self, lines: &str) {
        let home = self.dir.name("");
        self.dir.script("plugin", &format!("cd '{home}' || exit\necho run >> runs\n{lines}\ncat credential"));
    }

    fn user(&self) -> Value {
        json!({"exec": {"apiVersion": V1, "command": self.command, "interactiveMode": "Never"}})
    }

    fn flag(&self, server: &Server) -> String {
        self.dir.flag(cluster(server), self.user())
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.dir.path("runs")).unwrap_or_default().lines().count()
    }
}

/// A time in this number of seconds, in the format of plugins.
fn in_seconds(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let micros = i64::try_from(now.as_micros()).unwrap() + seconds * 1_000_000;
    leader_elector::rfc3339::format(micros)
}

fn term(server: &Server) -> Value {
    record(server).unwrap()["acquireTime"].clone()
}

fn refused(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.status == Some(401)).count()
}

/// Checks that the output of an elector contains none of these texts.
fn assert_silent_about(elector: &Elector, secrets: &[&str]) {
    let everything = elector.log() + &elector.printed();
    for secret in secrets {
        assert!(!everything.contains(secret), "{secret} is in: {everything}");
    }
}

#[test]
fn a_plugin_runs_once_for_as_long_as_its_token_lasts() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), server(&["secret"]));
    let elector = start(&plugin.flag(&server));
    elector.wait_to_lead();
    wait_for_renewals(&server, 5);
    wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
    assert_eq!(plugin.runs(), 1);
    assert!(server.requests().iter().all(|request| request.user.as_deref() == Some("pod")));
    assert_silent_about(&elector, &["secret"]);
}

#[test]
fn a_plugin_gets_what_its_kubeconfig_says() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), server(&["secret"]));
    plugin.first("printf '%s\\n' \"$1 $2\" \"$WHO\" \"$PATH\" > told; printf %s \"$KUBERNETES_EXEC_INFO\" > info");
    let beta = "client.authentication.k8s.io/v1beta1";
    plugin.hand_out_as(beta, json!({"token": "secret"}));
    let mut cluster = cluster(&server);
    cluster["extensions"] = json!([{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a", "numbers": [1, true, "1"]}}]);
    let exec = json!({
        // Relative to the kubeconfig.
        "apiVersion": beta, "command": "./plugin", "args": ["get token", "--now"], "provideClusterInfo": true,
        "env": [{"name": "WHO", "value": "me"}],
    });
    start(&plugin.dir.flag(cluster.clone(), json!({"exec": exec}))).wait_to_lead();
    let told = fs::read_to_string(plugin.dir.path("told")).unwrap();
    assert_eq!(told.lines().collect::<Vec<_>>(), ["get token --now", "me", &std::env::var("PATH").unwrap()]);
    let info: Value = serde_json::from_slice(&fs::read(plugin.dir.path("info")).unwrap()).unwrap();
    let expected = json!({
        "kind": "ExecCredential", "apiVersion": beta,
        "spec": {"interactive": false, "cluster": {
            "server": server.url(), "certificate-authority-data": cluster["certificate-authority-data"],
            "config": {"audience": "a", "numbers": [1, true, "1"]},
        }},
    });
    assert_eq!(info, expected);
}

#[test]
fn a_plugin_is_found_in_the_path() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), server(&["secret"]));
    let flag = plugin.dir.flag(cluster(&server), json!({"exec": {"apiVersion": V1, "command": "plugin"}}));
    let mut command = Elector::program();
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("/nonexistent:{}:{path}", plugin.dir.name("")));
    Elector::start_as(command, "a", &[flag]).wait_to_lead();
}

#[test]
fn an_expired_token_is_not_sent() {
    let server = server(&["one", "two"]);
    let plugin = Plugin::new(json!({"token": "one", "expirationTimestamp": in_seconds(3)}));
    let elector = start(&plugin.flag(&server));
    elector.wait_to_lead();
    let began = term(&server);
    plugin.hand_out(json!({"token": "two"}));
    server.set_tokens(owned(&[("one", "pod"), ("two", "electors")]));
    let renewed = |server: &Server| {
        requests(server, "update").last().is_some_and(|request| request.user.as_deref() == Some("electors"))
    };
    wait_for(&server, "the new token is sent", renewed);
    assert_eq!((term(&server), refused(&server), plugin.runs()), (began, 0, 2));
    assert_silent_about(&elector, &["one\"", "two\""]);
}

#[test]
fn a_token_that_is_refused_is_replaced_at_once_and_the_request_sent_again() {
    let (plugin, server) = (Plugin::new(json!({"token": "one"})), server(&["one"]));
    let elector = start(&plugin.flag(&server));
    elector.wait_to_lead();
    wait_for_renewals(&server, 6);
    let began = term(&server);
    plugin.hand_out(json!({"token": "two"}));
    server.set_tokens(owned(&[("two", "pod")]));
    wait_for(&server, "the old token is refused", |server| refused(server) > 0);
    wait_for_renewals(&server, 3);
    let updates = requests(&server, "update");
    let index = updates.iter().position(|request| request.status == Some(401)).unwrap();
    assert_eq!((updates[index + 1].status, &updates[index + 1].body), (Some(200), &updates[index].body));
    assert_eq!((term(&server), plugin.runs()), (began, 2));
    assert_eq!(lines(&elector, "401 unauthorized"), 0, "{}", elector.log());
}

#[test]
fn a_token_that_is_refused_again_and_again_does_not_run_the_plugin_each_time() {
    let (plugin, server) = (Plugin::new(json!({"token": "wrong"})), server(&["right"]));
    let mut elector = Elector::start("a", &["--ttl=1s", "--retry-period=20ms", &plugin.flag(&server)]);
    elector.wait_for_log("the token was not accepted; is it of this cluster and still valid?");
    wait_for(&server, "it tries again", |server| requests(server, "get").len() >= 8);
    assert!(plugin.runs() < refused(&server), "{} runs", plugin.runs());
    assert!(elector.is_running());
    plugin.hand_out(json!({"token": "right"}));
    elector.wait_to_lead();
}

#[test]
fn a_plugin_may_return_a_client_certificate() {
    let server = server(&[]);
    let hand_out = |user: &str, expires: Option<String>| {
        let own = certificate(&server, user);
        json!({
            "clientCertificateData": own.certificate_pem, "clientKeyData": own.key_pem, "expirationTimestamp": expires,
        })
    };
    let plugin = Plugin::new(hand_out("jane", Some(in_seconds(3))));
    let elector = start(&plugin.flag(&server));
    elector.wait_to_lead();
    let began = term(&server);
    assert_eq!(server.requests()[0].user.as_deref(), Some("jane"));
    plugin.hand_out(hand_out("joe", None));
    wait_for(&server, "the new certificate is shown", |server| {
        requests(server, "update").last().is_some_and(|request| request.user.as_deref() == Some("joe"))
    });
    assert_eq!((term(&server), refused(&server)), (began, 0));
    assert_silent_about(&elector, &["PRIVATE KEY"]);
}

#[test]
fn a_failing_plugin_is_logged_with_its_stderr_and_run_again() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), server(&["secret"]));
    plugin.first("if [ ! -e mended ]; then echo half-a-secret; echo 'log in first' >&2; exit 7; fi");
    let mut elector = start(&plugin.flag(&server));
    elector.wait_for_log(&format!(
        "cannot read endpoints default/example: the exec plugin \"{}\" gives no credentials: exit status: 7; it said \
         \"log in first\" (users[\"me\"].user.exec in line 1 of {})",
        plugin.command,
        plugin.dir.name("config")
    ));
    assert!(elector.is_running());
    assert!(server.requests().is_empty(), "nothing is sent without what it is to be sent with");
    plugin.dir.write("mended", "");
    elector.wait_to_lead();
    assert_eq!(lines(&elector, "cannot read endpoints default/example: the exec plugin"), 1, "{}", elector.log());
    assert_silent_about(&elector, &["secret"]);
}

#[test]
fn unusable_output_at_the_start_is_an_error_and_is_never_shown() {
    for (credential, why) in [
        (json!("hunter2").to_string(), "what it printed is not an ExecCredential"),
        ("hunter2".to_owned(), "what it printed is not JSON, at line 1 column 1"),
        (
            json!({"kind": "ExecCredential", "apiVersion": V1, "status": {"token": "hunter2", "expirationTimestamp": in_seconds(-60)}})
                .to_string(),
            "its credentials have already expired; log in again, or correct the clock",
        ),
    ] {
        let (plugin, server) = (Plugin::new(json!({})), server(&["secret"]));
        plugin.dir.write("credential", credential);
        let mut elector = start(&plugin.flag(&server));
        assert_eq!(elector.wait_to_end().code(), Some(2), "{}", elector.log());
        let (name, config) = (&plugin.command, plugin.dir.name("config"));
        let error = format!(
            "leader-elector: the exec plugin \"{name}\" gives no credentials: {why} (users[\"me\"].user.exec in line 1 of {config})"
        );
        assert!(elector.log().lines().any(|line| line == error), "{error} is not in: {}", elector.log());
        assert_silent_about(&elector, &["hunter2"]);
        assert!(server.requests().is_empty());
    }
}

#[test]
fn stderr_is_shown_with_an_unusable_answer() {
    let (plugin, server) = (Plugin::new(json!({})), server(&["secret"]));
    // More than is shown; the reason is at the end.
    plugin.first(
        "i=0; while [ $i -lt 100 ]; do echo \"  line $i of a trace\" >&2; i=$((i+1)); done; echo 'log in first' >&2",
    );
    for (credential, why) in [("", "it printed nothing"), ("null", "what it printed is not an ExecCredential")] {
        plugin.dir.write("credential", credential);
        let mut elector = start(&plugin.flag(&server));
        assert_eq!(elector.wait_to_end().code(), Some(2), "{}", elector.log());
        let log = elector.log();
        let last = log.lines().last().unwrap();
        assert!(last.contains(&format!("{why}; it said \"…")) && last.contains("\\nlog in first\" ("), "{last}");
    }
}

#[test]
fn a_plugin_that_cannot_be_started_is_an_error_at_the_start() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), server(&["secret"]));
    let path = plugin.dir.path("plugin");
    fs::write(&path, "#!/nonexistent/sh\n").unwrap();
    let mut elector = start(&plugin.flag(&server));
    assert_eq!(elector.wait_to_end().code(), Some(2), "{}", elector.log());
    assert!(elector.log().contains("the interpreter that its first line names"), "{}", elector.log());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, log) = run_to_end(Elector::program(), &[&plugin.flag(&server)]);
    assert!(code == Some(2) && log.contains("it is not executable"), "{code:?}: {log}");
}

#[test]
fn a_plugin_ends_with_the_elector() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), server(&["secret"]));
    plugin.first("echo $$ > pid.new && mv pid.new pid; sleep 600; echo never");
    let mut elector = start(&plugin.flag(&server));
    let pid = || Pid::from_raw(fs::read_to_string(plugin.dir.path("pid")).ok()?.trim().parse().ok()?);
    wait_until("the plugin runs", || pid().is_some());
    elector.signal(Signal::TERM);
    assert_eq!(elector.wait_to_end().code(), Some(0), "{}", elector.log());
    // The plugin and its child are one process group, which exists until both have been waited for.
    wait_until("the plugin has ended", || test_kill_process_group(pid().unwrap()).is_err());
    assert!(!elector.log().contains("gives no credentials"), "{}", elector.log());
}

#[test]
fn a_plugin_with_an_unusable_later_answer_is_run_again() {
    let server = server(&["secret"]);
    let plugin = Plugin::new(json!({"token": "secret", "expirationTimestamp": in_seconds(3)}));
    let elector = start(&plugin.flag(&server));
    elector.wait_to_lead();
    plugin.hand_out(json!({"token": "hunter2", "expirationTimestamp": in_seconds(-60)}));
    elector.wait_for_log("its credentials have already expired; log in again, or correct the clock");
    plugin.hand_out(json!({"token": "secret"}));
    elector.wait_to_lead();
    assert_silent_about(&elector, &["hunter2"]);
}

#[test]
fn a_hanging_plugin_blocks_neither_the_port_nor_the_exit() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), server(&["secret"]));
    // It ends by itself when the directory is removed.
    plugin.first("while [ -e config ]; do sleep 0.1; done");
    let mut elector = Elector::start("a", &["--ttl=1s", &plugin.flag(&server)]);
    elector.wait_for_log("gives no credentials: it is still running");
    assert_eq!(elector.ask("/healthz").unwrap().0, 200);
    assert_eq!(elector.body(), r#"{"name":""}"#);
    assert_eq!(plugin.runs(), 1, "one at a time");
    elector.signal(Signal::TERM);
    assert_eq!(elector.wait_to_end().code(), Some(0));
}

#[test]
fn a_leader_whose_plugin_hangs_stops_in_time_and_leads_again_when_it_answers() {
    let (plugin, server) = (Plugin::new(json!({"token": "one"})), server(&["one"]));
    let elector = Elector::start("a", &["--ttl=2s", &plugin.flag(&server)]);
    elector.wait_to_lead();
    plugin.first("while [ -e config ] && [ ! -e go ]; do sleep 0.1; done");
    plugin.hand_out(json!({"token": "two"}));
    server.set_tokens(owned(&[("two", "pod")]));
    wait_until("it leads no longer", || !elector.leads());
    plugin.dir.write("go", "");
    elector.wait_to_lead();
}

#[test]
fn plain_http_needs_no_plugin() {
    let (plugin, server) = (Plugin::new(json!({"token": "secret"})), plain_server());
    start(&plugin.dir.flag(json!({"server": server.url()}), plugin.user())).wait_to_lead();
    assert_eq!(plugin.runs(), 0);
}

#[test]
fn a_token_in_the_kubeconfig_has_precedence_over_a_plugin() {
    let (plugin, server) = (Plugin::new(json!({"token": "never"})), server(&["secret"]));
    let mut user = plugin.user();
    user["token"] = json!("secret");
    start(&plugin.dir.flag(cluster(&server), user)).wait_to_lead();
    assert_eq!(plugin.runs(), 0);
}
