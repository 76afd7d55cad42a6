//! One blocking thread that turns the watch stream into news, and keeps a stream open.
//!
//! A watch is for speed only: what it shows late, or not at all, costs time and never safety.

use crate::api::{Api, ApiStatus, Failure, FailureKind, Verb, Watch, WatchHandle};
use crate::clock;
use crate::election::Sight;
use crate::lock::{LockName, Object, WatchEvent};
use crate::logging::escape::escaped;
use crate::time::{Time, backoff};
use log::warn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long the server is asked to keep a stream open, before jitter.
const WATCH_SECONDS: u32 = 300;
/// The first and the longest pause after a stream that failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// The same after one that was forbidden: the right may come, but it need not. A server that has just started forbids
/// everything for a moment, because it has not read the roles yet.
const DENIED_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(180));

/// What the stream showed.
#[derive(Debug)]
pub enum News {
    /// A stream is open: every change from now on will be shown.
    Opened,
    /// The object as it is now.
    Object(Object),
    /// The object as it was: a newer state has been shown since. The watcher itself has no such news.
    Past {
        resource_version: u64,
        sight: Sight,
    },
    Deleted {
        resource_version: u64,
    },
    /// The server is there, and has nothing new.
    Bookmark,
    /// No stream is open, because the server ended it (`None`) or because of this failure.
    Closed(Option<Failure>),
}

/// The thread, as its owner sees it.
pub struct Watcher {
    handle: WatchHandle,
    from_the_start: Arc<AtomicBool>,
}

impl Watcher {
    /// Starts the thread; `deliver` gets all news until it says `false`, each with a moment before which it had not
    /// come: a process that stands still reads old news when it goes on. `random` gives numbers in [0, 1).
    pub fn start(
        api: Api,
        lock: LockName,
        timeout: Duration,
        random: fn() -> f64,
        deliver: impl Fn(Time, News) -> bool + Send + 'static,
    ) -> io::Result<Watcher> {
        let watcher = Watcher { handle: WatchHandle::new(), from_the_start: Arc::default() };
        let (handle, from_the_start) = (watcher.handle.clone(), Arc::clone(&watcher.from_the_start));
        let mut stream = Stream {
            api,
            lock,
            timeout,
            random,
            deliver,
            handle,
            from_the_start,
            seen: None,
            newest: 0,
            denials: 0,
            expiries: 0,
            shows_others: false,
        };
        thread::Builder::new().name("watcher".into()).spawn(move || stream.keep_open())?;
        Ok(watcher)
    }

    /// Breaks the stream off and opens a new one that begins with the object as it is.
    pub fn reopen(&self) {
        self.from_the_start.store(true, Ordering::Release);
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
    from_the_start: Arc<AtomicBool>,
    /// The resourceVersion up to which this stream has shown everything; only its own may resume it.
    seen: Option<u64>,
    /// The newest resourceVersion at which any stream showed the object.
    newest: u64,
    /// How many of the last streams, in a row, were forbidden.
    denials: u32,
    /// The same for those that began too long ago.
    expiries: u32,
    /// A stream has shown other objects, and that was told.
    shows_others: bool,
}

/// The candidate is gone.
struct Unwanted;

impl<D: Fn(Time, News) -> bool> Stream<D> {
    fn keep_open(&mut self) {
        let mut fruitless = 0;
        let mut began = clock::now();
        while let Ok(ended) = self.follow(&mut fruitless) {
            if clock::now().since(began) > PAUSES.1 {
                fruitless = 0; // it took its time: no reason to take more
            }
            // To be broken off for a new one is no failure, and no reason to wait.
            let broken_off = ended.as_ref().is_some_and(|failure| failure.kind == FailureKind::Aborted)
                || self.from_the_start.load(Ordering::Acquire);
            let failure = ended.filter(|_| !broken_off);
            let pause = if broken_off { Duration::ZERO } else { self.pause(failure.as_ref(), fruitless) };
            if self.tell(began, News::Closed(failure)).is_err() {
                return;
            }
            thread::sleep(pause);
            began = clock::now();
        }
    }

    /// One stream, from its opening to its end. Counts the streams in a row that showed nothing new: one that begins
    /// with the object as it was, and breaks each time, would be opened without end.
    fn follow(&mut self, fruitless: &mut u32) -> Result<Option<Failure>, Unwanted> {
        *fruitless = fruitless.saturating_add(1);
        if self.from_the_start.swap(false, Ordering::AcqRel) {
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
        self.tell(since, News::Opened)?;
        loop {
            since = clock::now();
            match self.next(&mut watch) {
                Ok(Some(news)) => {
                    if self.is_new(&news) {
                        *fruitless = 0;
                    }
                    self.tell(since, news)?;
                }
                Ok(None) => return Ok(None),
                Err(failure) => return Ok(Some(self.after(failure))),
            }
        }
    }

    fn is_new(&mut self, news: &News) -> bool {
        let shown = match news {
            News::Object(object) => object.version().resource_version,
            News::Deleted { resource_version } => *resource_version,
            News::Opened | News::Bookmark | News::Past { .. } | News::Closed(_) => return false,
        };
        let is_new = shown > self.newest;
        self.newest = self.newest.max(shown);
        is_new
    }

    fn next(&mut self, watch: &mut Watch) -> Result<Option<News>, Failure> {
        while let Some(line) = watch.next()? {
            let fail = |kind, what| Failure::new(kind, Verb::Watch, &self.lock, what);
            let event = WatchEvent::parse(&self.lock, &line).map_err(|what| fail(FailureKind::Unknown, what))?;
            let (seen, news) = match event {
                WatchEvent::Object(object) => (object.version().resource_version, News::Object(object)),
                WatchEvent::Deleted { resource_version } => (resource_version, News::Deleted { resource_version }),
                WatchEvent::Bookmark { resource_version } => (resource_version, News::Bookmark),
                WatchEvent::Error(status) => return Err(self.ended_with(&status)),
                WatchEvent::Other(name) => {
                    self.ignore(&name);
                    continue;
                }
            };
            self.seen = Some(seen);
            return Ok(Some(news));
        }
        Ok(None)
    }

    fn ignore(&mut self, name: &str) {
        if !std::mem::replace(&mut self.shows_others, true) {
            warn!(
                "the watch of {} shows other objects as well, such as {name}: they are ignored; is there a proxy before \
                 the API server that drops the fieldSelector of a request?",
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

    /// What a failure means for the next stream.
    fn after(&mut self, failure: Failure) -> Failure {
        if failure.kind == FailureKind::Expired {
            self.seen = None;
        }
        failure
    }

    fn pause(&mut self, failure: Option<&Failure>, fruitless: u32) -> Duration {
        let in_a_row = |kind, before: u32| match failure {
            Some(failure) if failure.kind == kind => before.saturating_add(1),
            _ => 0,
        };
        self.denials = in_a_row(FailureKind::Denied, self.denials);
        self.expiries = in_a_row(FailureKind::Expired, self.expiries);
        if fruitless == 0 || self.expiries == 1 {
            return Duration::ZERO; // to be expected
        }
        // What failed otherwise before says nothing of a right that is missing.
        let ((first, longest), tries) =
            if self.denials > 0 { (DENIED_PAUSES, self.denials) } else { (PAUSES, fruitless) };
        let pause = backoff(first, tries, longest).mul_f64(0.5 + 0.5 * (self.random)());
        let wished_for = failure.and_then(|failure| failure.retry_after).unwrap_or_default();
        wished_for.min(longest).max(pause)
    }

    fn tell(&self, since: Time, news: News) -> Result<(), Unwanted> {
        if (self.deliver)(since, news) { Ok(()) } else { Err(Unwanted) }
    }
}
