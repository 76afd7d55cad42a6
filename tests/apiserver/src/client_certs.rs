//! Client certificates: a CA that signs them, and the users that they name.
//!
//! As in kube-apiserver, the handshake accepts every certificate, and each request verifies it: if it is not signed by
//! the CA, or not valid now, the request is unauthorized, but the connection is kept.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::access::User;
use crate::tls::{authority, params};

/// A certificate for a client, and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate: its common name is the user, its organization is the group.
    pub certificate_pem: String,
    /// The private key that goes with it, in PKCS #8.
    pub key_pem: String,
}

/// Signs and verifies client certificates.
pub(crate) struct ClientAuthority {
    issuer: Issuer<'static, KeyPair>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientAuthority {
    pub(crate) fn new() -> io::Result<ClientAuthority> {
        let (certificate, issuer) = authority("in-memory API server client CA").map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.allow_unauthenticated().build().map_err(io::Error::other)?;
        Ok(ClientAuthority { issuer, verifier })
    }

    /// The verifier that accepts every certificate in the handshake.
    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(AcceptAny(Arc::clone(&self.verifier)))
    }

    /// A certificate for a user, with an optional group, that is valid until `until`.
    pub(crate) fn issue(&self, user: &str, group: Option<&str>, until: SystemTime) -> io::Result<ClientCertificate> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = params(&[], user).map_err(io::Error::other)?;
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.not_after = until.into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = CertificateParams::signed_by(&params, &key, &self.issuer).map_err(io::Error::other)?;
        Ok(ClientCertificate { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The user of this chain; none if it is not valid now.
    pub(crate) fn user(&self, chain: &[CertificateDer<'_>]) -> Option<User> {
        let (own, others) = chain.split_first()?;
        self.verifier.verify_client_cert(own, others, UnixTime::now()).ok()?;
        subject(own)
    }
}

/// Verifies only that the client has the key of its certificate.
struct AcceptAny(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AcceptAny {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl fmt::Debug for AcceptAny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcceptAny")
    }
}

const SEQUENCE: u8 = 0x30;
/// The explicit tag of the version, which comes first where there is one.
const VERSION: u8 = 0xa0;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The subject of a certificate that was verified: its common name is the user, its organizations are the groups.
fn subject(certificate: &[u8]) -> Option<User> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // The serial number, the algorithm, the issuer and the validity come before the subject (RFC 5280, 4.1).
    for _ in 0..4 {
        fields = element(fields)?.2;
    }
    let (SEQUENCE, mut names, _) = element(fields)? else { return None };
    let (mut name, mut groups) = (None, Vec::new());
    while let Some((_, set, rest)) = element(names) {
        names = rest;
        let (_, pair, _) = element(set)?;
        let (_, kind, value) = element(pair)?;
        let text = String::from_utf8(element(value)?.1.to_vec()).ok()?;
        match kind {
            COMMON_NAME => name = Some(text),
            ORGANIZATION => groups.push(text),
            _ => {}
        }
    }
    Some(User { name: name?, groups })
}

/// The first element of some DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        _ => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
