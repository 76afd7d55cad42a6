//! Whom a candidate names: a holder whose record was shown to it, until that holder's lease runs out by its clock.

use super::{Content, LifeId, Oracle};

/// Another candidate that it says holds the lock, and until when it would say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub identity: u8,
    pub until: u64,
}

/// Who holds a lock as far as a candidate was shown, and how surely it is to be named.
struct Holder {
    identity: u8,
    must_be_named: bool,
    /// Since when its lease counts at the latest.
    since: u64,
    lease: u64,
}

impl Oracle {
    pub(super) fn judge_name(&mut self, life: LifeId, now: u64, named: Option<Named>) {
        let facts = &self.lives[life].facts;
        if named.is_some_and(|named| named.identity == facts.identity) {
            return self.violated("names", now, || format!("life {life} names itself as if it were another"));
        }
        // Of two locks the second counts, if anybody holds it.
        for lock in (0..2).rev().filter(|lock| facts.locks[*lock]) {
            let Some(holder) = self.holder_shown(life, lock, now) else { continue };
            let in_time = |named: Named| self.elapsed(life, holder.since, named.until) <= holder.lease + 3;
            if named.is_some_and(|named| named.identity == holder.identity && in_time(named)) {
                return;
            }
            if holder.must_be_named {
                let holder = char::from(holder.identity);
                return self.violated("names", now, || format!("life {life} names {named:?} instead of {holder}"));
            }
        }
        if named.is_some() && self.lives[life].alive {
            self.violated("names", now, || format!("life {life} names {named:?}, who does not hold it"));
        }
    }

    fn holder_shown(&self, life: LifeId, lock: usize, now: u64) -> Option<Holder> {
        let it = &self.lives[life];
        let view = &it.locks[lock];
        let Content::Record { holder, lease, .. } = self.locks[lock][view.shown].commit.content else { return None };
        let foreign = holder != 0 && holder != it.facts.identity;
        foreign.then(|| Holder {
            identity: holder,
            must_be_named: it.alive && !view.misled && self.elapsed(life, view.same_since, now) + 3 < lease,
            since: view.sure_since,
            lease,
        })
    }
}
