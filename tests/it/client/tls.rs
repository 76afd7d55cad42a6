//! TLS: the servers that the client trusts, and the errors for others.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use crate::common::api_client::*;
use leader_elector::api::{Api, FailureKind, WatchHandle};
use leader_elector::credentials::Credentials;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority.
pub struct Ca {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { pem, issuer: Issuer::new(params, key) }
    }

    /// A server with a certificate of this CA for this name.
    fn server_for(&self, name: &str) -> Server {
        let (certificate, key) = self.certify(name);
        serving(certificate, key)
    }

    fn server(&self) -> Server {
        self.server_for("127.0.0.1")
    }

    pub fn certify(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.into()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

fn serving(certificate: rcgen::Certificate, key: KeyPair) -> Server {
    Server::https(showing(certificate, key), |_, stream| {
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    })
}

pub fn showing(certificate: rcgen::Certificate, key: KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

pub fn account_with(ca: &str) -> ServiceAccount {
    ServiceAccount::with(&[("token", "secret"), ("ca.crt", ca)])
}

pub fn client_of(server: &Server, account: &ServiceAccount) -> Api {
    let port = server.address.port().to_string();
    let credentials = Credentials::in_cluster_at(Some("127.0.0.1"), Some(&port), account.dir()).unwrap();
    Api::new(Arc::new(credentials), LONG)
}

/// The error of a request to a server that is not trusted.
fn distrust(server: &Server, account: &ServiceAccount) -> String {
    let failure = client_of(server, account).update(&endpoints(), b"{}", LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unknown);
    assert!(server.seen.try_recv().is_err(), "nothing is sent to a server that is not trusted");
    let dir = account.dir().display().to_string();
    failure.message.replace(&dir, "DIR").replace(&server.address.to_string(), "SERVER")
}

#[test]
fn a_pod_talks_to_its_api_server() {
    let ca = Ca::new("ca");
    let server = ca.server();
    let account = account_with(&ca.pem);
    account.write("namespace", "team-a\n");
    let port = server.address.port().to_string();
    let credentials = Credentials::in_cluster_at(Some("127.0.0.1"), Some(&port), account.dir()).unwrap();
    assert_eq!(credentials.namespace(), Some("team-a"));
    let api = Api::new(Arc::new(credentials), LONG);
    for _ in 0..3 {
        assert_eq!(api.update(&endpoints(), b"{}", LONG).unwrap(), b"{}");
        let seen = server.next();
        assert_eq!((seen.connection, seen.header("authorization")), (0, Some("Bearer secret")));
    }
}

#[test]
fn any_certificate_of_the_bundle_is_accepted() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    let account = account_with(&format!("# comment\n{}\n{}", one.pem, two.pem));
    for ca in [&one, &two] {
        client_of(&ca.server(), &account).get(&endpoints(), LONG).unwrap();
    }
}

#[test]
fn a_certificate_that_does_not_fit_is_described() {
    let ca = Ca::new("ca");
    assert_eq!(
        distrust(&ca.server(), &account_with(&Ca::new("another").pem)),
        "cannot update endpoints default/example: the certificate of SERVER is not signed by a CA in DIR/ca.crt; use \
         the CA certificate of this cluster"
    );
    // A CA of the same name with another key, as in a rebuilt cluster.
    let message = distrust(&ca.server(), &account_with(&Ca::new("ca").pem));
    assert!(message.contains("is not signed by a CA in DIR/ca.crt"), "{message}");

    let message = distrust(&ca.server_for("api.example.com"), &account_with(&ca.pem));
    assert!(message.contains("the certificate of SERVER is for another server: "), "{message}");
    assert!(message.contains("api.example.com"), "{message}");
}

#[test]
fn a_certificate_that_is_not_valid_now_is_described() {
    let ca = Ca::new("ca");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let certificate = params.signed_by(&key, &ca.issuer).unwrap();
    let message = distrust(&serving(certificate, key), &account_with(&ca.pem));
    assert!(message.contains("the certificate of SERVER is not valid now: "), "{message}");
}

#[test]
fn a_ca_certificate_shown_as_the_servers_own_is_described() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let account = account_with(&certificate.pem());
    let message = distrust(&serving(certificate, key), &account);
    assert!(message.contains("SERVER uses a CA certificate as its own, which is not accepted"), "{message}");
}

#[test]
fn a_bundle_that_cannot_be_used_is_refused_at_once() {
    let good = Ca::new("ca").pem;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, expected) in [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ("0\u{82}\u{1}garbage", "it is not PEM: no line begins with -----BEGIN"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "it is not valid PEM; is it complete?"),
        ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "it is not valid PEM; is it complete?"),
        (&KeyPair::generate().unwrap().serialize_pem(), "it is PEM, but contains no certificate"),
        (broken, "certificate 1 of 1 cannot be used: "),
        (&format!("{good}{broken}{good}"), "certificate 2 of 3 cannot be used: "),
    ] {
        let account = account_with(content);
        let error = Credentials::server("https://127.0.0.1:1", Some(account.dir())).unwrap_err().to_string();
        let start = format!("cannot use the CA certificates in {}: {expected}", account.path("ca.crt").display());
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn a_rotated_ca_is_used_for_the_next_request() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let account = account_with(&old.pem);
    let (before, after) = (old.server(), new.server());
    let (to_before, to_after) = (client_of(&before, &account), client_of(&after, &account));
    to_before.get(&endpoints(), LONG).unwrap();
    to_after.get(&endpoints(), LONG).unwrap_err();

    account.write("ca.crt", "in the middle of being written");
    to_before.get(&endpoints(), LONG).unwrap();

    account.write("ca.crt", &new.pem);
    to_after.get(&endpoints(), LONG).unwrap();
    // A connection with a certificate of the old CA is closed.
    to_before.get(&endpoints(), LONG).unwrap_err();
}

#[test]
fn replacing_a_ca_file_with_the_same_content_keeps_the_connection() {
    let ca = Ca::new("ca");
    let (server, account) = (ca.server(), account_with(&ca.pem));
    let api = client_of(&server, &account);
    api.get(&endpoints(), LONG).unwrap();
    account.write("ca.crt", &ca.pem);
    account.write("token", "another");
    api.get(&endpoints(), LONG).unwrap();
    let (first, second) = (server.next(), server.next());
    assert_eq!((first.connection, second.connection), (0, 0));
    assert_eq!(second.header("authorization"), Some("Bearer another"));
}

#[test]
fn a_hanging_handshake_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let account = account_with(&Ca::new("ca").pem);
    let credentials = Credentials::server(&format!("https://{address}"), Some(account.dir())).unwrap();
    let failure = Api::new(Arc::new(credentials), LONG).update(&endpoints(), b"{}", SHORT).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unknown);
    let expected = format!("cannot update endpoints default/example: no TLS handshake with {address} within 200ms");
    assert_eq!(failure.message, expected);
}

#[test]
fn a_server_that_does_not_speak_tls_is_described() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let stream: &mut dyn Stream = &mut stream;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        hang(stream);
    });
    let account = account_with(&Ca::new("ca").pem);
    let credentials = Credentials::server(&format!("https://{address}"), Some(account.dir())).unwrap();
    let failure = Api::new(Arc::new(credentials), LONG).get(&endpoints(), LONG).unwrap_err();
    assert!(failure.message.ends_with("does not speak TLS; is it an http:// address?"), "{failure}");
}

#[test]
fn a_body_cut_short_under_tls_is_a_failure() {
    let ca = Ca::new("ca");
    let (certificate, key) = ca.certify("127.0.0.1");
    let server = Server::https(showing(certificate, key), |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}").unwrap();
        Then::Close
    });
    let failure = client_of(&server, &account_with(&ca.pem)).get(&endpoints(), LONG).unwrap_err();
    assert_eq!(
        failure.message,
        "cannot read endpoints default/example: the connection was lost before the whole answer was there"
    );
}

/// What a server or a proxy sends after an answer would be taken for the answer to the next request.
#[test]
fn a_connection_with_unread_bytes_is_not_used_again() {
    let ca = Ca::new("ca");
    for (length, in_one_record) in [2, 3000, 4900, 7900, 15_000].into_iter().flat_map(|it| [(it, true), (it, false)]) {
        let (certificate, key) = ca.certify("127.0.0.1");
        let server = Server::https(showing(certificate, key), move |seen, stream| {
            let body = format!("{}{}", seen.connection, " ".repeat(length));
            let (asked, surplus) = (answer("200 OK", "", &body), answer("200 OK", "", "surplus"));
            if seen.connection > 0 {
                stream.write_all(&asked).unwrap();
            } else if in_one_record {
                stream.write_all(&[asked, surplus].concat()).unwrap();
            } else {
                stream.write_all(&asked).unwrap();
                stream.write_all(&surplus).unwrap();
            }
            Then::Stay
        });
        let api = client_of(&server, &account_with(&ca.pem));
        for connection in ["0", "1", "1"] {
            let body = api.get(&endpoints(), LONG).unwrap();
            assert_eq!(String::from_utf8_lossy(&body).trim_end(), connection, "{length} {in_one_record}");
            thread::sleep(SHORT / 10); // until what is left has arrived
        }
    }
}

#[test]
fn a_new_connection_resumes_the_session_of_the_last() {
    let ca = Ca::new("ca");
    let (server, account) = (ca.server(), account_with(&ca.pem));
    let api = client_of(&server, &account);
    api.get(&endpoints(), LONG).unwrap();
    api.abandon(); // closes the connection
    api.get(&endpoints(), LONG).unwrap();
    assert!(api.watch(&endpoints(), None, 1, LONG, &WatchHandle::new()).is_ok());
    let (first, second, third) = (server.next(), server.next(), server.next());
    assert_eq!((first.connection, second.connection, third.connection), (0, 1, 2));
    assert_eq!((first.resumed, second.resumed, third.resumed), (false, true, true));
}
