//! The server, and the functions by which tests control it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use serde_json::Value;

use crate::access::Access;
use crate::activity::Activity;
use crate::client_certs::{ClientAuthority, ClientCertificate};
use crate::connection::serve;
use crate::fault::Faults;
use crate::gate::Gate;
use crate::history::History;
use crate::listener::{Connections, Listener};
use crate::lock;
use crate::log::RequestLog;
use crate::object::text;
use crate::resource::Resource;
use crate::store::{Key, Store};
use crate::tls::Identity;
use crate::{Change, Fault, FaultHandle, Options, RequestSeen, Rule};

/// How long dropping a server waits for its threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What every connection needs.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    pub(crate) gate: Arc<Gate>,
    pub(crate) missing_namespaces: Vec<String>,
    pub(crate) addr: SocketAddr,
    /// Only with TLS.
    pub(crate) clients: Option<ClientAuthority>,
    connections: Arc<Connections>,
    activity: Arc<Activity>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

impl Shared {
    /// The TLS configuration of a new connection; none for plain HTTP.
    pub(crate) fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        lock(&self.tls).clone()
    }
}

/// A running API server. Dropping it closes the port and every connection, and ends its threads.
pub struct Server {
    shared: Arc<Shared>,
    listener: Listener,
    ca_pem: Option<String>,
}

impl Server {
    /// Starts a server. When this returns, it answers requests.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn start(options: Options) -> io::Result<Server> {
        let listener = Listener::new(&options.listen)?;
        let clients = options.tls.then(ClientAuthority::new).transpose()?;
        let identity = clients.as_ref().map(Identity::new).transpose()?;
        let (config, ca_pem) = identity.map(|i| (i.config, i.ca_pem)).unzip();
        let activity = Arc::new(Activity::default());
        let shared = Shared {
            store: Store::new(options.watch_window, options.keep_changes, Arc::clone(&activity)),
            access: Access::new(options.tokens, options.rules),
            faults: Faults::default(),
            log: RequestLog::new(options.keep_requests, Arc::clone(&activity)),
            gate: Arc::default(),
            missing_namespaces: options.missing_namespaces,
            addr: listener.addr(),
            clients,
            connections: Arc::default(),
            activity,
            tls: Mutex::new(config),
        };
        let server = Server { shared: Arc::new(shared), listener, ca_pem };
        server.listen()?;
        Ok(server)
    }

    fn listen(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.listener.start(move |stream| {
            let for_connection = Arc::clone(&shared);
            let run = move |number, stream| serve(&for_connection, number, stream);
            shared.connections.spawn(stream, run);
        })
    }

    /// The URL of the server, such as `http://127.0.0.1:8001`.
    pub fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr())
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// The certificate of the server's CA, in PEM; none without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Replaces the CA and the server's certificate for new connections, and returns the new CA's certificate. `ca_pem`
    /// still returns the first one.
    ///
    /// # Errors
    /// If the server does not use TLS.
    pub fn rotate_ca(&self) -> io::Result<String> {
        let Identity { config, ca_pem } = Identity::new(self.clients()?)?;
        *lock(&self.shared.tls) = Some(config);
        Ok(ca_pem)
    }

    /// A client certificate for this user, with an optional group, that is valid until `until`.
    ///
    /// # Errors
    /// If the server does not use TLS.
    pub fn client_certificate(
        &self,
        user: &str,
        group: Option<&str>,
        until: SystemTime,
    ) -> io::Result<ClientCertificate> {
        self.clients()?.issue(user, group, until)
    }

    fn clients(&self) -> io::Result<&ClientAuthority> {
        self.shared.clients.as_ref().ok_or_else(|| io::Error::other("the server speaks no TLS"))
    }

    /// The present object.
    ///
    /// # Panics
    /// If `resource` is none of `endpoints`, `configmaps`, `leases` and `endpointslices`; so do `put` and `delete`.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let object = self.shared.store.get(&key(resource, namespace, name));
        object.map(|object| Value::clone(&object))
    }

    /// Creates or replaces the object unconditionally and without validation, as another client's edit. It gets a new
    /// resourceVersion even if nothing changed, and keeps its uid. Returns the stored object.
    ///
    /// # Panics
    /// If the object has no `metadata.name`.
    pub fn put(&self, resource: &str, namespace: &str, object: Value) -> Value {
        let name = text(&object, "name").to_owned();
        assert!(!name.is_empty(), "the object has no metadata.name: {object}");
        let stored = self.shared.store.put(key(resource, namespace, &name), object, "third-party");
        Value::clone(&stored)
    }

    /// Changes an object like [`Server::put`], in one step: no write of another client is undone. Returns the stored
    /// object.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn edit(&self, resource: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) -> Value {
        let stored = self.shared.store.edit(key(resource, namespace, name), edit, "third-party");
        Value::clone(&stored.expect("the object exists"))
    }

    /// Deletes an object; returns whether there was one.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.shared.store.delete(&key(resource, namespace, name), None, None).is_ok()
    }

    /// Forgets the history for watches: a watch from an older resourceVersion than the current one gets a 410. Open
    /// watches and `history` are not affected.
    pub fn compact(&self) {
        self.shared.store.with_history(History::compact);
    }

    /// The resourceVersion of the latest change, of whichever object.
    pub fn resource_version(&self) -> u64 {
        self.shared.store.with_history(|history| history.version())
    }

    /// Raises the resourceVersion, as changes of other objects do.
    pub fn bump_resource_version(&self, by: u64) {
        self.shared.store.with_history(|history| history.bump(by));
    }

    /// Every change committed, the oldest first, up to `Options::keep_changes`.
    pub fn history(&self) -> Vec<Change> {
        self.shared.store.with_history(|history| history.changes())
    }

    /// All requests, the oldest first, up to `Options::keep_requests`.
    pub fn requests(&self) -> Vec<RequestSeen> {
        self.shared.log.all()
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Replaces the tokens (pairs of token and user) for all further requests. From now on access is checked, even if
    /// it was not before.
    pub fn set_tokens(&self, tokens: Vec<(String, String)>) {
        self.shared.access.set_tokens(tokens);
    }

    /// Replaces the rules, like `set_tokens`.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.shared.access.set_rules(rules);
    }

    /// Applies `action` to matching requests, to at most `times` of them if given. If several faults match, the one
    /// that was added first and is not used up applies.
    pub fn fault(
        &self,
        matcher: impl Fn(&RequestSeen) -> bool + Send + Sync + 'static,
        times: Option<u32>,
        action: Fault,
    ) -> FaultHandle {
        self.shared.faults.add(Box::new(matcher), times, action)
    }

    /// Ends all faults. Requests that already have one are still affected.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Closes the connections of all open watches; returns how many there were.
    pub fn cut_watches(&self) -> usize {
        self.shared.store.cut_watches(false, false)
    }

    /// Like `cut_watches`, in the middle of a line.
    pub fn cut_watches_mid_line(&self) -> usize {
        self.shared.store.cut_watches(true, false)
    }

    /// Like `cut_watches`, with a TCP reset.
    pub fn reset_watches(&self) -> usize {
        self.shared.store.cut_watches(false, true)
    }

    /// Sends these bytes unchanged to every open watch. A line ends in `\n`.
    pub fn send_to_watches(&self, line: &[u8]) {
        self.shared.store.send_to_watches(line);
    }

    /// How many watches are open, including silent ones.
    pub fn open_watches(&self) -> usize {
        self.shared.store.with_history(|history| history.inboxes().len())
    }

    /// How many connections are open, including those whose end was not noticed yet.
    pub fn open_connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// Closes all connections, and keeps listening.
    pub fn cut_connections(&self) {
        self.shared.connections.cut_all();
        self.shared.store.cut_watches(false, false);
    }

    /// Stops listening and closes all connections, like a restart. The objects are kept.
    pub fn down(&self) {
        self.listener.stop();
        self.cut_connections();
    }

    /// Listens again, on the same port.
    ///
    /// # Panics
    /// If the port cannot be listened on.
    pub fn up(&self) {
        self.listen().expect("the port stays claimed while the server is down");
    }

    /// From now on connections are accepted, but nothing is answered, carried out or sent, not even a TLS handshake.
    /// When this returns, nothing is committed any more.
    pub fn freeze(&self) {
        self.shared.gate.freeze();
    }

    /// Continues where `freeze` stopped, with the requests that were received in the meantime.
    pub fn thaw(&self) {
        self.shared.gate.thaw();
    }

    /// Waits until `condition` holds, at most for `patience`; returns whether it does. It is evaluated whenever
    /// something happens in the server, and every few milliseconds.
    pub fn wait_until(&self, patience: Duration, mut condition: impl FnMut(&Server) -> bool) -> bool {
        self.shared.activity.wait_until(patience, || condition(self))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.gate.stop();
        self.listener.stop();
        self.cut_connections();
        self.shared.connections.wait_for_end(SHUTDOWN_TIMEOUT);
    }
}

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    let known = Resource::named(resource);
    let resource = known.unwrap_or_else(|| panic!("there is no resource named {resource:?}"));
    Key { resource, namespace: namespace.to_owned(), name: name.to_owned() }
}
