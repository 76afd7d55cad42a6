//! An HTTP server on a free port, and a client that sends exactly the bytes that a test gives it.
#![allow(dead_code, reason = "every test file uses a part of it")]

use leader_elector::clock;
use leader_elector::election::{Claim, Holder};
use leader_elector::http::{Limits, Server};
use leader_elector::lock::{LockKind, Locks};
use leader_elector::status::{Seen, Snapshot, Status};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes, and short enough to see which test hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const HOUR: Duration = Duration::from_secs(3600);
/// A name that needs escaping in JSON.
pub const ME: &str = "me-\"0\"";

/// Serves on a free port of 127.0.0.1 until the test process ends.
pub fn serve(limits: Limits) -> (SocketAddr, Arc<Status>) {
    let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), limits).unwrap();
    let address = server.local_addrs()[0];
    let status = Arc::new(Status::new(unknown()));
    let for_server = Arc::clone(&status);
    thread::spawn(move || panic!("the server ended: {:?}", server.run(for_server, Arc::default())));
    (address, status)
}

pub fn unknown() -> Snapshot {
    let lock = Locks { kinds: &[LockKind::Endpoints], namespace: "default".into(), name: "example".into() };
    Snapshot::unknown(ME.into(), lock.into(), HOUR, clock::now().saturating_add(HOUR))
}

/// This candidate leads for an hour.
pub fn leading() -> Snapshot {
    Snapshot { claim: Some(Claim { until: clock::now().saturating_add(HOUR), fencing_token: 1 }), ..known() }
}

/// Another candidate holds the lock for an hour.
pub fn following(holder: &str) -> Snapshot {
    held_by(Holder { identity: holder.into(), until: clock::now().saturating_add(HOUR) })
}

/// Another candidate holds the lock until the time in `other`.
pub fn held_by(other: Holder) -> Snapshot {
    Snapshot { seen: vec![Seen { other: Some(other), ..Seen::default() }], ..known() }
}

/// The lock was read, and nobody held it.
pub fn known() -> Snapshot {
    let now = Some(clock::now());
    Snapshot { lock_seen: now, server_reached: now, ..unknown() }
}

/// A client that sends raw bytes.
pub struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Including the status line, without the empty line.
    pub head: String,
    pub body: String,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::of(TcpStream::connect(address).unwrap())
    }

    /// The same from another address of this machine.
    pub fn connect_from(from: IpAddr, address: SocketAddr) -> Client {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::new(from, 0)).unwrap();
        connect(&socket, &address).unwrap();
        Client::of(socket.into())
    }

    /// A client for a connection that the test has opened.
    pub fn of(socket: TcpStream) -> Client {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { socket, unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.try_send(bytes).unwrap();
        self
    }

    /// Like `send`, but the server may close the connection.
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

    /// The next answer, with a body of the length in Content-Length.
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

    /// Discards what the server has sent so far.
    pub fn forget_what_came(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
        self.socket.set_nonblocking(false).unwrap();
        self.unread.clear();
    }

    /// Waits until the server closes the connection in any way. Returns whether it sent nothing before that.
    pub fn ends_in_silence(&mut self) -> bool {
        while self.unread.is_empty() && self.read_more() {}
        self.unread.is_empty()
    }

    /// Reads until the server closes the connection; fails on a reset.
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

/// A client of `/events`.
pub struct Events {
    client: Client,
    pub head: String,
}

impl Events {
    /// Requests `/events` and reads the head of the answer.
    pub fn of(address: SocketAddr) -> Events {
        Events::from(Client::connect(address))
    }

    pub fn from(mut client: Client) -> Events {
        client.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
        Events::from_asked(client)
    }

    /// The same for a client that has sent its request.
    pub fn from_asked(mut client: Client) -> Events {
        let (status, head) = client.head();
        assert_eq!(status, 200, "{head}");
        Events { client, head }
    }

    /// The next block of lines, without the empty line after it; `None` at the end of the stream.
    pub fn block(&mut self) -> Option<String> {
        let unread = &mut self.client.unread;
        loop {
            if let Some(at) = unread.windows(2).position(|window| window == b"\n\n") {
                let block = unread.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(block).unwrap());
            }
            let mut buffer = [0; 4096];
            match self.client.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => unread.extend_from_slice(&buffer[..count]),
                Err(error) => panic!("{error} in a stream, after {:?}", String::from_utf8_lossy(unread)),
            }
        }
    }

    /// The next event, skipping comments: the name and the seconds in it.
    pub fn event(&mut self) -> Option<(String, f64)> {
        // Because of comments a read does not time out.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let block = self.block()?;
            assert!(Instant::now() < deadline, "no event in {PATIENCE:?}");
            let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) else {
                assert_eq!(block, ":", "neither event nor comment");
                continue;
            };
            let json: serde_json::Value = serde_json::from_str(data).unwrap();
            let (name, seconds) = (json["name"].as_str().unwrap(), json["validForSeconds"].as_f64().unwrap());
            assert_eq!(json.as_object().unwrap().len(), 2, "{data}");
            return Some((name.to_owned(), seconds));
        }
    }

    /// The name in the next event.
    pub fn name(&mut self) -> String {
        self.event().expect("the stream goes on").0
    }

    /// Reads events until one names this leader.
    pub fn until_named(&mut self, leader: &str) {
        while self.name() != leader {}
    }

    /// The underlying client.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// The value of a series in the output of `/metrics`: a name, with its labels if it has any.
pub fn sample(page: &str, series: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    page.lines().find_map(value)
}

/// The value of a header of `head`, whatever its case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}
