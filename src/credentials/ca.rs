//! CA certificates: loads the bundles that verify the server's certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::CredentialsError;
use super::reloading_file::ReloadingFile;

/// Where systems store the public CAs; the first existing file is used.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The CAs that verify the server's certificate.
pub(super) enum TrustedCa {
    /// Those in a file.
    File(ReloadingFile<Arc<RootCertStore>>),
    /// Fixed certificates, and where they are configured.
    Fixed(Arc<RootCertStore>, String),
    /// Every certificate is accepted.
    Anybody,
}

impl TrustedCa {
    /// A file in which every certificate must be valid.
    pub(super) fn file(path: PathBuf) -> Result<TrustedCa, CredentialsError> {
        ReloadingFile::open(path, |path, pem| roots(&path.display().to_string(), "the file", pem)).map(TrustedCa::File)
    }

    /// A bundle given inline; `origin` says where.
    pub(super) fn fixed(origin: String, pem: &[u8]) -> Result<TrustedCa, CredentialsError> {
        Ok(TrustedCa::Fixed(roots(&origin, "the value", pem)?, origin))
    }

    /// The public CAs of this system, from `$SSL_CERT_FILE` or a usual path. `None` if there are none.
    pub(super) fn system() -> Result<Option<TrustedCa>, CredentialsError> {
        let given = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
        given.or_else(usual).map(|path| ReloadingFile::open(path, system_roots).map(TrustedCa::File)).transpose()
    }

    /// The current certificates; `None` if every server is trusted.
    pub(super) fn roots(&self) -> Option<Arc<RootCertStore>> {
        match self {
            TrustedCa::File(file) => Some(file.current()),
            TrustedCa::Fixed(roots, _) => Some(Arc::clone(roots)),
            TrustedCa::Anybody => None,
        }
    }

    /// The source of the certificates, for error messages.
    pub(super) fn origin(&self) -> String {
        match self {
            TrustedCa::File(file) => file.path().display().to_string(),
            TrustedCa::Fixed(_, origin) => origin.clone(),
            TrustedCa::Anybody => "nothing, because every certificate is accepted".to_owned(),
        }
    }
}

/// All certificates of the bundle, or an error; `what` names the bundle.
fn roots(origin: &str, what: &str, pem: &[u8]) -> Result<Arc<RootCertStore>, CredentialsError> {
    let refuse = |why: String| CredentialsError::new(format!("cannot use the CA certificates in {origin}: {why}"));
    if pem.trim_ascii().is_empty() {
        return Err(refuse(format!("{what} is empty")));
    }
    if !is_pem(pem) {
        return Err(refuse("it is not PEM: no line begins with -----BEGIN".into()));
    }
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| refuse("it is not valid PEM; is it complete?".into()))?;
    if certificates.is_empty() {
        return Err(refuse("it is PEM, but contains no certificate".into()));
    }
    let count = certificates.len();
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| refuse(format!("certificate {} of {count} cannot be used: {error}", index + 1)))?;
    }
    Ok(Arc::new(roots))
}

/// The usable certificates of the system's bundle. Large bundles often contain a few unusable ones.
fn system_roots(path: &Path, pem: &[u8]) -> Result<Arc<RootCertStore>, CredentialsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if roots.is_empty() {
        return Err(CredentialsError::new(format!(
            "cannot use the CA certificates in {}: it contains no usable certificate",
            path.display()
        )));
    }
    Ok(Arc::new(roots))
}

/// Whether it may contain PEM.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}
