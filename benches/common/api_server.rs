//! The API server that candidates talk to: a real kube-apiserver with its etcd where `KUBEBUILDER_ASSETS` names them, else
//! the in-memory one of the tests, as a process of its own, so that what it used can be told.

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

/// The argument that makes the benchmark the in-memory API server.
pub const PART: &str = "api-server";

const HOUR: Duration = Duration::from_secs(3600);

/// The account that the benchmark itself uses.
const BENCH: &str = "bench";

pub struct ApiServer {
    backend: Backend,
    dir: PathBuf,
    url: String,
    api: Option<Api>,
    accounts: RefCell<BTreeMap<String, PathBuf>>,
    /// How many requests of the real server are not to be counted.
    forgotten: Cell<usize>,
}

enum Backend {
    StandIn(StandIn),
    Real(Box<ControlPlane>),
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub account: String,
    pub verb: String,
    pub status: u16,
}

impl ApiServer {
    pub fn start() -> ApiServer {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("target/tmp can be written to");
        let (backend, url, ca) = if std::env::var_os(controlplane::ASSETS).is_some() {
            let plane = ControlPlane::start(&dir).unwrap_or_else(|error| panic!("{error}"));
            grant(&plane);
            let (url, ca) = (format!("https://{}", plane.address()), plane.ca_pem().to_owned());
            (Backend::Real(Box::new(plane)), url, ca)
        } else {
            let stand_in = StandIn::start();
            let (url, ca) = (stand_in.url.clone(), stand_in.ca_pem.clone());
            (Backend::StandIn(stand_in), url, ca)
        };
        fs::write(dir.join("ca.crt"), ca).expect("the folder can be written to");
        let (accounts, forgotten) = (RefCell::default(), Cell::default());
        let mut server = ApiServer { backend, dir, url, api: None, accounts, forgotten };
        let credentials = Credentials::server(&server.url, Some(&server.account_dir(BENCH)));
        server.api = Some(Api::new(Arc::new(credentials.expect("a server")), HOUR));
        server
    }

    /// What it is.
    pub fn name(&self) -> String {
        match &self.backend {
            Backend::StandIn(_) => "the in-memory API server of the tests".to_owned(),
            Backend::Real(plane) => plane.name(),
        }
    }

    /// The flags of a candidate that has this account, which may do everything with Leases and EndpointSlices.
    pub fn flags(&self, account: &str) -> Vec<String> {
        vec![
            format!("--server={}", self.url),
            format!("--service-account-dir={}", self.account_dir(account).display()),
            format!("--election-namespace={NAMESPACE}"),
            "--lock=leases".to_owned(),
        ]
    }

    /// The folder with what Kubernetes mounts for an account, made when first asked for.
    fn account_dir(&self, account: &str) -> PathBuf {
        let mut accounts = self.accounts.borrow_mut();
        let made = accounts.entry(account.to_owned()).or_insert_with(|| {
            let dir = self.dir.join(account);
            fs::create_dir_all(&dir).expect("the folder can be written to");
            fs::copy(self.dir.join("ca.crt"), dir.join("ca.crt")).expect("it is there");
            fs::write(dir.join("token"), self.token(account)).expect("the folder can be written to");
            dir
        });
        made.clone()
    }

    fn token(&self, account: &str) -> String {
        match &self.backend {
            Backend::StandIn(stand_in) => {
                stand_in.ask(&format!("account {account}"));
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

    /// A client with these rights, which keeps its connection.
    pub fn api(&self) -> &Api {
        self.api.as_ref().expect("it is set at the start")
    }

    /// The Lease of an election, as it is now.
    pub fn lease(&self, election: &str) -> Option<Object> {
        let lock = lock(election);
        Object::parse(&lock, &self.api().get(&lock, HOUR).ok()?).ok()
    }

    /// The record in it.
    pub fn record(&self, election: &str) -> Option<Record> {
        match self.lease(election)?.sight().content {
            Content::Record(record) => Some(record),
            _ => None,
        }
    }

    /// Watches who takes the lock of an election from now on.
    pub fn watch_holder(&self, election: &str) -> NextHolder {
        let now = self.lease(election).expect("there is a Lease");
        let (lock, version) = (lock(election), now.version().resource_version.to_string());
        let watch = self.api().watch(&lock, Some(&version), 600, HOUR, &WatchHandle::new());
        NextHolder { watch: watch.unwrap_or_else(|failure| panic!("{failure}")), lock, last: holder(&now) }
    }

    /// From now on only later requests count.
    pub fn forget_requests(&self) {
        match &self.backend {
            Backend::StandIn(stand_in) => drop(stand_in.ask("forget")),
            Backend::Real(_) => self.forgotten.set(self.all_requests().len()),
        }
    }

    /// The requests of candidates since then. A watch counts when it begins.
    pub fn requests(&self) -> Vec<Answered> {
        self.all_requests().split_off(self.forgotten.get())
    }

    fn all_requests(&self) -> Vec<Answered> {
        let all = match &self.backend {
            Backend::StandIn(stand_in) => stand_in.requests(),
            Backend::Real(plane) => {
                let prefix = Account { namespace: NAMESPACE.to_owned(), name: String::new() }.user();
                let answered = plane.requests().into_iter().map(|request| Answered {
                    account: request.user.strip_prefix(&prefix).unwrap_or_default().to_owned(),
                    verb: request.verb,
                    status: request.status.unwrap_or_default(),
                });
                answered.collect()
            }
        };
        all.into_iter().filter(|it| !it.account.is_empty() && it.account != BENCH).collect()
    }

    /// What its processes used so far; etcd is one of them.
    pub fn usage(&self) -> Duration {
        let processes = match &self.backend {
            Backend::StandIn(stand_in) => vec![stand_in.child.id()],
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

/// A watch of a lock.
pub struct NextHolder {
    watch: Watch<LockName>,
    lock: LockName,
    last: String,
}

impl NextHolder {
    /// The next holder, as soon as there is one.
    pub fn holder(&mut self) -> String {
        loop {
            let line = self.watch.next().ok().flatten().expect("the watch goes on");
            let Ok(WatchEvent::Object(object)) = WatchEvent::parse(&self.lock, &line) else { continue };
            let now = holder(&object);
            if !now.is_empty() && now != self.last {
                return now;
            }
        }
    }
}

/// Empty for nobody.
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

/// When a record was renewed, in microseconds since the Unix epoch, as its holder said.
pub fn renewed(record: &Record) -> i64 {
    match record.renewed {
        Stamp::Micros(micros) => micros,
        Stamp::Text(_) => 0,
    }
}

/// All service accounts of the namespace may do everything with Leases and EndpointSlices.
fn grant(plane: &ControlPlane) {
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

/// This program again, as the in-memory API server. It answers one line by one line.
struct StandIn {
    child: Child,
    lines: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    url: String,
    ca_pem: String,
}

impl StandIn {
    fn start() -> StandIn {
        let program = std::env::current_exe().expect("it runs");
        let mut command = Command::new(program);
        let mut child =
            command.arg(PART).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can run again");
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("they are piped");
        let lines = RefCell::new((stdin, BufReader::new(stdout)));
        let mut stand_in = StandIn { child, lines, url: String::new(), ca_pem: String::new() };
        stand_in.url = stand_in.ask("url");
        stand_in.ca_pem = stand_in.ask("ca").replace('|', "\n");
        stand_in
    }

    fn ask(&self, question: &str) -> String {
        let (stdin, stdout) = &mut *self.lines.borrow_mut();
        let mut answer = String::new();
        writeln!(stdin, "{question}").and_then(|()| stdin.flush()).expect("it runs");
        stdout.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    }

    fn requests(&self) -> Vec<Answered> {
        let answer = self.ask("requests");
        let answered = |word: &str| {
            let mut parts = word.split('/').map(str::to_owned);
            let [account, verb, status] = [(); 3].map(|()| parts.next().unwrap_or_default());
            Answered { account, verb, status: status.parse().unwrap_or_default() }
        };
        answer.split_whitespace().map(answered).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token_of(account: &str) -> String {
    format!("token-of-{account}")
}

/// Serves until standard input ends, which the end of the benchmark does too.
pub fn serve() {
    apiserver::raise_file_limit();
    let server = Server::start(Options { tls: true, keep_changes: 0, ..Options::default() }).expect("a port is free");
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
            _ => "what?".to_owned(),
        };
        println!("{answer}");
    }
}
