//! What this candidate wrote: the write that is in the lock, and those of which nobody knows.

use super::{LockState, Moment, Purpose, Settings, Sight, Version, Write};
use crate::record::{Mark, Record, Stamp};
use std::sync::Arc;
use std::time::Duration;

/// Writes in doubt that are remembered. Forgetting one is safe: its record then counts as somebody else's.
const MOST_IN_DOUBT: usize = 8;
/// 9999-12-31T00:00:00Z in microseconds: what a clock shows beyond it cannot be written.
const LAST_STAMP: i64 = 253_402_214_400_000_000;

/// The writes of this candidate that have been answered, or will not be.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct OwnWrites {
    /// This candidate's own record is in the lock, and this write put it there.
    in_lock: Option<Arc<Write>>,
    /// The own record, and the uid of its object, while the lock is said to hold nothing that can be read.
    vanished: Option<(Arc<str>, Arc<Write>)>,
    /// Writes that may have been done, or may still be (S7).
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

    /// Whether a write that nobody has answered may have been done, or may still be.
    pub(super) fn is_in_doubt(&self) -> bool {
        !self.in_doubt.is_empty()
    }

    /// S7: nobody knows whether this write has been done.
    pub(super) fn doubt(&mut self, write: Arc<Write>) {
        if self.in_doubt.len() == MOST_IN_DOUBT {
            self.in_doubt.remove(0);
        }
        self.in_doubt.push(write);
    }

    /// S7: the write in doubt that a sight shows.
    pub(super) fn recognise(&self, sight: &Sight) -> Option<Arc<Write>> {
        self.in_doubt.iter().find(|write| write.made(sight)).cloned()
    }

    /// This write is known to have been done.
    pub(super) fn settle(&mut self, write: Arc<Write>) {
        self.in_lock = (write.purpose != Purpose::Release).then_some(write);
        self.vanished = None;
        self.in_doubt.clear(); // each of them names a version that is no more
    }

    /// The own record is no longer in the lock, which was at this version.
    pub(super) fn vanish(&mut self, was: Option<&Version>) {
        if let Some(own) = self.in_lock.take()
            && let Some(was) = was
        {
            self.vanished = Some((was.uid.clone(), own));
        }
    }

    /// Whether a sight shows the record that vanished, in the same object: then it is in the lock again.
    pub(super) fn reappear(&mut self, sight: &Sight) -> bool {
        let uid = sight.version.as_ref().map(|version| &version.uid);
        let is_back = |(of, own): &mut (Arc<str>, Arc<Write>)| Some(&*of) == uid && own.made(sight);
        match self.vanished.take_if(is_back) {
            Some((_, own)) => {
                self.in_lock = Some(own);
                true
            }
            None => false,
        }
    }

    /// What vanished will not be believed again.
    pub(super) fn forget_vanished(&mut self) {
        self.vanished = None;
    }

    /// S7: of what was sent, only what replaces the very version that is seen can still be done.
    pub(super) fn keep_doubts_about(&mut self, sight: &Sight) {
        self.in_doubt.retain(|write| write.base == sight.version);
    }

    /// The next write, over the lock as it is believed to be. `alone`: this process may say where it runs (S9).
    pub(super) fn compose(
        &mut self,
        moment: Moment,
        purpose: Purpose,
        lock: &LockState,
        settings: &Settings,
        alone: bool,
    ) -> Write {
        let stamp = Stamp::Micros(self.next_stamp(moment.wall_micros, lock));
        let own = self.in_lock.as_ref().map(|write| &write.record);
        let (acquired, transitions) = match (purpose, own) {
            (Purpose::Renew { .. } | Purpose::Release, Some(own)) => (own.acquired.clone(), own.transitions),
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
                host: host.clone().filter(|_| alone),
            },
            purpose,
            sent: moment.now,
        }
    }

    /// S2: above every stamp this process wrote, and another than the one it replaces.
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

/// L on the wire: rounded up, so that nobody who reads it waits for less than L, and at least 1.
pub fn whole_seconds(lease: Duration) -> u32 {
    let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}
