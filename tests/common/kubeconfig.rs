//! Kubeconfig files, and the files that they refer to.

use super::Elector;
use apiserver::{ClientCertificate, Options, Rule, Server};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// A temporary directory; removed when dropped.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kubeconfig-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path as text.
    pub fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Replaces a file atomically; creates its directory if it is missing.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = self.path(".new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
        self.name(name)
    }

    /// Makes a pipe, which blocks its reader until it is written.
    pub fn pipe(&self, name: &str) -> String {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
        self.name(name)
    }

    /// Writes an executable shell script.
    pub fn script(&self, name: &str, lines: &str) -> String {
        self.write(name, format!("#!/bin/sh\n{lines}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        self.name(name)
    }

    /// Writes `config` with this cluster and user, and returns the flag that names it.
    pub fn flag(&self, cluster: Value, user: Value) -> String {
        format!("--kubeconfig={}", self.write("config", config(cluster, user).to_string()))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A kubeconfig with one context, `here`, with this cluster and user.
pub fn config(cluster: Value, user: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "near", "user": "me"}}],
        "clusters": [{"name": "near", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
    })
}

/// The cluster entry of this server, with its CA in the file itself.
pub fn cluster(server: &Server) -> Value {
    json!({"server": server.url(), "certificate-authority-data": base64(server.ca_pem().unwrap().as_bytes())})
}

/// An API server with TLS. The user `pod`, with these tokens, and the group `electors` may do everything.
pub fn server(tokens: &[&str]) -> Server {
    let tokens = tokens.iter().map(|token| ((*token).to_owned(), "pod".to_owned())).collect();
    let rules = vec![Rule::new("pod", &["*"], "*"), Rule::new("electors", &["*"], "*")];
    Server::start(Options { tls: true, tokens, rules, ..Options::default() }).unwrap()
}

/// A client certificate for the group `electors` that is valid for a day.
pub fn certificate(server: &Server, user: &str) -> ClientCertificate {
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
    server.client_certificate(user, Some("electors"), tomorrow).unwrap()
}

/// Starts an elector that reads this kubeconfig, with a lease of six seconds.
pub fn start(flag: &str) -> Elector {
    Elector::start("a", &[super::cluster::STEADY, flag])
}

/// Runs the program until it exits; returns its exit code and log.
pub fn run_to_end(command: Command, args: &[&str]) -> (Option<i32>, String) {
    let mut elector = Elector::spawn(command, "a", args);
    let code = elector.wait_to_end().code();
    (code, elector.log())
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |index: usize| match index <= chunk.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * index) & 63) as usize]),
            false => '=',
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
