//! Whom to trust: from a bundle of CA certificates to a TLS configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::CredentialsError;

/// Only one server is ever spoken to; the cache keeps up to eight tickets for it.
const REMEMBERED_SESSIONS: usize = 8;

/// The TLS configuration that trusts the certificates in a bundle, and nothing else.
///
/// It is also where TLS sessions are remembered, so one configuration serves all connections, and
/// lives as long as the bundle does not change.
pub(super) fn tls_config(path: &Path, pem: &[u8]) -> Result<Arc<ClientConfig>, CredentialsError> {
    let roots = roots(path, pem)?;
    // Named here, because rustls otherwise looks for a process-wide provider, and panics without one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CredentialsError::new(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS);
    Ok(Arc::new(config))
}

/// Every certificate of the bundle, or what is wrong with it.
fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, CredentialsError> {
    let refuse =
        |why: String| CredentialsError::new(format!("cannot use the CA certificates in {}: {why}", path.display()));
    if pem.trim_ascii().is_empty() {
        return Err(refuse("the file is empty".into()));
    }
    if !pem.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err(refuse("it is not PEM, for no line begins with -----BEGIN".into()));
    }
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse(format!("it is not sound PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(refuse("it is PEM, but holds no certificate".into()));
    }
    let count = certificates.len();
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| refuse(format!("certificate {} of {count} cannot be used: {error}", index + 1)))?;
    }
    Ok(roots)
}
