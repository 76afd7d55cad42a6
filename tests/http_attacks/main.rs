//! Attacks on the port of a real leader process, while another client asks it: the client is answered, the elector
//! keeps running with little memory, and it keeps leading. `just bench-http attacks` measures how fast the client is
//! answered.
//!
//! This is a binary of its own, because it raises the limit of open files of its process, and would slow down other
//! tests.

mod attacks;
mod client;
#[path = "../common/mod.rs"]
mod common;

use client::{Port, Questions};
use common::cluster::{STEADY, elector, plain_server, record, wait_for_renewals};

/// The most memory that the elector may use.
const MOST_KB: u64 = 12_000;
/// How many requests are enough if all are answered. More are sent only if some are not.
const QUESTIONS: usize = 30;
const MOST_QUESTIONS: usize = 500;

/// Whether at least 99 % were answered.
fn nearly_all_answered(questions: &Questions) -> bool {
    questions.answered.len() * 100 >= questions.asked() * 99
}

#[test]
fn during_an_attack_clients_are_answered_and_the_leader_keeps_leading() {
    apiserver::raise_file_limit();
    for attack in attacks::all() {
        let server = plain_server();
        let mut elector = elector(&server, "a", &[STEADY]);
        elector.wait_to_lead();
        let term = || record(&server).map(|record| record["acquireTime"].clone());
        let before = term();

        let questions = Questions::during(&attack, &Port::from(&elector), |so_far| {
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
