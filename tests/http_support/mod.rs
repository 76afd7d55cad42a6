//! A server on a free port, and a client that says exactly what a test wants said.
#![allow(dead_code, reason = "every test file uses a part of it")]

use leader_elector::clock;
use leader_elector::http::{Limits, Server};
use leader_elector::lock::{LockKind, LockName};
use leader_elector::status::{Claim, Holder, Snapshot, Status};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Far longer than anything takes, short enough to see which test hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const HOUR: Duration = Duration::from_secs(3600);
/// A name that shows whether it is escaped.
pub const ME: &str = "me-\"0\"";

/// Serves on a free port of 127.0.0.1 for as long as the test process lives.
pub fn serve(limits: Limits) -> (SocketAddr, Arc<Status>) {
    let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), limits).unwrap();
    let address = server.local_addrs()[0];
    let status = Arc::new(Status::new(unknown()));
    let for_server = Arc::clone(&status);
    thread::spawn(move || panic!("the server ended: {}", server.run(for_server)));
    (address, status)
}

pub fn unknown() -> Snapshot {
    let lock = LockName { kind: LockKind::Endpoints, namespace: "default".into(), name: "example".into() };
    Snapshot::unknown(ME.into(), lock.into(), HOUR, clock::now() + HOUR)
}

/// This candidate leads for an hour.
pub fn leading() -> Snapshot {
    Snapshot { claim: Some(Claim { until: clock::now() + HOUR, fencing_token: 1 }), ..known() }
}

/// Another candidate holds the lock for an hour.
pub fn following(holder: &str) -> Snapshot {
    Snapshot { other: Some(Holder { identity: holder.into(), until: clock::now() + HOUR }), ..known() }
}

/// The lock was read, and nobody held it.
pub fn known() -> Snapshot {
    let now = Some(clock::now());
    Snapshot { lock_seen: now, server_reached: now, ..unknown() }
}

/// A client that sends what it is told, byte for byte.
pub struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// With the status line, without the empty line.
    pub head: String,
    pub body: String,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { socket, unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.try_send(bytes).unwrap();
        self
    }

    /// Like `send`, for what the server may be right not to take.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    pub fn end_sending(&mut self) -> &mut Client {
        self.socket.shutdown(Shutdown::Write).unwrap();
        self
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).answer()
    }

    /// The next answer, as long as its Content-Length says.
    pub fn answer(&mut self) -> Answer {
        let (status, head) = self.head();
        let length = header(&head, "content-length").and_then(|value| value.parse().ok()).expect("a length");
        while self.unread.len() < length {
            assert!(self.read_more(), "the connection ended inside a body");
        }
        let body = self.unread.drain(..length).collect();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// The next answer to a HEAD: its head only.
    pub fn head(&mut self) -> (u16, String) {
        let end = loop {
            match self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at,
                None => assert!(self.read_more(), "the connection ended without an answer"),
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        (status, head.trim_end().to_owned())
    }

    /// Waits until the server closes, however it does, and says whether anything came before that.
    pub fn ends_in_silence(&mut self) -> bool {
        while self.unread.is_empty() && self.read_more() {}
        self.unread.is_empty()
    }

    /// Reads until the server closes in good order; fails on a reset.
    pub fn everything(mut self) -> String {
        let mut all = std::mem::take(&mut self.unread);
        self.socket.read_to_end(&mut all).unwrap();
        String::from_utf8(all).unwrap()
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer in {PATIENCE:?}"),
            Err(_) => false,
        }
    }
}

/// The value of a header of `head`, whatever its case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}
