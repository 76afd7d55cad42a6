//! A polling elector, for comparison. It follows the code of client-go's `leaderelection` function by function, with the
//! default settings and `ReleaseOnCancel`.
//!
//! A follower reads the Lease every [R, 2.2 R), and acquires it if the record has not changed for L. The leader updates the
//! Lease every R, and reads it only after a failure. It uses this crate's API client and HTTP server, so that only the
//! election algorithm differs, not the language or the libraries. L is `--ttl`, D is 2/3 of L, and R is 2/15 of L, which is
//! client-go's ratio of 15, 10 and 2 seconds.

use super::NAMESPACE;
use leader_elector::api::{Api, Failure, FailureKind};
use leader_elector::clock;
use leader_elector::credentials::Credentials;
use leader_elector::duration;
use leader_elector::election::{Claim, Holder, Purpose, Write};
use leader_elector::http::{Limits, Server};
use leader_elector::lock::{LockKind, LockName, Locks, Object};
use leader_elector::random;
use leader_elector::record::{Content, Mark, Record, Stamp};
use leader_elector::signals::Signals;
use leader_elector::status::{Seen, Snapshot, Status};
use leader_elector::time::Time;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The subcommand that runs this elector.
pub const SUBCOMMAND: &str = "polling-elector";

const JITTER_FACTOR: f64 = 1.2;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs until SIGTERM, or until it loses the leadership because no renewal succeeded.
pub fn run(args: &[String]) {
    let signals = Signals::register().expect("cannot install the signal handlers");
    let flag = |name: &str| {
        let value = args.iter().find_map(|arg| arg.strip_prefix(&format!("--{name}=")));
        value.unwrap_or_else(|| panic!("--{name} is missing")).to_owned()
    };
    let (id, election): (Arc<str>, String) = (flag("id").into(), flag("election"));
    let lease = duration::parse(&flag("ttl")).expect("--ttl must be a duration");
    let locks = Arc::new(Locks { kinds: &[LockKind::Leases], namespace: NAMESPACE.to_owned(), name: election.clone() });
    let never = clock::now().saturating_add(24 * HOUR);
    let status = Arc::new(Status::new(Snapshot::unknown(Arc::clone(&id), locks, lease, never)));
    let server = Server::bind(&flag("http").parse().expect("--http must be an address"), Limits::default())
        .expect("cannot bind the address");
    let for_server = Arc::clone(&status);
    thread::spawn(move || server.run(for_server, Arc::default()));
    let (stop, stopped) = channel();
    thread::spawn(move || signals.run(|_| {}, |_| drop(stop)));
    let account = flag("service-account-dir");
    let credentials = Credentials::server(&flag("server"), Some(Path::new(&account))).expect("--server must be a URL");
    let elector = Elector {
        api: Api::new(Arc::new(credentials), HOUR),
        lock: LockName { kind: LockKind::Leases, namespace: NAMESPACE.to_owned(), name: election },
        id,
        lease,
        renew_deadline: lease * 2 / 3,
        retry_period: lease * 2 / 15,
        status,
        stopped,
        observed: None,
        writes: 0,
    };
    elector.run();
}

struct Elector {
    api: Api,
    lock: LockName,
    id: Arc<str>,
    /// L, D and R.
    lease: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
    status: Arc<Status>,
    /// A signal drops the sender, which disconnects this.
    stopped: Receiver<()>,
    observed: Option<Observed>,
    writes: u64,
}

struct Observed {
    object: Object,
    record: Record,
    since: Instant,
}

impl Elector {
    fn run(mut self) {
        if self.acquire() {
            self.renew();
        }
    }

    /// Returns true when it leads, false if a signal stopped it.
    fn acquire(&mut self) -> bool {
        loop {
            if self.try_acquire_or_renew() {
                return true;
            }
            if self.is_stopped_within(self.retry_period.mul_f64(1.0 + random::fraction() * JITTER_FACTOR)) {
                return false;
            }
        }
    }

    /// Returns when it no longer leads.
    fn renew(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < self.renew_deadline {
            if self.try_acquire_or_renew() {
                renewed = Instant::now();
            }
            if self.is_stopped_within(self.retry_period) {
                break;
            }
        }
        self.release();
    }

    fn is_stopped_within(&self, pause: Duration) -> bool {
        self.stopped.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    }

    /// Returns whether it holds the lock.
    fn try_acquire_or_renew(&mut self) -> bool {
        if self.leads() && self.is_lease_valid() && self.write().is_ok() {
            return true;
        }
        let object = match self.api.get(&self.lock, self.renew_deadline) {
            Ok(body) => body,
            Err(failure) if failure.kind == FailureKind::Absent => return self.create().is_ok(),
            Err(_) => return false,
        };
        self.observe(&object);
        let held = self.observed.as_ref().is_some_and(|it| !it.record.is_free());
        if held && self.is_lease_valid() && !self.leads() {
            return false;
        }
        self.write().is_ok()
    }

    fn release(&mut self) {
        let Ok(body) = self.api.get(&self.lock, self.renew_deadline) else { return };
        self.observe(&body);
        if self.leads() {
            let mut record = self.next_record();
            (record.holder, record.lease_seconds) = ("".into(), 1);
            let _ = self.update(record);
        }
    }

    fn leads(&self) -> bool {
        self.observed.as_ref().is_some_and(|it| it.record.holder == self.id)
    }

    fn is_lease_valid(&self) -> bool {
        self.observed.as_ref().is_some_and(|it| it.since.elapsed() < it.record.lease())
    }

    fn write(&mut self) -> Result<(), Failure> {
        let record = self.next_record();
        self.update(record)
    }

    fn create(&mut self) -> Result<(), Failure> {
        let record = self.next_record();
        let body = Object::created(&self.lock, &record, &self.mark(&record));
        let stored = self.api.create(&self.lock, &body, self.renew_deadline)?;
        self.observe(&stored);
        Ok(())
    }

    fn update(&mut self, record: Record) -> Result<(), Failure> {
        let Some(observed) = &self.observed else { return self.create() };
        let mark = self.mark(&record);
        let write = Write { base: None, record, mark, purpose: Purpose::Acquire, sent: Time::ZERO };
        let stored = self.api.update(&self.lock, &observed.object.updated(&write), self.renew_deadline)?;
        self.writes += 1;
        self.observe(&stored);
        Ok(())
    }

    /// The record that this candidate would write now.
    fn next_record(&self) -> Record {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let renewed = Stamp::Micros(i64::try_from(micros).unwrap_or(i64::MAX));
        let before = self.observed.as_ref().map(|it| &it.record);
        let (acquired, transitions) = match before {
            Some(own) if self.leads() => (own.acquired.clone(), own.transitions),
            other => (renewed.clone(), other.map_or(0, Record::next_transitions)),
        };
        let lease_seconds = self.lease.as_secs() as u32;
        Record { holder: Arc::clone(&self.id), lease_seconds, acquired, renewed, transitions }
    }

    fn mark(&self, record: &Record) -> Mark {
        let (holder, renewed) = (Arc::clone(&record.holder), record.renewed.clone());
        Mark { process: std::process::id().into(), write: self.writes, holder, renewed, host: None }
    }

    /// Stores the object, and publishes its holder on the HTTP port.
    fn observe(&mut self, body: &[u8]) {
        let Ok(object) = Object::parse(&self.lock, body) else { return };
        let Content::Record(record) = object.sight().content else { return };
        let since = match &self.observed {
            Some(it) if it.record == record => it.since,
            _ => Instant::now(),
        };
        let never = clock::now().saturating_add(24 * HOUR);
        let own = record.holder == self.id;
        let claim = own.then_some(Claim { until: never, fencing_token: 1 });
        let other = (!own && !record.is_free()).then(|| Holder { identity: Arc::clone(&record.holder), until: never });
        let seen = vec![Seen { other, ..Seen::default() }];
        self.status.publish(Snapshot { claim, seen, ..(*self.status.snapshot()).clone() });
        self.observed = Some(Observed { object, record, since });
    }
}
