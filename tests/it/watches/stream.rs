//! The client's stream of events: how it starts, ends, fails and is woken up.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::tls::{Ca, account_with, client_of, showing};
use crate::common::api_client::*;
use leader_elector::api::{Api, Failure, FailureKind, Watch, WatchHandle};
use leader_elector::lock::LockName;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A server that sends the head of a stream and these bytes, and then hangs or closes.
fn streaming(bytes: Vec<u8>, then: Then) -> Server {
    let stay = matches!(then, Then::Stay);
    Server::http(move |_, stream| {
        stream.write_all(HEAD).unwrap();
        stream.write_all(&bytes).unwrap();
        if stay { hang(stream) } else { Then::Close }
    })
}

fn open(api: &Api, handle: &WatchHandle) -> Result<Watch<LockName>, Failure> {
    api.watch(&endpoints(), None, 300, LONG, handle)
}

/// The lines of a watch to its end, and how it ended.
fn drain(server: &Server) -> (Vec<String>, Result<(), Failure>) {
    let mut watch = open(&client(&server.url()), &WatchHandle::new()).unwrap();
    let mut lines = Vec::new();
    loop {
        match watch.next() {
            Ok(Some(line)) => lines.push(String::from_utf8(line).unwrap()),
            Ok(None) => {
                assert_eq!(watch.next(), Ok(None), "an end is final");
                return (lines, Ok(()));
            }
            Err(failure) => {
                assert_eq!(watch.next(), Err(failure.clone()), "a failure is final");
                assert_eq!(failure.kind, FailureKind::Unknown);
                return (lines, Err(failure));
            }
        }
    }
}

#[test]
fn a_watch_names_its_object_and_where_it_begins() {
    let server = streaming(chunk("{}\n"), Then::Stay);
    let api = client(&server.url());
    let handle = WatchHandle::new();
    let query = "watch=1&fieldSelector=metadata.name%3Dexample&timeoutSeconds=300&allowWatchBookmarks=true";
    drop(api.watch(&endpoints(), None, 300, LONG, &handle).unwrap());
    assert_eq!(server.next().line, format!("GET /api/v1/namespaces/default/endpoints?{query} HTTP/1.1"));
    drop(api.watch(&endpoints(), Some("1325"), 300, LONG, &handle).unwrap());
    let expected = format!("GET /api/v1/namespaces/default/endpoints?{query}&resourceVersion=1325 HTTP/1.1");
    assert_eq!(server.next().line, expected);
    for version in ["", "abc", "1&watch=0", "-1"] {
        let failure = api.watch(&endpoints(), Some(version), 300, LONG, &handle).err().unwrap();
        assert_eq!(failure.kind, FailureKind::Invalid);
    }
}

#[test]
fn an_event_arrives_as_it_is_sent() {
    let (sender, more) = channel::<Vec<u8>>();
    let more = Mutex::new(more);
    let server = Server::http(move |_, stream| {
        stream.write_all(HEAD).unwrap();
        for bytes in more.lock().unwrap().iter() {
            stream.write_all(&bytes).unwrap();
        }
        Then::Close
    });
    let mut watch = open(&client(&server.url()), &WatchHandle::new()).unwrap();
    let mut next = || String::from_utf8(watch.next().unwrap().unwrap()).unwrap();
    sender.send(chunk("{\"a\":1}\n")).unwrap();
    assert_eq!(next(), "{\"a\":1}");
    // One event in two chunks, then two and a blank line in one.
    sender.send(chunk("{\"b\"")).unwrap();
    sender.send(chunk(":2}\n")).unwrap();
    assert_eq!(next(), "{\"b\":2}");
    sender.send(chunk("{\"c\":3}\n\r\n{\"d\":4}\n")).unwrap();
    assert_eq!((next(), next()), ("{\"c\":3}".into(), "{\"d\":4}".into()));
}

#[test]
fn a_stream_ends_after_a_whole_event() {
    let server = streaming([chunk("{}\n{}\n"), b"0\r\n\r\n".to_vec()].concat(), Then::Close);
    assert_eq!(drain(&server), (vec!["{}".into(), "{}".into()], Ok(())));
}

#[test]
fn a_stream_cut_in_an_event_is_a_failure_and_half_an_event_is_none() {
    for (bytes, expected) in [
        // The last chunk ends the stream in the middle of an event.
        ([chunk("{}\n{\"half"), b"0\r\n\r\n".to_vec()].concat(), "the stream was cut in the middle of an event"),
        // The connection is lost, in the middle of an event and between two events.
        (chunk("{}\n{\"half"), "the connection was lost before the whole answer was there"),
        (chunk("{}\n"), "the connection was lost before the whole answer was there"),
    ] {
        let (lines, end) = drain(&streaming(bytes, Then::Close));
        assert_eq!(lines, ["{}"]);
        assert_eq!(end.unwrap_err().message, format!("cannot watch endpoints default/example: {expected}"));
    }
}

#[test]
fn a_large_event_is_taken_and_an_endless_one_is_not() {
    let large = "x".repeat(3 * 1024 * 1024);
    let bytes = [chunk(&large), chunk("\n{}\n"), b"0\r\n\r\n".to_vec()].concat();
    assert_eq!(drain(&streaming(bytes, Then::Close)), (vec![large, "{}".into()], Ok(())));

    let server = Server::http(|_, stream| {
        stream.write_all(HEAD).unwrap();
        let chunk = chunk(&"x".repeat(64 * 1024));
        while stream.write_all(&chunk).is_ok() {}
        Then::Close
    });
    let (lines, end) = drain(&server);
    assert!(lines.is_empty());
    assert!(end.unwrap_err().message.contains("an event is longer than "));
}

#[test]
fn a_watch_that_is_refused_says_why() {
    let refused = |line: &str, body: &str| {
        let server = Server::answering(answer(line, "", body));
        open(&client(&server.url()), &WatchHandle::new()).err().unwrap()
    };
    assert_eq!(refused("410 Gone", "").kind, FailureKind::Expired);
    let failure = refused("403 Forbidden", "");
    assert_eq!(failure.kind, FailureKind::Denied);
    assert!(
        failure.message.contains("resourceNames: [\"example\"], verbs: [\"get\", \"update\", \"watch\"]"),
        "{failure}"
    );
}

#[test]
fn a_missing_head_and_a_silent_stream_time_out() {
    let server = Server::http(|_, stream| hang(stream));
    let watch = client(&server.url()).watch(&endpoints(), None, 300, SHORT, &WatchHandle::new());
    assert!(watch.err().unwrap().message.contains("no answer within 200ms"));

    let server = streaming(chunk("{}\n"), Then::Stay);
    let mut watch = client(&server.url()).watch(&endpoints(), None, 0, MEDIUM, &WatchHandle::new()).unwrap();
    assert!(watch.next().unwrap().is_some());
    assert!(watch.next().unwrap_err().message.contains("nothing arrived for 3s"));
}

/// Opens a watch on a thread of its own. Returns how it ended after its first event, if it has one.
fn in_background(api: &Arc<Api>, handle: &WatchHandle) -> Receiver<Result<(), Failure>> {
    let (sender, outcome) = channel();
    let (api, handle) = (Arc::clone(api), handle.clone());
    thread::spawn(move || {
        let watched = open(&api, &handle).and_then(|mut watch| {
            loop {
                if watch.next()?.is_none() {
                    return Ok(());
                }
            }
        });
        sender.send(watched)
    });
    outcome
}

fn assert_woken(outcome: Result<(), Failure>) {
    assert_eq!(
        outcome.unwrap_err().message,
        "cannot watch endpoints default/example: the watch was aborted by this process"
    );
}

#[test]
fn a_watch_that_waits_can_be_woken_and_the_next_one_runs() {
    let server = streaming(chunk("{}\n"), Then::Stay);
    let (api, handle) = (Arc::new(client(&server.url())), WatchHandle::new());
    for _ in 0..3 {
        let outcome = in_background(&api, &handle);
        server.next();
        assert!(outcome.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
        handle.wake();
        assert_woken(outcome.recv_timeout(LONG).unwrap());
    }
}

#[test]
fn a_watch_that_waits_for_its_head_can_be_woken() {
    let server = Server::http(|_, stream| hang(stream));
    let handle = WatchHandle::new();
    let outcome = in_background(&Arc::new(client(&server.url())), &handle);
    server.next();
    handle.wake();
    assert_woken(outcome.recv_timeout(LONG).unwrap());
}

#[test]
fn a_watch_whose_end_is_the_end_of_the_connection_can_be_woken() {
    let server = Server::http(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{}\n").unwrap();
        hang(stream)
    });
    let handle = WatchHandle::new();
    let mut watch = open(&client(&server.url()), &handle).unwrap();
    assert_eq!(watch.next().unwrap().unwrap(), b"{}");
    handle.wake();
    assert_woken(watch.next().map(|_| ()));
}

#[test]
fn a_wake_without_a_watch_ends_the_next_watch_only() {
    let server = streaming([chunk("{}\n"), b"0\r\n\r\n".to_vec()].concat(), Then::Close);
    let (api, handle) = (client(&server.url()), WatchHandle::new());
    handle.wake();
    handle.wake();
    assert_woken(open(&api, &handle).map(|_| ()));
    assert!(server.seen.try_recv().is_err());
    let mut watch = open(&api, &handle).unwrap();
    assert!(watch.next().unwrap().is_some());
    assert!(watch.next().unwrap().is_none());
}

#[test]
fn a_watch_does_not_disturb_requests_nor_they_it() {
    let server = Server::http(|seen, stream| {
        if seen.line.contains("watch=1") {
            stream.write_all(&[HEAD, &chunk("{}\n")].concat()).unwrap();
            return hang(stream);
        }
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    });
    let (api, handle) = (client(&server.url()), WatchHandle::new());
    api.get(&endpoints(), LONG).unwrap();
    let mut watch = open(&api, &handle).unwrap();
    api.abandon();
    assert!(watch.next().unwrap().is_some());
    api.get(&endpoints(), LONG).unwrap();
    handle.wake();
    api.get(&endpoints(), LONG).unwrap();
    let connections: Vec<usize> = (0..4).map(|_| server.next().connection).collect();
    assert_eq!(connections, [0, 1, 2, 2]);
}

#[test]
fn a_watch_under_tls_can_be_woken() {
    let ca = Ca::new("ca");
    let (certificate, key) = ca.certify("127.0.0.1");
    let server = Server::https(showing(certificate, key), |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n").unwrap();
        hang(stream)
    });
    let api = client_of(&server, &account_with(&ca.pem));
    let handle = WatchHandle::new();
    let (sender, outcome) = channel();
    let mut watch = api.watch(&endpoints(), None, 300, LONG, &handle).unwrap();
    thread::spawn(move || {
        sender.send(watch.next()).unwrap();
        sender.send(watch.next()).unwrap();
    });
    assert_eq!(outcome.recv_timeout(LONG).unwrap().unwrap().unwrap(), b"{}");
    handle.wake();
    assert!(outcome.recv_timeout(LONG).unwrap().unwrap_err().message.contains("aborted by this process"));
}
