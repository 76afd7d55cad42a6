//! Requests start no threads. This is a binary of its own, because the test counts the threads of the process.

mod common;

use std::thread;

use common::api_client::*;

#[test]
fn no_request_starts_a_thread() {
    let server = Server::answering(answer("200 OK", "", "{}"));
    let api = client(&server.url());
    api.get(&endpoints(), LONG).unwrap();
    let before = threads_started();
    for _ in 0..10 {
        api.update(&endpoints(), b"{}", LONG).unwrap();
    }
    assert_eq!(threads_started() - before, 1, "the one that counts");
}

/// How many threads this process has started, including this one: thread ids are consecutive.
fn threads_started() -> u64 {
    let id = thread::spawn(|| thread::current().id()).join().unwrap();
    format!("{id:?}").trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}
