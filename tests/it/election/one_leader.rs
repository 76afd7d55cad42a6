//! One of several candidates leads, and all name the same leader.

use crate::common::lock::{KINDS, Lock, NEVER};
use crate::common::{Elector, wait_until};
use apiserver::Server;

/// The leader, when all candidates name it.
fn leader_of(candidates: &[Elector]) -> &Elector {
    let mut leader = None;
    wait_until("somebody leads", || {
        leader = candidates.iter().find(|candidate| candidate.leads());
        leader.is_some()
    });
    let leader = leader.expect("just found");
    candidates.iter().for_each(|candidate| candidate.wait_to_name(&leader.id));
    leader
}

#[test]
fn three_candidates_elect_one_leader_with_each_kind_of_lock_and_all_say_the_same() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let candidates = ["a", "b", "c"].map(|id| lock.start(id, &["--ttl=30s", "--retry-period=100ms"]));
        let leader = leader_of(&candidates);
        assert_eq!(lock.holder(), leader.id);
        lock.wait_for_changes(3);
        for candidate in &candidates {
            let leads = candidate.id == leader.id;
            assert_eq!(candidate.ask("/isLeader").unwrap(), (200, format!("{{\"isLeader\": {leads}}}")));
            assert_eq!(candidate.ask("/leader").unwrap().0, if leads { 200 } else { 503 });
        }
    }
}

#[test]
fn of_three_that_find_the_lock_missing_at_the_same_moment_one_leads_and_none_exits() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        lock.server.freeze();
        let mut candidates = ["a", "b", "c"].map(|id| lock.start(id, &[NEVER]));
        // Each has sent its first read and watch, and all get their answers at the same time.
        lock.wait("all have asked", || lock.server.open_connections() == 6);
        lock.server.thaw();
        let leader = leader_of(&candidates).id.clone();
        let won = |server: &Server| {
            server.requests().iter().filter(|it| it.verb == "create" && it.status == Some(201)).count()
        };
        assert_eq!(won(&lock.server), 1);
        for candidate in &mut candidates {
            assert!(candidate.is_running(), "{} exited: {}", candidate.id, candidate.log());
            assert_eq!(candidate.leads(), candidate.id == leader);
        }
    }
}

#[test]
fn each_change_of_the_leader_is_one_line_on_stdout() {
    let lock = Lock::new("endpoints");
    let mut a = lock.start("a", &[NEVER]);
    a.wait_to_lead();
    let b = lock.start("b", &[NEVER]);
    b.wait_to_name("a");
    a.signal(rustix::process::Signal::TERM);
    assert!(a.wait_to_end().success());
    b.wait_to_lead();
    let line = |text: &'static str| move || b.printed() == text;
    wait_until("b has printed both", line("a is the leader\nb is the leader"));
    // Between its release and its exit it may still see the next leader.
    let printed = ["a is the leader", "a is the leader\nb is the leader"];
    wait_until("a has printed itself", || printed.contains(&a.printed().as_str()));
}

#[test]
fn a_follower_never_has_its_own_name_in_an_answer() {
    let lock = Lock::new("leases");
    let leader = lock.start("first", &["--ttl=30s", "--retry-period=100ms"]);
    leader.wait_to_lead();
    let follower = lock.start("second-that-follows", &["--ttl=30s"]);
    let until = lock.version() + 8;
    while lock.version() < until {
        for path in ["/", "/second-that-follows", "/isLeader", "/leader", "/readyz", "/healthz"] {
            let raw = raw(&follower, path);
            assert!(!raw.contains("second-that-follows"), "{path}: {raw}");
        }
    }
    follower.wait_to_name("first");
}

/// The whole answer, including the head.
fn raw(elector: &Elector, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(elector.address()).expect("it serves its port");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in UTF-8");
    answer
}
