//! The keys and certificates of a kube-apiserver, in PEM.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// The server's certificate and key, and the CA that clients trust.
pub(crate) struct ServingCertificate {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl ServingCertificate {
    /// A certificate for the address 127.0.0.1, and a new CA.
    pub(crate) fn new() -> Result<ServingCertificate, rcgen::Error> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, "tests");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let mut leaf = CertificateParams::new(["127.0.0.1".to_owned()])?;
        leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?.pem();
        Ok(ServingCertificate { ca: ca_pem, certificate, key: key.serialize_pem() })
    }
}

/// The keys that sign and verify service account tokens.
pub(crate) struct TokenKeys {
    pub(crate) private: String,
    pub(crate) public: String,
}

impl TokenKeys {
    pub(crate) fn new() -> Result<TokenKeys, rcgen::Error> {
        let key = KeyPair::generate()?;
        Ok(TokenKeys { private: key.serialize_pem(), public: key.public_key_pem() })
    }
}
