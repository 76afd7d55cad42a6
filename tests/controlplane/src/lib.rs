//! An API server for tests that are written once and hold for two: a real kube-apiserver with its etcd, and the
//! in-memory stand-in of the crate `apiserver`.
//!
//! Where the environment variable `KUBEBUILDER_ASSETS` names a folder with `etcd` and `kube-apiserver`, as the tests
//! of Kubernetes controllers have it, [`ControlPlane::start`] starts these two, on loopback, with certificates and keys
//! of their own, service accounts and RBAC. Without it the stand-in takes their place.
//!
//! What is done to objects goes over HTTP in both cases, by an administrator's token. What differs stands behind one
//! trait with two implementations: accounts, rights and tokens, what was asked and written, and what can go wrong.

#![forbid(unsafe_code)]

mod audit;
mod certificates;
mod client;
mod genuine;
mod process;
mod stand_in;

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
use crate::genuine::Genuine;
use crate::stand_in::StandIn;

/// Names the folder with the programs.
pub const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Where it is, and where its rights hold.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl Account {
    /// Who it is to the API server.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// The role of a real server that says what it may do with a resource.
    pub fn role(&self, resource: &str) -> String {
        format!("{}-{resource}", self.name)
    }
}

/// A token that can be taken back.
#[derive(Clone, Debug)]
pub struct Token {
    /// What goes into the file.
    pub text: String,
    account: Account,
    /// What it is bound to: it is valid while that exists.
    bound_to: String,
}

/// A request that was answered, or begun to be.
#[derive(Clone, Debug)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// `endpoints`, `configmaps` or `leases`.
    pub resource: String,
    /// Empty for all.
    pub namespace: String,
    /// Whose token came with it; empty if nobody's.
    pub user: String,
    /// The code of the answer.
    pub status: Option<u16>,
}

/// A state of an object that was committed.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Between these two instants.
    pub within: (Instant, Instant),
    /// The object after it; none if it was deleted.
    pub object: Option<Value>,
}

/// What differs between a real server and the stand-in.
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

/// A running API server. Dropping it ends what was started.
pub struct ControlPlane {
    backend: Box<dyn Backend>,
    is_genuine: bool,
    /// After the backend, so that nobody writes there any more when it is dropped.
    dir: Folder,
}

impl ControlPlane {
    /// Starts the real thing where it is at hand, else the stand-in, and waits until it answers. Files go into a
    /// folder of its own below `dir`, which is removed at the end.
    ///
    /// # Errors
    /// If what ought to start does not; what it printed last is in the error.
    pub fn start(dir: &Path) -> io::Result<ControlPlane> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = Folder(dir.join(format!("controlplane-{}-{number}", std::process::id())));
        fs::create_dir_all(&dir.0)?;
        let assets = assets();
        let is_genuine = assets.is_some();
        let backend: Box<dyn Backend> = match assets {
            Some(assets) => Box::new(Genuine::start(&assets, &dir.0)?),
            None => Box::new(StandIn::start()?),
        };
        let plane = ControlPlane { backend, is_genuine, dir };
        plane.write_kubeconfig()?;
        Ok(plane)
    }

    /// Whether it is a real kube-apiserver.
    pub fn is_genuine(&self) -> bool {
        self.is_genuine
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        self.backend.name()
    }

    /// Where it speaks HTTPS.
    pub fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    /// The authority that its certificate is signed by.
    pub fn ca_pem(&self) -> &str {
        self.backend.ca_pem()
    }

    /// One request of an administrator; `path` begins with a slash.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.backend.admin().send(method, path, body)
    }

    /// The same by somebody else's token.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn send_as(&self, token: &Token, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.backend.admin().send_as(&token.text, method, path, body)
    }

    /// An object as it is; none if there is none, or no answer.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let answer = self.send("GET", &object_path(resource, namespace, name), None).ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    /// Creates an object. `object` needs no more than what is in it; its name and type are added.
    ///
    /// # Panics
    /// If the server does not create it; so do `edit` and `delete`.
    pub fn create(&self, resource: &str, namespace: &str, name: &str, mut object: Value) -> Value {
        object["metadata"]["name"] = name.into();
        self.backend.admin().must("POST", &collection_path(resource, namespace), &object)
    }

    /// Reads an object, changes it, and writes it back, again and again until nobody came between.
    pub fn edit(&self, resource: &str, namespace: &str, name: &str, change: impl Fn(&mut Value)) -> Value {
        let path = object_path(resource, namespace, name);
        loop {
            let mut object = self.get(resource, namespace, name).unwrap_or_else(|| panic!("there is no {path}"));
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

    /// Creates a service account that may do nothing yet.
    pub fn add_account(&self, namespace: &str, name: &str) -> Account {
        let account = Account { namespace: namespace.to_owned(), name: name.to_owned() };
        self.backend.add_account(&account);
        account
    }

    /// From now on an account may do this and nothing else with a resource: `create` in all of its namespace, the other
    /// verbs with the objects of that name. Returns once that is in force.
    pub fn allow(&self, account: &Account, resource: &str, name: &str, verbs: &[&str]) {
        self.backend.allow(account, resource, name, verbs);
    }

    /// A token of an account, as one is projected into a pod: it lasts for minutes, and no longer than what it is
    /// bound to.
    pub fn token(&self, account: &Account) -> Token {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let bound_to = format!("token-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let text = self.backend.token(account, &bound_to);
        Token { text, account: account.clone(), bound_to }
    }

    /// Deletes what a token is bound to. A real server knows that after some 10 s, for it caches who a token is of.
    pub fn revoke(&self, token: &Token) {
        self.backend.revoke(token);
    }

    /// Whether requests with this token are taken for its account's.
    pub fn accepts(&self, token: &Token) -> bool {
        let path = object_path("configmaps", &token.account.namespace, "none");
        let answer = self.send_as(token, "GET", &path, None);
        answer.is_ok_and(|answer| answer.status != 401)
    }

    /// The numbers of its processes that run. That of the stand-in is this one.
    pub fn processes(&self) -> Vec<u32> {
        self.backend.processes()
    }

    /// What was asked so far, as far as it has been answered, or begun to be.
    pub fn requests(&self) -> Vec<Request> {
        self.backend.requests()
    }

    /// The states of the locks in a namespace that were written and acknowledged so far, in order.
    pub fn commits(&self, resource: &str, namespace: &str) -> Vec<Commit> {
        self.backend.commits(resource, namespace)
    }

    /// Ends the API server without warning; what is stored stays.
    pub fn kill_server(&self) {
        self.backend.kill_server();
    }

    /// Starts it again, at the same address, and waits until it answers.
    pub fn start_server(&self) {
        self.backend.start_server();
    }

    /// Ends etcd without warning. The stand-in has none, and hangs.
    pub fn kill_storage(&self) {
        self.backend.kill_storage();
    }

    /// Starts etcd again, and waits until the API server has found it.
    pub fn start_storage(&self) {
        self.backend.start_storage();
    }

    /// Makes etcd stand still, and with it all requests for objects.
    pub fn pause_storage(&self) {
        self.backend.pause_storage();
    }

    /// Lets it go on.
    pub fn resume_storage(&self) {
        self.backend.resume_storage();
    }

    /// Starts the server anew with nothing in its memory: whoever watched has to find out what is there now.
    pub fn forget_history(&self) {
        self.backend.forget_history();
    }

    /// `kubectl` as an administrator of this server, in a namespace: that of the folder with the programs, or else
    /// whichever the shell finds. None if there is none.
    pub fn kubectl(&self, namespace: &str) -> Option<Command> {
        let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let program = assets().into_iter().chain(folders).map(|dir| dir.join("kubectl")).find(|file| file.is_file())?;
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

/// A folder that is removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder with the programs, if one is named.
fn assets() -> Option<PathBuf> {
    env::var_os(ASSETS).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Where the objects of a resource are.
pub fn collection_path(resource: &str, namespace: &str) -> String {
    let path = match group_of(resource) {
        "" => "api/v1".to_owned(),
        group => format!("apis/{group}/v1"),
    };
    format!("/{path}/namespaces/{namespace}/{resource}")
}

/// Where an object is.
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
