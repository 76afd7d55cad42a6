//! A server that answers with the bytes that a test gives it; and the files of a service account.
#![allow(dead_code)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use leader_elector::api::Api;
use leader_elector::credentials::Credentials;
use leader_elector::lock::{LockKind, LockName};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

/// Longer than anything here takes: a test that waits for so long has failed.
pub const LONG: Duration = Duration::from_secs(30);

/// A timeout for requests that are expected to time out.
pub const SHORT: Duration = Duration::from_millis(200);

/// The same for requests that are expected to time out after the server has reached some point, even on a busy machine.
pub const MEDIUM: Duration = Duration::from_secs(3);

pub fn endpoints() -> LockName {
    lock(LockKind::Endpoints)
}

pub fn lock(kind: LockKind) -> LockName {
    LockName { kind, namespace: "default".into(), name: "example".into() }
}

/// A client for this address without a token.
pub fn client(url: &str) -> Api {
    Api::new(Arc::new(Credentials::server(url, None).unwrap()), LONG)
}

/// A complete answer: the status, such as `200 OK`, further headers (each with its line break) and a body.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// The body of a refusal, as an API server sends it.
pub fn status(code: u16, message: &str, details: &str) -> String {
    let message = message.replace('"', "\\\"");
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","details":{details},"code":{code}}}"#
    )
}

/// A request as it was received, and the number of its connection, counted from 0.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection resumed a TLS session.
    pub resumed: bool,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

pub trait Stream: Read + Write + Send {
    fn resumed(&self) -> bool;
}

impl Stream for TcpStream {
    fn resumed(&self) -> bool {
        false
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn resumed(&self) -> bool {
        self.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// What happens to a connection after a request.
pub enum Then {
    Stay,
    Close,
}

type Script = dyn Fn(&Seen, &mut dyn Stream) -> Then + Send + Sync;

/// Listens on a free port, and answers each request as the script says. It runs until the test process ends.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Receiver<Seen>,
}

impl Server {
    pub fn http(script: impl Fn(&Seen, &mut dyn Stream) -> Then + Send + Sync + 'static) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").unwrap(), None, script)
    }

    pub fn https(
        config: Arc<ServerConfig>,
        script: impl Fn(&Seen, &mut dyn Stream) -> Then + Send + Sync + 'static,
    ) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").unwrap(), Some(config), script)
    }

    /// Gives the same answer to every request.
    pub fn answering(bytes: Vec<u8>) -> Server {
        Server::http(move |_, stream| {
            stream.write_all(&bytes).unwrap();
            Then::Stay
        })
    }

    pub fn on(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Seen, &mut dyn Stream) -> Then + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (tls, sender, script) = (tls.clone(), sender.clone(), script.clone());
                stream.set_nodelay(true).unwrap();
                thread::spawn(move || match tls {
                    None => serve(number, stream, &sender, &*script),
                    Some(config) => serve(
                        number,
                        StreamOwned::new(ServerConnection::new(config).unwrap(), stream),
                        &sender,
                        &*script,
                    ),
                });
            }
        });
        Server { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the next request.
    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(LONG).expect("a request")
    }
}

fn serve(connection: usize, mut stream: impl Stream, sender: &Sender<Seen>, script: &Script) {
    while let Some(seen) = read_request(connection, &mut stream) {
        let _ = sender.send(seen.clone());
        if let Then::Close = script(&seen, &mut stream) {
            return;
        }
    }
}

fn read_request(connection: usize, stream: &mut dyn Stream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<_> =
        lines.filter_map(|line| line.split_once(": ")).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut seen = Seen { connection, line, headers, body: Vec::new(), resumed: stream.resumed() };
    let length = seen.header("content-length").map_or(0, |value| value.parse().unwrap());
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).ok()?;
    Some(seen)
}

/// Keeps a connection open without sending anything, until the client closes it.
pub fn hang(stream: &mut dyn Stream) -> Then {
    let mut byte = [0];
    while let Err(error) = stream.read(&mut byte) {
        if error.kind() != ErrorKind::Interrupted {
            break;
        }
    }
    Then::Close
}

/// A directory for one test, removed when dropped.
pub struct ServiceAccount(PathBuf);

impl ServiceAccount {
    pub fn new() -> ServiceAccount {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("leader-elector-client-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        ServiceAccount(dir)
    }

    /// A directory with only these files.
    pub fn with(files: &[(&str, &str)]) -> ServiceAccount {
        let account = ServiceAccount::new();
        for (name, content) in files {
            account.write(name, content);
        }
        account
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces a file atomically, as a projected volume does.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}

impl Drop for ServiceAccount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
