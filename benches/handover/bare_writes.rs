//! Measures writes of a client that does nothing else. A handover needs several writes, so it cannot be faster than these.

use crate::common::api_server::{ApiServer, lock};
use crate::common::stats::Samples;
use crate::failover::now_micros;
use crate::report::{Measurement, Report};
use leader_elector::election::{Purpose, Write};
use leader_elector::lock::{LockName, Object};
use leader_elector::record::{Mark, Record, Stamp};
use leader_elector::time::Time;
use std::time::{Duration, Instant};

/// Adds a note to the report: how long bare writes took, in milliseconds, and by which factor leader-elector's p50 in the
/// row `key` is longer.
pub fn note(report: &mut Report, key: &str, what: &str, bare: Vec<f64>) {
    let bare = Samples::of(bare);
    let handover = report.row(key).and_then(|row| row.values[0].as_ref()).map_or(f64::NAN, Measurement::median);
    report.notes.push(format!(
        "{what} of a Lease to the same server, one after the other: p50 {:.1} ms (min {:.1}, p99 {:.1}, max {:.1}). \
         A handover takes {:.2} times as long.",
        bare.p50(),
        bare.min(),
        bare.p99(),
        bare.max(),
        handover / bare.p50()
    ));
}

/// A Lease that no other client writes.
pub struct BareWrites<'a> {
    server: &'a ApiServer,
    lock: LockName,
    object: Object,
}

impl<'a> BareWrites<'a> {
    pub fn new(server: &'a ApiServer, name: &str) -> BareWrites<'a> {
        let lock = lock(name);
        let stored = server.api().create(&lock, &Object::created(&lock, &record(), &mark()), Duration::from_secs(60));
        let body = stored.unwrap_or_else(|failure| panic!("{failure}"));
        let object = Object::parse(&lock, &body).expect("the server returns a Lease");
        BareWrites { server, lock, object }
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

fn record() -> Record {
    let now = Stamp::Micros(now_micros());
    Record { holder: "bench".into(), lease_seconds: 15, acquired: now.clone(), renewed: now, transitions: 0 }
}

fn mark() -> Mark {
    Mark { process: 1, write: 1, holder: "bench".into(), renewed: Stamp::Micros(0), host: None }
}
