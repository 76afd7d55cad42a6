//! A minimal HTTP client, and the objects and paths of the tests.

// Each test binary uses only a part.
#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ClientCertificate, Options, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// How long to wait for something that must happen, even on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
pub const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

pub const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

pub fn server() -> Server {
    Server::start(Options::default()).unwrap()
}

pub fn lease(name: &str, holder: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 10}})
}

pub fn annotated(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "annotations": {"a": value}}})
}

pub fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

pub struct Client {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    buffer: Vec<u8>,
    token: Option<String>,
}

impl Client {
    pub fn to(server: &Server) -> Client {
        let socket = connect(server);
        let stream = Box::new(socket.try_clone().unwrap());
        Client { stream, socket, buffer: Vec::new(), token: None }
    }

    pub fn over_tls(server: &Server, ca_pem: &str) -> Client {
        Client::with_certificate(server, ca_pem, None)
    }

    /// Over TLS, with a client certificate.
    pub fn with_certificate(server: &Server, ca_pem: &str, own: Option<&ClientCertificate>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(own) => {
                let certificate = CertificateDer::from_pem_slice(own.certificate_pem.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = connect(server);
        let stream = Box::new(StreamOwned::new(session, socket.try_clone().unwrap()));
        Client { stream, socket, buffer: Vec::new(), token: None }
    }

    pub fn with_token(mut self, token: &str) -> Client {
        self.token = Some(token.to_owned());
        self
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    pub fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, body).unwrap()
    }

    pub fn try_call(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.send(method, path, body)?;
        self.answer()
    }

    pub fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<()> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = body.map(Value::to_string).unwrap_or_default();
        let token = self.token.as_ref();
        let token = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
        let length = body.len();
        self.send_raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{token}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    pub fn send_raw(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())?;
        self.stream.flush()
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head()?;
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |l| l.parse().unwrap());
        let text = String::from_utf8(self.bytes(length)?).unwrap();
        let status = head[9..12].parse().unwrap();
        Ok(Answer { status, head, text })
    }

    pub fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    pub fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                return Ok(String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap());
            }
            self.fill()?;
        }
    }

    /// Opens a watch; its events come with `event`.
    pub fn watch(&mut self, path: &str) {
        self.send("GET", path, None).unwrap();
        let head = self.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }

    /// The type and the object of the next event; none if the watch has ended normally.
    pub fn event(&mut self) -> io::Result<Option<(String, Value)>> {
        let length = loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                break usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
            }
            self.fill()?;
        };
        let line = self.bytes(length + 2)?;
        if length == 0 {
            return Ok(None);
        }
        let event: Value = serde_json::from_slice(&line).unwrap();
        Ok(Some((event["type"].as_str().unwrap().to_owned(), event["object"].clone())))
    }

    pub fn must_event(&mut self) -> (String, Value) {
        self.event().unwrap().expect("the watch has ended")
    }

    /// The unread bytes up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill().is_ok() {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether nothing is received for a moment, and the connection stays open. A slow machine can only make this true.
    pub fn is_silent(&mut self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let error = self.fill().err().map(|error| error.kind());
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        error == Some(io::ErrorKind::WouldBlock)
    }

    pub fn close(&self) {
        self.socket.shutdown(Shutdown::Both).unwrap();
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }
}

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.addr()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}
