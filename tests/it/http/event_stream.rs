//! `/events` as a stream: the events, the limits, and clients that do not read.

use crate::common::http::{
    Client, Events, HOUR, ME, PATIENCE, following, header, held_by, known, leading, sample, serve,
};
use leader_elector::clock;
use leader_elector::election::{Claim, Holder};
use leader_elector::http::{Limits, Server};
use leader_elector::status::{Snapshot, Status};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Limits without timeouts, so that only evictions close connections.
fn patient() -> Limits {
    Limits { head_time: HOUR, idle_time: HOUR, write_time: HOUR, ..Limits::default() }
}

fn leading_for(time: Duration) -> Snapshot {
    Snapshot { claim: Some(Claim { until: clock::now().saturating_add(time), fencing_token: 1 }), ..known() }
}

fn subscribers(address: SocketAddr) -> f64 {
    sample(&Client::connect(address).get("/metrics").body, "leader_elector_http_subscribers").unwrap()
}

fn evicted(address: SocketAddr, reason: &str) -> f64 {
    let series = format!("leader_elector_http_evictions_total{{reason=\"{reason}\"}}");
    sample(&Client::connect(address).get("/metrics").body, &series).unwrap()
}

/// Waits until there are `count` subscribers.
fn wait_for_subscribers(address: SocketAddr, count: f64) {
    let deadline = Instant::now() + PATIENCE;
    while subscribers(address) != count {
        assert!(Instant::now() < deadline, "{} are told events", subscribers(address));
    }
}

#[test]
fn the_state_is_sent_at_once_in_a_stream_that_must_not_be_buffered() {
    let (address, status) = serve(Limits::default());
    status.publish(following("a \"b\"\n"));
    let mut events = Events::of(address);
    assert!(events.head.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(header(&events.head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&events.head, "cache-control"), Some("no-store"));
    assert_eq!(header(&events.head, "x-accel-buffering"), Some("no"));
    assert_eq!(header(&events.head, "connection"), Some("close"));
    assert_eq!(header(&events.head, "content-length"), None);
    let first = events.block().unwrap();
    assert!(first.starts_with(r#"data: {"name":"a \"b\"\n","validForSeconds":3599."#), "{first}");
    assert!(first.ends_with("\nretry: 1000"), "{first}");
}

#[test]
fn each_change_and_each_renewal_is_sent_and_nothing_else() {
    let (address, status) = serve(Limits { heartbeat: Duration::from_millis(20), ..Limits::default() });
    let mut events = Events::of(address);
    assert_eq!(events.event(), Some((String::new(), 0.0)));
    let first = following("a");
    let renewed = held_by(Holder { identity: "a".into(), until: clock::now().saturating_add(2 * HOUR) });
    for (snapshot, name, minutes) in [(first.clone(), "a", 60.0), (renewed.clone(), "a", 120.0), (leading(), ME, 60.0)]
    {
        status.publish(snapshot);
        let (told, left) = events.event().unwrap();
        assert_eq!((told.as_str(), (left / 60.0).ceil()), (name, minutes));
    }
    status.publish(renewed.clone());
    assert_eq!(events.name(), "a");
    status.publish(Snapshot {
        server_reached: Some(clock::now()),
        stuck_at: clock::now().saturating_add(9 * HOUR),
        ..renewed
    });
    // Another event would have been received before the first of these.
    assert_eq!([(); 3].map(|()| events.block().unwrap()), [":"; 3]);
}

#[test]
fn the_end_of_a_leadership_is_sent_although_nothing_was_published() {
    let (address, status) = serve(Limits { heartbeat: HOUR, ..Limits::default() });
    let mut events = Events::of(address);
    events.until_named("");
    let until = clock::now().saturating_add(Duration::from_millis(200));
    let claim = Some(Claim { until, fencing_token: 1 });
    let other = Holder { identity: "other".into(), until: until.saturating_add(Duration::from_millis(200)) };
    status.publish(Snapshot { claim, ..held_by(other.clone()) });
    loop {
        let (name, left) = events.event().unwrap();
        // After a pause of the machine a state may be skipped, but none is sent too early.
        match name.as_str() {
            ME => assert!(left > 0.0 && left <= 0.2, "{left}"),
            "other" => assert!(clock::now() >= until && left > 0.0 && left <= 0.2, "{left}"),
            _ => break assert!(clock::now() >= other.until && left == 0.0, "{left}"),
        }
    }
}

#[test]
fn a_comment_now_and_then_shows_that_the_stream_is_alive() {
    let (address, status) = serve(Limits { heartbeat: Duration::from_millis(20), ..Limits::default() });
    status.publish(following("other"));
    let mut all = [Events::of(address), Events::of(address)];
    for events in &mut all {
        assert!(events.block().unwrap().starts_with("data: "));
        for _ in 0..3 {
            assert_eq!(events.block().unwrap(), ":");
        }
    }
}

#[test]
fn an_http_1_0_client_gets_the_same_events() {
    let (address, status) = serve(Limits::default());
    status.publish(following("a"));
    for request in ["GET /events HTTP/1.0\r\n\r\n", "GET /events HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] {
        let mut client = Client::connect(address);
        let (_, head) = client.send(request).head();
        assert_eq!(header(&head, "connection"), Some("close"));
        assert!(!client.ends_in_silence());
    }
}

#[test]
fn a_head_is_answered_without_events_and_closed() {
    let (address, status) = serve(Limits { heartbeat: HOUR, ..Limits::default() });
    status.publish(following("other"));
    let mut client = Client::connect(address);
    let (code, head) = client.send("HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n").head();
    assert_eq!((code, head.as_str()), (200, Events::of(address).head.as_str()));
    assert_eq!(client.everything(), "");
    wait_for_subscribers(address, 0.0);
}

#[test]
fn data_from_a_subscriber_is_discarded() {
    let (address, status) = serve(Limits::default());
    let mut events = Events::of(address);
    assert_eq!(events.name(), "");
    events.client().send("GET / HTTP/1.1\r\n\r\n".repeat(10_000)).send([0; 100_000]);
    status.publish(following("a"));
    assert_eq!(events.name(), "a");
    // A body too.
    let mut client = Client::connect(address);
    client.send("POST /events HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(client.head().1.contains("text/event-stream"));
}

#[test]
fn a_subscriber_that_closes_is_noticed_at_once() {
    let (address, status) = serve(Limits::default());
    status.publish(following("other"));
    let (gone, mut stays) = (Events::of(address), Events::of(address));
    wait_for_subscribers(address, 2.0);
    drop(gone);
    wait_for_subscribers(address, 1.0);
    stays.client().end_sending();
    wait_for_subscribers(address, 0.0);
}

#[test]
fn a_subscriber_beyond_the_limit_replaces_the_oldest() {
    let (address, status) = serve(Limits { subscribers: 3, ..patient() });
    let mut all: Vec<Events> = (0..3).map(|_| Events::of(address)).collect();
    all.iter_mut().for_each(|events| events.until_named(""));
    let mut newest = Events::of(address);
    assert_eq!(all[0].event(), None);
    status.publish(following("a"));
    newest.until_named("a");
    all[1..].iter_mut().for_each(|events| assert_eq!(events.name(), "a"));
    assert_eq!((subscribers(address), evicted(address, "subscribers")), (3.0, 1.0));
}

#[test]
fn the_subscribers_of_one_address_do_not_evict_those_of_another() {
    let (address, status) = serve(Limits { subscribers: 4, ..patient() });
    let mut local = Events::of(address);
    local.until_named("");
    let from_elsewhere = || {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let mut events = Events::from(Client::connect_from(elsewhere, address));
        events.until_named("");
        events
    };
    let flood: Vec<Events> = (0..50).map(|_| from_elsewhere()).collect();
    assert_eq!(evicted(address, "subscribers"), 47.0);
    status.publish(following("a"));
    assert_eq!(local.name(), "a");
    drop(flood);
}

#[test]
fn never_more_than_a_quarter_of_the_connections_are_streams() {
    let (address, _) = serve(Limits { connections: 8, ..patient() });
    let _all: Vec<Events> = (0..5).map(|_| Events::of(address)).collect();
    assert_eq!(subscribers(address), 2.0);
}

#[test]
fn idle_connections_evict_no_subscriber() {
    let (address, status) = serve(Limits { connections: 8, ..patient() });
    let mut events = [Events::of(address), Events::of(address)];
    events.iter_mut().for_each(|events| events.until_named(""));
    let flood: Vec<Client> = (0..100).map(|_| Client::connect(address)).collect();
    status.publish(following("a"));
    assert_eq!(events.each_mut().map(Events::name), ["a", "a"]);
    assert!(evicted(address, "connections") >= 94.0);
    drop(flood);
}

#[test]
fn a_subscriber_is_evicted_if_there_are_only_subscribers() {
    let (address, status) = serve(Limits { connections: 1, ..patient() });
    status.publish(following("a"));
    let mut events = Events::of(address);
    assert_eq!(events.name(), "a");
    assert_eq!(Client::connect(address).get("/").body, r#"{"name":"a"}"#);
    assert_eq!(events.event(), None);
}

/// A subscriber that does not read, with small buffers.
fn deaf(address: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
    connect(&socket, &address).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /events HTTP/1.1\r\n\r\n").unwrap();
    client
}

#[test]
fn a_subscriber_that_does_not_read_blocks_nobody_and_later_gets_the_newest_state() {
    const ROUNDS: u32 = 10_000;
    let (address, status) = serve(patient());
    let slow = deaf(address);
    let mut quick = Events::of(address);
    wait_for_subscribers(address, 2.0);
    for round in 0..=ROUNDS {
        let name = format!("candidate-{round}");
        status.publish(following(&name));
        quick.until_named(&name);
    }
    let mut slow = Events::from_asked(Client::of(slow));
    let last = format!("candidate-{ROUNDS}");
    let mut told = 0;
    while slow.name() != last {
        told += 1;
    }
    // The data in the kernel's buffers; the server queues nothing.
    assert!(told < ROUNDS / 5, "{told} events of the past");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_after_a_while() {
    let (address, status) = serve(Limits { write_time: Duration::from_millis(50), ..patient() });
    let _deaf = deaf(address);
    wait_for_subscribers(address, 1.0);
    let deadline = Instant::now() + PATIENCE;
    for round in 0.. {
        status.publish(following(&format!("candidate-{round}")));
        if subscribers(address) == 0.0 {
            return;
        }
        assert!(Instant::now() < deadline, "still open");
    }
}

#[test]
fn a_change_while_the_first_listener_comes_is_told_at_once() {
    let (address, status) = serve(Limits { heartbeat: HOUR, ..patient() });
    for round in 0..4000 {
        let holder = format!("candidate-{round}");
        let mut client = Client::connect(address);
        client.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
        // At another moment of what the server does meanwhile, each time.
        let sent = Instant::now();
        while sent.elapsed() < Duration::from_nanos(round * 37 % 100_000) {}
        status.publish(following(&holder));
        Events::from_asked(client).until_named(&holder);
        wait_for_subscribers(address, 0.0);
        // Until then the server does not know that nobody listens any more.
        status.publish(known());
        wait_for_subscribers(address, 0.0);
    }
}

#[test]
fn the_last_change_is_sent_before_the_end() {
    let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), Limits::default()).unwrap();
    let address = server.local_addrs()[0];
    let status = Arc::new(Status::new(leading_for(HOUR)));
    status.on_publish(|_| ()); // the server is not woken up, so it finds the change and the end at the same time
    let for_server = Arc::clone(&status);
    let port = std::thread::spawn(move || server.run(for_server, Arc::default()));
    let mut all: Vec<Events> = (0..20).map(|_| Events::of(address)).collect();
    all.iter_mut().for_each(|events| events.until_named(ME));
    status.publish(known());
    status.close();
    let _wakes_it = TcpStream::connect(address).unwrap();
    for events in &mut all {
        assert_eq!(events.event(), Some((String::new(), 0.0)));
        assert_eq!(events.event(), None);
    }
    assert!(port.join().unwrap().is_ok());
}
