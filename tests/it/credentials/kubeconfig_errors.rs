//! An unusable kubeconfig exits with 2, and one line names the file, the field and what to do.

use crate::common::Elector;
use crate::common::kubeconfig::{Dir, base64, certificate, config, run_to_end, server};
use serde_json::{Value, json};

/// The error for this file, with FILE instead of its path and DIR instead of its directory.
fn complaint(dir: &Dir, content: impl AsRef<[u8]>, args: &[&str]) -> String {
    let path = dir.write("config", content);
    let flag = format!("--kubeconfig={path}");
    let (code, log) = run_to_end(Elector::program(), &[&[flag.as_str()], args].concat());
    assert_eq!(code, Some(2), "{log}");
    assert_eq!(log.lines().count(), 1, "more than one line: {log}");
    let said = log.strip_prefix("leader-elector: ").unwrap_or_else(|| panic!("{log}"));
    assert!(!said.contains("hunter2"), "a secret: {said}");
    said.replace(&path, "FILE").replace(&dir.name(""), "DIR/")
}

fn complaint_about(cluster: Value, user: Value) -> String {
    complaint(&Dir::new(), config(cluster, user).to_string(), &[])
}

fn near() -> Value {
    json!({"server": "http://127.0.0.1:1"})
}

/// A cluster over TLS that is never reached.
fn secure(server: &apiserver::Server) -> Value {
    json!({"server": "https://127.0.0.1:1", "certificate-authority-data": base64(server.ca_pem().unwrap().as_bytes())})
}

#[test]
fn an_invalid_kubeconfig_is_reported_with_its_line() {
    let dir = Dir::new();
    for (content, expected) in [
        (
            "a: b\n\tc: d\n",
            "cannot use the kubeconfig FILE: line 1: invalid YAML: while scanning a plain scalar, found a tab",
        ),
        ("clusters:\n\t- name: a\n", "cannot use the kubeconfig FILE: line 2: invalid YAML: "),
        ("clusters: [}\n", "cannot use the kubeconfig FILE: line 1: invalid YAML: "),
        ("a: b\na: c\n", "cannot use the kubeconfig FILE: line 2: the key \"a\" occurs twice"),
        ("a: &a b\nc: *a\n", "cannot use the kubeconfig FILE: line 2: aliases (*name) are not supported; write the "),
        ("hello", "cannot use the kubeconfig FILE: it is not a map with clusters, users and contexts"),
        ("- a\n", "cannot use the kubeconfig FILE: it is not a map with clusters, users and contexts"),
        ("kind: Pod\n", "cannot use the kubeconfig FILE, line 1, kind: it is \"Pod\", and in a kubeconfig \"Config\""),
        (
            "apiVersion: v2\n",
            "cannot use the kubeconfig FILE, line 1, apiVersion: it is \"v2\", and in a kubeconfig \"v1\"",
        ),
        ("", "cannot use the kubeconfig FILE: current-context is missing or empty; set it, or give --context=NAME"),
        ("clusters: []\n", "cannot use the kubeconfig FILE: current-context is missing or empty; set it, or give "),
        ("current-context: [a]\n", "cannot use the kubeconfig FILE, line 1, current-context: it has to be a text"),
        (
            "current-context: a\ncontexts: {a: b}\n",
            "cannot use the kubeconfig FILE, line 2, contexts: it has to be a list",
        ),
        (
            "current-context: a\ncontexts:\n- a\n",
            "cannot use the kubeconfig FILE, line 3, contexts[0]: it has to be a map",
        ),
    ] {
        let said = complaint(&dir, content, &[]);
        assert!(said.starts_with(expected), "{content:?}: {said}");
    }
    let said = complaint(&dir, b"a: \xff\n", &[]);
    assert_eq!(said, "cannot use the kubeconfig FILE: it is not text in UTF-8");
}

#[test]
fn a_huge_or_deeply_nested_kubeconfig_is_refused() {
    let dir = Dir::new();
    let said = complaint(&dir, "a: b\n".repeat(2 * 1024 * 1024), &[]);
    assert_eq!(said, "cannot use the kubeconfig FILE: it is larger than 4 MiB");
    let said = complaint(&dir, "- ".repeat(512 * 1024), &[]);
    assert!(said.starts_with("cannot use the kubeconfig FILE: line 1: nested more than 32 levels deep"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = Dir::new();
    let missing = dir.name("missing");
    let (code, log) = run_to_end(Elector::program(), &[&format!("--kubeconfig={missing}")]);
    assert_eq!(code, Some(2));
    assert!(log.contains(&format!("cannot read the kubeconfig {missing}: No such file or directory")), "{log}");
    let directory = dir.name("");
    for command in ["--kubeconfig", "KUBECONFIG"] {
        let mut program = Elector::program();
        let flag = format!("--kubeconfig={directory}");
        let args: &[&str] = match command {
            "KUBECONFIG" => {
                program.env("KUBECONFIG", &directory);
                &[]
            }
            _ => &[&flag],
        };
        let (code, log) = run_to_end(program, args);
        assert_eq!(code, Some(2));
        assert!(log.contains(&format!("cannot read the kubeconfig {directory}: Is a directory")), "{log}");
    }
}

#[test]
fn files_without_a_current_context_are_named() {
    let dir = Dir::new();
    let list = format!("{}:{}", dir.write("one", "{}"), dir.name("missing"));
    let mut command = Elector::program();
    command.env("KUBECONFIG", &list);
    let (code, log) = run_to_end(command, &[]);
    assert_eq!(code, Some(2));
    assert!(log.contains("current-context is missing or empty") && log.contains(&dir.name("one")), "{log}");

    let mut command = Elector::program();
    command.env("KUBECONFIG", dir.name("missing"));
    let (code, log) = run_to_end(command, &[]);
    assert_eq!(code, Some(1));
    assert!(log.contains(&format!("no file of $KUBECONFIG exists: {}", dir.name("missing"))), "{log}");
    assert!(log.contains("run in a pod, or give --kubeconfig=FILE"), "{log}");

    let (code, log) = run_to_end(Elector::program(), &["--context=a"]);
    assert_eq!(code, Some(2));
    assert!(log.contains("--context names the context \"a\", which is not in /nonexistent/.kube/config"), "{log}");
}

#[test]
fn an_unknown_name_is_reported_with_the_known_ones() {
    let dir = Dir::new();
    let good = config(near(), json!({}));
    let said = complaint(&dir, good.to_string(), &["--context=there"]);
    assert_eq!(said, "--context names the context \"there\", which is not in FILE; there are [\"here\"]");
    let with = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        complaint(&dir, bad.to_string(), &[])
    };
    assert_eq!(
        with("/current-context", json!("there")),
        "current-context in line 1 of FILE names the context \"there\", which is not in FILE; there are [\"here\"]"
    );
    assert_eq!(
        with("/contexts/0/context/cluster", json!("far")),
        "contexts[\"here\"].context.cluster in line 1 of FILE names the cluster \"far\", which is not in FILE; there are \
         [\"near\"]"
    );
    assert_eq!(
        with("/contexts/0/context/user", json!("you")),
        "contexts[\"here\"].context.user in line 1 of FILE names the user \"you\", which is not in FILE; there are [\"me\"]"
    );
    assert_eq!(
        with("/clusters", json!([])),
        "contexts[\"here\"].context.cluster in line 1 of FILE names the cluster \"near\", which is not in FILE; there are \
         no clusters"
    );
    assert_eq!(
        with("/contexts/0/context", json!({"user": "me"})),
        "cannot use the kubeconfig FILE, line 1, contexts[\"here\"].context.cluster: it is missing; name one of the clusters"
    );
    let many: Vec<Value> = (0..12).map(|n| json!({"name": format!("c{n}")})).collect();
    let said = with("/clusters", json!(many));
    assert!(said.ends_with("\"c8\", \"c9\"] and 2 more"), "{said}");
    let twice = json!([good["clusters"][0], good["clusters"][0]]);
    assert_eq!(
        with("/clusters", twice),
        "cannot use the kubeconfig FILE, line 1, clusters[1].name: \"near\" occurs twice in this list"
    );
}

#[test]
fn a_cluster_that_cannot_be_used_is_named_by_its_field() {
    let field = |name: &str| format!("cannot use the kubeconfig FILE, line 1, clusters[\"near\"].cluster.{name}: ");
    for (cluster, name, why) in [
        (json!({}), "server", "it is missing; write it like https://10.0.0.1:6443"),
        (json!({"server": ["a"]}), "server", "it has to be a text"),
        (json!({"server": "http://a", "proxy-url": "http://b"}), "proxy-url", "proxies are not supported"),
        (json!({"server": "https://a", "tls-server-name": "a b"}), "tls-server-name", "\"a b\" is neither a DNS name"),
        (
            json!({"server": "https://a", "insecure-skip-tls-verify": "yes"}),
            "insecure-skip-tls-verify",
            "it has to be true or false",
        ),
        (
            json!({"server": "https://a", "insecure-skip-tls-verify": true, "certificate-authority": "ca.crt"}),
            "insecure-skip-tls-verify",
            "it excludes certificate-authority",
        ),
        (
            json!({"server": "https://a", "certificate-authority": "a", "certificate-authority-data": "QUJD"}),
            "certificate-authority-data",
            "certificate-authority is given too; leave out one of them",
        ),
        (
            json!({"server": "https://a", "certificate-authority-data": "%"}),
            "certificate-authority-data",
            "it is not base64",
        ),
        (
            json!({"server": "https://a", "certificate-authority": "missing.crt"}),
            "certificate-authority",
            "cannot read DIR/missing.crt: No such file or directory",
        ),
    ] {
        let said = complaint_about(cluster.clone(), json!({}));
        assert!(said.starts_with(&(field(name) + why)), "{cluster}: {said}");
    }
    let said = complaint_about(json!({"server": "https://a", "certificate-authority-data": "QUJD"}), json!({}));
    let expected = "cannot use the CA certificates in clusters[\"near\"].cluster.certificate-authority-data in line 1 of \
                    FILE: it is not PEM: no line begins with -----BEGIN";
    assert_eq!(said, expected);
    for url in ["a:6443", "https://me:hunter2@a", "https://a?token=hunter2"] {
        let said = complaint_about(json!({"server": url}), json!({}));
        let expected = "cannot use the address of clusters[\"near\"].cluster.server in line 1 of FILE: ";
        assert!(said.starts_with(expected), "{url}: {said}");
    }
}

#[test]
fn a_user_that_cannot_be_used_is_named_by_its_field() {
    let field = |name: &str| format!("cannot use the kubeconfig FILE, line 1, users[\"me\"].user.{name}: ");
    let none = "user names and passwords are not supported";
    for (user, name, why) in [
        (json!({"username": "me", "password": "hunter2"}), "username", none),
        (json!({"password": "hunter2"}), "password", none),
        (json!({"auth-provider": {"name": "gcp"}}), "auth-provider", "auth providers are not supported"),
        (json!({"as": "you"}), "as", "impersonation is not supported"),
        (json!({"as-groups": ["you"]}), "as-groups", "impersonation is not supported"),
        (json!({"token": "hunter2 hunter2"}), "token", "it contains white space or bytes that are not allowed in"),
        (json!({"token": {"a": "hunter2"}}), "token", "it has to be a text"),
        (json!({"token": 12345}), "token", "it has to be a text; put it in quotes"),
        (json!({"tokenFile": true}), "tokenFile", "it has to be a text; put it in quotes"),
        (json!({"tokenFile": "missing"}), "tokenFile", "cannot read DIR/missing: No such file or directory"),
        (json!({"client-certificate": "a"}), "client-key", "it is missing, and the client certificate needs its key"),
        (
            json!({"client-key-data": "QUJD"}),
            "client-certificate",
            "it is missing, and the client key needs its certificate",
        ),
        (
            json!({"client-certificate": "a", "client-key": "b"}),
            "client-certificate",
            "cannot read DIR/a: No such file",
        ),
        (
            json!({"client-certificate-data": base64(OLD_CERTIFICATE.as_bytes()), "client-key": "b"}),
            "client-key",
            "cannot read DIR/b: No such file",
        ),
        (
            json!({"client-certificate-data": "hunter2!", "client-key": "b"}),
            "client-certificate-data",
            "it is not base64",
        ),
    ] {
        let said = complaint_about(near(), user.clone());
        assert!(said.starts_with(&(field(name) + why)), "{user}: {said}");
    }
}

#[test]
fn a_certificate_and_a_key_that_do_not_match_are_named() {
    let server = server(&[]);
    let (one, other) = (certificate(&server, "one"), certificate(&server, "other"));
    let pem = |text: &str| base64(text.as_bytes());
    let encrypted = one.key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (certificate, key, why) in [
        (pem(&one.certificate_pem), pem(&other.key_pem), "the key does not belong to the certificate"),
        (pem("hunter2"), pem(&one.key_pem), "the certificate is not PEM: no line begins with -----BEGIN"),
        (pem(&one.key_pem), pem(&one.key_pem), "it is PEM, but contains no certificate"),
        (pem(&one.certificate_pem), pem("hunter2"), "the private key is not PEM: no line begins with -----BEGIN"),
        (pem(&one.certificate_pem), pem(&one.certificate_pem), "it is PEM, but contains no private key"),
        (pem(&one.certificate_pem), pem(&encrypted), "the key is encrypted, which is not supported"),
    ] {
        let said =
            complaint_about(secure(&server), json!({"client-certificate-data": certificate, "client-key-data": key}));
        let expected = format!(
            "cannot use the client certificate of users[\"me\"].user.client-certificate-data in line 1 of FILE with \
             users[\"me\"].user.client-key-data in line 1 of FILE: {why}"
        );
        assert_eq!(said, expected);
    }
}

/// A self-signed certificate of version 1, which `openssl x509 -req` makes by default.
const OLD_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBGjCBwQIUbgQkoHXafxa1aZwvdGMiBY1mB1IwCgYIKoZIzj0EAwIwDzENMAsG
A1UEAwwEamFuZTAgFw0yNjExMjIxNjUxMTZaGA8yMTI2MTAyOTE2NTExNlowDzEN
MAsGA1UEAwwEamFuZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNqYGOfh9aeV
vOfKmUoYseCT9j6QMo2XwNXpTv8G/kj5nXH1OLPdYAlhBKdz+tv8dmHiLpdVon4c
lROMnOWJStIwCgYIKoZIzj0EAwIDSAAwRQIgD7ztWl/9T6oTd1S4o42ZPt4Cqmxi
sGRMmX9FHBUloIACIQCiPQnpkuK4poqtf8ZbuOfW4L7R+scGwLR43lZDSL3PaA==
-----END CERTIFICATE-----
";

const ITS_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglDCHDJaOTp5harBO
2jlGnobJbMiG1novtbsQe+CswKShRANCAATamBjn4fWnlbznyplKGLHgk/Y+kDKN
l8DV6U7/Bv5I+Z1x9Tiz3WAJYQSnc/rb/HZh4i6XVaJ+HJUTjJzliUrS
-----END PRIVATE KEY-----
";

#[test]
fn a_certificate_of_the_first_version_is_compared_with_its_key_too() {
    let server = server(&[]);
    let other = certificate(&server, "other").key_pem;
    let user = |key: &str| {
        let [certificate, key] = [OLD_CERTIFICATE, key].map(|pem| base64(pem.as_bytes()));
        json!({"client-certificate-data": certificate, "client-key-data": key})
    };
    let said = complaint_about(secure(&server), user(&other));
    assert!(said.ends_with("the key does not belong to the certificate"), "{said}");
    // With its own key there is no error about it, only about the next field.
    let mut good = user(ITS_KEY);
    good["exec"] = json!("aws");
    let said = complaint_about(secure(&server), good);
    assert!(said.contains("users[\"me\"].user.exec: it has to be a map"), "{said}");
}

#[test]
fn a_plugin_that_cannot_be_used_is_named_by_its_field() {
    let server = server(&[]);
    let field = |name: &str| format!("cannot use the kubeconfig FILE, line 1, users[\"me\"].user.exec{name}: ");
    let v1 = "client.authentication.k8s.io/v1";
    for (exec, name, why) in [
        (json!("aws"), "", "it has to be a map"),
        (json!({"apiVersion": v1}), ".command", "it is missing; name the program to run"),
        (json!({"command": "sh"}), ".apiVersion", "it is missing; write client.authentication.k8s.io/v1 or "),
        (
            json!({"command": "sh", "apiVersion": "client.authentication.k8s.io/v1alpha1"}),
            ".apiVersion",
            "\"client.authentication.k8s.io/v1alpha1\" is not supported, only client.authentication.k8s.io/v1 or ",
        ),
        (json!({"command": "sh", "apiVersion": v1, "args": "get-token"}), ".args", "it has to be a list"),
        (json!({"command": "sh", "apiVersion": v1, "args": [["a"]]}), ".args[0]", "it has to be a text"),
        (
            json!({"command": "sh", "apiVersion": v1, "env": [{"name": "a=b"}]}),
            ".env[0].name",
            "it must be the name of an environment variable",
        ),
        (
            json!({"command": "sh", "apiVersion": v1, "interactiveMode": "Always"}),
            ".interactiveMode",
            "the plugin needs interactive input, which is not available",
        ),
        (
            json!({"command": "sh", "apiVersion": v1, "interactiveMode": "Sometimes"}),
            ".interactiveMode",
            "\"Sometimes\" is not Never, IfAvailable or Always",
        ),
    ] {
        let said = complaint_about(secure(&server), json!({"exec": exec}));
        assert!(said.starts_with(&(field(name) + why)), "{exec}: {said}");
    }
    let missing = |command: &str| {
        complaint_about(
            secure(&server),
            json!({"exec": {"command": command, "apiVersion": v1, "installHint": "install it:\n  apt install it\n"}}),
        )
    };
    assert_eq!(
        missing("no-such-plugin"),
        "the exec plugin \"no-such-plugin\" gives no credentials: it is not in $PATH; install it:\\n  apt install it \
         (users[\"me\"].user.exec in line 1 of FILE)"
    );
    assert_eq!(
        missing("./no-such-plugin"),
        "the exec plugin \"DIR/./no-such-plugin\" gives no credentials: the file does not exist; install it:\\n  \
         apt install it (users[\"me\"].user.exec in line 1 of FILE)"
    );
}
