//! The backend with a real kube-apiserver and etcd, as processes on loopback.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit::{self, AuditLog};
use crate::certificates::{ServingCertificate, TokenKeys};
use crate::client::Client;
use crate::process::Program;
use crate::{Account, Backend, Commit, Request, Token, group_of};

const ADMIN: &str = "admin-of-the-tests";

/// How long a change of rights may take to be in force. The server learns of it by a watch.
const RIGHTS_TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest lifetime of a token that the server accepts.
const TOKEN_SECONDS: u32 = 600;

pub(crate) struct RealBackend {
    server: Program,
    storage: Program,
    etcd_client: Client,
    admin: Client,
    address: SocketAddr,
    ca_pem: String,
    audit: AuditLog,
}

impl RealBackend {
    pub(crate) fn start(assets: &Path, dir: &Path) -> io::Result<RealBackend> {
        let [client_port, peer_port, port] = free_ports()?;
        let (client_url, peer_url) =
            (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
        let serving = ServingCertificate::new().map_err(io::Error::other)?;
        let accounts = TokenKeys::new().map_err(io::Error::other)?;
        let file = |name: &str, content: &str| {
            let path = dir.join(name);
            fs::write(&path, content).map(|()| path.display().to_string())
        };
        let audit_log = dir.join("audit.log");
        let storage = [
            format!("--data-dir={}", dir.join("etcd").display()),
            format!("--listen-client-urls={client_url}"),
            format!("--advertise-client-urls={client_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
            "--unsafe-no-fsync".to_owned(),
        ];
        let server = [
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--etcd-servers={client_url}"),
            format!("--cert-dir={}", dir.display()),
            format!("--tls-cert-file={}", file("server.crt", &serving.certificate)?),
            format!("--tls-private-key-file={}", file("server.key", &serving.key)?),
            format!("--service-account-key-file={}", file("accounts.pub", &accounts.public)?),
            format!("--service-account-signing-key-file={}", file("accounts.key", &accounts.private)?),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--token-auth-file={}", file("tokens.csv", &format!("{ADMIN},admin,0,system:masters\n"))?),
            "--authorization-mode=RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            format!("--audit-policy-file={}", file("audit-policy.json", &audit::policy().to_string())?),
            format!("--audit-log-path={}", audit_log.display()),
            "--audit-log-mode=blocking".to_owned(),
        ];
        let backend = RealBackend {
            server: Program::new(&assets.join("kube-apiserver"), &server, &dir.join("kube-apiserver.log")),
            storage: Program::new(&assets.join("etcd"), &storage, &dir.join("etcd.log")),
            etcd_client: Client::new(client_url, None, "")?,
            admin: Client::new(format!("https://127.0.0.1:{port}"), Some(&serving.ca), ADMIN)?,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            ca_pem: serving.ca,
            audit: AuditLog::new(&audit_log),
        };
        backend.try_start_storage()?;
        backend.try_start_server()?;
        Ok(backend)
    }

    fn try_start_storage(&self) -> io::Result<()> {
        let is_healthy = |answer: crate::Answer| answer.body["health"] == "true";
        self.storage.start(|| self.etcd_client.send("GET", "/health", None).is_ok_and(is_healthy))
    }

    /// The server creates the namespace `default` some time after it reports that it is ready, so this waits for both.
    fn try_start_server(&self) -> io::Result<()> {
        let answers = |path: &str| self.admin.send("GET", path, None).is_ok_and(|answer| answer.status == 200);
        self.server.start(|| answers("/readyz") && answers("/api/v1/namespaces/default"))
    }

    fn version(client: &Client, name: &str) -> String {
        let answer = client.send("GET", "/version", None);
        let version = answer.ok().and_then(|answer| answer.body[name].as_str().map(str::to_owned));
        version.unwrap_or_else(|| "of unknown version".to_owned())
    }

    /// Creates or replaces an object.
    fn put(&self, collection: &str, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{collection}/{name}");
        let exists = self.admin.send("GET", &path, None).is_ok_and(|answer| answer.status == 200);
        let (method, path) = if exists { ("PUT", path.as_str()) } else { ("POST", collection) };
        self.admin.send_successfully(method, path, object);
    }

    fn is_allowed(&self, account: &Account, verb: &str, resource: &str, name: &str) -> bool {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": account.user(), "resourceAttributes": {
                "namespace": account.namespace, "verb": verb, "group": group_of(resource), "resource": resource,
                "name": if verb == "create" { "" } else { name },
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        self.admin.send_successfully("POST", path, &review)["status"]["allowed"] == true
    }
}

impl Backend for RealBackend {
    fn name(&self) -> String {
        let server = RealBackend::version(&self.admin, "gitVersion");
        let storage = RealBackend::version(&self.etcd_client, "etcdserver");
        format!("kube-apiserver {server} with etcd {storage}")
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    fn admin(&self) -> &Client {
        &self.admin
    }

    fn add_namespace(&self, namespace: &str) {
        self.put("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
    }

    fn add_account(&self, account: &Account) {
        let Account { namespace, name } = account;
        self.put(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &json!({"metadata": {"name": name}}));
    }

    fn allow(&self, account: &Account, resource: &str, name: &str, verbs: &[&str]) {
        let groups = [group_of(resource)];
        let (in_namespace, by_name): (Vec<&str>, Vec<&str>) = verbs.iter().partition(|&&verb| verb == "create");
        let mut rules = Vec::new();
        if !by_name.is_empty() {
            rules.push(json!({
                "apiGroups": groups, "resources": [resource], "resourceNames": [name], "verbs": by_name,
            }));
        }
        if !in_namespace.is_empty() {
            rules.push(json!({"apiGroups": groups, "resources": [resource], "verbs": in_namespace}));
        }
        let Account { namespace, name: account_name } = account;
        let group = "rbac.authorization.k8s.io";
        let role_name = account.role(resource);
        let binding = json!({
            "metadata": {"name": role_name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": role_name},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account_name}],
        });
        let role = json!({"metadata": {"name": role_name}, "rules": rules});
        self.put(&format!("/apis/{group}/v1/namespaces/{namespace}/roles"), &role);
        self.put(&format!("/apis/{group}/v1/namespaces/{namespace}/rolebindings"), &binding);
        let deadline = Instant::now() + RIGHTS_TIMEOUT;
        let in_force = |verb: &&str| self.is_allowed(account, verb, resource, name) == verbs.contains(verb);
        while !["get", "create", "update", "watch"].iter().all(in_force) {
            assert!(Instant::now() < deadline, "the rights of {account:?} are not in force: only {verbs:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn token(&self, account: &Account, bound_to: &str) -> String {
        let Account { namespace, name } = account;
        let secret = json!({"metadata": {"name": bound_to}});
        self.admin.send_successfully("POST", &format!("/api/v1/namespaces/{namespace}/secrets"), &secret);
        let request = json!({"spec": {
            "expirationSeconds": TOKEN_SECONDS,
            "boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": bound_to},
        }});
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let answer = self.admin.send_successfully("POST", &path, &request);
        answer["status"]["token"].as_str().expect("a TokenRequest returns a token").to_owned()
    }

    fn revoke(&self, token: &Token) {
        let path = format!("/api/v1/namespaces/{}/secrets/{}", token.account.namespace, token.bound_to);
        let answer = self.admin.send("DELETE", &path, None);
        assert!(answer.as_ref().is_ok_and(|it| it.status == 200), "cannot delete {path}: {answer:?}");
    }

    fn processes(&self) -> Vec<u32> {
        [&self.server, &self.storage].into_iter().filter_map(Program::pid).collect()
    }

    fn requests(&self) -> Vec<Request> {
        self.audit.requests()
    }

    fn commits(&self, resource: &str, namespace: &str) -> Vec<Commit> {
        self.audit.commits(resource, namespace)
    }

    fn kill_server(&self) {
        self.server.kill();
    }

    fn start_server(&self) {
        self.try_start_server().unwrap_or_else(|error| panic!("kube-apiserver: {error}"));
    }

    fn kill_storage(&self) {
        self.storage.kill();
    }

    fn start_storage(&self) {
        self.try_start_storage().unwrap_or_else(|error| panic!("etcd: {error}"));
        let is_ready = || self.admin.send("GET", "/readyz", None).is_ok_and(|answer| answer.status == 200);
        self.server.wait_until_ready(is_ready).unwrap_or_else(|error| panic!("kube-apiserver: {error}"));
    }

    fn pause_storage(&self) {
        self.storage.signal(Signal::STOP);
    }

    fn resume_storage(&self) {
        self.storage.signal(Signal::CONT);
    }

    /// The watch cache of a new server starts at the newest resourceVersion. So one object is written before the restart:
    /// all older versions are then unknown.
    fn forget_history(&self) {
        let maps = "/api/v1/namespaces/default/configmaps";
        self.put(maps, &json!({"metadata": {"name": "written-last"}, "data": {"at": format!("{:?}", Instant::now())}}));
        self.server.kill();
        self.start_server();
    }
}

/// Free ports below the range of ephemeral ports, each returned once. So no other process takes the port of a server
/// while it is down.
fn free_ports<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or_default();
    let mut ports = [0; COUNT];
    for port in &mut ports {
        *port = loop {
            let next = first.saturating_add(TRIED.fetch_add(1, Ordering::Relaxed));
            if next > 32_000 {
                return Err(io::Error::other("no port between 20000 and 32000 is free"));
            }
            if TcpListener::bind(("127.0.0.1", next)).is_ok() {
                break next;
            }
        };
    }
    Ok(ports)
}
