//! The address of the API server, and the credentials of this process.
//!
//! Tokens and certificates in files are read again when the files change. Credentials from a plugin are renewed before
//! they expire.

mod ca;
mod context;
mod exec;
mod field;
mod identity;
mod kubeconfig;
mod reloading_file;
mod server;
mod tls;
mod token;
mod yaml;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use self::ca::TrustedCa;
use self::exec::Plugin;
use self::identity::Identity;
use self::kubeconfig::{Kubeconfig, Places};
use self::reloading_file::ReloadingFile;
pub(crate) use self::server::ServerAddress;
pub(crate) use self::tls::Tls;
use self::tls::TlsMaker;
pub(crate) use self::token::Token;

/// The directory of a pod's service account.
pub const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An API server and the credentials for it.
///
/// The token is sent only over HTTPS, or over plain HTTP to this machine.
pub struct Credentials {
    server: ServerAddress,
    bearer: Option<Bearer>,
    identity: Option<Identity>,
    plugin: Option<Plugin>,
    /// Set for an HTTPS server.
    tls: Option<TlsMaker>,
    namespace: Option<String>,
    /// Whether it was logged that the token is not sent.
    kept_back: AtomicBool,
}

/// A token that does not come from a plugin.
enum Bearer {
    File(ReloadingFile<Token>),
    /// The token, and where it is configured.
    Fixed(Token, String),
}

/// Checks the address of `--server`. The error does not repeat possible secrets.
pub fn check_url(url: &str) -> Result<(), CredentialsError> {
    ServerAddress::parse(url, "--server").map(drop)
}

/// The credentials of one request.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) token: Option<Token>,
    /// The TLS configuration; `None` for plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// The number of the plugin run that returned them.
    run: Option<u64>,
}

impl Credentials {
    /// The server in the pod's environment, and the service account in a directory ([`SERVICE_ACCOUNT_DIR`]).
    pub fn in_cluster(service_account_dir: &Path) -> Result<Credentials, CredentialsError> {
        let variable = |name| std::env::var(name).ok();
        Credentials::in_cluster_at(
            variable("KUBERNETES_SERVICE_HOST").as_deref(),
            variable("KUBERNETES_SERVICE_PORT").as_deref(),
            service_account_dir,
        )
    }

    /// As [`Credentials::in_cluster`], with the values of the two variables.
    pub fn in_cluster_at(
        host: Option<&str>,
        port: Option<&str>,
        service_account_dir: &Path,
    ) -> Result<Credentials, CredentialsError> {
        let given = |name: &str, value: Option<&str>| match value {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(CredentialsError::new(format!(
                "looked for an API server in ${name}, which is not set; run in a pod, or give --kubeconfig=FILE, \
                 or --server=URL, for example of a `kubectl proxy`"
            ))),
        };
        let host = given("KUBERNETES_SERVICE_HOST", host)?;
        let port = given("KUBERNETES_SERVICE_PORT", port)?;
        let server = ServerAddress::in_cluster(&host, &port)?;
        let files = ["token", "ca.crt"].map(|name| service_account_dir.join(name));
        Credentials::with_service_account(server, service_account_dir).map_err(|error| {
            if files.iter().all(|file| file.exists()) {
                return error;
            }
            CredentialsError::new(format!(
                "{error}; run in a pod with automountServiceAccountToken, or give --kubeconfig=FILE, or --server=URL, \
                 for example of a `kubectl proxy`"
            ))
        })
    }

    /// The server of a URL, as for `--server`. The token and the CA certificates of a service account are used only if
    /// its directory is given.
    pub fn server(url: &str, service_account_dir: Option<&Path>) -> Result<Credentials, CredentialsError> {
        let server = ServerAddress::parse(url, "--server")?;
        match service_account_dir {
            Some(dir) => Credentials::with_service_account(server, dir),
            None if server.https => Err(CredentialsError::new(format!(
                "no CA certificates to know {server} by; give the directory of a service account that holds ca.crt \
                 and token, or the http:// address of a `kubectl proxy`"
            ))),
            None => Ok(Credentials::new(server)),
        }
    }

    /// A context of a kubeconfig file, by default the current one.
    pub fn kubeconfig(path: &Path, context: Option<&str>) -> Result<Credentials, CredentialsError> {
        let kubeconfig = Kubeconfig::of(path)?;
        let choice = kubeconfig.choose(context)?.ok_or_else(|| no_context(&kubeconfig))?;
        context::credentials(&choice)
    }

    /// As kubectl without flags: the files of `$KUBECONFIG`, or else `~/.kube/config`. If they select no context, the
    /// credentials of the pod ([`Credentials::in_cluster`]).
    pub fn find(context: Option<&str>, service_account_dir: &Path) -> Result<Credentials, CredentialsError> {
        let [kubeconfig, home] = ["KUBECONFIG", "HOME"].map(std::env::var_os);
        let kubeconfig = Kubeconfig::find(&Places { kubeconfig, home })?;
        if let Some(choice) = kubeconfig.choose(context)? {
            return context::credentials(&choice);
        }
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        match kubeconfig.is_there() && !in_pod {
            true => Err(no_context(&kubeconfig)),
            false => Credentials::in_cluster(service_account_dir),
        }
    }

    fn with_service_account(server: ServerAddress, dir: &Path) -> Result<Credentials, CredentialsError> {
        let token = ReloadingFile::open(dir.join("token"), Token::parse)?;
        let tls = match server.https {
            true => {
                // Checked when the address was parsed.
                let name = server.name().ok_or_else(|| CredentialsError::new(format!("{server} has no name")))?;
                Some(TlsMaker::new(TrustedCa::file(dir.join("ca.crt"))?, name))
            }
            false => None,
        };
        let namespace = std::fs::read_to_string(dir.join("namespace")).ok().map(|text| text.trim().to_owned());
        let namespace = namespace.filter(|name| !name.is_empty());
        Ok(Credentials { bearer: Some(Bearer::File(token)), tls, namespace, ..Credentials::new(server) })
    }

    /// A server without credentials.
    fn new(server: ServerAddress) -> Credentials {
        let (bearer, identity, plugin, tls, namespace) = (None, None, None, None, None);
        Credentials { server, bearer, identity, plugin, tls, namespace, kept_back: AtomicBool::new(false) }
    }

    /// The namespace of the pod, if the service account contains it.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The URL of the API server.
    pub fn server_url(&self) -> String {
        self.server.base()
    }

    pub(crate) fn address(&self) -> &ServerAddress {
        &self.server
    }

    /// The credentials for a request now. If a plugin must run first, this blocks until the deadline.
    pub(crate) fn access(&self, deadline: Instant) -> Result<Access, CredentialsError> {
        let (mut token, mut run) = (self.token(), None);
        let mut identity = self.identity.as_ref().map(Identity::current);
        if let Some(plugin) = &self.plugin {
            let (issued, number) = plugin.current(deadline)?;
            run = Some(number);
            token = issued.token.or(token);
            identity = issued.identity.or(identity);
        }
        let tls = self.tls.as_ref().map(|tls| tls.current(identity)).transpose()?;
        Ok(Access { token, tls, run })
    }

    /// Whether there is a plugin, so that [`Credentials::first_answer`] may block.
    pub fn has_plugin(&self) -> bool {
        self.plugin.is_some()
    }

    /// Waits for the first run of the plugin, if there is one. An error means that the plugin cannot be started or
    /// prints unusable credentials. A run that fails otherwise is not an error: the plugin runs again for the next
    /// request.
    pub fn first_answer(&self) -> Result<(), CredentialsError> {
        self.plugin.as_ref().map_or(Ok(()), Plugin::first_answer)
    }

    /// Stops the plugin. No more requests are sent.
    pub fn close(&self) {
        if let Some(plugin) = &self.plugin {
            plugin.stop();
        }
    }

    /// A token other than the refused one, if there is one before the deadline.
    pub(crate) fn token_instead_of(&self, refused: &Access, deadline: Instant) -> Option<Token> {
        if let (Some(plugin), Some(run)) = (&self.plugin, refused.run) {
            plugin.refuse(run);
        }
        let token = match &self.bearer {
            // Read the file even if its time stamps are unchanged. A token that was not sent is not replaced.
            Some(Bearer::File(file)) if refused.token.is_some() => Some(file.reread()),
            _ => self.access(deadline).ok()?.token,
        };
        token.filter(|token| refused.token.as_ref().is_some_and(|refused| refused != token))
    }

    /// The token that does not come from a plugin, if there is one and it may be sent.
    fn token(&self) -> Option<Token> {
        let bearer = self.bearer.as_ref()?;
        if !self.server.https && !self.server.is_loopback() {
            if !self.kept_back.swap(true, Ordering::Relaxed) {
                let origin = match bearer {
                    Bearer::File(file) => file.path().display().to_string(),
                    Bearer::Fixed(_, origin) => origin.clone(),
                };
                log::warn!(
                    "the token in {origin} is not sent to {}, because plain HTTP is not encrypted; use https://",
                    self.server
                );
            }
            return None;
        }
        Some(match bearer {
            Bearer::File(file) => file.current(),
            Bearer::Fixed(token, _) => token.clone(),
        })
    }
}

/// Kubeconfig files that select no context.
fn no_context(kubeconfig: &Kubeconfig) -> CredentialsError {
    CredentialsError::of_config(format!(
        "cannot use the kubeconfig {}: current-context is missing or empty; set it, or give --context=NAME",
        kubeconfig.looked_for()
    ))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("server", &self.server_url()).finish_non_exhaustive()
    }
}

/// Why there are no credentials: what is missing, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsError {
    message: String,
    of_config: bool,
}

impl CredentialsError {
    fn new(message: String) -> CredentialsError {
        CredentialsError { message, of_config: false }
    }

    /// An error that a person must fix in a kubeconfig.
    fn of_config(message: String) -> CredentialsError {
        CredentialsError { message, of_config: true }
    }

    fn into_config(self) -> CredentialsError {
        CredentialsError { of_config: true, ..self }
    }

    /// Whether a kubeconfig is wrong, rather than the environment.
    pub fn is_of_config(&self) -> bool {
        self.of_config
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CredentialsError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client of this address would send its token. A test has no server on another machine, so it checks the
    /// decision.
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
