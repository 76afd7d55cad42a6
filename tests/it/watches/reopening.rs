//! A watch is reopened on request in every state, and that is not reported as a failure.

use crate::common::api_client::{LONG, client, endpoints};
use leader_elector::candidate::watcher::{WatchMessage, Watcher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;

#[test]
fn reopening_a_closed_watch_reports_no_failure() {
    let server = apiserver::Server::start(apiserver::Options::default()).unwrap();
    let broken = apiserver::Fault::Status { code: 500, retry_after: None };
    server.fault(|request| request.verb == "watch", Some(1), broken);
    let (news, shown) = channel();
    let (asked, go_on) = channel();
    let watcher = Watcher::start(
        client(&server.url()),
        endpoints(),
        LONG,
        || 0.0,
        move |_, it| {
            let closed = matches!(it, WatchMessage::Closed(_));
            // After a closed watch it has no stream until a new one is requested.
            news.send(it).is_ok() && (!closed || go_on.recv().is_ok())
        },
    )
    .unwrap();
    assert!(matches!(shown.recv_timeout(LONG).unwrap(), WatchMessage::Closed(Some(_))));
    watcher.reopen();
    asked.send(()).unwrap();
    asked.send(()).unwrap();
    let next: Vec<WatchMessage> = shown.iter().take_while(|it| !matches!(it, WatchMessage::Opened)).collect();
    assert!(next.iter().all(|it| matches!(it, WatchMessage::Closed(None))), "{next:?}");
}

/// The server may have gone back to an older state, so the new watch must not start from the old version.
#[test]
fn a_reopened_watch_begins_with_the_present_object() {
    let server = apiserver::Server::start(apiserver::Options::default()).unwrap();
    server.put("endpoints", "default", serde_json::json!({"metadata": {"name": "example"}}));
    let (news, shown) = channel();
    let watcher = Watcher::start(client(&server.url()), endpoints(), LONG, || 0.0, move |_, it| news.send(it).is_ok());
    let next_object = || shown.iter().find(|it| matches!(it, WatchMessage::Object(_)));
    assert!(next_object().is_some());
    watcher.as_ref().unwrap().reopen();
    assert!(shown.iter().any(|it| matches!(it, WatchMessage::Closed(None))));
    // The object has not changed: a watch that continued from its version would not show it.
    let again = shown.iter().take(2).collect::<Vec<_>>();
    assert!(matches!(again[..], [WatchMessage::Opened, WatchMessage::Object(_)]), "{again:?}");
}

/// A restarted server has no history. That is no failure like those during the outage.
#[test]
fn a_watch_answered_with_410_is_reopened_without_a_pause_after_an_outage_too() {
    // One random number is used for each stream, and one for each pause.
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    let drawn = || {
        DRAWN.fetch_add(1, Ordering::SeqCst);
        0.0
    };
    let server = apiserver::Server::start(apiserver::Options::default()).unwrap();
    for (code, times) in [(500, 3), (410, 1)] {
        let refusal = apiserver::Fault::Status { code, retry_after: None };
        server.fault(|request| request.verb == "watch", Some(times), refusal);
    }
    let (news, shown) = channel();
    let _watcher =
        Watcher::start(client(&server.url()), endpoints(), LONG, drawn, move |_, it| news.send(it).is_ok()).unwrap();
    let closed = shown.iter().take_while(|it| !matches!(it, WatchMessage::Opened)).count();
    assert_eq!((closed, DRAWN.load(Ordering::SeqCst)), (4, 5 + 3), "five streams, and three pauses");
}
