//! The attacks of hostile clients on the port. Each is repeated until it is stopped.

use rustix::net::sockopt;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Paths that some attacks request.
const METRICS: &str = "/metrics";
const EVENTS: &str = "/events";

/// A timeout, so that a server that hangs does not end the attack. A working server is faster.
const GIVE_UP: Duration = Duration::from_secs(1);

/// One attack.
pub struct Attack {
    pub name: &'static str,
    /// The path that it attacks, if it attacks a certain one.
    pub path: Option<&'static str>,
    method: Method,
}

enum Method {
    /// Many connections at the same time. Each repeats an action with pauses; closed ones are replaced.
    Connections { size: usize, pause: Duration, action: fn(&mut Connection) -> Result<()> },
    /// One connection after another, from two threads: each sends these bytes and waits for an answer.
    RequestLoop(Vec<u8>),
    /// One connection after another, of which the latest `open` ones stay open: each sends a request, and is finally
    /// reset. The attack has started after `total` connections.
    ShortConnections { total: usize, open: usize, request: String },
}

/// The address to attack, and the state of the attack.
pub struct Target {
    pub address: SocketAddr,
    started: AtomicBool,
    stopped: AtomicBool,
}

impl Target {
    pub fn new(address: SocketAddr) -> Target {
        Target { address, started: AtomicBool::new(false), stopped: AtomicBool::new(false) }
    }

    /// Whether all connections of the attack have been opened.
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Result<TcpStream> {
        let socket = TcpStream::connect_timeout(&self.address, GIVE_UP)?;
        socket.set_read_timeout(Some(GIVE_UP))?;
        socket.set_write_timeout(Some(GIVE_UP))?;
        Ok(socket)
    }
}

/// All attacks.
pub fn all() -> Vec<Attack> {
    const MS: Duration = Duration::from_millis(1);
    let connections =
        |name, size, pause, action| Attack { name, path: None, method: Method::Connections { size, pause, action } };
    let request_loop = |name, bytes: &[u8]| Attack { name, path: None, method: Method::RequestLoop(bytes.to_vec()) };
    let short_connections = |name, total, open, request: &str| Attack {
        name,
        path: None,
        method: Method::ShortConnections { total, open, request: request.to_owned() },
    };
    let post =
        |name, fields: &str| request_loop(name, format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n0123456789").as_bytes());
    vec![
        connections("idle connections", 2000, 100 * MS, Connection::read_all),
        connections("a byte each half second", 2000, 500 * MS, Connection::send_a_byte),
        connections("pipelines that nobody reads", 100, MS, |connection| connection.pipeline("/")),
        connections("pipelines that are read", 300, MS, |connection| {
            connection.pipeline("/").and_then(|()| connection.read_all())
        }),
        connections("slow readers", 300, 50 * MS, |connection| {
            connection.pipeline("/").and_then(|()| connection.read_a_little())
        }),
        connections("slow readers of the metrics", 300, 50 * MS, |connection| {
            connection.pipeline(METRICS).and_then(|()| connection.read_a_little())
        })
        .at(METRICS),
        post("Content-Length: 10^16", "Content-Length: 10000000000000000"),
        post("Content-Length: 2^64 - 1", "Content-Length: 18446744073709551615"),
        request_loop("10^9 bytes announced, none sent", b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n"),
        post("Content-Length: -1", "Content-Length: -1"),
        post("two lengths", "Content-Length: 5\r\nContent-Length: 6"),
        post("a length and an encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        request_loop(
            "a chunk of 2^64 - 1 bytes",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        ),
        request_loop("a header of 4 MB", &[b"GET / HTTP/1.1\r\nX: ", &[b'x'; 4_000_000][..], b"\r\n\r\n"].concat()),
        request_loop("200,000 headers", format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(200_000)).as_bytes()),
        request_loop("a path of 2 MB", format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2_000_000)).as_bytes()),
        request_loop(
            "a body of 1 MB",
            &[b"PUT / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", &[0; 1_000_000][..]].concat(),
        ),
        request_loop("64 KiB of pseudo-random bytes", &pseudo_random_bytes(64 * 1024)),
        request_loop("a TLS hello", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\x01\x02\x03\x04\x05\x06\x07"),
        request_loop("NUL bytes", &[0; 4096]),
        post("Expect: 100-continue", "Content-Length: 10\r\nExpect: 100-continue"),
        request_loop("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        request_loop("HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n"),
        request_loop("encoded line ends", b"GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nConnection: close\r\n\r\n"),
        short_connections("resets", 5000, 0, ""),
        short_connections("resets behind requests", 5000, 0, "GET / HTTP/1.1\r\n\r\n"),
        short_connections(
            "10,000 event streams that come and go",
            10_000,
            500,
            &format!("GET {EVENTS} HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n"),
        )
        .at(EVENTS),
    ]
}

impl Attack {
    fn at(self, path: &'static str) -> Attack {
        Attack { path: Some(path), ..self }
    }

    /// Attacks until it is stopped.
    pub fn run(&self, target: &Target) {
        match &self.method {
            Method::Connections { size, pause, action } => connections(target, *size, *pause, *action),
            Method::RequestLoop(bytes) => thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| request_loop(target, bytes));
                }
            }),
            Method::ShortConnections { total, open, request } => short_connections(target, *total, *open, request),
        }
    }
}

fn connections(target: &Target, size: usize, pause: Duration, action: fn(&mut Connection) -> Result<()>) {
    let mut connections: Vec<Option<Connection>> = (0..size).map(|_| None).collect();
    while !target.is_stopped() {
        for slot in &mut connections {
            if slot.is_none() {
                *slot = target.connect().and_then(Connection::new).ok();
            }
            let Some(connection) = slot else { continue };
            if action(connection).is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
                *slot = None;
            }
            if target.is_stopped() {
                return;
            }
        }
        target.started.store(true, Ordering::Relaxed);
        thread::sleep(pause);
    }
}

/// A connection that never blocks.
struct Connection {
    socket: TcpStream,
    /// How many bytes it has sent.
    sent: usize,
}

impl Connection {
    fn new(socket: TcpStream) -> Result<Connection> {
        socket.set_nonblocking(true)?;
        Ok(Connection { socket, sent: 0 })
    }

    /// Sends a byte of a head that never ends. Reads too, to see at once whether the server closes the connection.
    fn send_a_byte(&mut self) -> Result<()> {
        self.socket.write_all(if self.sent == 0 { b"GET /" } else { b"x" })?;
        self.sent += 1;
        self.read_all()
    }

    /// Sends requests until the buffers are full.
    fn pipeline(&mut self, path: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\n\r\n");
        let requests = request.repeat(1000);
        loop {
            // Continue where the last write stopped, so that the stream consists of complete requests.
            match self.socket.write(&requests.as_bytes()[self.sent % request.len()..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read_a_little(&mut self) -> Result<()> {
        self.read(&mut [0; 16]).map(drop)
    }

    fn read_all(&mut self) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        while self.read(&mut buffer)? == buffer.len() {}
        Ok(())
    }

    /// The end of the stream is an error.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.socket.read(buffer)? {
            0 => Err(Error::from(ErrorKind::UnexpectedEof)),
            count => Ok(count),
        }
    }
}

fn request_loop(target: &Target, bytes: &[u8]) {
    while !target.is_stopped() {
        let Ok(mut socket) = target.connect() else { continue };
        // The server may close before everything is sent or read.
        let _ = socket.write_all(bytes);
        let _ = socket.read(&mut [0; 1024]);
        target.started.store(true, Ordering::Relaxed);
    }
}

fn short_connections(target: &Target, total: usize, open: usize, request: &str) {
    let mut sockets = VecDeque::new();
    for number in 1_usize.. {
        if target.is_stopped() {
            return;
        }
        if let Ok(mut socket) = target.connect() {
            let _ = socket.write_all(request.as_bytes());
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            sockets.push_back(socket);
        }
        while sockets.len() > open {
            sockets.pop_front();
        }
        if number == total {
            target.started.store(true, Ordering::Relaxed);
        }
    }
}

/// Pseudo-random bytes, the same each time.
fn pseudo_random_bytes(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
