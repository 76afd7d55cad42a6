//! The HTTP server in a process without free file descriptors. This is a binary of its own, because the test lowers a
//! limit of the process and replaces its logger.

mod common;

use common::http::{Client, PATIENCE, following, serve};
use leader_elector::http::Limits;
use log::{Log, Metadata, Record};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Sender, channel};

/// A logger that sends the messages to the test.
struct Said(Sender<String>);

impl Log for Said {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let _ = self.0.send(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn the_server_survives_a_lack_of_descriptors() {
    let (said, log) = channel();
    log::set_boxed_logger(Box::new(Said(said))).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let (address, status) = serve(Limits::default());
    status.publish(following("other"));
    let mut idle = Client::connect(address);
    idle.get("/");

    // One free descriptor is left. The client's socket takes it, so the server has none for the accepted connection.
    let next = File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(next + 1), maximum }).unwrap();
    let mut client = Client::connect(address);
    let warning = log.recv_timeout(PATIENCE).unwrap();
    assert!(warning.starts_with("cannot accept HTTP connections: "), "{warning}");

    // The server closes an idle connection, and continues.
    assert_eq!(client.get("/").body, r#"{"name":"other"}"#);
    assert!(idle.ends_in_silence());
}
