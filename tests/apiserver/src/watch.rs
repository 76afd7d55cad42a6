//! An open watch: sends changes when they happen, one JSON object per line, in chunks.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Fault;
use crate::api::{View, version_asked};
use crate::call::{Form, Query};
use crate::history::{Selector, Start};
use crate::http::{Answer, chunk};
use crate::inbox::{Event, Inbox, Next, Signal, event_line};
use crate::object::text;
use crate::resource::Resource;
use crate::status::Refusal;
use crate::store::Store;
use crate::table::table;
use crate::wire::Wire;

/// The duration of a watch whose client sets no limit.
const LONGEST: Duration = Duration::from_secs(45 * 60);
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before its end a watch gets its last bookmark.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// What a client wants to watch, and in which form.
pub(crate) struct Plan {
    selector: Selector,
    start: Start,
    view: View,
    lasts: Duration,
    bookmarks: bool,
}

impl Plan {
    pub(crate) fn new(selector: Selector, view: View, query: &Query) -> Result<Plan, Refusal> {
        let bookmarks = query.is_on("allowWatchBookmarks");
        let given = query.get("resourceVersion").unwrap_or_default();
        let asked = version_asked(Some(given))?;
        let initial = query.get("sendInitialEvents").map(|value| value == "true");
        let start = match (initial, asked) {
            (Some(true), _) => Start::Existing { mark_end: bookmarks },
            (Some(false), 0) => Start::Now,
            // Without a resourceVersion the end of the initial events is marked; with "0" it is not.
            (None, 0) => Start::Existing { mark_end: bookmarks && given.is_empty() },
            (_, asked) => Start::After(asked),
        };
        let seconds = query.get("timeoutSeconds").and_then(|s| s.parse().ok()).filter(|&s| s > 0);
        let lasts = seconds.map_or(LONGEST, Duration::from_secs).min(LONGEST);
        Ok(Plan { selector, start, view, lasts, bookmarks })
    }

    fn resource(&self) -> Resource {
        self.selector.resource
    }

    /// Starts to collect changes.
    pub(crate) fn open<'a>(self, store: &'a Store, wire: &Wire) -> io::Result<Watch<'a>> {
        let socket = Arc::clone(wire.socket());
        let source = store.watch(self.selector.clone(), self.start, socket)?;
        Ok(Watch { plan: self, store, source })
    }
}

/// A watch that is registered in the store until it is dropped.
pub(crate) struct Watch<'a> {
    plan: Plan,
    store: &'a Store,
    source: Result<(u64, Arc<Inbox>), Refusal>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Ok((id, _)) = &self.source {
            self.store.close_watch(*id);
        }
    }
}

/// What happens to the connection after a watch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Complete,
    Broken,
}

impl Watch<'_> {
    /// The head of the answer.
    pub(crate) fn head(&self) -> Answer {
        let answer = Answer::json(200, &Value::Null);
        match self.plan.resource().warning() {
            Some(warning) => answer.with("Warning", warning),
            None => answer,
        }
    }

    /// Sends changes until the time is over, the client closes, or a signal or a fault ends it.
    pub(crate) fn serve(&self, wire: &mut Wire, fault: Option<&Fault>) -> io::Result<End> {
        let (id, inbox) = match &self.source {
            Ok(source) => source,
            Err(expired) => {
                wire.send(&chunk(&event_line("ERROR", &expired.to_status())))?;
                wire.send(&chunk(b""))?;
                return Ok(End::Complete);
            }
        };
        let now = Instant::now();
        let mut stream = Stream { plan: &self.plan, wire, fault, sent: 0, flooded: 0, with_columns: true };
        let ends = now + self.plan.lasts;
        let mut bookmark = self.first_bookmark(now);
        stream.line_of_fault()?;
        loop {
            if stream.is_cut() {
                return Ok(End::Broken);
            }
            let due = (!stream.is_silent()).then(|| bookmark.map_or(ends, |at| at.min(ends)));
            let floods = stream.flood()?;
            match inbox.next(if floods { Some(Instant::now()) } else { due })? {
                Next::HungUp => return Ok(End::Broken),
                Next::Due if floods && due.is_none_or(|due| Instant::now() < due) => {}
                Next::Due if Instant::now() >= ends => {
                    stream.wire.send(&chunk(b""))?;
                    return Ok(End::Complete);
                }
                Next::Due => {
                    bookmark = bookmark.map(|at| at + BOOKMARK_EVERY);
                    self.store.with_history(|history| history.bookmark(*id));
                }
                Next::Signal(signal) => {
                    if stream.handle(signal)? == Some(End::Broken) {
                        return Ok(End::Broken);
                    }
                }
            }
        }
    }

    fn first_bookmark(&self, now: Instant) -> Option<Instant> {
        let before_end = self.plan.lasts.checked_sub(BOOKMARK_BEFORE_END)?;
        let first = before_end.min(BOOKMARK_EVERY);
        (self.plan.bookmarks && !first.is_zero()).then(|| now + first)
    }
}

/// The stream while it runs.
struct Stream<'a> {
    plan: &'a Plan,
    wire: &'a mut Wire,
    fault: Option<&'a Fault>,
    /// How many events were sent, not counting bookmarks.
    sent: usize,
    /// How many lines of a flood were sent.
    flooded: u64,
    /// Only the first table has columns.
    with_columns: bool,
}

/// How many lines of a flood are sent at a time.
const FLOOD_BATCH: u64 = 256;

impl Stream<'_> {
    /// Carries out a signal. Returns whether and how the watch ends.
    fn handle(&mut self, signal: Signal) -> io::Result<Option<End>> {
        match signal {
            Signal::Cut { mid_line, reset } => {
                self.cut(mid_line, reset)?;
                return Ok(Some(End::Broken));
            }
            _ if self.is_silent() => {}
            Signal::Event(event) => return self.event(&event),
            Signal::Bookmark { version, ends_initial } if self.plan.bookmarks => {
                let line = self.bookmark_line(version, ends_initial);
                self.wire.send(&chunk(&line))?;
            }
            Signal::Bookmark { .. } => {}
            Signal::Line(line) => self.wire.send(&chunk(&line))?,
        }
        Ok(None)
    }

    fn event(&mut self, event: &Event) -> io::Result<Option<End>> {
        let table = (self.plan.view.form == Form::Table).then(|| self.table_line(event));
        let chunk = chunk(table.as_deref().unwrap_or_else(|| event.line()));
        if self.is_cut_within() {
            self.wire.send(&chunk[..chunk.len() / 2])?;
            return Ok(Some(End::Broken));
        }
        self.wire.send(&chunk)?;
        self.sent += 1;
        self.line_of_fault()?;
        Ok(None)
    }

    fn table_line(&mut self, event: &Event) -> Vec<u8> {
        let object = &event.change.object;
        let with_columns = std::mem::take(&mut self.with_columns);
        let version = text(object, "resourceVersion");
        let include = self.plan.view.include.as_deref();
        let table = table(self.plan.resource(), [&**object], version, include, with_columns);
        event_line(event.change.kind.as_str(), &table)
    }

    fn bookmark_line(&self, version: u64, ends_initial: bool) -> Vec<u8> {
        let (resource, version) = (self.plan.resource(), version.to_string());
        if self.plan.view.form == Form::Table {
            return event_line("BOOKMARK", &table(resource, [], &version, None, false));
        }
        let mut object = json!({
            "kind": resource.kind(), "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": version},
        });
        if resource == Resource::Leases {
            object["spec"] = json!({});
        }
        if ends_initial {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        event_line("BOOKMARK", &object)
    }

    fn cut(&mut self, mid_line: bool, reset: bool) -> io::Result<()> {
        if mid_line {
            let line = self.bookmark_line(0, false);
            let chunk = chunk(&line);
            self.wire.send(&chunk[..chunk.len() / 2])?;
        }
        if reset {
            self.wire.reset_on_close();
        }
        Ok(())
    }

    fn is_cut(&self) -> bool {
        matches!(self.fault, Some(Fault::CutWatch { after_events, mid_line: false }) if self.sent >= *after_events)
    }

    fn is_cut_within(&self) -> bool {
        matches!(self.fault, Some(Fault::CutWatch { after_events, mid_line: true }) if self.sent >= *after_events)
    }

    fn is_silent(&self) -> bool {
        matches!(self.fault, Some(Fault::SilenceWatch { after_events }) if self.sent >= *after_events)
    }

    /// Sends some lines of a flood, if there is one.
    fn flood(&mut self) -> io::Result<bool> {
        let Some(Fault::FloodWatch(line)) = self.fault else { return Ok(false) };
        let mut lines = String::new();
        for number in self.flooded..self.flooded + FLOOD_BATCH {
            lines.push_str(&line(number));
        }
        self.flooded += FLOOD_BATCH;
        self.wire.send(&chunk(lines.as_bytes()))?;
        Ok(true)
    }

    fn line_of_fault(&mut self) -> io::Result<()> {
        match self.fault {
            Some(Fault::WatchLine { after_events, line }) if self.sent == *after_events => self.wire.send(&chunk(line)),
            _ => Ok(()),
        }
    }
}
