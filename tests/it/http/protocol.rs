//! HTTP/1.0 and 1.1 as common clients use it, and malformed requests.

use crate::common::http::{Client, following, header, serve};
use leader_elector::http::Limits;
use std::net::SocketAddr;

fn follower() -> SocketAddr {
    let (address, status) = serve(Limits::default());
    status.publish(following("other"));
    address
}

const BODY: &str = r#"{"name":"other"}"#;

#[test]
fn a_connection_serves_many_requests() {
    let mut client = Client::connect(follower());
    for _ in 0..100 {
        let answer = client.get("/");
        assert_eq!(answer.body, BODY);
        assert_eq!(header(&answer.head, "connection"), None);
    }
}

#[test]
fn pipelined_requests_are_all_answered_in_order() {
    let mut client = Client::connect(follower());
    let pair = "GET /isLeader HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    client.send(pair.repeat(500));
    for _ in 0..500 {
        assert_eq!(client.answer().body, r#"{"isLeader": false}"#);
        assert_eq!(client.head().0, 200);
        assert_eq!(client.answer().body, BODY);
    }
}

#[test]
fn a_request_in_single_bytes_is_answered() {
    let mut client = Client::connect(follower());
    for _ in 0..2 {
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: slow\r\n\r\n" {
            client.send([*byte]);
        }
        assert_eq!(client.answer().body, BODY);
    }
}

#[test]
fn the_client_decides_whether_the_connection_stays_open() {
    let address = follower();
    let cases = [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", Some("close")),
        ("GET / HTTP/1.0\r\n\r\n", Some("close")),
        ("GET / HTTP/1.0\n\n", Some("close")),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some("keep-alive")),
        ("GET / HTTP/1.1\r\n\r\n", None),
    ];
    for (request, connection) in cases {
        let mut client = Client::connect(address);
        let answer = client.send(request).answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, BODY), "{request}");
        assert_eq!(header(&answer.head, "connection"), connection, "{request}");
        if connection == Some("close") {
            assert_eq!(client.everything(), "", "{request}");
        } else {
            assert_eq!(client.get("/").body, BODY, "{request}");
        }
    }
}

#[test]
fn a_half_closed_client_is_answered() {
    let mut client = Client::connect(follower());
    client.send("GET / HTTP/1.1\r\n\r\n".repeat(300)).end_sending();
    for _ in 0..300 {
        assert_eq!(client.answer().body, BODY);
    }
    assert_eq!(client.everything(), "");
}

#[test]
fn a_large_body_never_costs_the_answer() {
    let address = follower();
    let body = vec![b'x'; 1024 * 1024];
    for _ in 0..100 {
        let mut client = Client::connect(address);
        client.send(format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len())).send(&body);
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, BODY));
        assert_eq!(header(&answer.head, "connection"), Some("close"));
        assert_eq!(client.everything(), "");
    }
}

#[test]
fn what_an_announced_body_looks_like_does_not_matter() {
    let address = follower();
    let cases = [
        "Content-Length: 9999999999999999\r\n",
        "Content-Length: 10000000000000000\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: nonsense\r\n",
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
    ];
    for fields in cases {
        let mut client = Client::connect(address);
        // A body that looks like a request is not one.
        client.send(format!("POST / HTTP/1.1\r\n{fields}\r\nGET /smuggled HTTP/1.1\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, BODY), "{fields}");
        assert_eq!(client.everything(), "", "{fields}");
    }
    assert_eq!(Client::connect(address).get("/").body, BODY);
}

#[test]
fn a_malformed_request_is_refused_and_the_next_client_served() {
    let address = follower();
    let noise: Vec<u8> = (0..64 * 1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let long_target = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    let long_header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(1000));
    let endless_line = "x".repeat(64 * 1024);
    let cases: [(&[u8], u16); 14] = [
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\n\r\n", 400),
        (&[0; 64 * 1024], 400),
        (&noise, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 505),
        (long_target.as_bytes(), 431),
        (long_header.as_bytes(), 431),
        (many_headers.as_bytes(), 431),
        (endless_line.as_bytes(), 431),
    ];
    for (request, status) in cases {
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]);
        let mut client = Client::connect(address);
        let answer = client.send(request).answer();
        assert_eq!(answer.status, status, "{shown}");
        assert!(answer.body.starts_with(&status.to_string()), "{shown}");
        assert_eq!(header(&answer.head, "connection"), Some("close"), "{shown}");
        assert_eq!(client.everything(), "", "{shown}");
        assert_eq!(Client::connect(address).get("/").body, BODY, "{shown}");
    }
}

#[test]
fn the_longest_head_allowed_is_answered() {
    let limit = Limits::default().head_bytes;
    let around = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
    let mut client = Client::connect(follower());
    for _ in 0..3 {
        client.send(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(limit - around)));
        assert_eq!(client.answer().body, BODY);
    }
}
