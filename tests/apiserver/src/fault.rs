//! Misbehaviour on demand: which requests it befalls, and what happens to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::RequestSeen;
use crate::lock;

/// What happens to a request that a fault befalls, instead of the proper answer.
///
/// Unless said otherwise the request is not acted upon; wrap the fault in [`Fault::Committed`]
/// to have it acted upon first.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Closes the connection before acting: the request never arrived.
    DropRequest,
    /// Acts, and closes the connection without an answer.
    DropAnswer,
    /// As `DropRequest`, with a TCP reset.
    ResetRequest,
    /// As `DropAnswer`, with a TCP reset.
    ResetAnswer,
    /// Acts only after that time, even if the client is gone by then: a request delayed in the
    /// network.
    DelayRequest(Duration),
    /// Acts at once and answers after that time. A watch misses nothing meanwhile.
    DelayAnswer(Duration),
    /// Never acts and never answers; the connection stays open.
    HangRequest,
    /// Acts, and never answers; the connection stays open.
    HangAnswer,
    /// Answers with a `Status` of that code, and with `Retry-After` if given in seconds.
    Status {
        /// The HTTP status.
        code: u16,
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// 200 with a body of that many bytes, streamed, which is no JSON.
    HugeAnswer(u64),
    /// Acts, sends the head and half of the body, and closes.
    HalfAnswer,
    /// Acts, sends the head and half of the body, and is silent from then on.
    StallAnswer,
    /// Acts, and answers with what this makes of the JSON.
    EditAnswer(fn(&mut Value)),
    /// Acts as if the query had no `fieldSelector`: as behind a proxy that drops it.
    DropSelector,
    /// 307 to that location.
    Redirect(String),
    /// Acts, and then does as the fault inside, which must be one that does not act.
    Committed(Box<Fault>),
    /// Serves a watch for that many events, bookmarks not counted, and closes; or, with
    /// `mid_line`, waits for one event more and closes in the middle of it.
    CutWatch {
        /// Events sent whole.
        after_events: usize,
        /// Whether half of another is sent too.
        mid_line: bool,
    },
    /// Serves a watch for that many events; then it stays open, and nothing more is sent, not
    /// even its end.
    SilenceWatch {
        /// Events sent before the silence.
        after_events: usize,
    },
    /// Serves a watch, and beside its events sends lines without end, as fast as the client takes them; this makes each
    /// from its number.
    FloodWatch(fn(u64) -> String),
    /// Serves a watch, and slips these bytes in after that many events.
    WatchLine {
        /// Events sent before them.
        after_events: usize,
        /// Sent as they are: a line ends in `\n`.
        line: Vec<u8>,
    },
}

type Matcher = dyn Fn(&RequestSeen) -> bool + Send + Sync;

/// The faults there are, the oldest first.
#[derive(Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<Arc<Planned>>>>);

struct Planned {
    matcher: Box<Matcher>,
    times: Option<u32>,
    action: Fault,
    hits: AtomicU64,
}

/// A fault in effect. Dropping the handle leaves it there.
pub struct FaultHandle {
    planned: Arc<Planned>,
    faults: Arc<Mutex<Vec<Arc<Planned>>>>,
}

impl FaultHandle {
    /// Ends the fault. Requests it has befallen already are not helped.
    pub fn remove(&self) {
        lock(&self.faults).retain(|planned| !Arc::ptr_eq(planned, &self.planned));
    }

    /// How many requests it has befallen.
    pub fn hits(&self) -> u64 {
        self.planned.hits.load(Ordering::SeqCst)
    }
}

impl Faults {
    pub(crate) fn add(&self, matcher: Box<Matcher>, times: Option<u32>, action: Fault) -> FaultHandle {
        let planned = Arc::new(Planned { matcher, times, action, hits: AtomicU64::new(0) });
        lock(&self.0).push(Arc::clone(&planned));
        FaultHandle { planned, faults: Arc::clone(&self.0) }
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// The fault that befalls `request`: the oldest that matches and has not run out.
    pub(crate) fn claim(&self, request: &RequestSeen) -> Option<Fault> {
        // Matchers are the tests' own code: they run without the lock, so that one may ask the
        // server something.
        let candidates = lock(&self.0).clone();
        candidates
            .iter()
            .filter(|planned| (planned.matcher)(request))
            .find(|planned| planned.take())
            .map(|planned| planned.action.clone())
    }
}

impl Planned {
    fn take(&self) -> bool {
        let limit = self.times.map_or(u64::MAX, u64::from);
        let next = |hits: u64| (hits < limit).then_some(hits + 1);
        self.hits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok()
    }
}
