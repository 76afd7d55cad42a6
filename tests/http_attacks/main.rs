//! Attacks on the port of a leader, as a process, while a polite client asks it: the client is answered, the elector
//! stays small and alive, and the leadership stays where it is. How fast the client is answered is measured by
//! `just bench-http attacks`, on a machine that has nothing else to do.
//!
//! A binary of its own, because it raises the limit of open files of its process and loads the machine so much that
//! other tests beside it would be held up.

mod attacks;
#[path = "../common/mod.rs"]
mod common;
mod polite;

use common::cluster::{STEADY, elector, plain_server, record, wait_for_renewals};
use polite::Questions;

/// Less than the process needs not to be noticed beside any application.
const MOST_KB: u64 = 12_000;
/// How many questions are enough, if they were answered. More are asked only if some were not.
const QUESTIONS: usize = 30;
const MOST_QUESTIONS: usize = 500;

/// Whether at least 99 % were.
fn nearly_all_answered(questions: &Questions) -> bool {
    questions.answered.len() * 100 >= questions.asked() * 99
}

#[test]
fn nobody_notices_an_attack() {
    apiserver::raise_file_limit();
    for attack in attacks::all() {
        let server = plain_server();
        let mut elector = elector(&server, "a", &[STEADY]);
        elector.wait_to_lead();
        let term = || record(&server).map(|record| record["acquireTime"].clone());
        let before = term();

        let questions = Questions::during(&attack, &elector, |so_far| {
            so_far.asked() >= MOST_QUESTIONS || so_far.asked() >= QUESTIONS && nearly_all_answered(so_far)
        });
        let name = attack.name;
        assert!(nearly_all_answered(&questions), "{name}: {:?}", questions.unanswered);
        assert!(elector.is_running(), "{name}: {}", elector.log());
        let peak = elector.memory_kb("VmHWM");
        assert!((1..MOST_KB).contains(&peak), "{name}: {peak} kB");
        wait_for_renewals(&server, 1);
        assert_eq!(term(), before, "{name}: {}", elector.log());
        assert!(elector.leads() && !elector.log().contains("no longer leading"), "{name}: {}", elector.log());
    }
}
