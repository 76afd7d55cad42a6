//! The API server of the candidates: a real kube-apiserver with etcd if `KUBEBUILDER_ASSETS` is set, otherwise the
//! in-memory API server. The latter is a separate process, so that its CPU time can be measured.

use super::candidate::cpu_with_ended_threads;
use super::{NAMESPACE, wait_until};
use apiserver::{Options, Rule, Server};
use controlplane::{Account, ControlPlane};
use leader_elector::api::{Api, Watch, WatchHandle};
use leader_elector::credentials::Credentials;
use leader_elector::lock::{LockKind, LockName, Object, WatchEvent};
use leader_elector::record::{Content, Record, Stamp};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The subcommand that runs the in-memory API server.
pub const SUBCOMMAND: &str = "api-server";

const HOUR: Duration = Duration::from_secs(3600);

/// The service account of the benchmark itself.
const BENCH: &str = "bench";

pub struct ApiServer {
    backend: Backend,
    dir: PathBuf,
    url: String,
    api: Option<Api>,
    accounts: RefCell<BTreeMap<String, PathBuf>>,
    /// The number of requests to the real server before the last call of `forget_requests`.
    request_offset: Cell<usize>,
}

enum Backend {
    InMemory(InMemoryServer),
    Real(Box<ControlPlane>),
}

/// A request with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredRequest {
    pub account: String,
    pub verb: String,
    pub status: u16,
}

impl ApiServer {
    pub fn start() -> ApiServer {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("cannot create a directory in target/tmp");
        let (backend, url, ca) = if std::env::var_os(controlplane::ASSETS).is_some() {
            let plane = ControlPlane::start(&dir).unwrap_or_else(|error| panic!("{error}"));
            grant_rights(&plane);
            let (url, ca) = (format!("https://{}", plane.address()), plane.ca_pem().to_owned());
            (Backend::Real(Box::new(plane)), url, ca)
        } else {
            let server = InMemoryServer::start();
            let (url, ca) = (server.url.clone(), server.ca_pem.clone());
            (Backend::InMemory(server), url, ca)
        };
        fs::write(dir.join("ca.crt"), ca).expect("cannot write ca.crt");
        let (accounts, request_offset) = (RefCell::default(), Cell::default());
        let mut server = ApiServer { backend, dir, url, api: None, accounts, request_offset };
        let credentials = Credentials::server(&server.url, Some(&server.account_dir(BENCH)));
        server.api = Some(Api::new(Arc::new(credentials.expect("the URL is valid")), HOUR));
        server
    }

    /// A description of the server.
    pub fn name(&self) -> String {
        match &self.backend {
            Backend::InMemory(_) => "the in-memory API server of the tests".to_owned(),
            Backend::Real(plane) => plane.name(),
        }
    }

    /// The flags of a candidate with this service account, which has all rights on Leases and EndpointSlices.
    pub fn flags(&self, account: &str) -> Vec<String> {
        vec![
            format!("--server={}", self.url),
            format!("--service-account-dir={}", self.account_dir(account).display()),
            format!("--election-namespace={NAMESPACE}"),
            "--lock=leases".to_owned(),
        ]
    }

    /// A directory with the files that kubelet mounts for a service account. The first call creates both.
    fn account_dir(&self, account: &str) -> PathBuf {
        let mut accounts = self.accounts.borrow_mut();
        let dir = accounts.entry(account.to_owned()).or_insert_with(|| {
            let dir = self.dir.join(account);
            fs::create_dir_all(&dir).expect("cannot create the directory");
            fs::copy(self.dir.join("ca.crt"), dir.join("ca.crt")).expect("cannot copy ca.crt");
            fs::write(dir.join("token"), self.token(account)).expect("cannot write the token");
            dir
        });
        dir.clone()
    }

    fn token(&self, account: &str) -> String {
        match &self.backend {
            Backend::InMemory(server) => {
                server.call(&format!("account {account}"));
                token_of(account)
            }
            Backend::Real(plane) => {
                let account = plane.add_account(NAMESPACE, account);
                let token = plane.token(&account);
                let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases");
                let answer = || plane.send_as(&token, "GET", &path, None).map_or(0, |answer| answer.status);
                wait_until("the rights are in force", Duration::from_millis(50), || answer() == 200);
                token.text
            }
        }
    }

    /// The benchmark's own client, with the same rights. It reuses its connection.
    pub fn api(&self) -> &Api {
        self.api.as_ref().expect("start() sets it")
    }

    /// The present Lease of an election.
    pub fn lease(&self, election: &str) -> Option<Object> {
        let lock = lock(election);
        Object::parse(&lock, &self.api().get(&lock, HOUR).ok()?).ok()
    }

    /// The record in the Lease of an election.
    pub fn record(&self, election: &str) -> Option<Record> {
        match self.lease(election)?.sight().content {
            Content::Record(record) => Some(record),
            _ => None,
        }
    }

    /// Starts a watch of an election's Lease, to see the next holder.
    pub fn watch_holder(&self, election: &str) -> HolderWatch {
        let now = self.lease(election).expect("the Lease does not exist");
        let (lock, version) = (lock(election), now.version().resource_version.to_string());
        let watch = self.api().watch(&lock, Some(&version), 600, HOUR, &WatchHandle::new());
        HolderWatch { watch: watch.unwrap_or_else(|failure| panic!("{failure}")), lock, last: holder(&now) }
    }

    /// Resets the list of requests.
    pub fn forget_requests(&self) {
        match &self.backend {
            Backend::InMemory(server) => drop(server.call("forget")),
            Backend::Real(_) => self.request_offset.set(self.all_requests().len()),
        }
    }

    /// The candidates' requests since `forget_requests`. A watch is in the list as soon as it begins.
    pub fn requests(&self) -> Vec<AnsweredRequest> {
        self.all_requests().split_off(self.request_offset.get())
    }

    fn all_requests(&self) -> Vec<AnsweredRequest> {
        let all = match &self.backend {
            Backend::InMemory(server) => server.requests(),
            Backend::Real(plane) => {
                let prefix = Account { namespace: NAMESPACE.to_owned(), name: String::new() }.user();
                let answered = plane.requests().into_iter().map(|request| AnsweredRequest {
                    account: request.user.strip_prefix(&prefix).unwrap_or_default().to_owned(),
                    verb: request.verb,
                    status: request.status.unwrap_or_default(),
                });
                answered.collect()
            }
        };
        all.into_iter().filter(|it| !it.account.is_empty() && it.account != BENCH).collect()
    }

    /// The CPU time that the server and etcd have used so far.
    pub fn cpu_time(&self) -> Duration {
        let processes = match &self.backend {
            Backend::InMemory(server) => vec![server.child.id()],
            Backend::Real(plane) => plane.processes(),
        };
        processes.into_iter().map(cpu_with_ended_threads).sum()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A watch of an election's Lease.
pub struct HolderWatch {
    watch: Watch<LockName>,
    lock: LockName,
    last: String,
}

impl HolderWatch {
    /// Waits for the next holder.
    pub fn wait_for_next(&mut self) -> String {
        loop {
            let line = self.watch.next().ok().flatten().expect("the watch ended");
            let Ok(WatchEvent::Object(object)) = WatchEvent::parse(&self.lock, &line) else { continue };
            let now = holder(&object);
            if !now.is_empty() && now != self.last {
                return now;
            }
        }
    }
}

/// The holder in a Lease; empty if nobody holds it.
fn holder(object: &Object) -> String {
    match object.sight().content {
        Content::Record(record) => record.holder.to_string(),
        _ => String::new(),
    }
}

/// The lock of an election.
pub fn lock(election: &str) -> LockName {
    LockName { kind: LockKind::Leases, namespace: NAMESPACE.to_owned(), name: election.to_owned() }
}

/// The `renewTime` of a record, in microseconds since the Unix epoch, by the clock of its holder.
pub fn renewed(record: &Record) -> i64 {
    match record.renewed {
        Stamp::Micros(micros) => micros,
        Stamp::Text(_) => 0,
    }
}

/// Grants all rights on Leases and EndpointSlices to all service accounts of the namespace.
fn grant_rights(plane: &ControlPlane) {
    plane.add_namespace(NAMESPACE);
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}");
    let role = json!({
        "metadata": {"name": "electors"},
        "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["*"]},
        ],
    });
    let group = format!("system:serviceaccounts:{NAMESPACE}");
    let binding = json!({
        "metadata": {"name": "electors"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "electors"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    });
    for (collection, object) in [("roles", role), ("rolebindings", binding)] {
        let answer = plane.send("POST", &format!("{rbac}/{collection}"), Some(&object));
        assert!(answer.as_ref().is_ok_and(|answer| answer.status == 201), "{answer:?}");
    }
}

/// A child process that runs the in-memory API server. It reads commands from stdin, and prints one line for each.
struct InMemoryServer {
    child: Child,
    lines: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    url: String,
    ca_pem: String,
}

impl InMemoryServer {
    fn start() -> InMemoryServer {
        let program = std::env::current_exe().expect("the path of this program is known");
        let mut command = Command::new(program);
        let mut child = command
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start the in-memory API server");
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("stdin and stdout are piped");
        let lines = RefCell::new((stdin, BufReader::new(stdout)));
        let mut server = InMemoryServer { child, lines, url: String::new(), ca_pem: String::new() };
        server.url = server.call("url");
        server.ca_pem = server.call("ca").replace('|', "\n");
        server
    }

    fn call(&self, command: &str) -> String {
        let (stdin, stdout) = &mut *self.lines.borrow_mut();
        let mut answer = String::new();
        writeln!(stdin, "{command}").and_then(|()| stdin.flush()).expect("cannot reach the in-memory API server");
        stdout.read_line(&mut answer).expect("no answer from the in-memory API server");
        answer.trim_end().to_owned()
    }

    fn requests(&self) -> Vec<AnsweredRequest> {
        let answer = self.call("requests");
        let answered = |word: &str| {
            let mut parts = word.split('/').map(str::to_owned);
            let [account, verb, status] = [(); 3].map(|()| parts.next().unwrap_or_default());
            AnsweredRequest { account, verb, status: status.parse().unwrap_or_default() }
        };
        answer.split_whitespace().map(answered).collect()
    }
}

impl Drop for InMemoryServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token_of(account: &str) -> String {
    format!("token-of-{account}")
}

/// Runs the in-memory API server until stdin is closed, which also happens when the benchmark ends.
pub fn serve() {
    apiserver::raise_file_limit();
    let server =
        Server::start(Options { tls: true, keep_changes: 0, ..Options::default() }).expect("cannot start the server");
    let mut accounts: Vec<String> = Vec::new();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("url", _) => server.url(),
            ("ca", _) => server.ca_pem().unwrap_or_default().replace('\n', "|"),
            ("account", name) => {
                accounts.push(name.to_owned());
                server.set_tokens(accounts.iter().map(|name| (token_of(name), name.clone())).collect());
                let rules =
                    |name: &String| ["leases", "endpointslices"].map(|resource| Rule::new(name, &["*"], resource));
                server.set_rules(accounts.iter().flat_map(rules).collect());
                "done".to_owned()
            }
            ("forget", _) => {
                server.clear_requests();
                "done".to_owned()
            }
            ("requests", _) => {
                let seen = server.requests().into_iter().filter(|request| request.status.is_some());
                let word = |request: apiserver::RequestSeen| {
                    let user = request.user.unwrap_or_default();
                    format!("{user}/{}/{}", request.verb, request.status.unwrap_or_default())
                };
                seen.map(word).collect::<Vec<_>>().join(" ")
            }
            _ => "unknown command".to_owned(),
        };
        println!("{answer}");
    }
}
