//! The source of the server address and the token, and replaced tokens.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use crate::common::api_client::*;
use leader_elector::api::{Api, FailureKind};
use leader_elector::credentials::Credentials;

/// Keeps everything that tests of this file log.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

impl log::Log for Keep {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        log_so_far().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn log_so_far() -> MutexGuard<'static, Vec<String>> {
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many lines with this text were logged.
fn logged(part: &str) -> usize {
    log_so_far().iter().filter(|line| line.contains(part)).count()
}

/// A server that accepts everything, and a client with the token of this account; the log is kept.
fn with_token(account: &ServiceAccount) -> (Server, Api) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keep).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
    let server = Server::answering(answer("200 OK", "", "{}"));
    let api = client_of(&server, account);
    (server, api)
}

fn client_of(server: &Server, account: &ServiceAccount) -> Api {
    Api::new(Arc::new(Credentials::server(&server.url(), Some(account.dir())).unwrap()), LONG)
}

/// The token in a request that is sent now.
fn token_sent(server: &Server, api: &Api) -> String {
    api.get(&endpoints(), LONG).unwrap();
    server.next().header("authorization").unwrap().to_owned()
}

#[test]
fn the_token_is_the_present_content_of_its_file() {
    let account = ServiceAccount::with(&[("token", "one\n")]);
    let (server, api) = with_token(&account);
    assert_eq!(token_sent(&server, &api), "Bearer one");
    account.write("token", "two");
    assert_eq!(token_sent(&server, &api), "Bearer two");
    fs::write(account.path("token"), "three").unwrap();
    assert_eq!(token_sent(&server, &api), "Bearer three");
    assert_eq!(logged("Bearer ") + logged("three"), 0);
}

#[test]
fn a_token_of_twelve_kilobytes_still_fits() {
    let token = "t".repeat(12 * 1024);
    let account = ServiceAccount::with(&[("token", &token)]);
    let (server, api) = with_token(&account);
    assert_eq!(token_sent(&server, &api), format!("Bearer {token}"));
}

#[test]
fn a_token_rotates_behind_the_symlinks_of_a_projected_volume() {
    let account = ServiceAccount::new();
    for (version, token) in [("..1", "old"), ("..2", "new")] {
        fs::create_dir(account.path(version)).unwrap();
        fs::write(account.path(version).join("token"), token).unwrap();
    }
    symlink("..1", account.path("..data")).unwrap();
    symlink("..data/token", account.path("token")).unwrap();
    let (server, api) = with_token(&account);
    assert_eq!(token_sent(&server, &api), "Bearer old");
    symlink("..2", account.path("..data_tmp")).unwrap();
    fs::rename(account.path("..data_tmp"), account.path("..data")).unwrap();
    assert_eq!(token_sent(&server, &api), "Bearer new");
}

#[test]
fn a_token_file_that_cannot_be_used_leaves_the_old_token_and_is_reported_once() {
    let account = ServiceAccount::with(&[("token", "good")]);
    let (server, api) = with_token(&account);
    let path = account.path("token").display().to_string();
    account.write("token", "");
    assert_eq!(token_sent(&server, &api), "Bearer good");
    fs::remove_file(account.path("token")).unwrap();
    assert_eq!(token_sent(&server, &api), "Bearer good");
    account.write("token", "in two\nlines");
    assert_eq!(token_sent(&server, &api), "Bearer good");
    assert_eq!(logged(&path), 1);

    account.write("token", "better");
    assert_eq!(token_sent(&server, &api), "Bearer better");
    fs::remove_file(account.path("token")).unwrap();
    assert_eq!(token_sent(&server, &api), "Bearer better");
    assert_eq!(logged(&path), 2);
}

/// A server that accepts only the token `new`, and calls `refused` for each other one.
fn wants_new(refused: impl Fn() + Send + Sync + 'static) -> Server {
    Server::http(move |seen, stream| {
        let bytes = match seen.header("authorization") {
            Some("Bearer new") => answer("200 OK", "", "{}"),
            _ => {
                refused();
                answer("401 Unauthorized", "", &status(401, "Unauthorized", "{}"))
            }
        };
        stream.write_all(&bytes).unwrap();
        Then::Stay
    })
}

#[test]
fn a_refused_token_is_read_again_at_once_and_the_request_sent_once_more() {
    let account = Arc::new(ServiceAccount::with(&[("token", "old")]));
    // The file is replaced while the request is in flight.
    let server = wants_new({
        let account = Arc::clone(&account);
        move || account.write("token", "new")
    });
    let reply = client_of(&server, &account).update(&endpoints(), b"[1]", LONG);
    assert_eq!(reply.unwrap(), b"{}");
    let (first, second) = (server.next(), server.next());
    assert_eq!((first.body, first.connection), (second.body.clone(), second.connection));
    assert_eq!(second.header("authorization").unwrap(), "Bearer new");
}

#[test]
fn a_refused_token_that_is_still_in_the_file_is_not_tried_again() {
    let account = ServiceAccount::with(&[("token", "old")]);
    let server = wants_new(|| ());
    let failure = client_of(&server, &account).get(&endpoints(), LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Denied);
    assert_eq!(
        failure.message,
        "cannot read endpoints default/example: 401 unauthorized (Unauthorized); the token was not accepted; is it of \
         this cluster and still valid?"
    );
    server.next();
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn a_request_is_sent_twice_at_most() {
    let account = Arc::new(ServiceAccount::with(&[("token", "0")]));
    let count = AtomicUsize::new(0);
    let server = wants_new({
        let account = Arc::clone(&account);
        move || account.write("token", &format!("other-{}", count.fetch_add(1, Ordering::SeqCst)))
    });
    let failure = client_of(&server, &account).get(&endpoints(), LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Denied);
    assert_eq!(server.seen.try_iter().count(), 2);
}

#[test]
fn without_a_directory_no_token_is_sent() {
    let server = wants_new(|| ());
    let failure = client(&server.url()).get(&endpoints(), LONG).unwrap_err();
    assert_eq!((failure.kind, server.next().header("authorization")), (FailureKind::Denied, None));
    assert!(failure.message.ends_with("; no token was sent"), "{failure}");
}

/// The error in a pod with these files.
fn in_cluster_error(host: Option<&str>, port: Option<&str>, files: &[(&str, &str)]) -> String {
    let account = ServiceAccount::with(files);
    let error = Credentials::in_cluster_at(host, port, account.dir()).unwrap_err();
    error.to_string().replace(&account.dir().display().to_string(), "DIR")
}

#[test]
fn outside_a_pod_the_error_says_what_was_looked_for_and_what_to_do() {
    let unset =
        "which is not set; run in a pod, or give --kubeconfig=FILE, or --server=URL, for example of a `kubectl proxy`";
    for (host, port, missing) in [
        (None, Some("443"), "KUBERNETES_SERVICE_HOST"),
        (Some(""), Some("443"), "KUBERNETES_SERVICE_HOST"),
        (Some("10.0.0.1"), None, "KUBERNETES_SERVICE_PORT"),
    ] {
        assert_eq!(
            in_cluster_error(host, port, &[("token", "t")]),
            format!("looked for an API server in ${missing}, {unset}")
        );
    }
    let advice = "run in a pod with automountServiceAccountToken, or give --kubeconfig=FILE, or --server=URL, for \
                  example of a `kubectl proxy`";
    assert_eq!(
        in_cluster_error(Some("10.0.0.1"), Some("443"), &[]),
        format!("cannot read DIR/token: No such file or directory (os error 2); {advice}")
    );
    assert_eq!(
        in_cluster_error(Some("10.0.0.1"), Some("443"), &[("token", "\n")]),
        format!("cannot use the token in DIR/token: the file is empty; {advice}")
    );
    assert_eq!(
        in_cluster_error(Some("10.0.0.1"), Some("443"), &[("token", "t")]),
        format!("cannot read DIR/ca.crt: No such file or directory (os error 2); {advice}")
    );
    for port in ["", "0", "65536", "tcp://10.0.0.1:443"] {
        assert!(in_cluster_error(Some("10.0.0.1"), Some(port), &[]).contains("KUBERNETES_SERVICE_PORT"));
    }
    for host in ["a b", "http://a", "a/b", "user@a"] {
        assert!(in_cluster_error(Some(host), Some("443"), &[]).contains("KUBERNETES_SERVICE_HOST"), "{host}");
    }
}

#[test]
fn https_needs_ca_certificates() {
    let error = Credentials::server("https://10.0.0.1", None).unwrap_err().to_string();
    assert!(error.starts_with("no CA certificates to know 10.0.0.1:443 by; give "), "{error}");
    let account = ServiceAccount::with(&[("token", "t")]);
    let error = Credentials::server("https://10.0.0.1", Some(account.dir())).unwrap_err().to_string();
    assert!(error.contains("ca.crt"), "{error}");
}
