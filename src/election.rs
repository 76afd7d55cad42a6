//! The state machine of one lock: `(moment, event) → request, deadline`.
//!
//! It never asks for the time, does no I/O, starts no thread, writes no log and draws no random number;
//! whoever drives it says what time it is and what happened, and does what it asks for. So a simulator can
//! drive the very code that ships through years of faults in a second.
//!
//! ```text
//!                     own record acknowledged          now ≥ F, a record that is not ours,
//!                     or recognised, now < F           or Stop
//!   ┌───────────┐ ───────────────────────────▶ ┌──────┐ ──────────────────▶ follows, or releases
//!   │  follows  │      claims until F          │ term │
//!   └───────────┘ ◀─────────────────────────── └──────┘ ⟲ each acknowledged renewal moves F
//!     reads and watches; writes only when
//!     the lease seen has run out, or nobody holds it
//! ```
//!
//! What it upholds, by the numbers used in comments below:
//!
//! - **S1** It claims to lead only while `now < F = sent + D`, `sent` being the moment before the last
//!   acknowledged write was sent. A lapse at F ends the term.
//! - **S2** Every write names the uid and resourceVersion it replaces, and differs from what it replaces.
//! - **S3** A held lock is taken only after its record has not changed for max(its L, own L) since the
//!   unchanged record was first seen here. Absence counts like a record, for who has seen a holder.
//! - **S4, S5** A release is written only over the own last write, after the claim has ended.
//! - **S6** A record that this process did not write ends the claim at once.
//! - **S7** A write without a clear answer is in doubt until it is read back, by its mark.
//! - **S8** A term's fencing token is the resourceVersion at which its acquisition was acknowledged.
//! - **S9** The own name in somebody else's record is another process, unless that one is provably dead.
//! - **S10** A record that cannot be read counts as held.

use crate::clock::Time;
use crate::record::{Content, Mark, Place, Record, Stamp};
use crate::status::{Claim, Holder};
use std::sync::Arc;
use std::time::Duration;

/// How long a right that is missing, or a request the server calls invalid, waits before it is tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(180);
/// How long a release may take, all tries together, before the process gives up and exits.
const RELEASE_LIMIT: Duration = Duration::from_millis(1800);
/// How long one request of a release may take, so that a second try still fits into [`RELEASE_LIMIT`].
const RELEASE_TIMEOUT: Duration = Duration::from_millis(800);
/// How soon a release that failed is tried again.
const RELEASE_PACE: Duration = Duration::from_millis(100);
/// 9999-12-31T00:00:00Z in microseconds: what a clock shows beyond it cannot be written.
const LAST_STAMP: i64 = 253_402_214_400_000_000;
/// Writes in doubt that are remembered. Forgetting one is safe: its record then counts as somebody else's.
const MOST_DOUBTS: usize = 8;

/// What does not change while the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub identity: Arc<str>,
    /// Drawn at random at the start: tells this process from every other one.
    pub process: u128,
    /// Where it runs, where the kernel says so.
    pub place: Option<Place>,
    /// L: how long others must wait before they take the lock.
    pub lease: Duration,
    /// D: how long after the sending of a write its holder may claim to lead. Less than L.
    pub renew_deadline: Duration,
    /// R: how long after the sending of a write the next one follows.
    pub retry_period: Duration,
    /// T: how long one request may take.
    pub request_timeout: Duration,
    /// How long the lock is kept and renewed after the claim ended on Stop.
    pub release_delay: Duration,
}

/// The moment at which something happened, and what else the machine may not find out for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// The boot-time clock: all decisions are made by it.
    pub now: Time,
    /// Microseconds since the Unix epoch: only ever written into the record, for people and peers.
    pub wall_micros: i64,
    /// A random number in [0, 1).
    pub jitter: f64,
}

/// Which object, at which version: what a write must name to replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub uid: Arc<str>,
    pub resource_version: u64,
}

/// The lock as it was seen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// `None` when the object does not exist.
    pub version: Option<Version>,
    pub content: Content,
    pub mark: Option<Mark>,
}

impl Sight {
    /// The object does not exist.
    pub const MISSING: Sight = Sight { version: None, content: Content::Nothing, mark: None };

    fn record(&self) -> Option<&Record> {
        match &self.content {
            Content::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The mark, unless it was left behind by an earlier record (peers keep annotations they do not know).
    fn mark_of_record(&self) -> Option<&Mark> {
        let record = self.record()?;
        self.mark.as_ref().filter(|mark| mark.renewed == record.renewed)
    }

    /// Whether this is the object that was seen earlier, however it changed.
    fn same_object(&self, earlier: Option<&Sight>) -> bool {
        let uid = |sight: &Sight| sight.version.as_ref().map(|version| version.uid.clone());
        earlier.is_some_and(|earlier| uid(self) == uid(earlier))
    }

    /// Whether this sight shows the same record as an earlier one: not written since, by anybody.
    fn unchanged_since(&self, earlier: &Sight) -> bool {
        let same_object = match (&self.version, &earlier.version) {
            (Some(a), Some(b)) => a.uid == b.uid,
            _ => self.content == Content::Nothing,
        };
        let same_mark = match (self.mark_of_record(), earlier.mark_of_record()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        same_object && same_mark && self.content == earlier.content
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The request of this number ended.
    Answered { request: u64, answer: Answer },
    /// The watch showed the lock; a deletion comes as [`Sight::MISSING`]. The resourceVersion is the event's.
    Watched { resource_version: u64, sight: Sight },
    /// The watch is open: from now on every change is seen.
    WatchOpened,
    /// There is no watch: changes are not seen.
    WatchClosed,
    /// Whether this process holds its network namespace's socket for this election and identity.
    Alone(bool),
    /// Leave: end the claim, release the lock, finish.
    Stop,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx, read whole; or 404 to a read.
    Seen(Sight),
    /// 404 to a write: nothing there to replace.
    Absent,
    /// 409.
    Conflict,
    /// 401, 403, 400, 422: refused, and it will be again.
    Denied,
    /// 429, and how long the server asks to be left alone.
    Busy(Option<Duration>),
    /// No clear answer: a write may or may not have been done.
    Unknown,
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back in [`Event::Answered`]. A request that is given while an earlier one is still under way
    /// means that the earlier one was given up.
    pub number: u64,
    /// How long it may take.
    pub timeout: Duration,
    pub call: Call,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    /// Create the object when the base is `None`, else replace the version named.
    Write(Write),
}

/// One write, as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub base: Option<Version>,
    pub record: Record,
    pub mark: Mark,
    pub purpose: Purpose,
    /// The moment before it was sent: F counts from here (S1).
    pub sent: Time,
}

impl Write {
    /// Whether that sight shows exactly this write (S7).
    fn made(&self, sight: &Sight) -> bool {
        sight.record() == Some(&self.record) && sight.mark_of_record() == Some(&self.mark)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Begin a term.
    Acquire,
    /// Extend the term that has this fencing token.
    Renew { fencing_token: u64 },
    /// Give the lock up.
    Release,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Send this.
    pub request: Option<Request>,
    /// Call again with [`Event::Tick`] at this moment, if nothing happens before.
    pub deadline: Option<Time>,
    /// The watch has been silent for too long, or is ahead of the server: open a new one, from the start.
    pub reopen_watch: bool,
    /// After Stop: there is nothing left to do.
    pub finished: bool,
}

/// The machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Election {
    settings: Settings,
    /// The newest state of the lock that is believed; `None` before the first.
    lock: Option<Sight>,
    /// When the record in `lock`, or its absence, was first seen.
    since: Time,
    /// When, after a holder was seen, its object was first seen gone or replaced by another object.
    replaced_at: Option<Time>,
    /// The L of the last held record seen; `None` while no holder was ever seen.
    last_lease: Option<Duration>,
    /// `leaseTransitions` for the next term.
    next_transitions: u32,
    /// News up to this resourceVersion is old.
    floor: u64,
    /// This candidate's own record is in the lock, and this write put it there.
    own: Option<Write>,
    term: Option<Claim>,
    /// Writes that may have been done, or may still be (S7).
    doubts: Vec<Write>,
    under_way: Option<UnderWay>,
    requests: u64,
    writes: u64,
    /// The newest renewTime written, in microseconds.
    last_stamp: i64,
    pacing: Pacing,
    watch: Watch,
    /// Nobody else in this network namespace has this identity.
    alone: bool,
    leaving: Option<Leaving>,
}

#[derive(Clone, Debug, PartialEq)]
struct UnderWay {
    request: Request,
    sent: Time,
    fate: Fate,
}

/// What the watch has shown of a request before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    /// The write was seen in the lock: the answer has nothing to add.
    Done,
    /// Something else was seen in its place: whatever the answer, the write proves no leadership (S7).
    Void,
}

/// When the next request may be sent.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pacing {
    /// Nothing may be written before the lock was read once more.
    must_read: bool,
    read: Retry,
    write: Retry,
    write_sent: Time,
    read_sent: Time,
    /// When to look at the lock where no watch does.
    poll_at: Time,
}

/// What went wrong since a request of a kind last succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Retry {
    /// Failures in a row, and how many of the last of them were refusals.
    failures: u32,
    denials: u32,
    /// Not to be tried again before.
    after: Time,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Watch {
    open: bool,
    /// When it last showed that it lives.
    alive_at: Time,
    /// When it last showed something new.
    news_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq)]
struct Leaving {
    release_at: Time,
    releasing: bool,
}

impl Election {
    pub fn new(settings: Settings) -> Election {
        Election {
            settings,
            lock: None,
            since: Time::ZERO,
            replaced_at: None,
            last_lease: None,
            next_transitions: 0,
            floor: 0,
            own: None,
            term: None,
            doubts: Vec::new(),
            under_way: None,
            requests: 0,
            writes: 0,
            last_stamp: 0,
            pacing: Pacing { must_read: true, ..Pacing::default() },
            watch: Watch::default(),
            alone: false,
            leaving: None,
        }
    }

    /// This candidate's leadership; whoever is told must compare `until` with the clock (S1).
    pub fn claim(&self) -> Option<Claim> {
        self.term.filter(|_| self.leaving.is_none())
    }

    /// The other candidate that holds the lock, until its lease runs out by this clock.
    ///
    /// Never one of this candidate's own name: to whoever reads the answer that would be this candidate.
    pub fn other(&self) -> Option<Holder> {
        let record = self.lock.as_ref()?.record()?;
        let foreign = !record.is_free() && record.holder != self.settings.identity;
        foreign.then(|| Holder { identity: record.holder.clone(), until: self.since.saturating_add(record.lease()) })
    }

    /// The lock as last believed; `None` before it was read.
    pub fn lock(&self) -> Option<&Sight> {
        self.lock.as_ref()
    }

    /// Whether the lock bears this candidate's name in a record that this process did not write (S9).
    pub fn name_is_taken(&self) -> bool {
        let bears_name = self.lock.as_ref().and_then(Sight::record).is_some_and(|r| r.holder == self.settings.identity);
        bears_name && self.own.is_none()
    }

    /// Takes in what happened, and says what to do next.
    pub fn step(&mut self, moment: Moment, event: Event) -> Output {
        let mut output = Output::default();
        self.lapse(moment.now);
        match event {
            Event::Tick => {}
            Event::Answered { request, answer } => self.answered(moment, request, answer, &mut output),
            Event::Watched { resource_version, sight } => self.watched(moment.now, resource_version, sight),
            Event::WatchOpened => self.watch = Watch { open: true, alive_at: moment.now, ..self.watch },
            Event::WatchClosed => self.watch_closed(moment),
            Event::Alone(alone) => self.alone = alone,
            Event::Stop => self.leave(moment.now),
        }
        self.give_up_hung_request(moment);
        self.decide(moment, &mut output);
        output
    }

    /// S1: a term ends at F.
    fn lapse(&mut self, now: Time) {
        if self.term.is_some_and(|term| term.until <= now) {
            self.term = None;
            // A renewal in doubt may have been the last word; look before writing.
            self.pacing.must_read |= !self.doubts.is_empty();
        }
    }

    // ---- What was learnt of the lock ------------------------------------------------------------------

    fn watched(&mut self, now: Time, resource_version: u64, sight: Sight) {
        self.watch.alive_at = now;
        self.news(now, resource_version, sight);
    }

    /// Takes in what was not asked for, unless it is old.
    fn news(&mut self, now: Time, resource_version: u64, sight: Sight) {
        if resource_version <= self.floor {
            return; // S6: not newer than what was acknowledged or read
        }
        self.watch.news_at = Some(now);
        self.floor = resource_version;
        self.see(now, sight);
    }

    /// A watch that ends is opened again at once, and shows what was missed: no reason for all to read at once.
    fn watch_closed(&mut self, moment: Moment) {
        if std::mem::replace(&mut self.watch.open, false) {
            let poll_at = moment.now.saturating_add(self.jittered_retry_period(moment.jitter));
            self.pacing.poll_at = self.pacing.poll_at.max(poll_at);
        }
    }

    /// Believes a sight: whose record is it, and since when?
    fn see(&mut self, now: Time, sight: Sight) {
        let unchanged = self.lock.as_ref().is_some_and(|lock| sight.unchanged_since(lock));
        if !unchanged {
            self.since = now;
        }
        if self.last_lease.is_some() && self.own.is_none() && !sight.same_object(self.lock.as_ref()) {
            self.replaced_at = Some(now);
        }
        if !unchanged || sight.version.is_some() != self.lock.as_ref().is_some_and(|lock| lock.version.is_some()) {
            // What was refused before may be possible now.
            self.pacing.write = Retry::default();
        }
        let still_own = unchanged && self.own.is_some();
        let recognised = self.recognise(&sight);
        if let Some(record) = sight.record() {
            self.next_transitions = record.next_transitions();
            if !record.is_free() {
                self.last_lease = Some(record.lease());
            }
        }
        if let Some(write) = recognised
            && let Some(version) = &sight.version
        {
            self.settle(now, write, version.resource_version);
        } else if !still_own {
            self.own = None;
            self.not_ours(&sight);
        }
        self.lock = Some(sight);
    }

    /// S7: the write of this process that a sight shows, if it was in doubt or not yet answered.
    fn recognise(&mut self, sight: &Sight) -> Option<Write> {
        if let Some(under_way) = self.under_way.as_mut().filter(|it| it.fate == Fate::Open)
            && let Call::Write(write) = &under_way.request.call
            && write.made(sight)
        {
            under_way.fate = Fate::Done;
            return Some(write.clone());
        }
        self.doubts.iter().find(|write| write.made(sight)).cloned()
    }

    /// The lock shows nothing that this process wrote, or at least nothing it can prove.
    fn not_ours(&mut self, sight: &Sight) {
        if sight.record().is_some() {
            self.term = None; // S6; gone or unreadable, the claim stands to F
        }
        // S7: of what was sent, only what replaces this very version can still be done.
        self.doubts.retain(|write| write.base == sight.version);
        if let Some(under_way) = &mut self.under_way
            && let Call::Write(write) = &under_way.request.call
            && write.base != sight.version
        {
            under_way.fate = Fate::Void;
        }
    }

    /// A write of ours is known to have been done, and stood in the lock at this resourceVersion.
    fn settle(&mut self, now: Time, write: Write, resource_version: u64) {
        let until = write.sent.saturating_add(self.settings.renew_deadline); // S1
        match write.purpose {
            Purpose::Acquire => {
                let counts = now < until && !self.is_releasing();
                self.term = counts.then_some(Claim { until, fencing_token: resource_version }); // S8
            }
            Purpose::Renew { fencing_token } => {
                if let Some(term) = self.term.as_mut().filter(|term| term.fencing_token == fencing_token) {
                    term.until = term.until.max(until);
                }
            }
            Purpose::Release => self.term = None,
        }
        self.own = (write.purpose != Purpose::Release).then_some(write);
        self.doubts.clear(); // each of them names a version that is no more
        self.pacing.write = Retry::default();
    }

    // ---- What came of a request -----------------------------------------------------------------------

    fn answered(&mut self, moment: Moment, number: u64, answer: Answer, output: &mut Output) {
        let Some(under_way) = self.under_way.take_if(|it| it.request.number == number) else {
            return; // it was given up
        };
        match under_way.request.call {
            Call::Read => self.read_answered(moment, under_way.sent, answer, output),
            Call::Write(write) => self.write_answered(moment, write, under_way.fate, answer),
        }
    }

    fn read_answered(&mut self, moment: Moment, sent: Time, answer: Answer, output: &mut Output) {
        let Answer::Seen(sight) = answer else {
            return self.read_failed(moment, sent, answer);
        };
        self.pacing.read = Retry::default();
        self.pacing.must_read = false;
        let shown = sight.version.as_ref().map(|version| version.resource_version);
        let crossed = self.watch.news_at.is_some_and(|news_at| sent <= news_at);
        if crossed && shown.is_none_or(|shown| shown < self.floor) {
            return; // overtaken: the watch showed something newer meanwhile
        }
        let watch_missed_it = shown != self.lock.as_ref().and_then(|lock| lock.version.as_ref()).map(|_| self.floor);
        output.reopen_watch = watch_missed_it && self.watch_is_silent(moment.now);
        if let Some(shown) = shown {
            // Below: the server went back in time, and a watch from its future would be silent for ever.
            output.reopen_watch |= shown < self.floor;
            self.floor = shown;
        }
        self.watch.alive_at = self.watch.alive_at.max(sent);
        self.see(moment.now, sight);
    }

    fn read_failed(&mut self, moment: Moment, sent: Time, answer: Answer) {
        self.pacing.read = self.retry(moment, sent, self.pacing.read, &answer);
    }

    fn write_answered(&mut self, moment: Moment, write: Write, fate: Fate, answer: Answer) {
        if fate == Fate::Done {
            return;
        }
        let void = fate == Fate::Void;
        let failed = match answer {
            Answer::Seen(sight) if acknowledges(&write, &sight) => {
                return self.acknowledged(moment, write, void, sight);
            }
            // 2xx, but not what was sent, or nothing new: no acknowledgement (S2).
            Answer::Seen(_) => Answer::Unknown,
            other => other,
        };
        self.pacing.write = self.retry(moment, write.sent, self.pacing.write, &failed);
        match failed {
            // S6: no holder was shown; look at once. Unless the watch has shown one already.
            Answer::Conflict if void => {}
            Answer::Absent | Answer::Conflict => self.read_before_writing(),
            Answer::Denied | Answer::Busy(_) => return,
            Answer::Unknown | Answer::Seen(_) if self.term.is_none() => self.read_before_writing(),
            Answer::Unknown | Answer::Seen(_) => {}
        }
        if failed != Answer::Absent && !void {
            self.doubt(write); // S7: a 409 as well, for somebody on the way may have sent it twice
        }
    }

    fn acknowledged(&mut self, moment: Moment, write: Write, void: bool, sight: Sight) {
        let Some(version) = sight.version.clone() else { return };
        if void {
            return self.news(moment.now, version.resource_version, sight); // S7: done, but perhaps undone since
        }
        self.floor = version.resource_version;
        self.next_transitions = write.record.next_transitions();
        if !write.record.is_free() {
            self.last_lease = Some(write.record.lease());
        }
        self.settle(moment.now, write, version.resource_version);
        self.since = moment.now;
        self.lock = Some(sight);
    }

    fn doubt(&mut self, write: Write) {
        if self.doubts.len() == MOST_DOUBTS {
            self.doubts.remove(0);
        }
        self.doubts.push(write);
    }

    fn read_before_writing(&mut self) {
        self.pacing.must_read = true;
        self.pacing.read.after = Time::ZERO;
    }

    /// When a request that failed once more may be sent again.
    fn retry(&self, moment: Moment, sent: Time, before: Retry, answer: &Answer) -> Retry {
        let failures = before.failures.saturating_add(1);
        let denials = if *answer == Answer::Denied { before.denials.saturating_add(1) } else { 0 };
        let delay = match answer {
            Answer::Denied | Answer::Busy(_) => self.refused_pace(moment.jitter, denials, answer),
            _ if failures == 1 => Duration::ZERO,
            _ => self.pace(moment.jitter),
        };
        Retry { failures, denials, after: sent.saturating_add(delay) }
    }

    /// How long after the sending of one failed request the next may follow.
    fn pace(&self, jitter: f64) -> Duration {
        if self.is_releasing() {
            RELEASE_PACE
        } else if self.term.is_some() {
            self.pace_of_leader()
        } else {
            self.jittered_retry_period(jitter)
        }
    }

    /// The same for a request that the server refused, and is likely to refuse again.
    fn refused_pace(&self, jitter: f64, denials: u32, answer: &Answer) -> Duration {
        let pace = self.pace(jitter);
        match answer {
            _ if self.term.is_some() || self.is_releasing() => pace,
            Answer::Busy(Some(wait)) => (*wait).min(LONGEST_BACKOFF).max(pace),
            _ => pace.saturating_mul(1 << denials.saturating_sub(1).min(10)).min(LONGEST_BACKOFF),
        }
    }

    /// While a term lasts, time is short: often enough to use what is left of it.
    fn pace_of_leader(&self) -> Duration {
        self.settings.retry_period.min(self.settings.request_timeout / 2)
    }

    /// Between R and 2.2 R.
    fn jittered_retry_period(&self, jitter: f64) -> Duration {
        self.settings.retry_period.mul_f64(1.0 + 1.2 * jitter.clamp(0.0, 1.0))
    }

    /// A request that its sender did not bring to an end in time is given up; a write is in doubt.
    fn give_up_hung_request(&mut self, moment: Moment) {
        let hung = |it: &UnderWay| moment.now >= it.sent.saturating_add(it.request.timeout.mul_f64(1.5));
        if let Some(under_way) = &self.under_way
            && hung(under_way)
        {
            self.give_up_request(moment);
        }
    }

    fn give_up_request(&mut self, moment: Moment) {
        if let Some(under_way) = self.under_way.take() {
            match under_way.request.call {
                Call::Read => self.read_failed(moment, under_way.sent, Answer::Unknown),
                Call::Write(write) => self.write_answered(moment, write, under_way.fate, Answer::Unknown),
            }
        }
    }

    // ---- Leaving --------------------------------------------------------------------------------------

    fn leave(&mut self, now: Time) {
        if self.leaving.is_none() {
            // Nobody was told to rely on a claim that was never made: no delay then.
            let delay = if self.holds() { self.settings.release_delay } else { Duration::ZERO };
            self.leaving = Some(Leaving { release_at: now.saturating_add(delay), releasing: false });
        }
    }

    /// Whether others still have to wait for this candidate: its term, or the record that outlived it, protects
    /// whatever it started while that comes to its end (S5).
    fn holds(&self) -> bool {
        self.term.is_some() || self.own.is_some()
    }

    /// Ends the term when it is time to release. What is under way then would only be in the way.
    fn begin_release(&mut self, moment: Moment) {
        let holds = self.holds();
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.releasing || (moment.now < leaving.release_at && holds) {
            return;
        }
        leaving.release_at = moment.now;
        leaving.releasing = true;
        self.term = None; // S5
        self.give_up_request(moment);
        self.pacing.write = Retry::default();
        self.pacing.read = Retry::default();
        self.pacing.must_read = self.own.is_none() && !self.doubts.is_empty();
    }

    // ---- What to do next ------------------------------------------------------------------------------

    fn decide(&mut self, moment: Moment, output: &mut Output) {
        self.begin_release(moment);
        output.finished = self.has_finished(moment.now);
        if output.finished {
            return;
        }
        output.reopen_watch |= self.watch_needs_reopening(moment.now);
        let mut wake = Wake(None);
        wake.at(self.term.map(|term| term.until));
        wake.at(self.leaving.as_ref().map(|leaving| self.next_moment_of(leaving)));
        match &self.under_way {
            Some(it) => wake.at(Some(it.sent.saturating_add(it.request.timeout.mul_f64(1.5)))),
            None => match self.next_call() {
                Some((at, call)) if at <= moment.now => output.request = Some(self.send(moment, call)),
                Some((at, _)) => wake.at(Some(at)),
                None => {}
            },
        }
        if output.request.is_some() {
            wake.at(self.under_way.as_ref().map(|it| it.sent.saturating_add(it.request.timeout.mul_f64(1.5))));
        }
        wake.at(self.watch_check_at().filter(|_| self.term.is_some() && self.own.is_some()));
        output.deadline = wake.0;
    }

    /// What to send next, and when.
    fn next_call(&self) -> Option<(Time, Next)> {
        if self.pacing.must_read {
            return Some((self.pacing.read.after, Next::Read));
        }
        let write = self.next_write();
        let read = self.next_read().map(|at| (at.max(self.pacing.read.after), Next::Read));
        match (write, read) {
            (Some(write), Some(read)) if read.0 < write.0 => Some(read),
            (write, read) => write.or(read),
        }
    }

    /// The next write, and when it is due.
    fn next_write(&self) -> Option<(Time, Next)> {
        let lock = self.lock.as_ref()?;
        let (due, purpose) = if self.is_releasing() {
            (Time::ZERO, self.own.as_ref().map(|_| Purpose::Release)?) // S4
        } else if let (Some(term), Some(_)) = (&self.term, &self.own) {
            let renew = Purpose::Renew { fencing_token: term.fencing_token };
            let on_time = self.pacing.write_sent.saturating_add(self.settings.retry_period);
            (if self.pacing.write.failures == 0 { on_time } else { Time::ZERO }, renew)
        } else if self.leaving.is_some() {
            return None;
        } else if self.own.is_some() {
            (Time::ZERO, Purpose::Acquire) // The own record outlived its term.
        } else if self.term.is_some() && lock.content == Content::Nothing {
            // S3: the holder writes it anew, but does not race with whoever takes it away again and again.
            (self.pacing.write_sent.saturating_add(self.pace_of_leader()), Purpose::Acquire)
        } else {
            (self.free_at(lock), Purpose::Acquire)
        };
        Some((due.max(self.pacing.write.after), Next::Write(purpose)))
    }

    /// S3, S9, S10: from when on the lock may be taken.
    fn free_at(&self, lock: &Sight) -> Time {
        let own_lease = self.settings.lease;
        let last_lease = self.last_lease.unwrap_or_default().max(own_lease);
        let held_for = match &lock.content {
            Content::Record(record) if record.is_free() || self.writer_is_dead(lock, record) => Duration::ZERO,
            Content::Record(record) => record.lease().max(own_lease),
            Content::Unreadable { .. } => last_lease,
            Content::Nothing if self.last_lease.is_none() => Duration::ZERO,
            Content::Nothing => last_lease,
        };
        // The writer of this record may be dead, and yet the holder of an object that was deleted may not be.
        let dead_writer = matches!(&lock.content, Content::Record(record) if self.writer_is_dead(lock, record));
        let replaced = self.replaced_at.filter(|_| dead_writer).map_or(Time::ZERO, |at| at.saturating_add(last_lease));
        self.since.saturating_add(held_for).max(replaced)
    }

    /// S9: an earlier run of this very candidate wrote this, and cannot be alive.
    fn writer_is_dead(&self, lock: &Sight, record: &Record) -> bool {
        let Settings { identity, process, place, .. } = &self.settings;
        let from_here = |mark: &Mark| mark.place.is_some() && mark.place == *place && mark.process != *process;
        self.alone && record.holder == *identity && lock.mark_of_record().is_some_and(from_here)
    }

    /// The next read, and when it is due. A leader needs none: its renewals tell it.
    fn next_read(&self) -> Option<Time> {
        if self.lock.is_none() {
            return Some(Time::ZERO);
        }
        if self.is_releasing() {
            // What is in doubt may still be done.
            return (!self.doubts.is_empty()).then(|| self.pacing.read_sent.saturating_add(RELEASE_PACE));
        }
        if self.term.is_some() && self.own.is_some() || self.leaving.is_some() {
            return None;
        }
        if !self.watch.open {
            return Some(self.pacing.poll_at);
        }
        self.watch_check_at()
    }

    /// When the watch will have been silent for longer than somebody who holds the lock would be.
    fn watch_check_at(&self) -> Option<Time> {
        let held = match self.lock.as_ref().map(|lock| &lock.content) {
            Some(Content::Record(record)) => !record.is_free(),
            Some(Content::Unreadable { .. }) => true,
            Some(Content::Nothing) | None => false,
        };
        let silence = self.settings.retry_period.saturating_mul(2).saturating_add(self.settings.request_timeout);
        (self.watch.open && held).then(|| self.watch.alive_at.saturating_add(silence))
    }

    fn watch_is_silent(&self, now: Time) -> bool {
        self.watch_check_at().is_some_and(|at| at <= now)
    }

    /// A leader knows without asking that its own renewals should have been shown.
    fn watch_needs_reopening(&mut self, now: Time) -> bool {
        let reopen = self.term.is_some() && self.own.is_some() && self.watch_is_silent(now);
        if reopen {
            self.watch.alive_at = now;
        }
        reopen
    }

    fn is_releasing(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.releasing)
    }

    fn next_moment_of(&self, leaving: &Leaving) -> Time {
        if leaving.releasing { leaving.release_at.saturating_add(RELEASE_LIMIT) } else { leaving.release_at }
    }

    fn has_finished(&self, now: Time) -> bool {
        let Some(leaving) = self.leaving.as_ref().filter(|leaving| leaving.releasing) else { return false };
        let nothing_left = self.own.is_none() && self.doubts.is_empty() && self.under_way.is_none();
        nothing_left || now >= self.next_moment_of(leaving)
    }

    fn send(&mut self, moment: Moment, next: Next) -> Request {
        let call = match next {
            Next::Read => {
                self.pacing.read_sent = moment.now;
                self.pacing.poll_at = moment.now.saturating_add(self.jittered_retry_period(moment.jitter));
                Call::Read
            }
            Next::Write(purpose) => Call::Write(self.compose(moment, purpose)),
        };
        self.requests += 1;
        let longest = if self.is_releasing() { RELEASE_TIMEOUT } else { Duration::MAX };
        let request = Request { number: self.requests, timeout: self.settings.request_timeout.min(longest), call };
        self.under_way = Some(UnderWay { request: request.clone(), sent: moment.now, fate: Fate::Open });
        request
    }

    fn compose(&mut self, moment: Moment, purpose: Purpose) -> Write {
        let stamp = Stamp::Micros(self.next_stamp(moment.wall_micros));
        let own = self.own.as_ref().map(|write| &write.record);
        let (acquired, transitions) = match (purpose, own) {
            (Purpose::Renew { .. } | Purpose::Release, Some(own)) => (own.acquired.clone(), own.transitions),
            _ => (stamp.clone(), self.next_transitions),
        };
        let Settings { identity, process, place, lease, .. } = &self.settings;
        let holder = if purpose == Purpose::Release { "".into() } else { identity.clone() };
        self.writes += 1;
        self.pacing.write_sent = moment.now;
        Write {
            base: self.lock.as_ref().and_then(|lock| lock.version.clone()), // S2
            record: Record {
                holder,
                lease_seconds: whole_seconds(*lease),
                acquired,
                renewed: stamp.clone(),
                transitions,
            },
            mark: Mark {
                process: *process,
                write: self.writes,
                renewed: stamp,
                place: place.clone().filter(|_| self.alone),
            },
            purpose,
            sent: moment.now,
        }
    }

    /// S2: above every stamp this process wrote, and another than the one it replaces.
    fn next_stamp(&mut self, wall_micros: i64) -> i64 {
        let replaced = self.lock.as_ref().and_then(Sight::record).map(|record| record.renewed.clone());
        let mut stamp = wall_micros.clamp(0, LAST_STAMP).max(self.last_stamp.saturating_add(1));
        if replaced == Some(Stamp::Micros(stamp)) {
            stamp = stamp.saturating_add(1);
        }
        self.last_stamp = stamp;
        stamp
    }
}

enum Next {
    Read,
    Write(Purpose),
}

/// The earliest of some moments.
struct Wake(Option<Time>);

impl Wake {
    fn at(&mut self, time: Option<Time>) {
        self.0 = match (self.0, time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// S2: an answer acknowledges a write when it shows exactly that write at a new resourceVersion.
fn acknowledges(write: &Write, sight: &Sight) -> bool {
    let Some(version) = &sight.version else { return false };
    let new = match &write.base {
        Some(base) => version.uid == base.uid && version.resource_version != base.resource_version,
        None => true,
    };
    // A server that takes the mark away does no harm here: the answer is to this very write.
    new && (write.made(sight) || sight.mark.is_none() && sight.record() == Some(&write.record))
}

/// L on the wire: rounded up, so that nobody who reads it waits for less than L, and at least 1.
pub fn whole_seconds(lease: Duration) -> u32 {
    let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}
