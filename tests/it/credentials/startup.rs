//! If the program lacks what it needs to reach the API server, it does not start, and says what it looked for.

use crate::common::Elector;
use crate::common::cluster::{ServiceAccount, tls_server};

/// Runs the program until it exits; returns its exit code and log.
fn run(environment: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Elector::program();
    command.envs(environment.iter().copied());
    let mut elector = Elector::spawn(command, "a", args);
    let code = elector.wait_to_end().code();
    (code, elector.log())
}

fn assert_says(log: &str, words: &[&str]) {
    for word in words {
        assert!(log.contains(word), "{word:?} is not in: {log}");
    }
    assert_eq!(log.lines().count(), 1, "more than one line: {log}");
}

#[test]
fn without_any_credentials_it_says_what_it_looked_for_and_what_to_do() {
    let (code, log) = run(&[], &[]);
    assert_eq!(code, Some(1));
    assert_says(&log, &["KUBERNETES_SERVICE_HOST", "run in a pod", "--server=URL"]);
}

#[test]
fn a_pod_without_a_service_account_is_told_to_mount_one() {
    let pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
    let account = ServiceAccount::new("x", "x");
    account.remove("token");
    let (code, log) = run(&pod, &[&account.flag()]);
    assert_eq!(code, Some(1));
    assert_says(&log, &["/token", "No such file", "automountServiceAccountToken", "--server=URL"]);
}

#[test]
fn half_an_address_in_the_environment_names_the_other_half() {
    let (code, log) = run(&[("KUBERNETES_SERVICE_HOST", "127.0.0.1")], &[]);
    assert_eq!(code, Some(1));
    assert_says(&log, &["KUBERNETES_SERVICE_PORT", "not set"]);
    let (code, log) = run(&[("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "https")], &[]);
    assert_eq!(code, Some(1));
    assert_says(&log, &["KUBERNETES_SERVICE_PORT", "\"https\"", "not a port number"]);
}

#[test]
fn an_invalid_server_address_is_a_usage_error() {
    for url in [
        "",
        "10.0.0.1:6443",
        "ftp://10.0.0.1",
        "https://",
        "https://:443",
        "https://a:0",
        "https://a:65536",
        "https://a:x",
        "https://fd00::1",
        "https://[fd00::1",
        "https://exämple",
    ] {
        let (code, log) = run(&[], &[&format!("--server={url}")]);
        assert_eq!(code, Some(2), "{url}: {log}");
        assert_says(&log, &["--server", "https://10.0.0.1:6443"]);
    }
}

#[test]
fn an_address_that_holds_a_secret_is_refused_and_not_repeated() {
    for url in ["https://user:hunter2@a", "https://a/?token=hunter2", "https://a/#hunter2", "user:hunter2@a"] {
        let (code, log) = run(&[], &[&format!("--server={url}")]);
        assert_eq!(code, Some(2), "{url}: {log}");
        assert_says(&log, &["--server"]);
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[test]
fn a_token_file_that_holds_no_token_is_named() {
    let server = tls_server("127.0.0.1:0", &[]);
    for (token, why) in [("", "empty"), (" \n", "empty"), ("two words", "white space")] {
        let account = ServiceAccount::new(token, server.ca_pem().unwrap());
        let (code, log) = run(&[], &[&format!("--server={}", server.url()), &account.flag()]);
        assert_eq!(code, Some(1));
        assert_says(&log, &["cannot use the token in", "/token", why]);
    }
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_named() {
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    for (ca, why) in [
        ("", "empty"),
        ("hello", "not PEM"),
        (key, "contains no certificate"),
        (broken, "certificate 1 of 1 cannot be used"),
        (cut, "not valid PEM"),
    ] {
        let account = ServiceAccount::new("x", ca);
        let (code, log) = run(&[], &["--server=https://127.0.0.1:1", &account.flag()]);
        assert_eq!(code, Some(1));
        assert_says(&log, &["cannot use the CA certificates in", "/ca.crt", why]);
    }
}

#[test]
fn an_https_server_without_a_ca_is_not_asked() {
    let (code, log) = run(&[], &["--server=https://127.0.0.1:1"]);
    assert_eq!(code, Some(1));
    assert_says(&log, &["no CA certificates", "ca.crt", "kubectl proxy"]);
}

#[test]
fn the_mounted_service_account_is_used_with_a_server_too_where_that_is_asked_for() {
    let (code, log) = run(&[], &["--server=https://127.0.0.1:1", "--use-cluster-credentials"]);
    assert_eq!(code, Some(1));
    assert_says(&log, &["/var/run/secrets/kubernetes.io/serviceaccount/"]);
}
