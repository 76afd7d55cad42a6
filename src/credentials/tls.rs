//! Creates TLS configurations from CA certificates and client certificates.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::CredentialsError;
use super::ca::TrustedCa;

/// There is only one server; the cache stores up to eight tickets for it.
const REMEMBERED_SESSIONS: usize = 8;

/// The parameters of a TLS connection. Connections with equal ones may be shared.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    /// The source of the trusted certificates, for error messages.
    pub(crate) trusted: String,
}

impl Tls {
    /// For a server whose certificate is not verified. `host` is a name or an IP address, with or without brackets.
    pub(crate) fn unverified(host: &str) -> Result<Tls, String> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let server_name = ServerName::try_from(bare.to_owned()).map_err(|error| format!("{host:?}: {error}"))?;
        let config = config(None, None).map_err(|error| format!("cannot set up TLS: {error}"))?;
        Ok(Tls { config, server_name, trusted: "no list of certificates".to_owned() })
    }
}

/// Creates the configuration and keeps it until its certificates change. The configuration also caches TLS sessions, so
/// all connections share it.
pub(super) struct TlsMaker {
    pub(super) trust: TrustedCa,
    server_name: ServerName<'static>,
    made: Mutex<Option<Made>>,
}

struct Made {
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
    config: Arc<ClientConfig>,
}

impl TlsMaker {
    /// `server_name` is the name that the server's certificate must have.
    pub(super) fn new(trust: TrustedCa, server_name: ServerName<'static>) -> TlsMaker {
        TlsMaker { trust, server_name, made: Mutex::default() }
    }

    /// The configuration with this client certificate, if any.
    pub(super) fn current(&self, identity: Option<Arc<CertifiedKey>>) -> Result<Tls, CredentialsError> {
        let roots = self.trust.roots();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let config = match &*made {
            Some(made) if same(&made.roots, &roots) && same(&made.identity, &identity) => Arc::clone(&made.config),
            _ => {
                let config = config(roots.clone(), identity.clone())
                    .map_err(|error| CredentialsError::new(format!("cannot set up TLS: {error}")))?;
                *made = Some(Made { roots, identity, config: Arc::clone(&config) });
                config
            }
        };
        Ok(Tls { config, server_name: self.server_name.clone(), trusted: self.trust.origin() })
    }
}

fn same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
}

fn config(roots: Option<Arc<RootCertStore>>, identity: Option<Arc<CertifiedKey>>) -> Result<Arc<ClientConfig>, Error> {
    // Set explicitly, because rustls otherwise uses a process-wide provider, and panics without one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = match roots {
        Some(roots) => config.with_root_certificates(roots),
        None => config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    let mut config = match identity {
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&identity))))
        }
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS);
    Ok(Arc::new(config))
}

/// Accepts every certificate, for `insecure-skip-tls-verify`.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature only proves that the server has the key of its certificate, and the certificate is not verified.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
