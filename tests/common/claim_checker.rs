//! Watches over all electors at once: does anybody ever say that it leads while another holds the lock?
//!
//! What is certain, and what is not. An answer in which a candidate names itself was true at some instant
//! between the sending of the request and the end of the answer, and nothing says at which. So two such
//! answers conflict only if every choice of instants does, and two leaders in a row are no conflict at all.
//! The lock's own history decides without guessing: a candidate may begin to claim only after its record was
//! committed, and must have stopped before a record of somebody else can be, its own release included. Hence
//! an answer is false for certain when the lock bore another name, or none, from before its request was sent
//! until after it had ended. Both sides are timed by the same clock, that of the test process.
//!
//! Out of its reach: records that a third party edited or deleted, for a leader learns of that only later. A
//! deleted lock convicts nobody, and tests that put a foreign record do not ask the referee.

use super::{Elector, ask};
use apiserver::{Change, ChangeKind, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two questions to one elector: the machine has other things to do.
const PAUSE: Duration = Duration::from_millis(2);

/// What an elector answered on `/`.
#[derive(Clone, Debug)]
pub struct Answer {
    pub id: String,
    /// Before the request was sent, and after the answer had ended.
    pub asked: Instant,
    pub answered: Instant,
    pub body: String,
}

impl Answer {
    /// Whether it names the one who answers.
    pub fn names_itself(&self) -> bool {
        self.body == format!("{{\"name\":\"{}\"}}", self.id)
    }
}

/// Asks all electors, each from a thread of its own and on a new connection each time, and once more at the end: on a
/// machine that is busy the first question may come late.
pub struct ClaimChecker {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Answer>>>,
}

impl ClaimChecker {
    pub fn start(electors: &[&Elector]) -> ClaimChecker {
        let done = Arc::new(AtomicBool::new(false));
        let poll = |elector: &&Elector| {
            let (id, address, done) = (elector.id.clone(), elector.address(), Arc::clone(&done));
            thread::spawn(move || poll(&id, address, &done))
        };
        ClaimChecker { threads: electors.iter().map(poll).collect(), done }
    }

    /// Ends the game, and returns all answers.
    pub fn answers(self) -> Vec<Answer> {
        self.done.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }

    /// The same; panics if one was false for certain.
    pub fn check(self, server: &Server) -> Vec<Answer> {
        let answers = self.answers();
        let false_answer = first_false_answer(&answers, &server.history());
        assert!(false_answer.is_none(), "it said that it led while another held the lock: {false_answer:?}");
        answers
    }
}

fn poll(id: &str, address: SocketAddr, done: &AtomicBool) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        let is_last = done.load(Ordering::Relaxed);
        let asked = Instant::now();
        if let Ok((_, body)) = ask(address, "/") {
            answers.push(Answer { id: id.to_owned(), asked, answered: Instant::now(), body });
        }
        if is_last {
            return answers;
        }
        thread::sleep(PAUSE);
    }
}

/// The first answer in which somebody names itself though the lock bore another name all the while.
pub fn first_false_answer(answers: &[Answer], history: &[Change]) -> Option<(Answer, String)> {
    let conviction = |answer: &Answer| {
        let before = history.iter().rposition(|change| change.when < answer.asked);
        // Without a record at the beginning, or with one that went, nothing is certain.
        let since = &history[before?..];
        let meanwhile = since.iter().take_while(|change| change.when <= answer.answered);
        let holders: Option<Vec<String>> = meanwhile.map(holder_after).collect();
        let holders = holders?;
        (!holders.contains(&answer.id)).then(|| (answer.clone(), format!("the lock bore {holders:?}")))
    };
    answers.iter().filter(|answer| answer.names_itself()).find_map(conviction)
}

fn holder_after(change: &Change) -> Option<String> {
    (change.kind != ChangeKind::Deleted).then(|| super::cluster::holder_in(&change.object))?
}
