//! Where the API server is, and how this process shows who it is.
//!
//! What rotates in files (the token, the CA certificates) is read again when the files change.

mod followed;
mod server;
mod token;
mod trust;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use self::followed::Followed;
pub(crate) use self::server::Server;
pub(crate) use self::token::Token;

/// Where a pod finds the files of its service account.
pub const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An API server and the means to be known to it.
///
/// The token goes out over HTTPS only, or in plain HTTP to this very machine.
pub struct Credentials {
    server: Server,
    token: Option<Followed<Token>>,
    /// There for an HTTPS server.
    tls: Option<Followed<Arc<ClientConfig>>>,
    namespace: Option<String>,
    /// The log says already that the token is kept back.
    kept_back: AtomicBool,
}

/// Whether `--server` may be given this address; the error does not repeat what may be a secret.
pub fn check_url(url: &str) -> Result<(), CredentialsError> {
    Server::parse(url).map(drop)
}

/// What a TLS connection is made with. Equal ones may share connections.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    /// Where the trusted certificates come from, for error messages.
    pub(crate) trusted: String,
}

impl Credentials {
    /// What a pod has: the server in its environment, the rest in the directory of its service
    /// account ([`SERVICE_ACCOUNT_DIR`]).
    pub fn in_cluster(service_account_dir: &Path) -> Result<Credentials, CredentialsError> {
        let variable = |name| std::env::var(name).ok();
        Credentials::in_cluster_at(
            variable("KUBERNETES_SERVICE_HOST").as_deref(),
            variable("KUBERNETES_SERVICE_PORT").as_deref(),
            service_account_dir,
        )
    }

    /// As [`Credentials::in_cluster`], with the two variables given.
    pub fn in_cluster_at(
        host: Option<&str>,
        port: Option<&str>,
        service_account_dir: &Path,
    ) -> Result<Credentials, CredentialsError> {
        let given = |name: &str, value: Option<&str>| match value {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(CredentialsError::new(format!(
                "looked for an API server in ${name}, which is not set; run in a pod, or give --server=URL, \
                 for example of a `kubectl proxy`"
            ))),
        };
        let host = given("KUBERNETES_SERVICE_HOST", host)?;
        let port = given("KUBERNETES_SERVICE_PORT", port)?;
        let server = Server::in_cluster(&host, &port)?;
        let files = ["token", "ca.crt"].map(|name| service_account_dir.join(name));
        Credentials::with_service_account(server, service_account_dir).map_err(|error| {
            if files.iter().all(|file| file.exists()) {
                return error;
            }
            CredentialsError::new(format!(
                "{error}; run in a pod with automountServiceAccountToken, or give --server=URL, for example of a \
                 `kubectl proxy`"
            ))
        })
    }

    /// The server at a URL, as `--server` gives it. Token and CA certificates of a service account
    /// are used only where its directory is given.
    pub fn server(url: &str, service_account_dir: Option<&Path>) -> Result<Credentials, CredentialsError> {
        let server = Server::parse(url)?;
        match service_account_dir {
            Some(dir) => Credentials::with_service_account(server, dir),
            None if server.https => Err(CredentialsError::new(format!(
                "no CA certificates to know {server} by; give the directory of a service account that holds ca.crt \
                 and token, or the http:// address of a `kubectl proxy`"
            ))),
            None => Ok(Credentials::new(server, None, None, None)),
        }
    }

    fn with_service_account(server: Server, dir: &Path) -> Result<Credentials, CredentialsError> {
        let token = Followed::open(dir.join("token"), Token::parse)?;
        let tls = match server.https {
            true => Some(Followed::open(dir.join("ca.crt"), trust::tls_config)?),
            false => None,
        };
        let namespace = std::fs::read_to_string(dir.join("namespace")).ok().map(|text| text.trim().to_owned());
        Ok(Credentials::new(server, Some(token), tls, namespace.filter(|name| !name.is_empty())))
    }

    fn new(
        server: Server,
        token: Option<Followed<Token>>,
        tls: Option<Followed<Arc<ClientConfig>>>,
        namespace: Option<String>,
    ) -> Credentials {
        Credentials { server, token, tls, namespace, kept_back: AtomicBool::new(false) }
    }

    /// The namespace of the pod, where the service account says it.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The URL of the API server.
    pub fn server_url(&self) -> String {
        self.server.base()
    }

    pub(crate) fn address(&self) -> &Server {
        &self.server
    }

    /// The token to send now, if there is one and it may be sent.
    pub(crate) fn token(&self) -> Option<Token> {
        let token = self.token.as_ref()?;
        if !self.server.https && !self.server.is_loopback() {
            if !self.kept_back.swap(true, Ordering::Relaxed) {
                log::warn!(
                    "the token in {} is not sent to {}, for plain HTTP shows it to everyone on the way; use https://",
                    token.path().display(),
                    self.server
                );
            }
            return None;
        }
        Some(token.current())
    }

    /// A token other than the one that the server has just refused, if the file holds one.
    pub(crate) fn token_instead_of(&self, refused: Option<&Token>) -> Option<Token> {
        let refused = refused?;
        let token = self.token.as_ref()?.reread();
        (token != *refused).then_some(token)
    }

    /// How to reach the server over TLS; `None` for plain HTTP.
    pub(crate) fn tls(&self) -> Option<Tls> {
        let followed = self.tls.as_ref()?;
        // Checked when the address was taken apart.
        let server_name = self.server.name()?;
        Some(Tls { config: followed.current(), server_name, trusted: followed.path().display().to_string() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("server", &self.server_url()).finish_non_exhaustive()
    }
}

/// Why there are no credentials: what was looked for, what was found, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsError(String);

impl CredentialsError {
    fn new(message: String) -> CredentialsError {
        CredentialsError(message)
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CredentialsError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client of this address would send its token. A server that is not on this machine
    /// cannot be had in a test, so the decision is asked.
    fn sends_token(url: &str, name: &str) -> bool {
        let dir = std::env::temp_dir().join(format!("leader-elector-credentials-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("token"), "secret").unwrap();
        let credentials = Credentials::server(url, Some(&dir)).unwrap();
        assert!(!format!("{credentials:?}").contains("secret"));
        let token = credentials.token();
        std::fs::remove_dir_all(&dir).unwrap();
        token.is_some()
    }

    #[test]
    fn over_plain_http_a_token_goes_to_this_machine_only() {
        assert!(sends_token("http://127.0.0.1:8001", "a"));
        assert!(sends_token("http://127.1.2.3:8001", "b"));
        assert!(sends_token("http://[::1]:8001", "c"));
        assert!(sends_token("http://localhost:8001", "d"));
        assert!(!sends_token("http://10.0.0.1:8001", "e"));
        assert!(!sends_token("http://api.example.com", "f"));
        assert!(!sends_token("http://localhost.example.com", "g"));
    }
}
