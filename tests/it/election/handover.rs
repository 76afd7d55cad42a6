//! Handover: after SIGTERM and SIGINT, after SIGKILL, and from a process that was paused.

use crate::common::lock::{KINDS, Lock, NEVER, transitions_of};
use crate::common::{Elector, PATIENCE, wait_until};
use apiserver::Fault;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn after_sigterm_the_lock_is_released_and_the_next_leader_does_not_wait() {
    for (kind, signal) in KINDS.into_iter().zip([Signal::TERM, Signal::INT, Signal::TERM]) {
        let lock = Lock::new(kind);
        let (mut a, b) = lock.start_two(&[NEVER]);
        a.signal(signal);
        b.wait_to_lead();
        assert_eq!(a.wait_to_end().code(), Some(0), "{}", a.log());
        let holders: Vec<String> = lock.changes().into_iter().map(|(_, holder)| holder).collect();
        let released = holders.iter().position(String::is_empty).expect("it was released");
        assert!(holders[..released].iter().all(|it| it == "a") && holders[released + 1..].iter().all(|it| it == "b"));
    }
}

#[test]
fn after_sigkill_the_next_leader_waits_for_the_lease() {
    let lock = Lock::new("leases");
    let (a, b) = lock.start_two(&["--ttl=3s"]);
    a.signal(Signal::KILL);
    b.wait_to_lead();
    let waited = lock.wait_for_takeover(&b);
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
}

#[test]
fn a_leader_that_was_paused_past_its_lease_follows_and_never_names_itself() {
    thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || stands_still(&Lock::new(kind)));
        }
    });
}

fn stands_still(lock: &Lock) {
    let (a, b) = lock.start_two(&["--ttl=3s"]);
    a.signal(Signal::STOP);
    let stopped = Instant::now();
    b.wait_to_lead();
    let since = lock.version();
    // Requests that are sent before it is resumed are answered as soon as it runs again.
    let paths = ["/", "/isLeader", "/leader", "/anything"];
    let mut asked: Vec<_> = paths.iter().cycle().take(24).map(|path| (*path, question(&a, path))).collect();
    wait_until("it was paused for two leases", || stopped.elapsed() > Duration::from_secs(6));
    a.signal(Signal::CONT);
    let check = |path: &str, answer: String| {
        // If the machine stalls for a whole lease, it may have become leader again.
        let again = || lock.taken("a", since - 1).is_some();
        assert!(!says_that_it_leads(path, &answer) || again(), "after standing still for two leases: {answer}");
    };
    for (path, stream) in &mut asked {
        check(path, answer(stream));
    }
    wait_until("a names b", || {
        paths.iter().for_each(|path| check(path, answer(&mut question(&a, path))));
        a.body() == "{\"name\":\"b\"}"
    });
}

fn question(elector: &Elector, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(elector.address()).expect("the port is open");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).expect("the kernel takes it");
    stream
}

fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Whether an answer says that a leads; panics if it is no answer.
fn says_that_it_leads(path: &str, answer: &str) -> bool {
    match path {
        "/isLeader" => !answer.ends_with("{\"isLeader\": false}"),
        "/leader" => !answer.starts_with("HTTP/1.1 503") || answer.contains("\"a\""),
        _ => !answer.starts_with("HTTP/1.1 200") || answer.contains("\"a\""),
    }
}

#[test]
fn a_second_signal_ends_it_at_once_with_the_exit_code_of_that_signal() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let lock = Lock::new("configmaps");
        let mut a = lock.start("a", &[NEVER, "--release-delay=10m"]);
        a.wait_to_lead();
        a.signal(Signal::TERM);
        a.wait_for_log("stopping");
        let told = Instant::now();
        while a.is_running() {
            assert!(told.elapsed() < PATIENCE, "{}", a.log());
            a.signal(second);
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(a.wait_to_end().code(), Some(code), "{}", a.log());
        assert_eq!(lock.holder(), "a");
    }
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one_request() {
    for second in [Signal::TERM, Signal::INT] {
        let lock = Lock::new("configmaps");
        let mut a = lock.start("a", &[NEVER, "--release-delay=1s"]);
        a.wait_to_lead();
        a.signal(Signal::TERM);
        a.signal(second);
        a.signal(Signal::TERM);
        assert_eq!(a.wait_to_end().code(), Some(0), "{}", a.log());
        assert_eq!(lock.holder(), "");
    }
}

#[test]
fn a_hanging_renewal_does_not_delay_the_release() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let mut a = lock.start("a", &[NEVER, "--retry-period=50ms"]);
        a.wait_to_lead();
        let hung = lock.server.fault(|request| request.verb == "update", Some(1), Fault::HangRequest);
        wait_until("a renewal hangs", || hung.hits() == 1);
        a.signal(Signal::TERM);
        assert_eq!(a.wait_to_end().code(), Some(0), "{}", a.log());
        assert_eq!(lock.holder(), "", "{}", a.log());
    }
}

#[test]
fn a_follower_exits_without_writing_the_lock() {
    let lock = Lock::new("endpoints");
    let (mut a, mut b) = lock.start_two(&[NEVER]);
    b.signal(Signal::TERM);
    assert_eq!(b.wait_to_end().code(), Some(0));
    assert!(!b.log().contains("releasing"), "{}", b.log());
    assert!(a.is_running() && a.leads());
    assert!(lock.changes().iter().all(|(_, holder)| holder == "a"));
}

#[test]
fn sigterm_works_before_the_first_answer_of_the_api_server() {
    let lock = Lock::new("endpoints");
    lock.server.freeze();
    let mut a = lock.start("a", &[NEVER]);
    lock.wait("it has asked", || lock.server.open_connections() > 0);
    let told = Instant::now();
    a.signal(Signal::TERM);
    assert_eq!(a.wait_to_end().code(), Some(0), "{}", a.log());
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    lock.server.thaw();
    assert_eq!(lock.version(), 0);
}

#[test]
fn sigterm_works_at_any_moment_of_the_start() {
    for delay in (0..40).step_by(2).map(Duration::from_millis) {
        let lock = Lock::new("leases");
        let mut a = lock.spawn("a", &[NEVER]);
        thread::sleep(delay); // the moment is the subject of this test
        // Before it has installed its signal handlers, the signal kills it.
        let told = Instant::now();
        a.signal(Signal::TERM);
        let status = a.wait_to_end();
        let in_time = told.elapsed() < Duration::from_secs(1); // a release may take about 2 s
        let registered = status.code() == Some(0);
        let too_early = std::os::unix::process::ExitStatusExt::signal(&status) == Some(Signal::TERM.as_raw());
        assert!(registered || too_early, "{status}: {}", a.log());
        assert!(lock.holder().is_empty() || !in_time, "{}", a.log());
    }
}

#[test]
fn a_leader_without_an_api_server_exits_with_0_in_about_two_seconds() {
    let frozen: fn(&Lock) = |lock| lock.server.freeze();
    let down: fn(&Lock) = |lock| lock.server.down();
    for end in [frozen, down] {
        let lock = Lock::new("endpoints");
        let mut a = lock.start("a", &[NEVER]);
        a.wait_to_lead();
        end(&lock);
        let told = Instant::now();
        a.signal(Signal::TERM);
        assert_eq!(a.wait_to_end().code(), Some(0), "{}", a.log());
        println!("left in {:?}; it said:\n{}", told.elapsed(), a.log());
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    }
}

#[test]
fn with_a_release_delay_the_claim_ends_at_once_and_the_lock_is_kept() {
    let lock = Lock::new("leases");
    let (mut a, b) = lock.start_two(&["--ttl=2s", "--release-delay=4s"]);
    let told = Instant::now();
    a.signal(Signal::TERM);
    wait_until("a no longer names itself", || !a.leads());
    assert_eq!(lock.holder(), "a");
    b.wait_to_lead();
    assert_eq!(a.wait_to_end().code(), Some(0));
    let changes = lock.changes();
    let released = changes.iter().position(|(_, holder)| holder.is_empty()).expect("it was released");
    assert!(changes[released].0.when - told >= Duration::from_secs(4));
    let renewals = changes[..released].iter().filter(|(change, _)| change.when > told).count();
    assert!(renewals >= 3, "{renewals} renewals while it waited");
    assert!(changes[..released].iter().all(|(_, holder)| holder == "a"), "b led before the release");
}

#[test]
fn each_term_counts_one_transition() {
    let lock = Lock::new("endpoints");
    for term in 0..4 {
        let mut leader = lock.start(&format!("term-{term}"), &[NEVER]);
        leader.wait_to_lead();
        assert_eq!(transitions_of(&lock.record()), term);
        leader.signal(Signal::TERM);
        leader.wait_to_end();
    }
}

#[test]
fn a_lock_that_is_still_being_taken_when_the_signal_comes_is_released_too() {
    for (kind, exists) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let lock = Lock::new(kind);
        if exists {
            let mut before = lock.start("before", &[NEVER]);
            before.wait_to_lead();
            before.signal(Signal::TERM);
            before.wait_to_end();
        }
        let version = lock.version();
        let late = Fault::DelayRequest(Duration::from_millis(400));
        let slow = lock.server.fault(|it| ["create", "update"].contains(&it.verb), Some(1), late);
        let mut a = lock.start("a", &[NEVER]);
        lock.wait("it tries to take the lock", || slow.hits() == 1);
        let told = Instant::now();
        a.signal(Signal::TERM);
        assert!(a.wait_to_end().success());
        let in_time = told.elapsed() < Duration::from_secs(1); // a release may take about 2 s
        lock.wait("the lock has been taken", || lock.version() > version);
        assert!(lock.holder().is_empty() || !in_time, "{kind}: {}", a.log());
    }
}
