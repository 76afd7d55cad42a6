//! Watches that break, hang or send invalid data: the candidate still sees who leads, and takes over in time.

use crate::common::Elector;
use crate::common::cluster::{
    STEADY, all_at_once, elector, lines, lock_of, on, plain_server, put, requests, wait_for, wait_for_renewals,
};
use crate::common::lock::Lock;
use crate::http::probes::{codes, longer_than, wait_for_codes};
use apiserver::{Fault, Server};
use serde_json::json;
use std::thread;
use std::time::Duration;

/// The faults of a watch.
fn faults() -> Vec<Fault> {
    let line = |line: &str, after_events| Fault::WatchLine { after_events, line: line.into() };
    let status = |code| Fault::Status { code, retry_after: None };
    let error = |code: u16| {
        let status = json!({"kind": "Status", "code": code, "reason": "Expired", "message": "too old"});
        json!({"type": "ERROR", "object": status}).to_string() + "\n"
    };
    let stranger = json!({"type": "ADDED", "object": {"kind": "Endpoints", "metadata":
        {"name": "example", "namespace": "default"}}});
    vec![
        Fault::CutWatch { after_events: 0, mid_line: false },
        Fault::CutWatch { after_events: 0, mid_line: true },
        Fault::CutWatch { after_events: 1, mid_line: false },
        Fault::CutWatch { after_events: 1, mid_line: true },
        Fault::SilenceWatch { after_events: 0 },
        Fault::SilenceWatch { after_events: 1 },
        Fault::HangRequest,
        Fault::HangAnswer,
        Fault::StallAnswer,
        Fault::DropRequest,
        Fault::ResetRequest,
        Fault::ResetAnswer,
        status(403),
        status(410),
        status(429),
        status(500),
        line("garbage\n", 0),
        line("garbage\n", 1),
        line("{\"type\":\"SOMETHING\",\"object\":{}}\n", 0),
        line("{\"type\":\"ADDED\",\"object\":7}\n", 1),
        line("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"0\"}}}\n", 0),
        line(&(stranger.to_string() + "\n"), 0),
        line(&error(410), 0),
        line(&error(410), 1),
        line(&error(500), 0),
        Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Fault::Raw(b"nothing of HTTP".to_vec()),
        Fault::RawThenStall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nwait".to_vec()),
    ]
}

/// A candidate whose watches have this fault, while another candidate holds the lock.
fn follower(server: &Server) -> Elector {
    put(server, lock_of("first", 60));
    let follower = elector(server, "a", &[STEADY]);
    follower.wait_to_name("first");
    follower
}

/// Checks that changes are seen and a free lock is taken. The leases are far longer than the tests wait.
fn sees_what_changes(server: &Server, follower: &Elector) {
    put(server, lock_of("second", 60));
    follower.wait_to_name("second");
    put(server, lock_of("", 60));
    follower.wait_to_lead();
}

#[test]
fn a_watch_that_always_breaks_hides_no_change_and_is_reopened_at_a_limited_rate() {
    all_at_once(faults(), |fault| {
        let server = plain_server();
        server.fault(on(&["watch"]), None, fault.clone());
        let follower = follower(&server);
        sees_what_changes(&server, &follower);
        wait_for_renewals(&server, 5);
        let watches = requests(&server, "watch");
        let lasted = watches[watches.len() - 1].when - watches[0].when;
        // Eight changes, each of which resets the pauses, which double from 25 ms on. A busy loop would open hundreds
        // in a second.
        assert!(watches.len() <= 60, "{fault:?}: {} in {lasted:?}", watches.len());
        let told = lines(&follower, " WARN ") + lines(&follower, "works again");
        assert!(told <= 6, "{fault:?}: {}", follower.log());
    });
}

#[test]
fn a_watch_that_always_shows_the_same_and_ends_is_reopened_at_a_limited_rate() {
    let server = plain_server();
    put(&server, lock_of("first", 60));
    let mut object = server.get("endpoints", "default", "example").unwrap();
    object["kind"] = "Endpoints".into();
    let event = json!({"type": "ADDED", "object": object}).to_string() + "\n";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{event}", event.len());
    server.fault(on(&["watch"]), None, Fault::Raw(answer.into_bytes()));
    let follower = elector(&server, "a", &["--ttl=1s"]);
    follower.wait_to_name("first");
    thread::sleep(Duration::from_secs(1));
    // The pauses double from 25 ms on, so that there are about six. Without them there are thirty.
    let watches = requests(&server, "watch").len();
    assert!((2..=15).contains(&watches), "{watches}");
}

#[test]
fn a_watch_that_broke_is_opened_again_and_shows_what_changes() {
    // After a 403 the watch waits for minutes.
    let passing = |fault: &Fault| !matches!(fault, Fault::Status { code: 403, .. });
    all_at_once(faults().into_iter().filter(passing).collect(), |fault| {
        let server = plain_server();
        let broken = server.fault(on(&["watch"]), Some(1), fault.clone());
        let follower = follower(&server);
        let has_begun = |server: &Server| server.open_watches() == 1 || requests(server, "watch").len() >= 2;
        wait_for(&server, "a watch begins", |server| broken.hits() == 1 && has_begun(server));
        // So a fault that waits for an event gets one, and a silent watch misses one.
        let mut changes = 0;
        wait_for(&server, &format!("{fault:?}: the watch is open again"), |server| {
            if changes == 0 || follower.body() == format!(r#"{{"name":"change-{changes}"}}"#) {
                changes += 1;
                put(server, lock_of(&format!("change-{changes}"), 60));
            }
            server.open_watches() == 1 && requests(server, "watch").len() >= 2
        });
        follower.wait_to_name(&format!("change-{changes}"));
        sees_what_changes(&server, &follower);
    });
}

#[test]
fn a_watch_that_ends_while_it_runs_is_opened_again() {
    let ends: [fn(&Server); 4] = [
        |server| assert_eq!(server.cut_watches(), 1),
        |server| assert_eq!(server.cut_watches_mid_line(), 1),
        |server| assert_eq!(server.reset_watches(), 1),
        |server| server.send_to_watches(b"garbage\n"),
    ];
    for end in ends {
        let server = plain_server();
        let follower = follower(&server);
        wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
        let before = requests(&server, "watch").len();
        end(&server);
        let is_open = |server: &Server| server.open_watches() == 1 && requests(server, "watch").len() > before;
        wait_for(&server, "the watch is open again", is_open);
        server.clear_requests();
        put(&server, lock_of("second", 60));
        follower.wait_to_name("second");
    }
}

#[test]
fn a_watch_from_a_compacted_version_is_reopened() {
    let server = plain_server();
    let follower = follower(&server);
    wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
    // Only the watch can show this state.
    let reads = server.fault(on(&["get"]), None, Fault::HangRequest);
    put(&server, lock_of("again", 60));
    follower.wait_to_name("again");
    reads.remove();
    let gone = server.fault(on(&["watch"]), None, Fault::DropRequest);
    server.cut_watches();
    wait_for(&server, "it is refused", |_| gone.hits() >= 3);
    server.bump_resource_version(1000);
    server.compact();
    gone.remove();
    put(&server, lock_of("second", 60));
    follower.wait_to_name("second");
    sees_what_changes(&server, &follower);
    wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
    let watches = requests(&server, "watch");
    let resumed = |watch: &apiserver::RequestSeen| watch.path.contains("&resourceVersion=1002");
    assert!(watches.iter().filter(|watch| resumed(watch)).count() > 3, "it tried to go on where it was");
    assert!(watches.iter().any(|watch| !resumed(watch) && watch.when > watches[3].when), "and then began afresh");
    assert_eq!(lines(&follower, "too old"), 0, "to be expected, so not told: {}", follower.log());
}

#[test]
fn a_bookmark_alone_changes_nothing() {
    let server = plain_server();
    let follower = follower(&server);
    wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
    let bookmark = json!({"type": "BOOKMARK", "object": {"kind": "Endpoints", "apiVersion": "v1", "metadata":
        {"resourceVersion": server.resource_version().to_string()}}});
    server.send_to_watches(format!("{bookmark}\n").as_bytes());
    sees_what_changes(&server, &follower);
    assert_eq!(lines(&follower, "cannot watch"), 0, "{}", follower.log());
}

/// After a restart the server refuses everything until it has read the roles.
#[test]
fn a_refusal_after_an_outage_does_not_delay_the_watch_by_minutes() {
    let server = plain_server();
    // Pauses that double from 50 ms on: if they continued after the refusal, the test would fail.
    server.fault(on(&["watch"]), Some(7), Fault::DropRequest);
    let refusal = server.fault(on(&["watch"]), Some(1), Fault::Status { code: 403, retry_after: None });
    let _follower = follower(&server);
    wait_for(&server, "it was refused", |_| refusal.hits() == 1);
    wait_for(&server, "the watch is open", |server| server.open_watches() == 1);
}

#[test]
fn a_watch_that_never_works_affects_neither_health_nor_readiness_nor_the_leadership() {
    for fault in [Fault::HangRequest, Fault::Status { code: 500, retry_after: None }] {
        let server = plain_server();
        server.fault(on(&["watch"]), None, fault);
        let leader = elector(&server, "a", &[STEADY]);
        wait_for_codes(&leader, 200, 200, 200);
        let follower = elector(&server, "b", &[STEADY]);
        wait_for_codes(&follower, 200, 200, 503);
        longer_than(Duration::from_secs(6));
        assert_eq!((codes(&leader), codes(&follower)), ([200; 3], [200, 200, 503]));
        follower.wait_to_name("a");
    }
}

#[test]
fn reopening_a_silent_watch_logs_no_failure() {
    let lock = Lock::new("endpoints");
    let silent = lock.server.fault(|it| it.verb == "watch", None, Fault::SilenceWatch { after_events: 1 });
    let a = lock.start("a", &["--ttl=20s", "--retry-period=50ms"]);
    a.wait_to_lead();
    lock.wait("it was opened anew", || silent.hits() >= 3);
    assert!(!a.log().contains("cannot watch"), "{}", a.log());
}
