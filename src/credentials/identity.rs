//! The client's own certificate and the key that goes with it.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::ca::is_pem;
use super::reloading_file::ReloadingFile;

const OTHER_KEY: &str = "the key is not the one that the certificate is for";

/// A client certificate, and whether it may change.
pub(super) enum Identity {
    Fixed(Arc<CertifiedKey>),
    Files(ReloadingFile<Arc<CertifiedKey>>),
}

impl Identity {
    /// The certificate as it is now.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        match self {
            Identity::Fixed(identity) => Arc::clone(identity),
            Identity::Files(file) => file.current(),
        }
    }
}

/// A certificate, with those that lead from it to its CA, and its key, all in PEM. An error says what is wrong with
/// them in words that end a sentence, and shows nothing of the key.
///
/// They are checked against each other here, because the TLS library does not say what is wrong at a handshake.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "the certificate is not sound PEM; is all of it there?")?;
    if chain.is_empty() {
        return Err(absence("certificate", certificate));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| match contains(key, b"ENCRYPTED") {
        true => "the key is encrypted, and there is nobody to ask for its password".to_owned(),
        false => absence("private key", key),
    })?;
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        "the key is none that can be used here: RSA with 2048 to 4096 bits and the usual exponent, ECDSA with P-256 \
             or P-384 and its public part, Ed25519"
    })?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(identity)),
        Err(Error::InconsistentKeys(_)) => Err(OTHER_KEY.into()),
        // What plain `openssl x509 -req` makes. Servers take it.
        Err(error) if format!("{error:?}").contains("UnsupportedCertVersion") => match is_for_key(&identity) {
            Some(false) => Err(OTHER_KEY.into()),
            _ => Ok(Arc::new(identity)),
        },
        Err(error) => Err(format!("the certificate cannot be used: {error}")),
    }
}

/// Whether a certificate of the first version is for the key; `None` where that cannot be told. The TLS library reads
/// such certificates as those of CAs only.
fn is_for_key(identity: &CertifiedKey) -> Option<bool> {
    let mut store = RootCertStore::empty();
    store.add(identity.cert.first()?.clone()).ok()?;
    let (certified, own) = (&store.roots.first()?.subject_public_key_info, identity.key.public_key()?);
    // The one comes without the head that says its type and length.
    Some(own.ends_with(certified) && own.len() - certified.len() <= 4)
}

/// What to say of a text without what it ought to hold.
fn absence(what: &str, text: &[u8]) -> String {
    match is_pem(text) {
        true => format!("there is PEM, but no {what} in it"),
        false => format!("the {what} is not PEM, for no line begins with -----BEGIN"),
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
