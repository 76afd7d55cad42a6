//! Slow, idle or hostile clients: none prevents another client from getting an answer, and each is closed.

use crate::common::http::{Client, HOUR, PATIENCE, following, serve};
use leader_elector::http::Limits;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BODY: &str = r#"{"name":"other"}"#;
const SOON: Duration = Duration::from_millis(100);

fn follower(limits: Limits) -> SocketAddr {
    let (address, status) = serve(limits);
    status.publish(following("other"));
    address
}

/// Limits without timeouts, so that only evictions close connections.
fn patient() -> Limits {
    Limits { head_time: HOUR, idle_time: HOUR, write_time: HOUR, linger_time: HOUR, ..Limits::default() }
}

fn assert_polite_clients_are_answered(address: SocketAddr) {
    let mut kept = Client::connect(address);
    for _ in 0..20 {
        assert_eq!(kept.get("/").body, BODY);
        assert_eq!(Client::connect(address).get("/").body, BODY);
    }
}

/// A client that sends requests as fast as it can, and reads nothing.
struct Flood {
    socket: TcpStream,
    requests: Vec<u8>,
    sent: usize,
}

impl Flood {
    /// Sends until the buffers are full.
    fn start(address: SocketAddr) -> Flood {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut flood = Flood { socket, requests: "GET / HTTP/1.1\r\n\r\n".repeat(5000).into_bytes(), sent: 0 };
        while flood.go_on().is_ok() {}
        flood
    }

    fn go_on(&mut self) -> std::io::Result<()> {
        // Continue where the last write stopped, so that the stream consists of complete requests.
        self.sent += self.socket.write(&self.requests[self.sent % self.requests.len()..])?;
        Ok(())
    }
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let address = follower(patient());
    let mut idle: Vec<Client> = (0..300).map(|_| Client::connect(address)).collect();
    assert_polite_clients_are_answered(address);
    assert!(idle[0].ends_in_silence());
}

#[test]
fn used_connections_that_idle_make_room_for_new_ones() {
    let address = follower(patient());
    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..300 {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/").body, BODY);
        idle.push(client);
    }
    assert_polite_clients_are_answered(address);
    // The newest ones are still served.
    assert_eq!(idle[299].get("/").body, BODY);
    assert!(idle[0].ends_in_silence());
}

#[test]
fn the_least_recently_used_idle_connection_is_closed_first() {
    let address = follower(Limits { connections: 2, ..patient() });
    let mut first = Client::connect(address);
    let mut second = Client::connect(address);
    first.get("/");
    second.get("/");
    first.get("/");
    let mut third = Client::connect(address);
    assert_eq!(third.get("/").body, BODY);
    assert!(second.ends_in_silence());
    assert_eq!(first.get("/").body, BODY);
}

#[test]
fn an_unfinished_head_does_not_count_as_use_of_a_connection() {
    let address = follower(Limits { connections: 2, ..patient() });
    let mut dripping = Client::connect(address);
    dripping.send("GET / HTTP/1.1\r\n");
    let mut used = Client::connect(address);
    used.get("/");
    dripping.send("X: y\r\n");
    // An answer after these bytes shows that they have arrived.
    used.get("/");
    assert_eq!(Client::connect(address).get("/").body, BODY);
    assert!(dripping.ends_in_silence());
    assert_eq!(used.get("/").body, BODY);
}

#[test]
fn clients_that_never_read_keep_nobody_from_an_answer() {
    let address = follower(patient());
    let _stuck: Vec<Flood> = (0..100).map(|_| Flood::start(address)).collect();
    assert_polite_clients_are_answered(address);
}

#[test]
fn clients_that_never_read_make_room_when_they_are_all_there_is() {
    let address = follower(Limits { connections: 8, ..patient() });
    let _stuck: Vec<Flood> = (0..8).map(|_| Flood::start(address)).collect();
    for _ in 0..20 {
        assert_eq!(Client::connect(address).get("/").body, BODY);
    }
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let address = follower(Limits { write_time: SOON, ..patient() });
    let mut flood = Flood::start(address);
    let deadline = Instant::now() + PATIENCE;
    while !matches!(flood.go_on(), Err(error) if error.kind() != ErrorKind::WouldBlock) {
        assert!(Instant::now() < deadline, "still open");
        std::thread::yield_now();
    }
}

#[test]
fn a_head_that_never_ends_is_closed() {
    // The bytes may arrive fast enough for the head to be refused as too long. Then further bytes are discarded.
    let address = follower(Limits { head_time: SOON, linger_time: SOON, ..patient() });
    let mut silent = Client::connect(address);
    let mut dripping = Client::connect(address);
    while dripping.try_send("X").is_ok() {
        std::thread::yield_now();
    }
    assert!(silent.ends_in_silence());
    let mut second_head = Client::connect(address);
    second_head.get("/");
    assert!(second_head.send("GET / HT").ends_in_silence());
    assert_polite_clients_are_answered(address);
}

#[test]
fn an_idle_connection_is_closed() {
    let address = follower(Limits { idle_time: SOON, ..patient() });
    let mut client = Client::connect(address);
    client.get("/");
    assert!(client.ends_in_silence());
}

#[test]
fn a_body_that_never_ends_is_closed() {
    let by_time = Limits { linger_time: SOON, linger_bytes: usize::MAX, ..patient() };
    let by_bytes = Limits { linger_bytes: 1024 * 1024, ..patient() };
    for limits in [by_time, by_bytes] {
        let mut client = Client::connect(follower(limits));
        client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(client.answer().body, BODY);
        while client.try_send([b'x'; 4096]).is_ok() {}
    }
}

#[test]
fn bodies_without_an_end_keep_nobody_from_sending_its_own() {
    let address = follower(Limits { linger_bytes: usize::MAX, ..patient() });
    // More connections than are served in one round, each always with more data to discard.
    let mut endless: Vec<TcpStream> = (0..24).map(|_| TcpStream::connect(address).unwrap()).collect();
    for socket in &mut endless {
        socket.write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        socket.set_nonblocking(true).unwrap();
    }
    let mut send_more = move || {
        let sent = endless.iter_mut().filter_map(|socket| socket.write(&[b'x'; 64 * 1024]).ok());
        sent.count() > 0
    };
    while send_more() {}
    let test = Arc::new(());
    let running = Arc::downgrade(&test);
    std::thread::spawn(move || {
        while running.strong_count() > 0 {
            send_more();
        }
    });
    // More than the kernel buffers, so that the last byte is sent only after nearly all was discarded.
    let body = vec![b'x'; 8 * 1024 * 1024];
    let mut client = Client::connect(address);
    client.send(format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len())).send(&body);
    assert_eq!(client.answer().body, BODY);
    drop(test);
}

#[test]
fn unfinished_heads_hold_little_memory_together() {
    let address = follower(Limits { held_bytes: 64 * 1024, ..patient() });
    let head = format!("GET /{}", "x".repeat(8000));
    let mut dripping: Vec<Client> = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(address);
        client.send(&head);
        dripping.push(client);
    }
    // Far fewer connections fit than are allowed.
    for client in &mut dripping[..80] {
        assert!(client.ends_in_silence());
    }
    assert_polite_clients_are_answered(address);
}
