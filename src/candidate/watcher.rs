//! The thread that keeps a watch open and delivers its events.
//!
//! The watch is only for speed. Late or missing events cost time, never safety.

use crate::api::{Api, ApiStatus, Failure, FailureKind, Verb, Watch, WatchHandle};
use crate::clock;
use crate::election::Sight;
use crate::lock::{LockName, Object, WatchEvent};
use crate::logging::escape::escaped;
use crate::threads;
use crate::time::{Time, backoff};
use log::warn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The requested duration of a watch, before jitter.
const WATCH_SECONDS: u32 = 300;
/// The first and the longest pause after a failed watch.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// The same after a 403. The permission may come, or may never come. A server that has just started answers 403 for a
/// moment, because it has not loaded the roles yet.
const DENIED_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(180));

/// A watch event.
#[derive(Debug)]
pub enum WatchMessage {
    /// The watch is open. It shows every later change.
    Opened,
    /// The current object.
    Object(Object),
    /// An older state, after which the watch showed a newer one. Only the watch queue creates it.
    Superseded {
        resource_version: u64,
        sight: Sight,
    },
    Deleted {
        resource_version: u64,
    },
    /// The server works and there are no changes.
    Bookmark,
    /// The watch is closed: the server ended it (`None`), or it failed.
    Closed(Option<Failure>),
}

/// The handle of the thread.
pub struct Watcher {
    handle: WatchHandle,
    from_current: Arc<AtomicBool>,
}

impl Watcher {
    /// Starts the thread. `deliver` gets each event with a moment before it arrived, because a paused process reads old
    /// events when it continues. The thread ends when `deliver` returns `false`. `random` returns numbers in [0, 1).
    pub fn start(
        api: Api,
        lock: LockName,
        timeout: Duration,
        random: fn() -> f64,
        deliver: impl Fn(Time, WatchMessage) -> bool + Send + 'static,
    ) -> io::Result<Watcher> {
        let watcher = Watcher { handle: WatchHandle::new(), from_current: Arc::default() };
        let (handle, from_current) = (watcher.handle.clone(), Arc::clone(&watcher.from_current));
        let mut stream = Stream {
            api,
            lock,
            timeout,
            random,
            deliver,
            handle,
            from_current,
            seen: None,
            newest: 0,
            denials: 0,
            expiries: 0,
            shows_others: false,
        };
        threads::spawn("watcher", move || stream.keep_open())?;
        Ok(watcher)
    }

    /// Aborts the watch and opens a new one that starts with the current object.
    pub fn reopen(&self) {
        self.from_current.store(true, Ordering::Release);
        self.handle.wake();
    }
}

struct Stream<D> {
    api: Api,
    lock: LockName,
    timeout: Duration,
    random: fn() -> f64,
    deliver: D,
    handle: WatchHandle,
    from_current: Arc<AtomicBool>,
    /// The resourceVersion up to which this watch has shown everything, where it can resume.
    seen: Option<u64>,
    /// The newest resourceVersion of the object in any watch.
    newest: u64,
    /// The number of consecutive watches that ended with a 403.
    denials: u32,
    /// The number of consecutive watches that ended with a 410.
    expiries: u32,
    /// The watch has shown other objects, and that was logged.
    shows_others: bool,
}

/// The candidate is gone.
struct CandidateGone;

impl<D: Fn(Time, WatchMessage) -> bool> Stream<D> {
    fn keep_open(&mut self) {
        let mut watches_without_event = 0;
        let mut began = clock::now();
        while let Ok(ended) = self.watch_once(&mut watches_without_event) {
            if clock::now().since(began) > PAUSES.1 {
                watches_without_event = 0; // a long watch needs no backoff
            }
            // An abort for a new watch is not a failure and needs no pause.
            let aborted = ended.as_ref().is_some_and(|failure| failure.kind == FailureKind::Aborted)
                || self.from_current.load(Ordering::Acquire);
            let failure = ended.filter(|_| !aborted);
            let pause = if aborted { Duration::ZERO } else { self.pause(failure.as_ref(), watches_without_event) };
            if self.tell(began, WatchMessage::Closed(failure)).is_err() {
                return;
            }
            thread::sleep(pause);
            began = clock::now();
        }
    }

    /// Runs one watch from its opening to its end. Counts consecutive watches without new events: a watch that always
    /// breaks after its first event must not be reopened without a pause.
    fn watch_once(&mut self, watches_without_event: &mut u32) -> Result<Option<Failure>, CandidateGone> {
        *watches_without_event = watches_without_event.saturating_add(1);
        if self.from_current.swap(false, Ordering::AcqRel) {
            self.seen = None;
            self.newest = 0;
        }
        let seconds = (f64::from(WATCH_SECONDS) * (0.8 + 0.4 * (self.random)())) as u32;
        let mut since = clock::now();
        let from = self.seen.map(|version| version.to_string());
        let mut watch = match self.api.watch(&self.lock, from.as_deref(), seconds, self.timeout, &self.handle) {
            Ok(watch) => watch,
            Err(failure) => return Ok(Some(self.after(failure))),
        };
        self.tell(since, WatchMessage::Opened)?;
        loop {
            since = clock::now();
            match self.next(&mut watch) {
                Ok(Some(message)) => {
                    if self.is_new(&message) {
                        *watches_without_event = 0;
                    }
                    self.tell(since, message)?;
                }
                Ok(None) => return Ok(None),
                Err(failure) => return Ok(Some(self.after(failure))),
            }
        }
    }

    fn is_new(&mut self, message: &WatchMessage) -> bool {
        let shown = match message {
            WatchMessage::Object(object) => object.version().resource_version,
            WatchMessage::Deleted { resource_version } => *resource_version,
            WatchMessage::Opened
            | WatchMessage::Bookmark
            | WatchMessage::Superseded { .. }
            | WatchMessage::Closed(_) => return false,
        };
        let is_new = shown > self.newest;
        self.newest = self.newest.max(shown);
        is_new
    }

    fn next(&mut self, watch: &mut Watch<LockName>) -> Result<Option<WatchMessage>, Failure> {
        while let Some(line) = watch.next()? {
            let fail = |kind, what| Failure::new(kind, Verb::Watch, &self.lock, what);
            let event = WatchEvent::parse(&self.lock, &line).map_err(|what| fail(FailureKind::Unknown, what))?;
            let (seen, message) = match event {
                WatchEvent::Object(object) => (object.version().resource_version, WatchMessage::Object(object)),
                WatchEvent::Deleted { resource_version } => {
                    (resource_version, WatchMessage::Deleted { resource_version })
                }
                WatchEvent::Bookmark { resource_version } => (resource_version, WatchMessage::Bookmark),
                WatchEvent::Error(status) => return Err(self.ended_with(&status)),
                WatchEvent::Other(name) => {
                    self.ignore(&name);
                    continue;
                }
            };
            self.seen = Some(seen);
            return Ok(Some(message));
        }
        Ok(None)
    }

    fn ignore(&mut self, name: &str) {
        if !std::mem::replace(&mut self.shows_others, true) {
            warn!(
                "the watch of {} shows other objects as well, such as {name}: they are ignored; does a proxy in front \
                 of the API server drop the fieldSelector?",
                self.lock
            );
        }
    }

    fn ended_with(&self, status: &[u8]) -> Failure {
        let ApiStatus { code, message, retry_after, .. } = ApiStatus::parse(status).unwrap_or_default();
        let kind = if code == Some(410) { FailureKind::Expired } else { FailureKind::Unknown };
        let what = format!("the stream ended with {} ({})", code.unwrap_or_default(), message.unwrap_or_default());
        Failure { retry_after, ..Failure::new(kind, Verb::Watch, &self.lock, escaped(what.as_bytes())) }
    }

    /// Updates the state for the next watch.
    fn after(&mut self, failure: Failure) -> Failure {
        if failure.kind == FailureKind::Expired {
            self.seen = None;
        }
        failure
    }

    fn pause(&mut self, failure: Option<&Failure>, watches_without_event: u32) -> Duration {
        let in_a_row = |kind, before: u32| match failure {
            Some(failure) if failure.kind == kind => before.saturating_add(1),
            _ => 0,
        };
        self.denials = in_a_row(FailureKind::Denied, self.denials);
        self.expiries = in_a_row(FailureKind::Expired, self.expiries);
        if watches_without_event == 0 || self.expiries == 1 {
            return Duration::ZERO; // a normal end
        }
        // The pause for a missing permission counts only consecutive 403s.
        let ((first, longest), tries) =
            if self.denials > 0 { (DENIED_PAUSES, self.denials) } else { (PAUSES, watches_without_event) };
        let pause = backoff(first, tries, longest).mul_f64(0.5 + 0.5 * (self.random)());
        let wished_for = failure.and_then(|failure| failure.retry_after).unwrap_or_default();
        wished_for.min(longest).max(pause)
    }

    fn tell(&self, since: Time, message: WatchMessage) -> Result<(), CandidateGone> {
        if (self.deliver)(since, message) { Ok(()) } else { Err(CandidateGone) }
    }
}
