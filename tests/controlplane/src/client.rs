//! The administrator's HTTP client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The timeout of a request; in a test that passes, none takes so long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The `Warning` headers.
    pub warnings: Vec<String>,
    /// The body; null if it is not JSON.
    pub body: Value,
}

/// Sends requests with one token to one server.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: String,
}

impl Client {
    /// `base` is a URL without a path. With https the server's certificate must be signed by this CA.
    pub(crate) fn new(base: String, ca_pem: Option<&str>, token: &str) -> io::Result<Client> {
        let mut tls =
            TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        if let Some(pem) = ca_pem {
            let authority = Certificate::from_pem(pem.as_bytes()).map_err(io::Error::other)?;
            tls = tls.root_certs(RootCerts::new_with_certs(&[authority]));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_idle_connections(0) // so that no connection outlives a server that is killed
            .user_agent("conformance")
            .build();
        Ok(Client { agent: config.into(), base, token: token.to_owned() })
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.send_as(&self.token, method, path, body)
    }

    /// Sends a request with another token.
    pub(crate) fn send_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {token}"))
            .header("Accept", "application/json");
        let answer = match body {
            None => self.agent.run(request.body(()).map_err(io::Error::other)?),
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body.to_string());
                self.agent.run(request.map_err(io::Error::other)?)
            }
        };
        let mut answer = answer.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let warnings = answer.headers().get_all("Warning").iter();
        let warnings = warnings.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()).collect();
        let text = answer.body_mut().read_to_string().map_err(io::Error::other)?;
        Ok(Answer { status, warnings, body: serde_json::from_str(&text).unwrap_or_default() })
    }

    /// Sends a request, and panics if it fails; returns the body of the answer.
    pub(crate) fn send_successfully(&self, method: &str, path: &str, body: &Value) -> Value {
        match self.send(method, path, Some(body)) {
            Ok(answer) if answer.status / 100 == 2 => answer.body,
            other => panic!("{method} {path}: {other:?}"),
        }
    }
}
