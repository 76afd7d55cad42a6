//! The user as which an elector with a kubeconfig authenticates, and the servers that it trusts.

use crate::common::cluster::{
    STEADY, holder, lines, owned, record, requests, wait_for, wait_for_lines, wait_for_renewals,
};
use crate::common::kubeconfig::{self, Dir, base64, certificate, cluster, config, server, start};
use crate::common::{Elector, wait_until};
use apiserver::Server;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// The user of the last accepted update.
fn renewed_by(server: &Server) -> Option<String> {
    let updates = requests(server, "update");
    updates.iter().rev().find(|request| request.status == Some(200))?.user.clone()
}

fn wait_for_renewal_by(server: &Server, user: &str) {
    wait_for(server, &format!("{user} renews"), |server| renewed_by(server).as_deref() == Some(user));
}

/// When the term began, which identifies the term.
fn term(server: &Server) -> Value {
    record(server).unwrap()["acquireTime"].clone()
}

#[test]
fn a_token_is_sent() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    let elector = start(&dir.flag(cluster(&server), json!({"token": "secret"})));
    elector.wait_to_lead();
    assert!(server.requests().iter().all(|request| request.user.as_deref() == Some("pod")));
    assert!(!elector.log().contains("secret"), "{}", elector.log());
}

#[test]
fn empty_fields_count_as_absent() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    let mut cluster = cluster(&server);
    cluster["proxy-url"] = json!("");
    let user = json!({
        "token": "secret", "tokenFile": "", "username": "", "password": "", "as": "", "as-groups": [], "as-user-extra": {},
    });
    start(&dir.flag(cluster, user)).wait_to_lead();
}

#[test]
fn a_replaced_token_file_is_used_and_has_precedence_over_a_token() {
    let (dir, server) = (Dir::new(), server(&["one"]));
    dir.write("token", "one\n");
    let user = json!({"tokenFile": "token", "token": "never"});
    let elector = start(&dir.flag(cluster(&server), user));
    elector.wait_to_lead();
    let began = term(&server);
    server.set_tokens(owned(&[("one", "pod"), ("two", "electors")]));
    dir.write("token", "two\n");
    wait_for_renewal_by(&server, "electors");
    assert_eq!(term(&server), began);
}

#[test]
fn a_client_certificate_authenticates() {
    let (dir, server) = (Dir::new(), server(&[]));
    let own = certificate(&server, "jane");
    let pem = |text: &str| base64(text.as_bytes());
    let user = json!({"client-certificate-data": pem(&own.certificate_pem), "client-key-data": pem(&own.key_pem)});
    start(&dir.flag(cluster(&server), user)).wait_to_lead();
    let seen = server.requests();
    assert!(seen.iter().all(|request| request.user.as_deref() == Some("jane") && request.groups == ["electors"]));
}

#[test]
fn replaced_client_certificate_files_are_used() {
    let (dir, server) = (Dir::new(), server(&[]));
    let put = |user: &str| {
        let own = certificate(&server, user);
        dir.write("own.crt", &own.certificate_pem);
        own.key_pem
    };
    dir.write("own.key", put("jane"));
    let user = json!({"client-certificate": "own.crt", "client-key": "own.key"});
    let elector = start(&dir.flag(cluster(&server), user));
    elector.wait_to_lead();
    wait_for_renewal_by(&server, "jane");
    let began = term(&server);
    // While only one file is replaced, the two do not match, and the old ones are used.
    let key = put("joe");
    wait_for_lines(&elector, "the key does not belong to the certificate; using the previous content", 1);
    wait_for_renewals(&server, 2);
    assert_eq!(renewed_by(&server).as_deref(), Some("jane"));
    dir.write("own.key", key);
    wait_for_renewal_by(&server, "joe");
    assert_eq!(term(&server), began);
    assert_eq!(lines(&elector, "using the previous content"), 1, "{}", elector.log());
}

#[test]
fn a_client_certificate_that_is_refused_is_a_401() {
    let (dir, server) = (Dir::new(), server(&[]));
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
    let own = server.client_certificate("jane", Some("electors"), yesterday).unwrap();
    dir.write("own.crt", &own.certificate_pem);
    dir.write("own.key", &own.key_pem);
    let user = json!({"client-certificate": "own.crt", "client-key": "own.key"});
    let mut elector = start(&dir.flag(cluster(&server), user));
    elector.wait_for_log("cannot read endpoints default/example: 401 unauthorized");
    assert!(elector.is_running());
    let own = certificate(&server, "jane");
    dir.write("own.crt", &own.certificate_pem);
    dir.write("own.key", &own.key_pem);
    elector.wait_to_lead();
}

#[test]
fn without_a_user_requests_are_anonymous() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    let mut config = config(cluster(&server), json!({}));
    config["contexts"][0]["context"] = json!({"cluster": "near"});
    let elector = start(&format!("--kubeconfig={}", dir.write("config", config.to_string())));
    elector.wait_for_log("403 forbidden");
    elector.wait_for_log("to \"system:anonymous\"");
}

#[test]
fn a_replaced_ca_file_is_used() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    dir.write("ca.crt", server.ca_pem().unwrap());
    let elector = start(
        &dir.flag(json!({"server": server.url(), "certificate-authority": "ca.crt"}), json!({"token": "secret"})),
    );
    elector.wait_to_lead();
    let began = term(&server);
    dir.write("ca.crt", server.rotate_ca().unwrap());
    server.cut_connections();
    wait_for_renewals(&server, 3);
    assert_eq!(term(&server), began, "{}", elector.log());
}

#[test]
fn tls_server_name_is_the_expected_name() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    let mut cluster = cluster(&server);
    cluster["tls-server-name"] = json!("kubernetes.default.svc");
    start(&dir.flag(cluster.clone(), json!({"token": "secret"}))).wait_to_lead();

    cluster["tls-server-name"] = json!("api.example.com");
    let elector = start(&dir.flag(cluster, json!({"token": "secret"})));
    elector.wait_for_log("is for another server: ");
    elector.wait_for_log("api.example.com");
}

#[test]
fn insecure_skip_tls_verify_trusts_any_server_and_logs_a_warning() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    let insecure = json!({"server": server.url(), "insecure-skip-tls-verify": true});
    let elector = start(&dir.flag(insecure, json!({"token": "secret"})));
    elector.wait_to_lead();
    assert_eq!(lines(&elector, "WARN insecure-skip-tls-verify: any server at 127.0.0.1:"), 1);
    // A certificate of another CA is accepted too.
    let began = term(&server);
    server.rotate_ca().unwrap();
    server.cut_connections();
    wait_for_renewals(&server, 3);
    assert_eq!(term(&server), began);
}

#[test]
fn without_a_ca_those_of_the_system_are_trusted() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    let flag = dir.flag(json!({"server": server.url()}), json!({"token": "secret"}));
    let with_bundle = |path: &str| {
        let mut command = Elector::program();
        command.env("SSL_CERT_FILE", path);
        Elector::start_as(command, "a", &[STEADY, &flag])
    };
    // Invalid entries in such a bundle are ignored.
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bundle = dir.write("bundle.pem", format!("{odd}{}", server.ca_pem().unwrap()));
    with_bundle(&bundle).wait_to_lead();

    let other = kubeconfig::server(&[]);
    let bundle = dir.write("other.pem", other.ca_pem().unwrap());
    with_bundle(&bundle).wait_for_log(&format!("is not signed by a CA in {bundle}"));
}

#[test]
fn a_server_of_plain_http_on_this_machine_gets_the_token() {
    let options = apiserver::Options {
        tokens: owned(&[("secret", "pod")]),
        rules: vec![apiserver::Rule::new("pod", &["*"], "*")],
        ..apiserver::Options::default()
    };
    let (dir, server) = (Dir::new(), Server::start(options).unwrap());
    start(&dir.flag(json!({"server": server.url()}), json!({"token": "secret"}))).wait_to_lead();

    // An address of this machine that is not a loopback address.
    let far =
        Server::start(apiserver::Options { listen: "0.0.0.0:0".into(), ..apiserver::Options::default() }).unwrap();
    let elector = start(&dir.flag(json!({"server": far.url()}), json!({"token": "secret"})));
    elector.wait_to_lead();
    assert!(far.requests().iter().all(|request| request.user.as_deref() == Some("system:anonymous")));
    assert_eq!(lines(&elector, "the token in users[\"me\"].user.token in line 1 of "), 1, "{}", elector.log());
    assert!(!elector.log().contains("secret"), "{}", elector.log());
}

#[test]
fn two_electors_of_one_kubeconfig_hand_over() {
    let (dir, server) = (Dir::new(), server(&["secret"]));
    let flag = dir.flag(cluster(&server), json!({"token": "secret"}));
    let mut leader = start(&flag);
    leader.wait_to_lead();
    let follower = Elector::start("b", &[STEADY, &flag]);
    follower.wait_to_name("a");
    leader.signal(rustix::process::Signal::TERM);
    leader.wait_to_end();
    follower.wait_to_lead();
    wait_until("the lock says so", || holder(&server) == "b");
}
