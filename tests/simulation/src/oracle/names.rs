//! The leader that a candidate names: a holder whose record it was shown, until that holder's lease runs out by the
//! candidate's clock.

use super::{Content, Oracle, ProcessId};

/// The candidate that it names as the holder, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub identity: u8,
    pub until: u64,
}

/// The holder that a candidate was shown, and whether it must be named.
struct Holder {
    identity: u8,
    must_be_named: bool,
    /// The latest moment from which its lease may count.
    since: u64,
    lease: u64,
}

impl Oracle {
    pub(super) fn check_name(&mut self, process: ProcessId, now: u64, named: Option<Named>) {
        let facts = &self.processes[process].facts;
        if named.is_some_and(|named| named.identity == facts.identity) {
            return self.violated("names", now, || format!("process {process} names itself as if it were another"));
        }
        // With two locks the second counts, if somebody holds it.
        for lock in (0..2).rev().filter(|lock| facts.locks[*lock]) {
            let Some(holder) = self.holder_shown(process, lock, now) else { continue };
            let in_time = |named: Named| self.elapsed(process, holder.since, named.until) <= holder.lease + 3;
            if named.is_some_and(|named| named.identity == holder.identity && in_time(named)) {
                return;
            }
            if holder.must_be_named {
                let holder = char::from(holder.identity);
                return self
                    .violated("names", now, || format!("process {process} names {named:?} instead of {holder}"));
            }
        }
        if named.is_some() && self.processes[process].alive {
            self.violated("names", now, || format!("process {process} names {named:?}, who does not hold it"));
        }
    }

    fn holder_shown(&self, process: ProcessId, lock: usize, now: u64) -> Option<Holder> {
        let it = &self.processes[process];
        let view = &it.locks[lock];
        let Content::Record { holder, lease, .. } = self.locks[lock][view.shown].commit.content else { return None };
        let foreign = holder != 0 && holder != it.facts.identity;
        foreign.then(|| Holder {
            identity: holder,
            must_be_named: it.alive && !view.misled && self.elapsed(process, view.same_since, now) + 3 < lease,
            since: view.sure_since,
            lease,
        })
    }
}
