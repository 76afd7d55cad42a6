//! An API server for tests that run against two implementations: a real kube-apiserver with etcd, and the in-memory API
//! server of the crate `apiserver`.
//!
//! If the environment variable `KUBEBUILDER_ASSETS` names a directory with `etcd` and `kube-apiserver`, as in tests of
//! Kubernetes controllers, [`ControlPlane::start`] starts both on loopback, with new certificates and keys, service
//! accounts and RBAC. Otherwise it starts the in-memory API server.
//!
//! In both cases tests change objects over HTTP, with an administrator's token. The trait `Backend` has an implementation
//! for each server. It covers what differs: accounts, rights, tokens, the log of requests and writes, and faults.

#![forbid(unsafe_code)]

mod audit;
mod certificates;
mod client;
mod in_memory;
mod process;
mod real;

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

pub use crate::client::Answer;
use crate::client::Client;
use crate::in_memory::InMemoryBackend;
use crate::real::RealBackend;

/// The environment variable that names the directory with etcd and kube-apiserver.
pub const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The namespace of the account, in which its rights apply.
    pub namespace: String,
    /// The name of the account.
    pub name: String,
}

impl Account {
    /// The user name that the API server gives the account.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// The name of the role with its rights on a resource, on a real server.
    pub fn role(&self, resource: &str) -> String {
        format!("{}-{resource}", self.name)
    }
}

/// A token that can be revoked.
#[derive(Clone, Debug)]
pub struct Token {
    /// The text of the token.
    pub text: String,
    account: Account,
    /// The Secret to which the token is bound: the token is valid while the Secret exists.
    bound_to: String,
}

/// A request with its answer, or an opened watch.
#[derive(Clone, Debug)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// `endpoints`, `configmaps` or `leases`.
    pub resource: String,
    /// Empty for requests without a namespace.
    pub namespace: String,
    /// The user of its token; empty without a token.
    pub user: String,
    /// The status of the answer.
    pub status: Option<u16>,
}

/// A committed state of an object.
#[derive(Clone, Debug)]
pub struct Commit {
    /// It was committed between these two instants.
    pub within: (Instant, Instant),
    /// The object after the commit; `None` if it was deleted.
    pub object: Option<Value>,
}

/// The differences between a real server and the in-memory one.
trait Backend: Send + Sync {
    fn name(&self) -> String;
    fn address(&self) -> SocketAddr;
    fn ca_pem(&self) -> &str;
    fn admin(&self) -> &Client;
    fn add_namespace(&self, namespace: &str);
    fn add_account(&self, account: &Account);
    fn allow(&self, account: &Account, resource: &str, name: &str, verbs: &[&str]);
    fn token(&self, account: &Account, bound_to: &str) -> String;
    fn revoke(&self, token: &Token);
    fn processes(&self) -> Vec<u32>;
    fn requests(&self) -> Vec<Request>;
    fn commits(&self, resource: &str, namespace: &str) -> Vec<Commit>;
    fn kill_server(&self);
    fn start_server(&self);
    fn kill_storage(&self);
    fn start_storage(&self);
    fn pause_storage(&self);
    fn resume_storage(&self);
    fn forget_history(&self);
}

/// A running API server. Dropping it stops everything that was started.
pub struct ControlPlane {
    backend: Box<dyn Backend>,
    is_real: bool,
    /// Declared after the backend, so that it is dropped after the backend has stopped.
    dir: TempDir,
}

impl ControlPlane {
    /// Starts a real server if `KUBEBUILDER_ASSETS` is set, otherwise the in-memory one, and waits until it answers. Its
    /// files are in a new directory below `dir`, which is removed at the end.
    ///
    /// # Errors
    /// If a program does not start; the error contains the last lines that it printed.
    pub fn start(dir: &Path) -> io::Result<ControlPlane> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = TempDir(dir.join(format!("controlplane-{}-{number}", std::process::id())));
        fs::create_dir_all(&dir.0)?;
        let assets = assets();
        let is_real = assets.is_some();
        let backend: Box<dyn Backend> = match assets {
            Some(assets) => Box::new(RealBackend::start(&assets, &dir.0)?),
            None => Box::new(InMemoryBackend::start()?),
        };
        let plane = ControlPlane { backend, is_real, dir };
        plane.write_kubeconfig()?;
        Ok(plane)
    }

    /// Whether it is a real kube-apiserver.
    pub fn is_real(&self) -> bool {
        self.is_real
    }

    /// A description of the server.
    pub fn name(&self) -> String {
        self.backend.name()
    }

    /// The HTTPS address of the server.
    pub fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    /// The CA that signed the server's certificate.
    pub fn ca_pem(&self) -> &str {
        self.backend.ca_pem()
    }

    /// Sends a request as an administrator; `path` begins with a slash.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.backend.admin().send(method, path, body)
    }

    /// Sends a request with another token.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn send_as(&self, token: &Token, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.backend.admin().send_as(&token.text, method, path, body)
    }

    /// The object; `None` if it does not exist, or if there is no answer.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let answer = self.send("GET", &object_path(resource, namespace, name), None).ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    /// Creates an object: `object` with this name.
    ///
    /// # Panics
    /// If the server does not create it. `edit` and `delete` panic in the same way.
    pub fn create(&self, resource: &str, namespace: &str, name: &str, mut object: Value) -> Value {
        object["metadata"]["name"] = name.into();
        self.backend.admin().send_successfully("POST", &collection_path(resource, namespace), &object)
    }

    /// Reads an object, changes it, and writes it back; repeats that after conflicts.
    pub fn edit(&self, resource: &str, namespace: &str, name: &str, change: impl Fn(&mut Value)) -> Value {
        let path = object_path(resource, namespace, name);
        loop {
            let mut object = self.get(resource, namespace, name).unwrap_or_else(|| panic!("{path} does not exist"));
            change(&mut object);
            match self.send("PUT", &path, Some(&object)) {
                Ok(answer) if answer.status == 200 => return answer.body,
                Ok(answer) if answer.status == 409 => {}
                other => panic!("cannot write {path}: {other:?}"),
            }
        }
    }

    /// Deletes an object.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let path = object_path(resource, namespace, name);
        let answer = self.send("DELETE", &path, None);
        assert!(answer.as_ref().is_ok_and(|it| it.status == 200), "cannot delete {path}: {answer:?}");
    }

    /// Creates a namespace.
    pub fn add_namespace(&self, namespace: &str) {
        self.backend.add_namespace(namespace);
    }

    /// Creates a service account without rights.
    pub fn add_account(&self, namespace: &str, name: &str) -> Account {
        let account = Account { namespace: namespace.to_owned(), name: name.to_owned() };
        self.backend.add_account(&account);
        account
    }

    /// Replaces an account's rights on a resource: `create` in the whole namespace, the other verbs on the object of this
    /// name. Waits until the rights are in force.
    pub fn allow(&self, account: &Account, resource: &str, name: &str, verbs: &[&str]) {
        self.backend.allow(account, resource, name, verbs);
    }

    /// A new token of an account, like those that the kubelet projects into pods. It is valid for ten minutes, or until
    /// [`ControlPlane::revoke`].
    pub fn token(&self, account: &Account) -> Token {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let bound_to = format!("token-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let text = self.backend.token(account, &bound_to);
        Token { text, account: account.clone(), bound_to }
    }

    /// Deletes the Secret to which a token is bound. A real server accepts the token for about 10 s more, because it
    /// caches tokens.
    pub fn revoke(&self, token: &Token) {
        self.backend.revoke(token);
    }

    /// Whether the server accepts this token.
    pub fn accepts(&self, token: &Token) -> bool {
        let path = object_path("configmaps", &token.account.namespace, "none");
        let answer = self.send_as(token, "GET", &path, None);
        answer.is_ok_and(|answer| answer.status != 401)
    }

    /// The process IDs of the server and of etcd. For the in-memory server that is this process.
    pub fn processes(&self) -> Vec<u32> {
        self.backend.processes()
    }

    /// The requests that have been answered so far, and the watches that have been opened.
    pub fn requests(&self) -> Vec<Request> {
        self.backend.requests()
    }

    /// The acknowledged states of a namespace's objects of this resource, in order.
    pub fn commits(&self, resource: &str, namespace: &str) -> Vec<Commit> {
        self.backend.commits(resource, namespace)
    }

    /// Kills the API server; the stored objects remain.
    pub fn kill_server(&self) {
        self.backend.kill_server();
    }

    /// Starts the API server again at the same address, and waits until it answers.
    pub fn start_server(&self) {
        self.backend.start_server();
    }

    /// Kills etcd. The in-memory server has no etcd: it stops answering instead.
    pub fn kill_storage(&self) {
        self.backend.kill_storage();
    }

    /// Starts etcd again, and waits until the API server uses it.
    pub fn start_storage(&self) {
        self.backend.start_storage();
    }

    /// Pauses etcd, so that all requests for objects hang.
    pub fn pause_storage(&self) {
        self.backend.pause_storage();
    }

    /// Resumes etcd.
    pub fn resume_storage(&self) {
        self.backend.resume_storage();
    }

    /// Restarts the server with an empty watch cache, so that watches must start again.
    pub fn forget_history(&self) {
        self.backend.forget_history();
    }

    /// `kubectl` with the administrator's kubeconfig and this namespace. The program in `KUBEBUILDER_ASSETS` is preferred
    /// to that in `PATH`; `None` if neither exists.
    pub fn kubectl(&self, namespace: &str) -> Option<Command> {
        let dirs = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let program = assets().into_iter().chain(dirs).map(|dir| dir.join("kubectl")).find(|file| file.is_file())?;
        let mut command = Command::new(program);
        command.arg(format!("--namespace={namespace}")).env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.dir.0);
        Some(command)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.0.join("kubeconfig")
    }

    fn write_kubeconfig(&self) -> io::Result<()> {
        let ca = self.dir.0.join("ca-of-the-server.crt");
        fs::write(&ca, self.ca_pem())?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {
                "server": format!("https://{}", self.address()), "certificate-authority": ca,
            }}],
            "users": [{"name": "admin", "user": {"token": self.backend.admin().token()}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        });
        fs::write(self.kubeconfig(), config.to_string())
    }
}

/// A directory that is removed when dropped.
struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The directory that `KUBEBUILDER_ASSETS` names.
fn assets() -> Option<PathBuf> {
    env::var_os(ASSETS).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// The URL path of a resource in a namespace.
pub fn collection_path(resource: &str, namespace: &str) -> String {
    let path = match group_of(resource) {
        "" => "api/v1".to_owned(),
        group => format!("apis/{group}/v1"),
    };
    format!("/{path}/namespaces/{namespace}/{resource}")
}

/// The URL path of an object.
pub fn object_path(resource: &str, namespace: &str, name: &str) -> String {
    format!("{}/{name}", collection_path(resource, namespace))
}

/// The API group of a resource.
fn group_of(resource: &str) -> &'static str {
    match resource {
        "leases" => "coordination.k8s.io",
        "endpointslices" => "discovery.k8s.io",
        _ => "",
    }
}
