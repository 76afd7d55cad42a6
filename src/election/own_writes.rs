//! What this candidate wrote: the write that is in the lock, and those in doubt.

use super::{LockState, Moment, Purpose, Settings, Sight, Version, Write};
use crate::record::{Mark, Record, Stamp};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// How many writes in doubt are remembered: the oldest, which is the most likely to have been carried out, and the
/// newest. Forgetting one is safe: its record then counts as that of another candidate.
const MOST_IN_DOUBT: usize = 16;
/// 9999-12-31T00:00:00Z in microseconds: later times cannot be written in RFC 3339.
const LAST_STAMP: i64 = 253_402_214_400_000_000;

/// The writes of this candidate whose requests have ended, with or without an answer.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct OwnWrites {
    /// The write that put the own record into the lock, while it is there.
    in_lock: Option<Arc<Write>>,
    /// The own record and the last version of its object, after an observation showed no readable record.
    vanished: Option<(Version, Arc<Write>)>,
    /// Writes that may have been carried out, or may still be (S7).
    in_doubt: Vec<Arc<Write>>,
    count: u64,
    /// The newest renewTime written, in microseconds.
    last_stamp: i64,
}

impl OwnWrites {
    /// Whether the lock holds this candidate's own record.
    pub(super) fn is_in_lock(&self) -> bool {
        self.in_lock.is_some()
    }

    /// When the write in the lock was sent.
    pub(super) fn written_at(&self) -> Option<Time> {
        self.in_lock.as_ref().map(|write| write.sent)
    }

    /// Whether a write without an answer may have been carried out, or may still be.
    pub(super) fn is_in_doubt(&self) -> bool {
        !self.in_doubt.is_empty()
    }

    /// S7: it is unknown whether this write has been carried out.
    pub(super) fn doubt(&mut self, write: Arc<Write>) {
        if self.in_doubt.len() == MOST_IN_DOUBT {
            self.in_doubt.remove(1);
        }
        self.in_doubt.push(write);
    }

    /// S7: the write in doubt that a sight shows.
    pub(super) fn recognise(&self, sight: &Sight) -> Option<Arc<Write>> {
        self.in_doubt.iter().find(|write| write.made(sight)).cloned()
    }

    /// This write has been carried out.
    pub(super) fn settle(&mut self, write: Arc<Write>) {
        self.in_lock = (write.purpose != Purpose::Release).then_some(write);
        self.vanished = None;
        self.in_doubt.clear(); // each of them names an older version, so it can no longer be carried out
    }

    /// The own record is no longer in the lock, whose version was `was`.
    pub(super) fn vanish(&mut self, was: Option<&Version>) {
        if let Some(own) = self.in_lock.take()
            && let Some(was) = was
        {
            self.vanished = Some((was.clone(), own));
        }
    }

    /// Whether an observation shows the vanished record in the same object, or the same version as before: somebody else
    /// may have taken out the mark. Then it counts as in the lock again.
    pub(super) fn reappear(&mut self, sight: &Sight) -> bool {
        let Some(shown) = &sight.version else { return false };
        let is_back = |(was, own): &mut (Version, Arc<Write>)| was == shown || was.uid == shown.uid && own.made(sight);
        match self.vanished.take_if(is_back) {
            Some((_, own)) => {
                self.in_lock = Some(own);
                true
            }
            None => false,
        }
    }

    /// Forgets the vanished record: it will not be accepted again.
    pub(super) fn forget_vanished(&mut self) {
        self.vanished = None;
    }

    /// S7: drops the doubts that are over. Only a write that names the observed version can still be carried out. A
    /// missing object ends no doubt, because a proxy may have reported wrongly that it is missing.
    pub(super) fn keep_doubts_about(&mut self, sight: &Sight) {
        self.in_doubt.retain(|write| sight.version.is_none() || write.base == sight.version);
    }

    /// The next write, based on the current observation. `sole_instance`: the mark may name the host (S9).
    pub(super) fn compose(
        &mut self,
        moment: Moment,
        purpose: Purpose,
        lock: &LockState,
        settings: &Settings,
        sole_instance: bool,
    ) -> Write {
        let stamp = Stamp::Micros(self.next_stamp(moment.wall_micros, lock));
        let own = self.in_lock.as_ref().map(|write| &write.record);
        let (acquired, transitions) = match (purpose, own) {
            (Purpose::Renew { .. } | Purpose::Keep | Purpose::Release, Some(own)) => {
                (own.acquired.clone(), own.transitions)
            }
            _ => (stamp.clone(), lock.next_transitions()),
        };
        let Settings { identity, process, host, lease, .. } = settings;
        let holder = if purpose == Purpose::Release { "".into() } else { identity.clone() };
        self.count += 1;
        Write {
            base: lock.version().cloned(), // S2
            record: Record {
                holder: holder.clone(),
                lease_seconds: whole_seconds(*lease),
                acquired,
                renewed: stamp.clone(),
                transitions,
            },
            mark: Mark {
                process: *process,
                write: self.count,
                holder,
                renewed: stamp,
                host: host.clone().filter(|_| sole_instance),
            },
            purpose,
            sent: moment.now,
        }
    }

    /// S2: later than every stamp of this process, and different from the one it replaces.
    fn next_stamp(&mut self, wall_micros: i64, lock: &LockState) -> i64 {
        let replaced = lock.record().map(|record| record.renewed.clone());
        let mut stamp = wall_micros.clamp(0, LAST_STAMP).max(self.last_stamp.saturating_add(1));
        if replaced == Some(Stamp::Micros(stamp)) {
            stamp = stamp.saturating_add(1);
        }
        self.last_stamp = stamp;
        stamp
    }
}

/// L as written in the record: rounded up, so that no reader waits for less than L, and at least 1.
pub fn whole_seconds(lease: Duration) -> u32 {
    let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}
