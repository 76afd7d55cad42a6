//! Whatever bytes come, in whatever pieces: no panic, the same answers, all of them well formed, none beyond the limits.
//!
//! Inputs grow out of the few in `corpus/`: what makes the connection behave in a way not seen before is kept and
//! mutated on. Each input is played twice, in one piece to a client that reads all at once, and in pieces of chance to
//! one that reads as it likes; both have to hear the same.
//!
//! As a test it plays a fixed number of inputs, the same each time. `just fuzz` goes on with others for as long as
//! `FUZZ_SECONDS` says, from the seed `FUZZ_SEED`. A failure prints its input, to be put into the corpus.

use super::super::head::Request;
use super::super::routes;
use super::{Connection, Limits, Need, State};
use crate::clock::Time;
use crate::status::{Claim, Snapshot};
use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

const CASES: u64 = 5_000;
/// An input is at most about this long: some heads of the greatest length, and more.
const MOST_BYTES: usize = 40 * 1024;
/// How many inputs are kept to be mutated on.
const MOST_KEPT: usize = 2000;
/// A single answer with its head: the name is short here.
const MOST_ANSWER_BYTES: usize = 512;
const NOW: Time = Duration::from_secs(100);

/// What parsers stumble over.
const TOKENS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PRI * HTTP/2.0\r\n\r\n",
    b"/",
    b"*",
    b"/isLeader",
    b"/leader",
    b"/healthz",
    b"/readyz",
    b"/status",
    b"/metrics",
    b"http://host/",
    b"?",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/9.9\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"Content-Length: ",
    b"18446744073709551616",
    b"10000000000000000",
    b"-1",
    b"0",
    b"Transfer-Encoding: chunked\r\n",
    b"ffffffffffffffff\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Host: x\r\n",
    b"\xff\xfe",
    b"\x16\x03\x01",
];

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
        // In the midst of a line nobody looks, so that its faults would be found, or not, by how it comes in pieces.
        input.push(b'\n');
        let course = match catch_unwind(AssertUnwindSafe(|| check(&input, &mut random))) {
            Ok(course) => course,
            Err(_) => panic!("input {cases} of seed {seed}: {}", input.escape_ascii()),
        };
        if seen.insert(course) && pool.len() < MOST_KEPT {
            pool.push(input);
        }
        cases += 1;
    }
    assert!(seen.len() > 500, "only {} courses of events: the mutations are too tame", seen.len());
    println!("{cases} inputs, {} courses of events, seed {seed}", seen.len());
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

/// What came of an input: which requests were found, how it ended. Two that agree in this are much alike.
#[derive(PartialEq, Eq, Hash)]
struct Course {
    /// The requests found, as they print, and how often in a row, up to three times.
    requests: Vec<(String, usize)>,
    refusal: Option<String>,
    end: End,
    magnitude: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    /// More is waited for: inside a head, or between two.
    Head,
    Idle,
    /// The connection is over, at once or after draining.
    Over,
}

/// Plays the input both ways, checks what was said, and says what came of it.
fn check(input: &[u8], random: &mut Random) -> Course {
    let whole = Game::play(input, Client { pieces: usize::MAX, takes: usize::MAX }, &mut Random::new(0));
    let client = Client { pieces: random.size(), takes: random.size() };
    let pieces = Game::play(input, client, random);
    assert_eq!(whole.requests, pieces.requests, "other requests in pieces: {client:?}");
    let said = |game: &Game| game.said.escape_ascii().to_string();
    assert!(whole.said == pieces.said, "{client:?}: {}\n\ninstead of {}", said(&pieces), said(&whole));
    assert_eq!(whole.end, pieces.end, "another end in pieces: {client:?}");

    let refusal = well_formed(&whole.said, &whole.requests);
    let runs = whole.requests.chunk_by(|a, b| a == b);
    let requests = runs.map(|run| (format!("{:?}", run[0]), run.len().min(3))).collect();
    Course { requests, refusal, end: whole.end, magnitude: input.len().ilog2() }
}

/// How a client sends and reads: at most so many bytes at a time.
#[derive(Clone, Copy, Debug)]
struct Client {
    pieces: usize,
    takes: usize,
}

/// A connection and its client, stepped as the server would.
struct Game {
    connection: Connection,
    requests: Vec<Request>,
    said: Vec<u8>,
    end: End,
}

impl Game {
    fn play(mut input: &[u8], client: Client, random: &mut Random) -> Game {
        let connection = Connection::new(Limits::default(), NOW);
        let mut game = Game { connection, requests: Vec::new(), said: Vec::new(), end: End::Head };
        let mut turns = 0;
        let length = input.len();
        loop {
            turns += 1;
            // A turn takes a byte, or gives one of an answer, of which a request as short as they come has a dozen
            // for each of its own.
            assert!(turns <= 50 * length + 1000, "it turns in circles");
            match game.turn(random.up_to(client.takes)) {
                Need::Write => {}
                Need::Close => {
                    game.end = End::Over;
                    return game;
                }
                Need::EndWriting => game.connection.writing_ended(NOW),
                Need::Read if input.is_empty() => break,
                Need::Read => {
                    let room = game.connection.room();
                    assert!(room > 0, "it waits for bytes that it has no room for");
                    let (piece, rest) = input.split_at(random.up_to(client.pieces).min(room).min(input.len()));
                    game.connection.receive(piece, NOW);
                    input = rest;
                }
            }
        }
        game.end = match game.connection.state {
            State::Idle => End::Idle,
            State::Draining { .. } => End::Over,
            _ => End::Head,
        };
        // The client is done: whatever was not answered never will be.
        let answered = game.requests.len();
        game.connection.receive(&[], NOW);
        assert_eq!(game.turn(usize::MAX), Need::Close, "a client that has sent all it will is waited for");
        assert_eq!(game.requests.len(), answered, "a request was left lying");
        game
    }

    /// What the server does at each wake-up, with a socket that takes so many bytes.
    fn turn(&mut self, takes: usize) -> Need {
        let snapshot = snapshot();
        let limits = Limits::default();
        while let Some(request) = self.connection.next_request(NOW) {
            self.requests.push(request);
            self.connection.reply(request, &routes::reply(request.route, &snapshot, NOW), NOW);
        }
        let output = self.connection.output();
        assert!(output.len() <= limits.answers_ahead_bytes + 2 * MOST_ANSWER_BYTES, "{} bytes wait", output.len());
        let most = 2 * limits.head_bytes + 2 * (limits.answers_ahead_bytes + 2 * MOST_ANSWER_BYTES);
        assert!(self.connection.held_bytes() <= most, "{} bytes held", self.connection.held_bytes());
        if !output.is_empty() {
            let count = takes.min(output.len());
            self.said.extend_from_slice(&output[..count]);
            self.connection.wrote(count, NOW);
        }
        let need = self.connection.need(NOW);
        assert!(need == Need::Close || self.connection.deadline() > NOW, "{need:?} without a time to do it in");
        need
    }
}

/// A candidate that leads under a name that needs escaping.
fn snapshot() -> Snapshot {
    let hour = Duration::from_secs(3600);
    let claim = Some(Claim { until: NOW + hour, fencing_token: 1 });
    Snapshot { claim, ..Snapshot::unknown("me-\"0\"".into(), hour, NOW + hour) }
}

/// Checks that `said` is one answer for each request, and at most a refusal behind them: its status, if there is one.
fn well_formed(mut said: &[u8], requests: &[Request]) -> Option<String> {
    let mut over = false;
    for request in requests {
        assert!(!over, "an answer behind the last one");
        let answer = Answer::read(said, request.without_body);
        assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
        assert!(!request.body_announced || answer.closes, "a body was announced, and the connection goes on");
        over = answer.closes;
        said = &said[answer.length..];
    }
    if said.is_empty() {
        return None;
    }
    assert!(!over, "a refusal behind the last answer");
    let refusal = Answer::read(said, false);
    assert_eq!(refusal.length, said.len(), "something follows the refusal");
    assert!(refusal.closes && [400, 431, 505].contains(&refusal.status), "{}", refusal.status);
    Some(refusal.status.to_string())
}

/// An answer as a client understands it.
struct Answer {
    status: u16,
    closes: bool,
    /// With its body.
    length: usize,
}

impl Answer {
    fn read(said: &[u8], without_body: bool) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut head = httparse::Response::new(&mut headers);
        let head_length = match head.parse(said) {
            Ok(httparse::Status::Complete(length)) => length,
            other => panic!("{other:?}: {}", said.escape_ascii()),
        };
        assert_eq!(head.version, Some(1));
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name == name);
            found.map(|header| std::str::from_utf8(header.value).unwrap())
        };
        assert_eq!(header("Cache-Control"), Some("no-store"));
        assert!(header("Content-Type").is_some());
        let body_length: usize = header("Content-Length").unwrap().parse().unwrap();
        let length = head_length + if without_body { 0 } else { body_length };
        assert!(length <= MOST_ANSWER_BYTES && length <= said.len(), "{length} of {}", said.len());
        if header("Content-Type") == Some("application/json") && !without_body {
            serde_json::from_slice::<serde_json::Value>(&said[head_length..length]).expect("JSON");
        }
        Answer { status: head.code.unwrap(), closes: header("Connection") == Some("close"), length }
    }
}

/// An input of the pool, or some behind one another, changed a little.
fn mutate(pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.of(pool).clone();
    for _ in 0..random.below(8) + 1 {
        let range = random.range(input.len());
        match random.below(10) {
            0 => input.extend_from_slice(random.of::<Vec<u8>>(pool)),
            1 => drop(input.splice(range, random.of(pool).iter().copied())),
            2 => drop(input.drain(range)),
            3 => input.truncate(range.end),
            4 => {
                let again = input[range.clone()].repeat(random.size().min(300));
                input.splice(range.end..range.end, again);
            }
            5 => {
                let filler = vec![random.next() as u8; random.size()];
                input.splice(range.start..range.start, filler);
            }
            6 if !range.is_empty() => input[range.start] ^= 1 << random.below(8),
            7 if !range.is_empty() => input[range.start] = random.next() as u8,
            8 => drop(input.splice(range, random.of(&TOKENS).iter().copied())),
            _ => drop(input.splice(range.start..range.start, random.of(&TOKENS).iter().copied())),
        }
        input.truncate(MOST_BYTES);
    }
    input
}

/// xorshift64*: a small generator of random numbers.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One or more, seldom many.
    fn size(&mut self) -> usize {
        let magnitude = self.below(14);
        1 + self.below(1 << magnitude)
    }

    /// From one to `most`; all of it when there is no limit.
    fn up_to(&mut self, most: usize) -> usize {
        if most == usize::MAX { most } else { 1 + self.below(most) }
    }

    /// A part of so many bytes, short or long, perhaps empty.
    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.size() - 1).min(length)
    }
}
