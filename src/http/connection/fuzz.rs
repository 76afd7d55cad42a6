//! Whatever bytes come, in whatever pieces: no panic, the same answers, all of them well formed, none beyond the limits.
//!
//! Inputs grow out of the few in `corpus/`: what makes the connection behave in a way not seen before is kept and
//! mutated on. Each input is played twice, in one piece to a client that reads all at once, and in pieces of chance to
//! one that reads as it likes; both have to hear the same answers. Once a client is told events, there is news at
//! moments of chance: the first client hears all of it, the second may miss some, but neither the order nor the newest.
//!
//! As a test it plays a fixed number of inputs, the same each time. `just fuzz` goes on with others for as long as
//! `FUZZ_SECONDS` says, from the seed `FUZZ_SEED`. A failure prints its input, to be put into the corpus.

mod heard;
mod mutation;

use self::heard::{Heard, MOST_PAGE_BYTES};
use self::mutation::{Random, mutate};
use super::super::bodies::{HEARTBEAT, Told};
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
/// How many inputs are kept to be mutated on.
const MOST_KEPT: usize = 2000;
/// What one that reads little reads most often, so that pages by the hundred do not take it for ever.
const MOST_READS: usize = 1000;
/// How much news there is for a listener: when it came faster than it is read, it would never end.
const MOST_NEWS: usize = 20;
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
    let streams = seen.iter().filter(|course| course.end == End::Stream).count();
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

/// What came of an input: which requests were found, how it ended. Two that agree in this are much alike.
#[derive(PartialEq, Eq, Hash)]
struct Course {
    /// The requests found, as they print, and how often in a row, up to three times.
    requests: Vec<(String, usize)>,
    refusal: Option<u16>,
    end: End,
    magnitude: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    /// More is waited for: inside a head, or between two.
    Head,
    Idle,
    /// Events are told.
    Stream,
    /// The connection is over, at once or after draining.
    Over,
}

/// Plays the input both ways, checks what was said, and says what came of it.
fn check(input: &[u8], random: &mut Random) -> Course {
    let whole = Game::play(input, Client { pieces: usize::MAX, takes: usize::MAX }, &mut Random::new(0));
    let takes = random.size().max(whole.said.len() / MOST_READS);
    let client = Client { pieces: random.size(), takes };
    let pieces = Game::play(input, client, random);
    assert_eq!(whole.requests, pieces.requests, "other requests in pieces: {client:?}");
    assert_eq!(whole.end, pieces.end, "another end in pieces: {client:?}");

    let [all, some] = [&whole, &pieces].map(|game| Heard::of(&game.said, &game.requests));
    let text = |heard: &Heard| heard.answers.escape_ascii().to_string();
    assert!(all.answers == some.answers, "{client:?}: {}\n\ninstead of {}", text(&some), text(&all));
    assert!(all.news.iter().copied().eq(1..=whole.news), "of {} news: {:?}", whole.news, all.news);
    assert!(some.news.is_sorted_by(|a, b| a < b), "{client:?}: {:?}", some.news);
    assert_eq!(some.news.last().copied().unwrap_or(0), pieces.news, "the newest is not told: {client:?}");

    let runs = whole.requests.chunk_by(|a, b| a == b);
    let requests = runs.map(|run| (format!("{:?}", run[0]), run.len().min(3))).collect();
    Course { requests, refusal: all.refusal, end: whole.end, magnitude: input.len().ilog2() }
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
    metrics: Metrics,
    snapshot: Snapshot,
    /// What the client was told last, once it is one that is told events.
    told: Option<Told>,
    /// How much happened since: each leader has its number as its name.
    news: usize,
    requests: Vec<Request>,
    said: Vec<u8>,
    end: End,
}

impl Game {
    fn play(mut input: &[u8], client: Client, random: &mut Random) -> Game {
        let mut game = Game {
            connection: Connection::new(Limits::default(), NOW),
            metrics: Metrics::default(),
            snapshot: snapshot(),
            told: None,
            news: 0,
            requests: Vec::new(),
            said: Vec::new(),
            end: End::Head,
        };
        let mut turns = 0;
        let length = input.len();
        loop {
            turns += 1;
            // A turn takes a byte, or gives one, but for the few at the end of a stream.
            assert!(turns <= length + game.said.len() + 1000, "it turns in circles");
            if game.told.is_some() && game.news < MOST_NEWS {
                game.go_on(random);
            }
            match game.turn(random.up_to(client.takes)) {
                Need::Write => {}
                Need::Close => {
                    game.end = End::Over;
                    return game;
                }
                Need::EndWriting => game.connection.writing_ended(NOW),
                Need::Read if !input.is_empty() => {
                    let room = game.connection.room();
                    assert!(room > 0, "it waits for bytes that it has no room for");
                    let (piece, rest) = input.split_at(random.up_to(client.pieces).min(room).min(input.len()));
                    game.connection.receive(piece, NOW);
                    input = rest;
                }
                // A listener stays for a while.
                Need::Read if game.told.is_some() && random.below(8) > 0 => {}
                Need::Read => break,
            }
        }
        game.end = match game.connection.state {
            State::Idle => End::Idle,
            State::Draining { .. } => End::Over,
            State::Streaming => End::Stream,
            _ => End::Head,
        };
        // The client is done: whatever was not answered never will be.
        let answered = game.requests.len();
        game.connection.receive(&[], NOW);
        assert_eq!(game.turn(usize::MAX), Need::Close, "a client that has sent all it will is waited for");
        assert_eq!(game.requests.len(), answered, "a request was left lying");
        game
    }

    /// Something happens in the election, or the heart beats, or neither.
    fn go_on(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => {
                self.news += 1;
                let other = Some(Holder { identity: self.news.to_string().into(), until: NOW.saturating_add(HOUR) });
                self.snapshot = Snapshot { claim: None, seen: vec![Seen { other, ..Seen::default() }], ..snapshot() };
            }
            1 if self.connection.output().is_empty() => self.connection.push(HEARTBEAT, NOW),
            _ => {}
        }
    }

    /// What the server does at each wake-up, with a socket that takes so many bytes.
    fn turn(&mut self, takes: usize) -> Need {
        self.answer();
        self.write(takes);
        if self.tell() {
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
                self.told = Some(Told::at(&self.snapshot, NOW));
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
            self.said.extend_from_slice(&output[..count]);
            self.connection.wrote(count, NOW);
        }
    }

    /// Whether there was something to tell that can be written now.
    fn tell(&mut self) -> bool {
        let news = Told::at(&self.snapshot, NOW);
        if !self.connection.output().is_empty() || self.told.as_ref().is_none_or(|told| *told == news) {
            return false;
        }
        self.connection.push(news.event(NOW).as_bytes(), NOW);
        self.told = Some(news);
        true
    }
}

/// A candidate that leads under a name that needs escaping.
fn snapshot() -> Snapshot {
    let lock = Locks { kinds: &[LockKind::Leases], namespace: "n".into(), name: "e".into() };
    let claim = Some(Claim { until: NOW.saturating_add(HOUR), fencing_token: 1 });
    Snapshot { claim, ..Snapshot::unknown("me-\"0\"".into(), lock.into(), HOUR, NOW.saturating_add(HOUR)) }
}
