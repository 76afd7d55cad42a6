//! Measures writes of a client that does nothing else. A handover needs several writes, so it cannot be faster than these.

use crate::common::NAMESPACE;
use crate::common::api_server::{ApiServer, lock};
use crate::common::stats::Samples;
use crate::failover::now_micros;
use crate::report::{Measurement, Report};
use leader_elector::api::Verb;
use leader_elector::election::{Purpose, Write};
use leader_elector::leader_service::reconciler::{Goal, Next, SliceReconciler};
use leader_elector::leader_service::{self, Addresses, Family, Pod, Port, ServiceSpec};
use leader_elector::lock::{LockName, Object};
use leader_elector::record::{Mark, Record, Stamp};
use leader_elector::time::Time;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Adds a note to the report: how long bare writes took, in milliseconds, and by which factor leader-elector's p50 in the
/// row `key` is longer.
pub fn note(report: &mut Report, key: &str, what: &str, bare: Vec<f64>) {
    let bare = Samples::of(bare);
    let handover = report.row(key).and_then(|row| row.values[0].as_ref()).map_or(f64::NAN, Measurement::median);
    report.notes.push(format!(
        "{what} to the same server, one after the other: p50 {:.1} ms (min {:.1}, p99 {:.1}, max {:.1}). \
         A handover takes {:.2} times as long.",
        bare.p50(),
        bare.min(),
        bare.p99(),
        bare.max(),
        handover / bare.p50()
    ));
}

/// A Lease that no other client writes.
pub struct BareLease<'a> {
    server: &'a ApiServer,
    lock: LockName,
    object: Object,
}

impl<'a> BareLease<'a> {
    pub fn new(server: &'a ApiServer, name: &str) -> BareLease<'a> {
        let lock = lock(name);
        let stored = server.api().create(&lock, &Object::created(&lock, &record(), &mark()), Duration::from_secs(60));
        let body = stored.unwrap_or_else(|failure| panic!("{failure}"));
        let object = Object::parse(&lock, &body).expect("the server returns a Lease");
        BareLease { server, lock, object }
    }

    /// Writes the Lease this number of times, one after the other. Returns the total time.
    pub fn write(&mut self, times: usize) -> Duration {
        let begin = Instant::now();
        for _ in 0..times {
            let write =
                Write { base: None, record: record(), mark: mark(), purpose: Purpose::Acquire, sent: Time::ZERO };
            let stored = self.server.api().update(&self.lock, &self.object.updated(&write), Duration::from_secs(60));
            let body = stored.unwrap_or_else(|failure| panic!("{failure}"));
            self.object = Object::parse(&self.lock, &body).expect("the server returns a Lease");
        }
        begin.elapsed()
    }
}

/// The EndpointSlice of a leader Service, which no other client writes.
pub struct BareSlice<'a> {
    server: &'a ApiServer,
    reconciler: SliceReconciler,
}

impl<'a> BareSlice<'a> {
    /// Creates the slice, with an address.
    pub fn new(server: &'a ApiServer, service: &str) -> BareSlice<'a> {
        let spec = ServiceSpec {
            service: service.to_owned(),
            namespace: NAMESPACE.to_owned(),
            ports: vec![Port { name: String::new(), number: 80 }],
            addresses: Addresses { v4: Some(Ipv4Addr::new(10, 1, 0, 1)), v6: None },
            pod: Pod::default(),
            election: service.to_owned(),
            identity: "bench".to_owned(),
        };
        let mut slice = BareSlice { server, reconciler: SliceReconciler::new(Arc::new(spec), Family::V4) };
        slice.write(Goal::Lead { fencing_token: 1 });
        slice
    }

    /// Removes the address, and writes it again. Returns the total time of these two writes.
    pub fn withdraw_and_write(&mut self) -> Duration {
        self.write(Goal::Withdraw { fencing_token: 1 }) + self.write(Goal::Lead { fencing_token: 1 })
    }

    /// Returns the time of the updates; reads are not counted.
    fn write(&mut self, goal: Goal) -> Duration {
        let mut total = Duration::ZERO;
        self.reconciler.pursue(goal, Time::MAX);
        loop {
            match self.reconciler.next(Time::ZERO) {
                Next::Send(request) => {
                    let begin = Instant::now();
                    let name = self.reconciler.name();
                    let reply = leader_service::send(self.server.api(), name, &request, Duration::from_secs(60));
                    if request.verb == Verb::Update {
                        total += begin.elapsed();
                    }
                    let problem = self.reconciler.answered(&request, reply, Time::ZERO, 0.0);
                    assert_eq!(problem, None, "the slice cannot be written");
                }
                Next::Rest => return total,
                next => panic!("{next:?} instead of a request"),
            }
        }
    }
}

fn record() -> Record {
    let now = Stamp::Micros(now_micros());
    Record { holder: "bench".into(), lease_seconds: 15, acquired: now.clone(), renewed: now, transitions: 0 }
}

fn mark() -> Mark {
    Mark { process: 1, write: 1, holder: "bench".into(), renewed: Stamp::Micros(0), host: None }
}
