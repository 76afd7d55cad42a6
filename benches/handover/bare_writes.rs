//! How long a write takes by a client that does nothing else: no handover by way of this API server can be faster.

use crate::common::api_server::{ApiServer, lock};
use crate::common::stats::Spread;
use crate::failover::now_micros;
use crate::report::{Report, Value};
use leader_elector::election::{Purpose, Write};
use leader_elector::lock::{LockName, Object};
use leader_elector::record::{Mark, Record, Stamp};
use leader_elector::time::Time;
use std::time::{Duration, Instant};

/// Notes how long bare writes took, in milliseconds, and how many times as long this program's row with the key took.
pub fn note(report: &mut Report, key: &str, what: &str, bare: Vec<f64>) {
    let floor = Spread::of(bare);
    let ours = report.row(key).and_then(|row| row.values[0].as_ref()).map_or(f64::NAN, Value::middle);
    report.notes.push(format!(
        "{what} of a Lease to the same server, one after the other: p50 {:.1} ms (min {:.1}, p99 {:.1}, max {:.1}). \
         A handover takes {:.2} times as long.",
        floor.p50(),
        floor.min(),
        floor.p99(),
        floor.max(),
        ours / floor.p50()
    ));
}

/// A Lease that nobody else writes.
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
        let object = Object::parse(&lock, &body).expect("it was stored");
        BareWrites { server, lock, object }
    }

    /// Writes it so many times, one after the other.
    pub fn write(&mut self, times: usize) -> Duration {
        let begin = Instant::now();
        for _ in 0..times {
            let write =
                Write { base: None, record: record(), mark: mark(), purpose: Purpose::Acquire, sent: Time::ZERO };
            let stored = self.server.api().update(&self.lock, &self.object.updated(&write), Duration::from_secs(60));
            let body = stored.unwrap_or_else(|failure| panic!("{failure}"));
            self.object = Object::parse(&self.lock, &body).expect("it was stored");
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
