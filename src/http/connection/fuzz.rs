//! Any bytes in pieces of any size: no panic, the same well-formed replies, and no limit exceeded.
//!
//! Inputs are mutations of those in `corpus/`. An input that causes new behaviour is added to the pool. Each input is
//! played twice: in one piece to a client that reads everything at once, and in random pieces to one that reads random
//! amounts. Both must receive the same replies. To a client of `/events`, the leader changes at random moments: the
//! first client must receive every change; the second may miss some, but must receive them in order and must receive
//! the last one.
//!
//! As a test it plays a fixed number of inputs, the same each time. `just fuzz` plays others for `FUZZ_SECONDS`,
//! starting at the seed `FUZZ_SEED`. A failure prints its input; add that to the corpus.

mod mutation;
mod transcript;

use self::mutation::{Random, mutate};
use self::transcript::{MOST_PAGE_BYTES, Transcript};
use super::super::bodies::{HEARTBEAT, LeaderState};
use super::super::head::Request;
use super::super::routes::{self, Route};
use super::{Connection, KEPT_BYTES, Limits, Need, State};
use crate::election::{Claim, Holder};
use crate::lock::{LockKind, Locks};
use crate::metrics::Metrics;
use crate::status::{Seen, Snapshot};
use crate::time::Time;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

const CASES: u64 = 5_000;
/// The maximum number of inputs in the pool.
const MOST_KEPT: usize = 2000;
/// The maximum number of reads of a slow client, so that hundreds of pages do not take too long.
const MOST_READS: usize = 1000;
/// The maximum number of leader changes in one session, so that a slow client catches up.
const MOST_CHANGES: usize = 20;
const NOW: Time = Time::after_boot(Duration::from_secs(100));
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn any_bytes_in_any_pieces() {
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let end = number("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut pool = corpus();
    let mut seen = HashSet::new();
    let mut cases = 0;
    while end.map_or(cases < CASES, |end| Instant::now() < end) {
        let mut random = Random::new(seed + cases);
        let known = pool.get(cases as usize).cloned();
        let mut input = known.unwrap_or_else(|| mutate(&pool, &mut random));
        // The connection does not parse an incomplete line, so whether its faults are found would depend on the pieces.
        input.push(b'\n');
        let outcome = match catch_unwind(AssertUnwindSafe(|| check(&input, &mut random))) {
            Ok(outcome) => outcome,
            Err(_) => panic!("input {cases} of seed {seed}: {}", input.escape_ascii()),
        };
        if seen.insert(outcome) && pool.len() < MOST_KEPT {
            pool.push(input);
        }
        cases += 1;
    }
    let streams = seen.iter().filter(|outcome| outcome.end == End::Stream).count();
    println!("{cases} inputs, {} courses of events, {streams} of them with a stream, seed {seed}", seen.len());
    assert!(seen.len() > 500 && streams > 20, "the mutations are too tame");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/connection/corpus");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// The outcome of an input. Inputs with equal outcomes are considered alike.
#[derive(PartialEq, Eq, Hash)]
struct Outcome {
    /// The requests found, and how often in a row each occurs, up to three times.
    requests: Vec<(String, usize)>,
    refusal: Option<u16>,
    end: End,
    magnitude: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    /// Waits for more of a head.
    Head,
    Idle,
    /// Events follow.
    Stream,
    /// The connection is closed, or closes after discarding input.
    Closed,
}

/// Plays the input both ways, checks the output, and returns the outcome.
fn check(input: &[u8], random: &mut Random) -> Outcome {
    let whole = Session::run(input, Client { pieces: usize::MAX, takes: usize::MAX }, &mut Random::new(0));
    let takes = random.size().max(whole.received.len() / MOST_READS);
    let client = Client { pieces: random.size(), takes };
    let pieces = Session::run(input, client, random);
    assert_eq!(whole.requests, pieces.requests, "other requests in pieces: {client:?}");
    assert_eq!(whole.end, pieces.end, "another end in pieces: {client:?}");

    let [all, some] = [&whole, &pieces].map(|session| Transcript::of(&session.received, &session.requests));
    let text = |transcript: &Transcript| transcript.answers.escape_ascii().to_string();
    assert!(all.answers == some.answers, "{client:?}: {}\n\ninstead of {}", text(&some), text(&all));
    assert!(all.changes.iter().copied().eq(1..=whole.changes), "of {} changes: {:?}", whole.changes, all.changes);
    assert!(some.changes.is_sorted_by(|a, b| a < b), "{client:?}: {:?}", some.changes);
    assert_eq!(some.changes.last().copied().unwrap_or(0), pieces.changes, "the newest is not last_sent: {client:?}");

    let runs = whole.requests.chunk_by(|a, b| a == b);
    let requests = runs.map(|run| (format!("{:?}", run[0]), run.len().min(3))).collect();
    Outcome { requests, refusal: all.refusal, end: whole.end, magnitude: input.len().ilog2() }
}

/// The maximum number of bytes a client sends and reads at a time.
#[derive(Clone, Copy, Debug)]
struct Client {
    pieces: usize,
    takes: usize,
}

/// A connection and its client, driven as the server does.
struct Session {
    connection: Connection,
    metrics: Metrics,
    snapshot: Snapshot,
    /// The last event, once the client has subscribed.
    last_sent: Option<LeaderState>,
    /// The number of leader changes since; each leader's name is its number.
    changes: usize,
    requests: Vec<Request>,
    received: Vec<u8>,
    end: End,
}

impl Session {
    fn run(mut input: &[u8], client: Client, random: &mut Random) -> Session {
        let mut session = Session {
            connection: Connection::new(Limits::default(), NOW),
            metrics: Metrics::default(),
            snapshot: snapshot(),
            last_sent: None,
            changes: 0,
            requests: Vec::new(),
            received: Vec::new(),
            end: End::Head,
        };
        let mut turns = 0;
        let length = input.len();
        loop {
            turns += 1;
            // Each turn reads or writes a byte, except for a few at the end of a stream.
            assert!(turns <= length + session.received.len() + 1000, "it turns in circles");
            if session.last_sent.is_some() && session.changes < MOST_CHANGES {
                session.random_event(random);
            }
            match session.turn(random.up_to(client.takes)) {
                Need::Write => {}
                Need::Close => {
                    session.end = End::Closed;
                    return session;
                }
                Need::EndWriting => session.connection.writing_ended(NOW),
                Need::Read if !input.is_empty() => {
                    let room = session.connection.room();
                    assert!(room > 0, "it waits for bytes that it has no room for");
                    let (piece, rest) = input.split_at(random.up_to(client.pieces).min(room).min(input.len()));
                    session.connection.receive(piece, NOW);
                    input = rest;
                }
                // A subscriber stays for a while.
                Need::Read if session.last_sent.is_some() && random.below(8) > 0 => {}
                Need::Read => break,
            }
        }
        session.end = match session.connection.state {
            State::Idle => End::Idle,
            State::Draining { .. } => End::Closed,
            State::Streaming => End::Stream,
            _ => End::Head,
        };
        // The client closes: a request that is not answered by now never will be.
        let answered = session.requests.len();
        session.connection.receive(&[], NOW);
        assert_eq!(session.turn(usize::MAX), Need::Close, "a client that has sent all it will is waited for");
        assert_eq!(session.requests.len(), answered, "a request was left lying");
        session
    }

    /// Sometimes changes the leader or queues a heartbeat.
    fn random_event(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => {
                self.changes += 1;
                let other = Some(Holder { identity: self.changes.to_string().into(), until: NOW.saturating_add(HOUR) });
                self.snapshot = Snapshot { claim: None, seen: vec![Seen { other, ..Seen::default() }], ..snapshot() };
            }
            1 if self.connection.output().is_empty() => self.connection.push(HEARTBEAT, NOW),
            _ => {}
        }
    }

    /// What the server does at each wake-up, with a socket that accepts `takes` bytes.
    fn turn(&mut self, takes: usize) -> Need {
        self.answer();
        self.write(takes);
        if self.push_event() {
            self.write(takes);
        }
        let need = self.connection.need(NOW);
        assert!(need == Need::Close || self.connection.deadline() > NOW, "{need:?} without a time to do it in");
        assert!(need != Need::Write || self.connection.deadline() < Time::MAX, "it writes for ever");
        if self.connection.state == State::Streaming {
            let held = self.connection.held_bytes();
            assert!(held <= 2 * KEPT_BYTES, "a stream holds {held} bytes");
        }
        need
    }

    fn answer(&mut self) {
        let limits = Limits::default();
        while let Some(request) = self.connection.next_request(NOW) {
            let reply = routes::reply(request.route, &self.snapshot, &self.metrics, NOW);
            self.metrics.http_request(request.route.label(), reply.status.code());
            self.connection.reply(request, &reply, NOW);
            self.requests.push(request);
            if request.route == Route::Events && self.connection.is_streaming() {
                self.last_sent = Some(LeaderState::at(&self.snapshot, NOW));
            }
        }
        if let Some(status) = self.connection.take_refusal() {
            self.metrics.http_request("none", status.code());
        }
        let waiting = self.connection.output().len();
        assert!(waiting <= limits.answers_ahead_bytes + MOST_PAGE_BYTES, "{waiting} bytes wait");
        let most = 2 * limits.head_bytes + 2 * (limits.answers_ahead_bytes + MOST_PAGE_BYTES);
        assert!(self.connection.held_bytes() <= most, "{} bytes held", self.connection.held_bytes());
    }

    fn write(&mut self, takes: usize) {
        let output = self.connection.output();
        if !output.is_empty() {
            let count = takes.min(output.len());
            self.received.extend_from_slice(&output[..count]);
            self.connection.wrote(count, NOW);
        }
    }

    /// Whether an event was queued that can be written now.
    fn push_event(&mut self) -> bool {
        let state = LeaderState::at(&self.snapshot, NOW);
        if !self.connection.output().is_empty() || self.last_sent.as_ref().is_none_or(|last_sent| *last_sent == state) {
            return false;
        }
        self.connection.push(state.event(NOW).as_bytes(), NOW);
        self.last_sent = Some(state);
        true
    }
}

/// A candidate that leads, with an identity that needs escaping.
fn snapshot() -> Snapshot {
    let lock = Locks { kinds: &[LockKind::Leases], namespace: "n".into(), name: "e".into() };
    let claim = Some(Claim { until: NOW.saturating_add(HOUR), fencing_token: 1 });
    Snapshot { claim, ..Snapshot::unknown("me-\"0\"".into(), lock.into(), HOUR, NOW.saturating_add(HOUR)) }
}
