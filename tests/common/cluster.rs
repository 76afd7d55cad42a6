//! The environment of electors: an API server, the lock in it, its requests, and service accounts.

use super::lock::{RECORD, record_of};
use super::{Elector, PATIENCE, wait_until};
use apiserver::{Options, RequestSeen, Server};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// An API server with plain HTTP that allows everything.
pub fn plain_server() -> Server {
    Server::start(Options::default()).unwrap()
}

/// An API server with TLS and these tokens, whose users may do everything.
pub fn tls_server(listen: &str, tokens: &[(&str, &str)]) -> Server {
    let rules = vec![apiserver::Rule::new("pod", &["*"], "*")];
    Server::start(Options { listen: listen.to_owned(), tls: true, tokens: owned(tokens), rules, ..Options::default() })
        .unwrap()
}

/// Pairs of token and user for the server.
pub fn owned(tokens: &[(&str, &str)]) -> Vec<(String, String)> {
    tokens.iter().map(|(token, user)| ((*token).to_owned(), (*user).to_owned())).collect()
}

/// A lease that survives a busy machine, renewed so often that nobody waits for long: D is 4 s and T 1.3 s.
pub const STEADY: &str = "--ttl=6s --retry-period=200ms";

/// Starts an elector with this server, and with a lease of a second unless `args` contain another.
pub fn elector(server: &Server, id: &str, args: &[&str]) -> Elector {
    let address = format!("--server={}", server.url());
    Elector::start(id, &[&["--ttl=1s", address.as_str()], args].concat())
}

/// Waits until a condition of the server holds.
pub fn wait_for(server: &Server, what: &str, condition: impl FnMut(&Server) -> bool) {
    assert!(server.wait_until(PATIENCE, condition), "timed out after {PATIENCE:?}: {what}");
}

/// The record in the lock; `None` if there is none.
pub fn record(server: &Server) -> Option<Value> {
    record_in(&server.get("endpoints", "default", "example")?)
}

fn record_in(object: &Value) -> Option<Value> {
    Some(record_of(object)).filter(|record| !record.is_null())
}

/// The holder in an object, empty if nobody holds the lock; `None` without a record.
pub fn holder_in(object: &Value) -> Option<String> {
    record_in(object)?["holderIdentity"].as_str().map(str::to_owned)
}

/// The holder of the lock; empty if nobody holds it.
pub fn holder(server: &Server) -> String {
    server.get("endpoints", "default", "example").as_ref().and_then(holder_in).unwrap_or_default()
}

/// A lock object as another elector writes it, with a lease of this number of seconds.
pub fn lock_of(holder: &str, seconds: u32) -> Value {
    let now = "2026-01-01T00:00:00Z";
    let record = json!({
        "holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": now, "renewTime": now,
        "leaderTransitions": 0,
    });
    json!({"metadata": {"name": "example", "annotations": {RECORD: record.to_string()}}})
}

/// Writes the lock as another client.
pub fn put(server: &Server, lock: Value) {
    server.put("endpoints", "default", lock);
}

/// A matcher for faults: all requests with one of these verbs.
pub fn on(verbs: &'static [&'static str]) -> impl Fn(&RequestSeen) -> bool + Send + Sync + 'static {
    move |request| verbs.contains(&request.verb)
}

/// The requests with this verb so far.
pub fn requests(server: &Server, verb: &str) -> Vec<RequestSeen> {
    server.requests().into_iter().filter(|request| request.verb == verb).collect()
}

/// Waits until the holder has renewed its lease `count` times from now on.
pub fn wait_for_renewals(server: &Server, count: usize) {
    assert!(renews(server, count, PATIENCE), "timed out after {PATIENCE:?}: the lease is renewed");
}

/// Whether the holder renews its lease `count` times within this time from now on.
pub fn renews(server: &Server, count: usize, patience: Duration) -> bool {
    let renewals = |server: &Server| server.history().len();
    let before = renewals(server);
    server.wait_until(patience, |server| renewals(server) >= before + count)
}

/// The directory of a service account; removed when dropped.
pub struct ServiceAccount(PathBuf);

impl ServiceAccount {
    pub fn new(token: &str, ca: &str) -> ServiceAccount {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("service-account-{}-{number}", std::process::id());
        let account = ServiceAccount(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        fs::create_dir_all(&account.0).unwrap();
        account.write("token", token);
        account.write("ca.crt", ca);
        account
    }

    /// Replaces a file atomically, as the kubelet does.
    pub fn write(&self, name: &str, content: &str) {
        let new = self.0.join(format!("{name}.new"));
        fs::write(&new, content).unwrap();
        fs::rename(new, self.0.join(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).unwrap();
    }

    /// The path of one of its files.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// The flag `--service-account-dir` with this directory.
    pub fn flag(&self) -> String {
        format!("--service-account-dir={}", self.0.display())
    }
}

impl Drop for ServiceAccount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until a log has at least this many lines with this text.
pub fn wait_for_lines(elector: &Elector, text: &str, count: usize) {
    wait_until(&format!("{count} lines of {text:?}"), || lines(elector, text) >= count);
}

/// How many lines of the log contain this text.
pub fn lines(elector: &Elector, text: &str) -> usize {
    elector.log().lines().filter(|line| line.contains(text)).count()
}

/// Runs a function with each of these at the same time, because most of the time they wait.
pub fn all_at_once<T: Send>(items: Vec<T>, run: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for item in items {
            scope.spawn(|| run(item));
        }
    });
}
