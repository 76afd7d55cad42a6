//! What hostile clients do to the port, over and over, until they are told that it is enough.

use rustix::net::sockopt;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Paths whose answers are slow readers' and passers-by's favourites.
const METRICS: &str = "/metrics";
const EVENTS: &str = "/events";

/// Longer than a server that works ever takes, so that one that does not stops no attack.
const GIVE_UP: Duration = Duration::from_secs(1);

/// One way to attack.
pub struct Attack {
    pub name: &'static str,
    /// What it is all about, if that is a path with a meaning.
    pub path: Option<&'static str>,
    deeds: Deeds,
}

enum Deeds {
    /// So many connections at a time, each doing this again and again with a pause in between; new ones for those that
    /// are closed.
    Crowd { size: usize, pause: Duration, deed: fn(&mut Member) -> Result<()> },
    /// Connections one after another, from a few threads: each sends these bytes and waits for what comes back.
    Shower(Vec<u8>),
    /// So many connections in all, the latest few of them open: each sends these bytes, and is reset in the end.
    Passage { total: usize, open: usize, request: String },
}

/// Whom to attack, and what the attack has come to.
pub struct Target {
    pub address: SocketAddr,
    begun: AtomicBool,
    over: AtomicBool,
}

impl Target {
    pub fn new(address: SocketAddr) -> Target {
        Target { address, begun: AtomicBool::new(false), over: AtomicBool::new(false) }
    }

    /// Whether all connections of the attack have been there.
    pub fn is_in_full_force(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub fn call_it_off(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_called_off(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Result<TcpStream> {
        let socket = TcpStream::connect_timeout(&self.address, GIVE_UP)?;
        socket.set_read_timeout(Some(GIVE_UP))?;
        socket.set_write_timeout(Some(GIVE_UP))?;
        Ok(socket)
    }
}

/// All attacks there are.
pub fn all() -> Vec<Attack> {
    const MS: Duration = Duration::from_millis(1);
    let crowd = |name, size, pause, deed| Attack { name, path: None, deeds: Deeds::Crowd { size, pause, deed } };
    let shower = |name, bytes: &[u8]| Attack { name, path: None, deeds: Deeds::Shower(bytes.to_vec()) };
    let passage = |name, total, open, request: &str| Attack {
        name,
        path: None,
        deeds: Deeds::Passage { total, open, request: request.to_owned() },
    };
    let post = |name, fields: &str| shower(name, format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n0123456789").as_bytes());
    vec![
        crowd("idle connections", 2000, 100 * MS, Member::read_all),
        crowd("a byte each half second", 2000, 500 * MS, Member::drip),
        crowd("pipelines that nobody reads", 100, MS, |member| member.pipeline("/")),
        crowd("pipelines that are read", 300, MS, |member| member.pipeline("/").and_then(|()| member.read_all())),
        crowd("slow readers", 300, 50 * MS, |member| member.pipeline("/").and_then(|()| member.read_a_little())),
        crowd("slow readers of the metrics", 300, 50 * MS, |member| {
            member.pipeline(METRICS).and_then(|()| member.read_a_little())
        })
        .at(METRICS),
        post("Content-Length: 10^16", "Content-Length: 10000000000000000"),
        post("Content-Length: 2^64 - 1", "Content-Length: 18446744073709551615"),
        shower("10^9 bytes announced, none sent", b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n"),
        post("Content-Length: -1", "Content-Length: -1"),
        post("two lengths", "Content-Length: 5\r\nContent-Length: 6"),
        post("a length and an encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        shower(
            "a chunk of 2^64 - 1 bytes",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        ),
        shower("a header of 4 MB", &[b"GET / HTTP/1.1\r\nX: ", &[b'x'; 4_000_000][..], b"\r\n\r\n"].concat()),
        shower("200,000 headers", format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(200_000)).as_bytes()),
        shower("a path of 2 MB", format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2_000_000)).as_bytes()),
        shower("a body of 1 MB", &[b"PUT / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", &[0; 1_000_000][..]].concat()),
        shower("64 KiB of noise", &noise(64 * 1024)),
        shower("a TLS hello", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\x01\x02\x03\x04\x05\x06\x07"),
        shower("NUL bytes", &[0; 4096]),
        post("Expect: 100-continue", "Content-Length: 10\r\nExpect: 100-continue"),
        shower("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        shower("HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n"),
        shower("encoded line ends", b"GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nConnection: close\r\n\r\n"),
        passage("resets", 5000, 0, ""),
        passage("resets behind requests", 5000, 0, "GET / HTTP/1.1\r\n\r\n"),
        passage(
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

    /// Attacks until it is called off.
    pub fn run(&self, target: &Target) {
        match &self.deeds {
            Deeds::Crowd { size, pause, deed } => crowd(target, *size, *pause, *deed),
            Deeds::Shower(bytes) => thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| shower(target, bytes));
                }
            }),
            Deeds::Passage { total, open, request } => passage(target, *total, *open, request),
        }
    }
}

fn crowd(target: &Target, size: usize, pause: Duration, deed: fn(&mut Member) -> Result<()>) {
    let mut members: Vec<Option<Member>> = (0..size).map(|_| None).collect();
    while !target.is_called_off() {
        for place in &mut members {
            if place.is_none() {
                *place = target.connect().and_then(Member::new).ok();
            }
            let Some(member) = place else { continue };
            if deed(member).is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
                *place = None;
            }
            if target.is_called_off() {
                return;
            }
        }
        target.begun.store(true, Ordering::Relaxed);
        thread::sleep(pause);
    }
}

/// A connection of a crowd, which never waits.
struct Member {
    socket: TcpStream,
    /// Of what it sends again and again.
    sent: usize,
}

impl Member {
    fn new(socket: TcpStream) -> Result<Member> {
        socket.set_nonblocking(true)?;
        Ok(Member { socket, sent: 0 })
    }

    /// A byte of a head without an end. What the server does shows at once.
    fn drip(&mut self) -> Result<()> {
        self.socket.write_all(if self.sent == 0 { b"GET /" } else { b"x" })?;
        self.sent += 1;
        self.read_all()
    }

    /// Requests, until there is no room for more.
    fn pipeline(&mut self, path: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\n\r\n");
        let requests = request.repeat(1000);
        loop {
            // From where the last write stopped, so that what arrives is never anything but requests.
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

    /// An end is an error: it is over for this one.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.socket.read(buffer)? {
            0 => Err(Error::from(ErrorKind::UnexpectedEof)),
            count => Ok(count),
        }
    }
}

fn shower(target: &Target, bytes: &[u8]) {
    while !target.is_called_off() {
        let Ok(mut socket) = target.connect() else { continue };
        // The server may close before all is sent, or before it is read: either is its right.
        let _ = socket.write_all(bytes);
        let _ = socket.read(&mut [0; 1024]);
        target.begun.store(true, Ordering::Relaxed);
    }
}

fn passage(target: &Target, total: usize, open: usize, request: &str) {
    let mut sockets = VecDeque::new();
    for number in 1_usize.. {
        if target.is_called_off() {
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
            target.begun.store(true, Ordering::Relaxed);
        }
    }
}

/// The same each time.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
