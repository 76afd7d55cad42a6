//! Scenarios: what a client sends and reads when, and how the connection reacts.

use super::super::reply::Body;
use super::super::routes::Route;
use super::*;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const EVENTS: &[u8] = b"GET /events HTTP/1.1\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
/// The socket accepts everything.
const ALL: usize = usize::MAX;

/// A connection accepted at 100 s. Its socket accepts `socket_takes` bytes.
struct Scenario {
    connection: Connection,
    now: Time,
    socket_takes: usize,
    received: Vec<u8>,
    answered: usize,
}

impl Scenario {
    fn new() -> Scenario {
        let now = Time::after_boot(100 * S);
        let connection = Connection::new(Limits::default(), now);
        Scenario { connection, now, socket_takes: ALL, received: Vec::new(), answered: 0 }
    }

    fn pass(&mut self, time: Duration) -> &mut Scenario {
        self.now = self.now.saturating_add(time);
        assert!(self.now < self.connection.deadline(), "the deadline passed before {:?}", self.now);
        self
    }

    fn socket_takes(&mut self, bytes: usize) -> &mut Scenario {
        self.socket_takes = bytes;
        self
    }

    /// Receives `bytes`, then does one turn.
    fn receive(&mut self, bytes: &[u8]) -> Need {
        assert!(bytes.len() <= self.connection.room(), "the server reads no more than there is room for");
        self.connection.receive(bytes, self.now);
        self.turn()
    }

    fn push(&mut self, bytes: &[u8]) -> &mut Scenario {
        self.connection.push(bytes, self.now);
        self
    }

    /// What the server does at each wake-up.
    fn turn(&mut self) -> Need {
        while let Some(request) = self.connection.next_request(self.now) {
            let body = if request.route == Route::Events { Body::Events("first".into()) } else { Body::Name("x") };
            let reply = Reply { status: StatusCode::Ok, body };
            self.connection.reply(request, &reply, self.now);
            self.answered += 1;
        }
        let count = self.connection.output().len().min(self.socket_takes);
        if count > 0 {
            self.received.extend_from_slice(&self.connection.output()[..count]);
            self.socket_takes -= if self.socket_takes == ALL { 0 } else { count };
            self.connection.wrote(count, self.now);
        }
        self.connection.need(self.now)
    }

    fn due_in(&self) -> Duration {
        self.connection.deadline().since(self.now)
    }

    fn received(&self) -> String {
        String::from_utf8(self.received.clone()).unwrap()
    }
}

#[test]
fn the_first_head_is_due_from_the_accept_however_it_drips() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.due_in(), 2 * S);
    for byte in &GET[..GET.len() - 1] {
        assert_eq!(scenario.pass(100 * MS).receive(&[*byte]), Need::Read);
    }
    assert_eq!(scenario.due_in(), 2 * S - 100 * MS * 17);
}

#[test]
fn a_later_head_is_due_from_its_first_byte_and_idling_may_take_longer() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.receive(GET), Need::Read);
    assert_eq!(scenario.due_in(), 30 * S);
    assert_eq!(scenario.pass(29 * S).receive(b"G"), Need::Read);
    assert_eq!(scenario.due_in(), 2 * S);
    scenario.pass(S).receive(b"E");
    assert_eq!(scenario.due_in(), S);
    scenario.receive(b"T / HTTP/1.1\n\n");
    assert_eq!((scenario.answered, scenario.due_in()), (2, 30 * S));
}

#[test]
fn a_head_begun_behind_another_is_due_from_that_ones_answer() {
    let mut scenario = Scenario::new();
    scenario.pass(S).receive(&[GET, b"GET /"].concat());
    assert_eq!((scenario.answered, scenario.due_in()), (1, 2 * S));
    scenario.pass(S).receive(b"x");
    assert_eq!(scenario.due_in(), S);
}

#[test]
fn an_answer_nobody_takes_ends_the_connection_and_each_byte_taken_extends_it() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.socket_takes(0).receive(GET), Need::Write);
    assert_eq!(scenario.due_in(), 2 * S);
    scenario.pass(S).turn();
    assert_eq!(scenario.due_in(), S);
    assert_eq!(scenario.socket_takes(1).turn(), Need::Write);
    assert_eq!(scenario.due_in(), 2 * S);
    assert_eq!(scenario.pass(S).socket_takes(ALL).turn(), Need::Read);
    assert!(scenario.received().ends_with(r#"{"name":"x"}"#));
}

#[test]
fn few_requests_are_answered_while_the_client_does_not_read() {
    let mut scenario = Scenario::new();
    let requests = GET.repeat(400);
    assert_eq!(scenario.socket_takes(0).receive(&requests), Need::Write);
    assert!((2..40).contains(&scenario.answered), "{} answered ahead", scenario.answered);
    let ahead = scenario.answered;
    // A partial read does not count: the client may never read the rest.
    scenario.socket_takes(10).turn();
    assert_eq!((scenario.turn(), scenario.answered), (Need::Write, ahead));

    // After a full read, one turn still answers a limited number of requests, then asks for another turn.
    assert_eq!(scenario.socket_takes(ALL).turn(), Need::Write);
    assert_eq!((scenario.turn(), scenario.answered), (Need::Write, 2 * ahead));
    while scenario.turn() == Need::Write {}
    assert_eq!(scenario.answered, 400);
    assert_eq!(scenario.received().matches("HTTP/1.1 200 OK\r\n").count(), 400);
}

#[test]
fn a_head_too_long_is_refused_once_the_room_is_full() {
    let mut scenario = Scenario::new();
    let room = scenario.connection.room();
    assert_eq!(room, 8 * 1024);
    scenario.receive(b"GET /");
    assert_eq!(scenario.receive(&vec![b'x'; room - 6]), Need::Read);
    assert_eq!(scenario.receive(b"x"), Need::EndWriting);
    assert!(scenario.received().starts_with("HTTP/1.1 431 "));
}

#[test]
fn what_is_not_http_is_refused_at_its_first_bytes() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.receive(b"\x16\x03\x01"), Need::EndWriting);
    assert!(scenario.received().starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_client_that_wants_no_more_is_closed_at_once() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.receive(b"GET / HTTP/1.0\r\n\r\n"), Need::Close);
    assert!(scenario.received().ends_with(r#"{"name":"x"}"#));
}

#[test]
fn a_client_that_sends_more_than_it_may_is_answered_and_drained() {
    for request in ["GET / HTTP/1.0\r\n\r\nmore", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"] {
        let mut scenario = Scenario::new();
        assert_eq!(scenario.socket_takes(1).receive(request.as_bytes()), Need::Write, "{request}");
        assert_eq!(scenario.socket_takes(ALL).turn(), Need::EndWriting, "{request}");
        scenario.connection.writing_ended(scenario.now);
        assert_eq!(scenario.receive(GET), Need::Read, "{request}");
        assert_eq!((scenario.answered, scenario.due_in()), (1, 2 * S), "{request}");
        scenario.pass(S).receive(GET);
        assert_eq!(scenario.due_in(), S, "{request}");
        assert_eq!(scenario.receive(b""), Need::Close, "{request}");
    }
}

#[test]
fn draining_ends_after_so_many_bytes() {
    let mut scenario = Scenario::new();
    scenario.receive(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    scenario.connection.writing_ended(scenario.now);
    let bufferful = vec![b'x'; scenario.connection.room()];
    let mut drained = bufferful.len();
    while scenario.receive(&bufferful) == Need::Read {
        drained += bufferful.len();
    }
    assert_eq!(drained, Limits::default().linger_bytes);
}

#[test]
fn a_client_that_has_sent_all_is_still_answered() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.socket_takes(0).receive(&GET.repeat(100)), Need::Write);
    assert_eq!(scenario.receive(b""), Need::Write);
    scenario.socket_takes(ALL);
    while scenario.turn() == Need::Write {}
    assert_eq!((scenario.turn(), scenario.answered), (Need::Close, 100));
}

#[test]
fn a_client_that_leaves_inside_a_head_or_between_two_is_closed() {
    for bytes in [&b""[..], b"GET / HT", GET] {
        let mut scenario = Scenario::new();
        if !bytes.is_empty() {
            assert_eq!(scenario.receive(bytes), Need::Read);
        }
        assert_eq!(scenario.receive(b""), Need::Close);
    }
}

#[test]
fn connections_that_wait_for_a_request_are_evicted_before_those_that_read_an_answer() {
    let mut idle = Scenario::new();
    idle.receive(GET);
    let mut dripping = Scenario::new();
    dripping.pass(500 * MS).receive(b"G");
    let mut newer = Scenario::new();
    newer.pass(500 * MS).receive(GET);
    let mut reading = Scenario::new();
    reading.socket_takes(1).receive(GET);

    // Idling and dripping are no progress, so both count as stalled since their accept.
    assert_eq!(idle.connection.stalled_since(), dripping.connection.stalled_since());
    assert!(dripping.connection.stalled_since() < newer.connection.stalled_since());
    assert!(newer.connection.stalled_since() < reading.connection.stalled_since());
    // A client that does not read is protected only for a while.
    let mut latest = Scenario::new();
    latest.pass(1500 * MS).receive(GET);
    assert!(reading.connection.stalled_since() < latest.connection.stalled_since());
}

#[test]
fn an_idle_connection_holds_little_memory() {
    let mut scenario = Scenario::new();
    scenario.receive(&GET.repeat(400));
    while scenario.turn() == Need::Write {}
    assert!(scenario.connection.held_bytes() <= 2 * KEPT_BYTES);

    // So does a discarding connection after a long head.
    let head = format!("POST /{} HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "x".repeat(8000));
    assert_eq!(scenario.receive(head.as_bytes()), Need::EndWriting);
    scenario.connection.writing_ended(scenario.now);
    assert!(scenario.connection.held_bytes() <= 2 * KEPT_BYTES);
}

#[test]
fn a_stream_takes_what_is_pushed_and_ends_with_its_client() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.receive(EVENTS), Need::Read);
    assert!(scenario.connection.is_streaming());
    assert!(scenario.received().ends_with("\r\n\r\nfirst"));
    assert_eq!(scenario.pass(24 * 3600 * S).push(b"second").turn(), Need::Read);
    assert_eq!(scenario.receive(&GET.repeat(100)), Need::Read);
    assert!(scenario.received().ends_with("firstsecond"));
    assert_eq!((scenario.answered, scenario.receive(b"")), (1, Need::Close));
}

#[test]
fn a_stream_that_nobody_reads_has_a_deadline_and_goes_before_one_that_is_read() {
    let mut scenario = Scenario::new();
    scenario.receive(EVENTS);
    assert_eq!(scenario.connection.stalled_since(), Time::MAX);
    assert_eq!(scenario.pass(S).socket_takes(2).push(b"second").turn(), Need::Write);
    assert_eq!(scenario.due_in(), 2 * S);
    assert!(scenario.connection.stalled_since() < Time::MAX);
    assert_eq!(scenario.pass(S).socket_takes(ALL).turn(), Need::Read);
    assert_eq!(scenario.connection.deadline(), Time::MAX);
}

#[test]
fn a_head_request_for_events_starts_no_stream() {
    let mut scenario = Scenario::new();
    assert_eq!(scenario.receive(b"HEAD /events HTTP/1.1\r\n\r\n"), Need::Close);
    assert!(!scenario.connection.is_streaming() && scenario.received().ends_with("\r\n\r\n"));
}
