//! The server as a whole, and what tests can do to it.

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

/// How long a server that is dropped waits for its threads.
const GOODBYE: Duration = Duration::from_secs(5);

/// What every connection needs.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    pub(crate) gate: Arc<Gate>,
    pub(crate) missing_namespaces: Vec<String>,
    pub(crate) addr: SocketAddr,
    /// There with TLS.
    pub(crate) clients: Option<ClientAuthority>,
    connections: Arc<Connections>,
    activity: Arc<Activity>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

impl Shared {
    /// What a new connection speaks; none for plain HTTP.
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
    /// Starts a server, which answers from then on.
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

    /// Where it listens, as in `http://127.0.0.1:8001`.
    pub fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// The certificate of the authority that signed the server's, in PEM; none without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Replaces the authority and the server's certificate, for connections made from now on,
    /// and returns the new authority's certificate. `ca_pem` goes on to return the first.
    ///
    /// # Errors
    /// If the server speaks no TLS.
    pub fn rotate_ca(&self) -> io::Result<String> {
        let Identity { config, ca_pem } = Identity::new(self.clients()?)?;
        *lock(&self.shared.tls) = Some(config);
        Ok(ca_pem)
    }

    /// A certificate by which the server knows this user, of this group if there is one, until then.
    ///
    /// # Errors
    /// If the server speaks no TLS.
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

    /// An object as it is stored now.
    ///
    /// # Panics
    /// If `resource` is none of `endpoints`, `configmaps`, `leases` and `endpointslices`; so do `put` and `delete`.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let object = self.shared.store.get(&key(resource, namespace, name));
        object.map(|object| Value::clone(&object))
    }

    /// Edits as a third party would: creates or replaces the object unconditionally and without
    /// any validation. It gets a new resourceVersion even if nothing changed, and keeps its uid.
    /// Returns what is stored then.
    ///
    /// # Panics
    /// If the object has no `metadata.name`.
    pub fn put(&self, resource: &str, namespace: &str, object: Value) -> Value {
        let name = text(&object, "name").to_owned();
        assert!(!name.is_empty(), "the object has no metadata.name: {object}");
        let stored = self.shared.store.put(key(resource, namespace, &name), object, "third-party");
        Value::clone(&stored)
    }

    /// Deletes an object; returns whether there was one.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.shared.store.delete(&key(resource, namespace, name), None, None).is_ok()
    }

    /// Forgets the history for watches: one from an older resourceVersion than the current gets
    /// a 410. Open watches and `history` are not affected.
    pub fn compact(&self) {
        self.shared.store.with_history(History::compact);
    }

    /// The resourceVersion of the latest change, of whichever object.
    pub fn resource_version(&self) -> u64 {
        self.shared.store.with_history(|history| history.version())
    }

    /// Raises the resourceVersion as changes elsewhere would.
    pub fn bump_resource_version(&self, by: u64) {
        self.shared.store.with_history(|history| history.bump(by));
    }

    /// Every change committed, the oldest first, up to `Options::keep_changes`.
    pub fn history(&self) -> Vec<Change> {
        self.shared.store.with_history(|history| history.changes())
    }

    /// Every request that came in, the oldest first, up to `Options::keep_requests`.
    pub fn requests(&self) -> Vec<RequestSeen> {
        self.shared.log.all()
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Replaces the tokens (token, user), at once for every request that comes. From then on
    /// access is checked, even if it was not before.
    pub fn set_tokens(&self, tokens: Vec<(String, String)>) {
        self.shared.access.set_tokens(tokens);
    }

    /// Replaces the rules; as `set_tokens`.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.shared.access.set_rules(rules);
    }

    /// Lets `action` befall the requests that match, `times` of them if given. Of several faults
    /// that match, the one added first and not used up counts.
    pub fn fault(
        &self,
        matcher: impl Fn(&RequestSeen) -> bool + Send + Sync + 'static,
        times: Option<u32>,
        action: Fault,
    ) -> FaultHandle {
        self.shared.faults.add(Box::new(matcher), times, action)
    }

    /// Ends all faults. Requests they have befallen already are not helped.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Closes the connections of all open watches; returns how many there were.
    pub fn cut_watches(&self) -> usize {
        self.shared.store.cut_watches(false, false)
    }

    /// As `cut_watches`, in the middle of a line.
    pub fn cut_watches_mid_line(&self) -> usize {
        self.shared.store.cut_watches(true, false)
    }

    /// As `cut_watches`, with a TCP reset.
    pub fn reset_watches(&self) -> usize {
        self.shared.store.cut_watches(false, true)
    }

    /// Sends these bytes as they are to every open watch. A line ends in `\n`.
    pub fn send_to_watches(&self, line: &[u8]) {
        self.shared.store.send_to_watches(line);
    }

    /// How many watches are open, silent ones included.
    pub fn open_watches(&self) -> usize {
        self.shared.store.with_history(|history| history.inboxes().len())
    }

    /// How many connections are open, or closed by the client and not noticed yet.
    pub fn open_connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// Closes every connection, and goes on to listen.
    pub fn cut_connections(&self) {
        self.shared.connections.cut_all();
        self.shared.store.cut_watches(false, false);
    }

    /// Stops listening and closes every connection, as a restart would. The objects stay.
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

    /// From now on connections are accepted and nothing is answered, acted upon or sent, not even
    /// a TLS handshake. Once it returns, nothing is committed any more.
    pub fn freeze(&self) {
        self.shared.gate.freeze();
    }

    /// Goes on where `freeze` stopped, with the requests that came meanwhile.
    pub fn thaw(&self) {
        self.shared.gate.thaw();
    }

    /// Waits until `condition` holds, at most for `patience`; returns whether it does. It is
    /// looked at whenever something happens here, and every few milliseconds besides.
    pub fn wait_until(&self, patience: Duration, mut condition: impl FnMut(&Server) -> bool) -> bool {
        self.shared.activity.wait_until(patience, || condition(self))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.gate.stop();
        self.listener.stop();
        self.cut_connections();
        self.shared.connections.wait_for_end(GOODBYE);
    }
}

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    let known = Resource::named(resource);
    let resource = known.unwrap_or_else(|| panic!("there is no resource named {resource:?}"));
    Key { resource, namespace: namespace.to_owned(), name: name.to_owned() }
}
