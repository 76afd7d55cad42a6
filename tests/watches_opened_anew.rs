//! A watch is opened anew when that is asked for, whenever it is asked, and nothing of it looks like a failure.

mod client_support;

use client_support::{LONG, client, endpoints};
use leader_elector::watcher::{News, Watcher};
use std::sync::mpsc::channel;

#[test]
fn to_ask_for_a_new_watch_while_there_is_none_is_no_failure_of_it() {
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
            let closed = matches!(it, News::Closed(_));
            news.send(it).unwrap();
            // It is between two streams until it has been asked for a new one.
            !closed || go_on.recv().is_ok()
        },
    )
    .unwrap();
    assert!(matches!(shown.recv_timeout(LONG).unwrap(), News::Closed(Some(_))));
    watcher.reopen();
    asked.send(()).unwrap();
    asked.send(()).unwrap();
    let next: Vec<News> = shown.iter().take_while(|it| !matches!(it, News::Opened)).collect();
    assert!(next.iter().all(|it| matches!(it, News::Closed(None))), "{next:?}");
}
