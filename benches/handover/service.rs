//! The time from SIGTERM to the leader until the leader Service's EndpointSlice has the address of the next leader.

use crate::Bench;
use crate::bare_writes::{self, BareLease, BareSlice};
use crate::common::NAMESPACE;
use crate::common::election::Election;
use crate::common::program::Program;
use crate::failover::in_ms;
use crate::report::Report;
use leader_elector::api::{Watch, WatchHandle};
use leader_elector::leader_service::SliceName;
use rustix::process::Signal;
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

const SERVICE: &str = "service";

/// From SIGTERM until the slice has the address of the next leader. Each round also measures the four writes that a
/// handover needs, one after the other: remove the old address, release the lock, acquire it, write the new address.
pub fn service(bench: &Bench, report: &mut Report) {
    let server = &bench.server;
    let (mut lease, mut bare_slice) = (BareLease::new(server, "bare-service"), BareSlice::new(server, "bare-service"));
    let mut election = Election::start_with(server, &Program::leader_elector(), SERVICE, None, "--ttl=15s", flags);
    let mut handovers = vec![Vec::new(); bench.programs.len()];
    let mut four_writes = Vec::new();
    for round in 0..30 * bench.rounds as u64 {
        let leader = election.leader();
        let old = address(&election.candidates[leader].id);
        let mut slice = WatchedSlice::open(bench);
        slice.wait_for(|address| address == Some(old.as_str()));
        thread::sleep(Duration::from_millis(200 + round * 373 % 1000));
        election.end_leader(Signal::TERM, |_, _| {
            let begin = Instant::now();
            slice.wait_for(|address| address.is_some_and(|address| address != old));
            handovers[0].push(in_ms(begin.elapsed()));
        });
        four_writes.push(in_ms(bare_slice.withdraw_and_write() + lease.write(2)));
    }
    report.add_samples(SERVICE, "SIGTERM, until the leader Service routes to the next leader", "ms", handovers);
    bare_writes::note(report, SERVICE, "Two bare writes of a slice and two of a Lease", four_writes);
}

fn flags(id: &str) -> Vec<String> {
    vec![format!("--leader-service={SERVICE}:80"), format!("--pod-ip={}", address(id))]
}

/// The pod IP of a candidate.
fn address(id: &str) -> String {
    format!("10.1.0.{}", id.as_bytes()[0])
}

/// A watch of the EndpointSlice, like that of kube-proxy.
struct WatchedSlice(Watch<SliceName>);

impl WatchedSlice {
    /// Opens a watch that begins with the present slice, or with its creation.
    fn open(bench: &Bench) -> WatchedSlice {
        let slice = SliceName { namespace: NAMESPACE.to_owned(), name: format!("{SERVICE}-leader") };
        let watch = bench.server.api().watch(&slice, None, 600, Duration::from_secs(60), &WatchHandle::new());
        WatchedSlice(watch.unwrap_or_else(|failure| panic!("{failure}")))
    }

    /// Waits until the condition holds for the address in the slice.
    fn wait_for(&mut self, condition: impl Fn(Option<&str>) -> bool) {
        loop {
            let line = self.0.next().ok().flatten().expect("the watch ended");
            let event: Value = serde_json::from_slice(&line).expect("an event is JSON");
            if condition(event["object"]["endpoints"][0]["addresses"][0].as_str()) {
                return;
            }
        }
    }
}
