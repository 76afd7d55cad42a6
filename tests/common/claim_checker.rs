//! Polls all electors, and checks that none says that it leads while another one holds the lock.
//!
//! It reports only certain violations. An answer in which a candidate names itself was true at some unknown instant
//! between the request and the end of the answer. The history of the lock decides: a candidate may claim only after its
//! record was committed, and must have stopped before the record of another candidate, or its own release, is
//! committed. So an answer is certainly false if the lock had another holder, or none, from before the request was sent
//! until after the answer had ended. All times are from the clock of the test process.
//!
//! It cannot check records that another client edited or deleted, because a leader learns of that later. After a
//! deletion nothing is reported, and tests that write a foreign record do not use the checker.

use super::{Elector, ask};
use apiserver::{Change, ChangeKind, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The pause between two requests to one elector.
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
    /// Whether the elector names itself.
    pub fn names_itself(&self) -> bool {
        self.body == format!("{{\"name\":\"{}\"}}", self.id)
    }
}

/// Asks all electors, each from a thread of its own and on a new connection each time, and once more at the end,
/// because on a busy machine the first request may be late.
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

    /// Stops asking, and returns all answers.
    pub fn answers(self) -> Vec<Answer> {
        self.done.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }

    /// The same; panics if one was certainly false.
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

/// The first answer in which an elector names itself although another one held the lock all the time.
pub fn first_false_answer(answers: &[Answer], history: &[Change]) -> Option<(Answer, String)> {
    let false_answer = |answer: &Answer| {
        let before = history.iter().rposition(|change| change.when < answer.asked);
        // Without a record at the beginning, or after a deletion, nothing is certain.
        let since = &history[before?..];
        let meanwhile = since.iter().take_while(|change| change.when <= answer.answered);
        let holders: Option<Vec<String>> = meanwhile.map(holder_after).collect();
        let holders = holders?;
        (!holders.contains(&answer.id)).then(|| (answer.clone(), format!("the lock bore {holders:?}")))
    };
    answers.iter().filter(|answer| answer.names_itself()).find_map(false_answer)
}

fn holder_after(change: &Change) -> Option<String> {
    (change.kind != ChangeKind::Deleted).then(|| super::cluster::holder_in(&change.object))?
}
