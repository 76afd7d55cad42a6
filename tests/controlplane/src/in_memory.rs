//! The backend for the in-memory API server.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use apiserver::{ChangeKind, Options, Rule, Server};
use serde_json::Value;

use crate::client::Client;
use crate::{Account, Backend, Commit, Request, Token};

const ADMIN: &str = "admin";

pub(crate) struct InMemoryBackend {
    server: Server,
    admin: Client,
    access: Mutex<Access>,
}

/// All tokens and rules. They are kept here, because the server can only replace all of them at once.
#[derive(Default)]
struct Access {
    tokens: BTreeMap<String, String>,
    /// The rules by user and resource.
    rules: BTreeMap<(String, String), Vec<Rule>>,
}

impl InMemoryBackend {
    pub(crate) fn start() -> io::Result<InMemoryBackend> {
        let server = Server::start(Options { tls: true, ..Options::default() })?;
        let admin = Client::new(server.url(), server.ca_pem(), ADMIN)?;
        let access = Access {
            tokens: [(ADMIN.to_owned(), ADMIN.to_owned())].into(),
            rules: [((ADMIN.to_owned(), "*".to_owned()), vec![Rule::new(ADMIN, &["*"], "*")])].into(),
        };
        let backend = InMemoryBackend { server, admin, access: Mutex::default() };
        backend.change_access(|it| *it = access);
        Ok(backend)
    }

    fn change_access(&self, change: impl FnOnce(&mut Access)) {
        let mut access: MutexGuard<'_, Access> = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut access);
        self.server.set_tokens(access.tokens.clone().into_iter().collect());
        self.server.set_rules(access.rules.values().flatten().cloned().collect());
    }
}

impl Backend for InMemoryBackend {
    fn name(&self) -> String {
        format!("the in-memory API server, because {} is not set", crate::ASSETS)
    }

    fn address(&self) -> SocketAddr {
        self.server.addr()
    }

    fn ca_pem(&self) -> &str {
        self.server.ca_pem().expect("the server was started with TLS")
    }

    fn admin(&self) -> &Client {
        &self.admin
    }

    /// Every namespace exists already.
    fn add_namespace(&self, _namespace: &str) {}

    /// The server knows accounts only by their tokens.
    fn add_account(&self, _account: &Account) {}

    fn allow(&self, account: &Account, resource: &str, name: &str, verbs: &[&str]) {
        let rule = |&verb: &&str| {
            let rule = Rule::new(&account.user(), &[verb], resource).within(&account.namespace);
            if verb == "create" { rule } else { rule.on(name) }
        };
        let rules = verbs.iter().map(rule).collect();
        self.change_access(|access| drop(access.rules.insert((account.user(), resource.to_owned()), rules)));
    }

    fn token(&self, account: &Account, bound_to: &str) -> String {
        // The elector does not log text that begins like its token.
        let text = format!("token-of-service-account.{}.{}.{bound_to}", account.namespace, account.name);
        self.change_access(|access| drop(access.tokens.insert(text.clone(), account.user())));
        text
    }

    fn revoke(&self, token: &Token) {
        self.change_access(|access| drop(access.tokens.remove(&token.text)));
    }

    fn processes(&self) -> Vec<u32> {
        vec![std::process::id()]
    }

    fn requests(&self) -> Vec<Request> {
        let answered = self.server.requests().into_iter().filter(|request| request.status.is_some());
        let convert = |request: apiserver::RequestSeen| Request {
            verb: request.verb.to_owned(),
            resource: request.resource.to_owned(),
            namespace: request.namespace,
            user: request.user.unwrap_or_default(),
            status: request.status,
        };
        answered.map(convert).collect()
    }

    fn commits(&self, resource: &str, namespace: &str) -> Vec<Commit> {
        let changes = self.server.history().into_iter();
        let wanted = changes.filter(|change| change.resource == resource && change.namespace == namespace);
        let convert = |change: apiserver::Change| Commit {
            within: (change.when, change.when),
            object: (change.kind != ChangeKind::Deleted).then(|| Value::clone(&change.object)),
        };
        wanted.map(convert).collect()
    }

    fn kill_server(&self) {
        self.server.down();
    }

    fn start_server(&self) {
        self.server.up();
    }

    fn kill_storage(&self) {
        self.server.freeze();
    }

    fn start_storage(&self) {
        self.server.thaw();
    }

    fn pause_storage(&self) {
        self.server.freeze();
    }

    fn resume_storage(&self) {
        self.server.thaw();
    }

    fn forget_history(&self) {
        self.server.down();
        self.server.bump_resource_version(1);
        self.server.compact();
        self.server.up();
    }
}
