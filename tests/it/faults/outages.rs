//! Outages of the API server: short ones do not end the leadership, long ones never cause two leaders.

use crate::common::claim_checker::{Answer, ClaimChecker, first_false_answer};
use crate::common::cluster::{
    STEADY, ServiceAccount, elector, holder, lines, lock_of, owned, plain_server, record, wait_for_renewals,
};
use crate::common::{Elector, wait_until};
use apiserver::{Change, ChangeKind, Fault, Options, Rule, Server};
use rustix::process::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn a_restart_of_the_server_does_not_end_the_leadership() {
    let server = plain_server();
    let (leader, follower) = (elector(&server, "a", &[STEADY]), elector(&server, "b", &[STEADY]));
    wait_until("they agree", || ["a", "b"].map(|id| format!("{{\"name\":\"{id}\"}}")).contains(&leader.body()));
    follower.wait_to_name(&holder(&server));
    let began = record(&server).unwrap()["acquireTime"].clone();
    let checker = ClaimChecker::start(&[&leader, &follower]);
    let down = Instant::now();
    server.down();
    let noticed = |elector: &Elector| elector.log().contains("cannot update");
    wait_until("the leader notices", || noticed(&leader) || noticed(&follower));
    server.up();
    let outage = down.elapsed();
    wait_for_renewals(&server, 2);
    let answers = checker.check(&server);
    // D − R − T: on a slower machine the leadership may end.
    if outage < Duration::from_millis(2000) {
        assert_eq!(record(&server).unwrap()["acquireTime"], began, "{} {}", leader.log(), follower.log());
        let unknown = answers.iter().find(|answer| answer.body == "{\"name\":\"\"}");
        assert!(unknown.is_none(), "{unknown:?}");
    }
    for elector in [leader, follower] {
        elector.wait_for_log("watching endpoints default/example works again");
        assert!(lines(&elector, " WARN ") <= 4, "{}", elector.log());
    }
}

#[test]
fn during_a_long_outage_nobody_leads() {
    let server = plain_server();
    let electors = [elector(&server, "a", &[]), elector(&server, "b", &[])];
    wait_until("one of them leads", || electors.iter().any(Elector::leads));
    let checker = ClaimChecker::start(&[&electors[0], &electors[1]]);
    server.down();
    wait_until("nobody leads", || electors.iter().all(|elector| elector.body() == "{\"name\":\"\"}"));
    // Longer than L, so that the lease has run out when the server is back.
    let down = Instant::now();
    wait_until("the lease is over", || down.elapsed() > Duration::from_millis(1500));
    server.up();
    wait_until("one of them leads again", || electors.iter().any(Elector::leads));
    wait_until("they agree", || electors[0].body() == electors[1].body());
    checker.check(&server);
    for elector in electors {
        let refused = elector.log().lines().filter(|line| line.contains("WARN cannot")).count();
        assert!(refused <= 5, "{}", elector.log());
    }
}

#[test]
fn a_server_that_freezes_never_makes_two_leaders() {
    let server = plain_server();
    let electors = [elector(&server, "a", &[]), elector(&server, "b", &[]), elector(&server, "c", &[])];
    wait_until("one of them leads", || electors.iter().any(Elector::leads));
    let checker = ClaimChecker::start(&[&electors[0], &electors[1], &electors[2]]);
    for _ in 0..2 {
        wait_for_renewals(&server, 2);
        let last_write = server.history().last().unwrap().when;
        server.freeze();
        wait_until("nobody names itself", || !electors.iter().any(Elector::leads));
        // D, and a margin for a busy machine.
        assert!(last_write.elapsed() < Duration::from_secs(10));
        wait_until("nobody is known to lead", || electors.iter().all(|it| it.body() == "{\"name\":\"\"}"));
        server.thaw();
        wait_until("one of them leads", || electors.iter().any(Elector::leads));
    }
    let answers = checker.check(&server);
    assert!(answers.iter().any(Answer::names_itself));
}

#[test]
fn a_leader_that_is_cut_off_stops_naming_itself_before_another_can_lead() {
    let tokens = owned(&[("one", "a"), ("two", "b")]);
    let rules = vec![Rule::new("*", &["*"], "*")];
    let server = Server::start(Options { tokens, rules, ..Options::default() }).unwrap();
    let accounts = [ServiceAccount::new("one", ""), ServiceAccount::new("two", "")];
    let electors = [elector(&server, "a", &[&accounts[0].flag()]), elector(&server, "b", &[&accounts[1].flag()])];
    wait_until("one of them leads", || electors.iter().any(Elector::leads));
    let checker = ClaimChecker::start(&[&electors[0], &electors[1]]);
    for _ in 0..3 {
        let leader = holder(&server);
        let cut_off = leader.clone();
        let fault = server.fault(move |request| request.user.as_deref() == Some(&cut_off), None, Fault::HangRequest);
        // Its watch does not show the new leader either: it has only its clock.
        server.cut_watches();
        wait_until("the other leads", || electors.iter().any(|elector| elector.id != leader && elector.leads()));
        wait_for_renewals(&server, 3);
        fault.remove();
    }
    let answers = checker.check(&server);
    assert!(answers.iter().any(Answer::names_itself));
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let server = plain_server();
    server.down();
    let mut elector = elector(&server, "a", &[]);
    elector.wait_for_log("cannot read endpoints default/example: connection refused by 127.0.0.1:");
    assert!(elector.is_running() && elector.body() == "{\"name\":\"\"}");
    assert_eq!(elector.ask("/readyz").unwrap().0, 503);
    server.up();
    elector.wait_to_lead();
    assert_eq!(elector.ask("/readyz").unwrap().0, 200);
}

#[test]
fn sigterm_works_without_a_server() {
    for freeze in [false, true] {
        let server = plain_server();
        let mut leader = elector(&server, "a", &["--ttl=5s"]);
        leader.wait_to_lead();
        let mut follower = elector(&server, "b", &["--ttl=5s"]);
        follower.wait_to_name("a");
        if freeze {
            server.freeze()
        } else {
            server.down()
        }
        let asked = Instant::now();
        leader.signal(Signal::TERM);
        follower.signal(Signal::TERM);
        assert_eq!(follower.wait_to_end().code(), Some(0), "{}", follower.log());
        assert_eq!(leader.wait_to_end().code(), Some(0), "{}", leader.log());
        // 1.4 s, measured; a busy machine may need more.
        assert!(asked.elapsed() < Duration::from_secs(10), "{}", leader.log());
        leader.wait_for_log("could not be released");
    }
}

#[test]
fn sigterm_works_before_a_server_was_reached() {
    let server = plain_server();
    server.freeze();
    let mut elector = elector(&server, "a", &[]);
    elector.signal(Signal::TERM);
    assert_eq!(elector.wait_to_end().code(), Some(0), "{}", elector.log());
}

#[test]
fn the_claim_checker_reports_only_certain_violations() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let change = |seconds, kind, holder: &str| Change {
        when: at(seconds),
        kind,
        resource: "endpoints",
        namespace: "default".into(),
        name: "example".into(),
        resource_version: seconds,
        object: Arc::new(lock_of(holder, 1)),
    };
    let history = [
        change(10, ChangeKind::Added, "a"),
        change(20, ChangeKind::Modified, "b"),
        change(30, ChangeKind::Modified, ""),
        change(40, ChangeKind::Modified, "a"),
        change(50, ChangeKind::Deleted, "a"),
    ];
    let says = |id: &str, from: u64, to: u64, name: &str| {
        let body = format!("{{\"name\":\"{name}\"}}");
        vec![Answer { id: id.into(), asked: at(from), answered: at(to), body }]
    };
    for (answers, guilty) in [
        (says("a", 11, 12, "a"), false),
        (says("b", 11, 12, "a"), false),
        (says("b", 11, 12, "b"), true),
        (says("b", 11, 21, "b"), false), // it may have been true at 21
        (says("a", 19, 21, "a"), false), // it may have been true at 19
        (says("a", 21, 22, "a"), true),
        (says("b", 31, 32, "b"), true), // it has released the lock
        (says("b", 29, 45, "b"), false),
        (says("b", 31, 45, "b"), true),
        (says("a", 51, 52, "a"), false), // it cannot know yet that the lock is gone
        (says("a", 1, 2, "a"), false),
    ] {
        assert_eq!(first_false_answer(&answers, &history).is_some(), guilty, "{answers:?}");
    }
}
