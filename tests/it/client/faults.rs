//! Servers that hang, close, or send too much or invalid data: each request fails within its timeout and its limits.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crate::common::api_client::*;
use leader_elector::api::{Api, Failure, FailureKind};
use leader_elector::credentials::Credentials;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

/// The failure of a write in doubt.
fn doubt(reply: Result<Vec<u8>, Failure>) -> Failure {
    let failure = reply.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
    failure
}

/// The result of an update with a short timeout, which must be respected.
fn hurried_update(url: &str) -> Failure {
    let begun = Instant::now();
    let failure = doubt(client(url).update(&endpoints(), b"{}", SHORT));
    assert!(begun.elapsed() < LONG / 2, "it took {:?}", begun.elapsed());
    failure
}

/// The result of a get when the server sends these bytes and closes.
fn get_cut(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let bytes = bytes.to_vec();
    let server = Server::http(move |_, stream| {
        stream.write_all(&bytes).unwrap();
        Then::Close
    });
    client(&server.url()).get(&endpoints(), LONG)
}

#[test]
fn a_refused_connection_is_a_failure_that_names_the_address() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = doubt(client(&format!("http://{address}")).get(&endpoints(), LONG));
    assert_eq!(failure.message, format!("cannot read endpoints default/example: connection refused by {address}"));
}

#[test]
fn a_connection_that_is_not_accepted_times_out() {
    let (listener, address) = full_listener();
    let failure = hurried_update(&format!("http://{address}"));
    let expected = format!("cannot update endpoints default/example: no connection to {address} within 200ms");
    assert_eq!(failure.message, expected);
    drop(listener);
}

/// A listener whose queue is full, so that the next connection is neither accepted nor refused.
fn full_listener() -> (impl Sized, SocketAddr) {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, SHORT) {
        queue.push(stream);
    }
    ((listener, queue), address)
}

#[test]
fn a_request_without_an_answer_times_out() {
    let server = Server::http(|_, stream| hang(stream));
    assert_eq!(
        hurried_update(&server.url()).message,
        "cannot update endpoints default/example: no answer within 200ms; if the API server is always this slow, \
         raise --ttl"
    );
}

#[test]
fn an_answer_that_stops_in_the_head_times_out() {
    let server = Server::http(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap();
        hang(stream)
    });
    assert!(hurried_update(&server.url()).message.contains("no answer within 200ms"));
}

#[test]
fn an_answer_that_stops_in_the_body_times_out() {
    let server = Server::http(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{").unwrap();
        hang(stream)
    });
    assert!(hurried_update(&server.url()).message.contains("no answer within 200ms"));
}

#[test]
fn an_endless_answer_times_out() {
    let server = Server::http(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            // The server is never silent for as long as the timeout.
            thread::sleep(SHORT / 10);
        }
        Then::Close
    });
    assert!(hurried_update(&server.url()).message.contains("no answer within 200ms"));
}

#[test]
fn a_refusal_counts_even_if_its_body_never_comes() {
    let server = Server::http(|_, stream| {
        stream.write_all(b"HTTP/1.1 409 Conflict\r\nContent-Length: 10\r\n\r\n{").unwrap();
        hang(stream)
    });
    let failure = client(&server.url()).update(&endpoints(), b"{}", MEDIUM).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Conflict);
}

#[test]
fn a_connection_is_not_reused_after_a_timeout() {
    let server = Server::http(|seen, stream| {
        if seen.connection == 0 {
            return hang(stream);
        }
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    });
    let api = client(&server.url());
    doubt(api.get(&endpoints(), SHORT));
    api.get(&endpoints(), LONG).unwrap();
    assert_eq!([server.next(), server.next()].map(|seen| seen.connection), [0, 1]);
}

#[test]
fn an_answer_cut_short_is_a_failure() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        // These may be complete, but the client cannot know.
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ] {
        doubt(get_cut(bytes));
    }
    let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    assert_eq!(get_cut(whole).unwrap(), b"{}");
}

#[test]
fn what_is_not_http_is_a_failure() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"{}",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 0 x\r\n\r\n",
        b"HTTP/1.1 99999 x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
    ] {
        doubt(get_cut(bytes));
    }
    doubt(get_cut(&[b'x'; 100_000]));
    doubt(get_cut(&[&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(1000), b"\r\n"].concat()));
    doubt(get_cut(&[&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'x'; 100_000], b"\r\n\r\n"].concat()));
    doubt(get_cut(&[&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &[b'1'; 100_000]].concat()));
}

#[test]
fn a_huge_answer_is_given_up_before_it_fills_the_memory() {
    for head in ["Content-Length: 104857600\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (sender, sent) = channel();
        let server = Server::http(move |_, stream| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n6400000\r\n").as_bytes()).unwrap();
            let chunk = [b'x'; 64 * 1024];
            let count = (0..1600).take_while(|_| stream.write_all(&chunk).is_ok()).count();
            sender.send(count * chunk.len()).unwrap();
            Then::Close
        });
        let failure = doubt(client(&server.url()).get(&endpoints(), LONG));
        assert!(failure.message.ends_with("the answer is larger than 3 MiB, the limit for a lock"), "{failure}");
        assert!(sent.recv_timeout(LONG).unwrap() < 64 * 1024 * 1024);
    }
}

#[test]
fn an_object_of_several_megabytes_is_read() {
    let body = "x".repeat(3 * 1024 * 1024);
    let server = Server::answering(answer("200 OK", "", &body));
    assert_eq!(client(&server.url()).get(&endpoints(), LONG).unwrap().len(), body.len());
}

#[test]
fn a_large_object_is_written_whole() {
    let server = Server::answering(answer("200 OK", "", "{}"));
    let body = "y".repeat(3 * 1024 * 1024).into_bytes();
    client(&server.url()).update(&endpoints(), &body, LONG).unwrap();
    assert!(server.next().body == body);
}

#[test]
fn a_redirect_is_a_failure_and_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("Location: http://{}/\r\n", elsewhere.local_addr().unwrap());
    for line in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let server = Server::answering(answer(line, &location, ""));
        let account = ServiceAccount::with(&[("token", "secret")]);
        let credentials = Credentials::server(&server.url(), Some(account.dir())).unwrap();
        let api = Api::new(Arc::new(credentials), LONG);
        let failure = doubt(api.get(&endpoints(), LONG));
        assert!(failure.message.contains("is not followed; give the address of the API server itself"), "{failure}");
        doubt(api.update(&endpoints(), b"{}", LONG));
        assert_eq!(server.next().header("authorization"), Some("Bearer secret"));
    }
    assert!(elsewhere.accept().is_err());
}

/// Several times, because the aborted request may end before or after the idle connections are closed.
#[test]
fn a_request_in_flight_can_be_aborted() {
    (0..10).for_each(|_| abort_a_request_in_flight());
}

fn abort_a_request_in_flight() {
    let server = Server::http(|seen, stream| {
        if seen.connection == 0 {
            return hang(stream);
        }
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    });
    let api = Arc::new(client(&server.url()));
    let (sender, outcome) = channel();
    thread::spawn({
        let api = Arc::clone(&api);
        move || sender.send(api.get(&endpoints(), LONG * 2))
    });
    server.next();
    api.abandon();
    doubt(outcome.recv_timeout(LONG).unwrap());
    api.get(&endpoints(), LONG).unwrap();
}

#[test]
fn a_request_waits_neither_for_those_of_a_sibling_nor_is_it_aborted_with_them() {
    let (answer_first, may_answer) = channel::<()>();
    let may_answer = Mutex::new(may_answer);
    let server = Server::http(move |seen, stream| {
        if seen.connection == 0 {
            may_answer.lock().unwrap().recv().unwrap();
        }
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    });
    let api = client(&server.url());
    let (sibling, (sender, outcome)) = (api.sibling(), channel());
    thread::spawn(move || sender.send(sibling.get(&endpoints(), LONG * 2)));
    server.next();
    api.get(&endpoints(), LONG).unwrap();
    api.abandon();
    answer_first.send(()).unwrap();
    outcome.recv_timeout(LONG).unwrap().unwrap();
}

/// The connection of the third request. The first two connections were idle when a request on one of them failed, and
/// another request uses that one again.
fn third_connection(fault: impl Fn(&mut dyn Stream) -> Then + Send + Sync + 'static) -> usize {
    let (release, released) = channel();
    let released = Mutex::new(released);
    let server = Server::http(move |seen, stream| {
        match &seen.body[..] {
            b"fails" => return fault(stream),
            b"waits" => released.lock().unwrap().recv().unwrap(),
            _ => {}
        }
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    });
    let api = client(&server.url());
    let sibling = api.sibling();
    let while_one_waits = || {
        thread::scope(|scope| {
            scope.spawn(|| api.update(&endpoints(), b"waits", LONG).unwrap());
            server.next();
            sibling.get(&endpoints(), LONG).unwrap();
            release.send(()).unwrap();
        });
        server.next().connection
    };
    assert_eq!(while_one_waits(), 1);
    doubt(api.update(&endpoints(), b"fails", MEDIUM));
    assert_eq!(server.next().connection, 0);
    while_one_waits()
}

#[test]
fn idle_connections_are_closed_after_a_request_without_an_answer() {
    assert_eq!(third_connection(hang), 3);
    let unavailable = answer("503 Service Unavailable", "", "");
    let refuses = move |stream: &mut dyn Stream| {
        stream.write_all(&unavailable).unwrap();
        Then::Stay
    };
    assert_eq!(third_connection(refuses), 1, "an answer shows that the server is there");
}

#[test]
fn idle_connections_are_closed_when_requests_are_aborted() {
    let server = Server::http(|_, stream| {
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    });
    let api = client(&server.url());
    api.get(&endpoints(), LONG).unwrap();
    // No request is in progress: one that is aborted would close them when it ends.
    api.abandon();
    api.get(&endpoints(), LONG).unwrap();
    assert_eq!([server.next(), server.next()].map(|seen| seen.connection), [0, 1]);
}
