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

mod decision;
mod interface;
mod pacing;

pub use self::decision::whole_seconds;
pub use self::interface::{Answer, Call, Event, Moment, Output, Purpose, Request, Settings, Sight, Version, Write};

use self::pacing::{Pacing, Retry};
use crate::clock::Time;
use crate::status::{Claim, Holder};
use std::sync::Arc;
use std::time::Duration;

/// Writes in doubt that are remembered. Forgetting one is safe: its record then counts as somebody else's.
const MOST_DOUBTS: usize = 8;

/// The machine.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Election {
    settings: Settings,
    /// The newest state of the lock that is believed; `None` before the first.
    lock: Option<Sight>,
    /// When the record in `lock`, or its absence, was first seen.
    since: Time,
    /// When the lock was last seen.
    heard_at: Time,
    /// Until when a holder whose record was taken away by others than the next holder may still claim.
    robbed_until: Time,
    /// The L of the last held record seen; `None` while no holder was ever seen.
    last_lease: Option<Duration>,
    /// `leaseTransitions` for the next term.
    next_transitions: u32,
    /// News up to this resourceVersion is old.
    floor: u64,
    /// This candidate's own record is in the lock, and this write put it there.
    own: Option<Arc<Write>>,
    term: Option<Claim>,
    /// Writes that may have been done, or may still be (S7).
    doubts: Vec<Arc<Write>>,
    under_way: Option<UnderWay>,
    requests: u64,
    writes: u64,
    /// The newest renewTime written, in microseconds.
    last_stamp: i64,
    pacing: Pacing,
    watch: Watch,
    /// Nobody else in this network namespace has this identity.
    alone: bool,
    /// Whether the lock is wanted. Where it is not, it is given up, and watched all the same.
    standing: bool,
    leaving: Option<Leaving>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
struct UnderWay {
    request: Request,
    sent: Time,
    fate: Fate,
}

impl UnderWay {
    /// When whoever sends it should have given it up long since.
    fn hung_at(&self) -> Time {
        self.sent.saturating_add(self.request.timeout.mul_f64(1.5))
    }
}

/// What the watch has shown of a request before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Open,
    /// The write was seen in the lock: the answer has nothing to add.
    Done,
    /// Something else was seen in its place: whatever the answer, the write proves no leadership (S7).
    Void,
}

#[derive(Clone, Debug, Default, PartialEq, Hash)]
struct Watch {
    open: bool,
    opened_at: Time,
    /// When it, or a read in its place, last showed the lock.
    alive_at: Time,
    /// When it last showed something new.
    news_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
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
            heard_at: Time::ZERO,
            robbed_until: Time::ZERO,
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
            standing: true,
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

    /// Whether what is known of the lock is fresh: a watch is open, or the lock was last heard of within L.
    pub fn is_readable(&self, now: Time) -> bool {
        self.lock.is_some() && (self.watch.open || now < self.unreadable_at())
    }

    /// From when on the lock counts as unreadable, if no watch is open and nothing more is heard of it.
    pub fn unreadable_at(&self) -> Time {
        self.heard_at.saturating_add(self.settings.lease)
    }

    /// From when on the lock may be taken, as far as is known; `None` while it bears the own record.
    pub fn free_from(&self) -> Option<Time> {
        self.lock.as_ref().filter(|_| self.own.is_none()).map(|lock| self.free_at(lock))
    }

    /// While the server refuses to have the lock written: until when it will not be asked again.
    pub fn refused_until(&self) -> Option<Time> {
        (self.pacing.write.denials > 0).then_some(self.pacing.write.after)
    }

    /// Takes in what happened, and says what to do next.
    pub fn step(&mut self, moment: Moment, event: Event) -> Output {
        let mut output = Output::default();
        self.lapse(moment.now);
        match event {
            Event::Tick => {}
            Event::Answered { request, answer } => self.answered(moment, request, answer, &mut output),
            Event::Watched { resource_version, sight } => self.watched(moment.now, resource_version, sight),
            Event::WatchOpened => self.watch = Watch { open: true, opened_at: moment.now, ..self.watch },
            Event::WatchClosed => self.watch_closed(moment),
            Event::Alone(alone) => self.alone = alone,
            Event::Stand(standing) => self.stand(moment, standing),
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

    /// A watch that ends is opened again at once, and shows what was missed: no reason for all to read at once. But one
    /// that shows nothing each time is no better than a silent one.
    fn watch_closed(&mut self, moment: Moment) {
        if std::mem::replace(&mut self.watch.open, false) {
            let since = moment.now.min(self.watch.alive_at.saturating_add(self.longest_silence()));
            let poll_at = since.saturating_add(self.jittered_retry_period(moment.jitter));
            self.pacing.poll_at = self.pacing.poll_at.max(poll_at);
        }
    }

    /// Believes a sight: whose record is it, and since when?
    fn see(&mut self, now: Time, sight: Sight) {
        self.heard_at = now;
        let unchanged = self.lock.as_ref().is_some_and(|lock| sight.unchanged_since(lock));
        if !unchanged {
            self.since = now;
        }
        if let Some(last_lease) = self.last_lease
            && self.own.is_none()
            && sight.lacks(self.lock.as_ref())
        {
            self.robbed_until = now.saturating_add(last_lease.max(self.settings.lease));
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
    fn recognise(&mut self, sight: &Sight) -> Option<Arc<Write>> {
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
    fn settle(&mut self, now: Time, write: Arc<Write>, resource_version: u64) {
        let until = write.sent.saturating_add(self.settings.renew_deadline); // S1
        match write.purpose {
            Purpose::Acquire => {
                let counts = now < until && !self.is_giving_up();
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

    fn write_answered(&mut self, moment: Moment, write: Arc<Write>, fate: Fate, answer: Answer) {
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

    fn acknowledged(&mut self, moment: Moment, write: Arc<Write>, void: bool, sight: Sight) {
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
        self.heard_at = moment.now;
        self.lock = Some(sight);
    }

    fn doubt(&mut self, write: Arc<Write>) {
        if self.doubts.len() == MOST_DOUBTS {
            self.doubts.remove(0);
        }
        self.doubts.push(write);
    }

    fn read_before_writing(&mut self) {
        self.pacing.must_read = true;
        self.pacing.read.after = Time::ZERO;
    }

    /// A request that its sender did not bring to an end in time is given up; a write is in doubt.
    fn give_up_hung_request(&mut self, moment: Moment) {
        if self.under_way.as_ref().is_some_and(|it| it.hung_at() <= moment.now) {
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

    // ---- Giving the lock up ---------------------------------------------------------------------------

    fn stand(&mut self, moment: Moment, standing: bool) {
        let resigns = std::mem::replace(&mut self.standing, standing) && !standing;
        if resigns && self.leaving.is_none() && (self.holds() || self.may_hold()) {
            self.give_up(moment);
        }
    }

    /// Whether all that is left to do is to release the lock.
    fn is_giving_up(&self) -> bool {
        self.leaving.as_ref().map_or(!self.standing, |leaving| leaving.releasing)
    }

    /// Ends the term, so that the lock can be released. A request under way would only be in the way.
    fn give_up(&mut self, moment: Moment) {
        self.term = None; // S5
        self.give_up_request(moment);
        self.pacing.write = Retry::default();
        self.pacing.read = Retry::default();
        self.pacing.must_read = self.own.is_none() && !self.doubts.is_empty();
    }

    fn leave(&mut self, now: Time) {
        // Nobody was told to rely on a claim that was never made: no delay then.
        let delay = if self.leaving.is_none() && self.holds() { self.settings.release_delay } else { Duration::ZERO };
        let release_at = now.saturating_add(delay);
        let leaving = self.leaving.get_or_insert(Leaving { release_at, releasing: false });
        if !leaving.releasing {
            leaving.release_at = release_at;
        }
    }

    /// Whether others still have to wait for this candidate: its term, or the record that outlived it, protects
    /// whatever it started while that comes to its end (S5).
    pub fn holds(&self) -> bool {
        self.term.is_some() || self.own.is_some()
    }

    /// Whether a write that nobody has answered may have put the own record into the lock.
    fn may_hold(&self) -> bool {
        let writes = |it: &UnderWay| matches!(it.request.call, Call::Write(_));
        !self.doubts.is_empty() || self.under_way.as_ref().is_some_and(writes)
    }

    fn begin_release(&mut self, moment: Moment) {
        let holds = self.holds() || self.may_hold();
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.releasing || (moment.now < leaving.release_at && holds) {
            return;
        }
        leaving.release_at = moment.now;
        leaving.releasing = true;
        self.give_up(moment);
    }
}

/// S2: an answer acknowledges a write when it shows exactly that write at a new resourceVersion.
fn acknowledges(write: &Write, sight: &Sight) -> bool {
    let Some(version) = &sight.version else { return false };
    let new = match &write.base {
        Some(base) => version.uid == base.uid && version.resource_version > base.resource_version,
        None => true,
    };
    // A server that takes the mark away does no harm here: the answer is to this very write.
    new && (write.made(sight) || sight.mark.is_none() && sight.record() == Some(&write.record))
}
