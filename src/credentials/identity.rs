//! The client certificate and its key.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::ca::is_pem;
use super::reloading_file::ReloadingFile;

const OTHER_KEY: &str = "the key does not belong to the certificate";

/// A client certificate, fixed or in files.
pub(super) enum Identity {
    Fixed(Arc<CertifiedKey>),
    Files(ReloadingFile<Arc<CertifiedKey>>),
}

impl Identity {
    /// The current certificate.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        match self {
            Identity::Fixed(identity) => Arc::clone(identity),
            Identity::Files(file) => file.current(),
        }
    }
}

/// A certificate chain and its key, all in PEM. An error says what is wrong, phrased as the end of a sentence, and
/// shows nothing of the key.
///
/// They are checked against each other here, because the TLS library gives no reason at a handshake.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "the certificate is not sound PEM; is all of it there?")?;
    if chain.is_empty() {
        return Err(absence("certificate", certificate));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| match contains(key, b"ENCRYPTED") {
        true => "the key is encrypted, which is not supported".to_owned(),
        false => absence("private key", key),
    })?;
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        "the key type is not supported; use RSA with 2048 to 4096 bits and the usual exponent, ECDSA with P-256 \
             or P-384 and its public part, Ed25519"
    })?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(identity)),
        Err(Error::InconsistentKeys(_)) => Err(OTHER_KEY.into()),
        // A version 1 certificate, as `openssl x509 -req` makes by default. Servers accept it.
        Err(error) if format!("{error:?}").contains("UnsupportedCertVersion") => match is_for_key(&identity) {
            Some(false) => Err(OTHER_KEY.into()),
            _ => Ok(Arc::new(identity)),
        },
        Err(error) => Err(format!("the certificate cannot be used: {error}")),
    }
}

/// Whether a version 1 certificate belongs to the key; `None` if unknown. The TLS library parses such certificates only
/// as CAs.
fn is_for_key(identity: &CertifiedKey) -> Option<bool> {
    let mut store = RootCertStore::empty();
    store.add(identity.cert.first()?.clone()).ok()?;
    let (certified, own) = (&store.roots.first()?.subject_public_key_info, identity.key.public_key()?);
    // The parsed key lacks the DER header with its type and length.
    Some(own.ends_with(certified) && own.len() - certified.len() <= 4)
}

/// The message for a text without the expected content.
fn absence(what: &str, text: &[u8]) -> String {
    match is_pem(text) {
        true => format!("it is PEM, but contains no {what}"),
        false => format!("the {what} is not PEM: no line begins with -----BEGIN"),
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
