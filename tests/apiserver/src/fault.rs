//! Faults that tests inject: which requests they affect, and what happens to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::RequestSeen;
use crate::lock;

/// What happens to a request with a fault, instead of the normal answer. The request is not carried out unless the
/// variant says so. Wrap the fault in [`Fault::Committed`] to carry it out first.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Closes the connection without carrying out the request, as if it was lost.
    DropRequest,
    /// Carries out the request, and closes the connection without an answer.
    DropAnswer,
    /// Like `DropRequest`, with a TCP reset.
    ResetRequest,
    /// Like `DropAnswer`, with a TCP reset.
    ResetAnswer,
    /// Carries out the request after that time, even if the client is gone by then, like a request that is delayed in
    /// the network.
    DelayRequest(Duration),
    /// Carries out the request at once, and answers after that time. A watch misses no event.
    DelayAnswer(Duration),
    /// Does nothing and sends no answer; the connection stays open.
    HangRequest,
    /// Carries out the request and sends no answer; the connection stays open.
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
    /// Sends these bytes, and then nothing more.
    RawThenStall(Vec<u8>),
    /// 200 with a body of that many bytes, which is not JSON.
    HugeAnswer(u64),
    /// Carries out the request, sends the head and half of the body, and closes.
    HalfAnswer,
    /// Carries out the request, sends the head and half of the body, and then nothing more.
    StallAnswer,
    /// Carries out the request, and answers with the JSON that this function returns.
    EditAnswer(fn(&mut Value)),
    /// Carries out the request as if the query had no `fieldSelector`, as behind a proxy that drops it.
    DropSelector,
    /// 307 to that location.
    Redirect(String),
    /// Carries out the request, and then applies the inner fault, which must be one that does not carry it out.
    Committed(Box<Fault>),
    /// Closes a watch after that many events, not counting bookmarks; with `mid_line` in the middle of the next event.
    CutWatch {
        /// How many events are sent completely.
        after_events: usize,
        /// Whether half of another is sent too.
        mid_line: bool,
    },
    /// Sends that many events of a watch; then the connection stays open without data or an end.
    SilenceWatch {
        /// How many events are sent before.
        after_events: usize,
    },
    /// Sends endless lines on a watch in addition to its events, as fast as the client reads. The function makes each
    /// line from its number.
    FloodWatch(fn(u64) -> String),
    /// Inserts these bytes into a watch after that many events.
    WatchLine {
        /// How many events are sent before them.
        after_events: usize,
        /// Sent unchanged: a line ends in `\n`.
        line: Vec<u8>,
    },
}

type Matcher = dyn Fn(&RequestSeen) -> bool + Send + Sync;

/// The active faults, the oldest first.
#[derive(Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<Arc<Planned>>>>);

struct Planned {
    matcher: Box<Matcher>,
    times: Option<u32>,
    action: Fault,
    hits: AtomicU64,
}

/// A handle to an active fault. Dropping the handle does not end the fault.
pub struct FaultHandle {
    planned: Arc<Planned>,
    faults: Arc<Mutex<Vec<Arc<Planned>>>>,
}

impl FaultHandle {
    /// Ends the fault. Requests that already have it are still affected.
    pub fn remove(&self) {
        lock(&self.faults).retain(|planned| !Arc::ptr_eq(planned, &self.planned));
    }

    /// How many requests had this fault.
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

    /// The fault for `request`: the oldest one that matches and is not used up.
    pub(crate) fn claim(&self, request: &RequestSeen) -> Option<Fault> {
        // Matchers are code of the tests. They run without the lock, so that they can query the server.
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
