//! The configurations to check: the number of candidates and locks, the clocks, and the number of faults of each kind.

use crate::check::{Outcome, check};
use crate::properties::{GAP, ONE_LEADER, OWN_RECORD, RELEASES, STALE_EVENT, TOKENS};
use crate::rules::Rules;
use crate::state::{Budget, UNLIMITED};
use crate::weakened::Weakened;
use crate::world::{Edit, World};

const NONE: Budget = Budget { crashes: 0, stops: 0, edits: 0, doubts: 0, resignations: 0 };
pub const ALL_EDITS: &[Edit] = &[Edit::Touch, Edit::Delete, Edit::RemoveRecord, Edit::Corrupt, Edit::Free];

/// One size of the model.
#[derive(Clone, Debug)]
pub enum Size {
    /// Two candidates, one lock.
    Two(World<2, 1>),
    /// Three candidates, one lock.
    Three(World<3, 1>),
    /// Two candidates, two locks.
    TwoLocks(World<2, 2>),
}

/// A world to check, with its name.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub name: &'static str,
    /// It takes only some seconds, so the tests run it.
    pub is_small: bool,
    pub size: Size,
}

impl Size {
    pub fn check(self) -> Outcome {
        match self {
            Size::Two(world) => check(world),
            Size::Three(world) => check(world),
            Size::TwoLocks(world) => check(world),
        }
    }
}

/// L, D, and how often a clock may miss a tick.
#[derive(Clone, Copy)]
enum Clocks {
    /// 3 and 2, with equal rates: the gap is L - D.
    Same,
    /// 3 and 2, with rates up to L/D apart: no gap is left.
    Apart,
    /// 4 and 2, with rates up to 3/2 apart: one tick of the gap is left.
    ApartWithGap,
}

/// A world without faults, whose candidates have different names.
fn world<const C: usize, const K: usize>(clocks: Clocks) -> World<C, K> {
    let (lease, miss_after, gap) = match clocks {
        Clocks::Same => (3, None, 1),
        Clocks::Apart => (3, Some(2), 0),
        Clocks::ApartWithGap => (4, Some(2), 1),
    };
    World {
        rules: Rules { lease, renew_deadline: 2, release_delay: 1, names: &[0, 1, 2], weakened: None },
        miss_after,
        gap,
        late_watch: true,
        slow_writes: true,
        slow_reads: false,
        symmetric: true,
        reduced: true,
        edits: ALL_EDITS,
        budget: NONE,
    }
}

fn two(clocks: Clocks, budget: Budget) -> Size {
    Size::Two(World { budget, ..world(clocks) })
}

fn three(clocks: Clocks, budget: Budget) -> Size {
    Size::Three(World { budget, ..world(clocks) })
}

/// Requests are answered at once, and the watch is never late.
fn two_locks(clocks: Clocks, budget: Budget) -> Size {
    Size::TwoLocks(World { budget, slow_writes: false, late_watch: false, ..world(clocks) })
}

fn two_locks_slow(budget: Budget) -> Size {
    Size::TwoLocks(World { budget, late_watch: false, ..world(Clocks::Same) })
}

fn two_slow(budget: Budget) -> Size {
    Size::Two(World { budget, slow_reads: true, ..world(Clocks::Same) })
}

/// Writes are answered at once.
fn three_quick(budget: Budget) -> Size {
    Size::Three(World { budget, slow_writes: false, late_watch: false, ..world(Clocks::Same) })
}

/// The configurations in which all properties must hold.
pub fn configurations() -> Vec<Configuration> {
    let crash = Budget { crashes: 1, ..NONE };
    let outages = Budget { crashes: UNLIMITED, doubts: UNLIMITED, ..NONE };
    let stop = Budget { stops: 1, ..NONE };
    let edit = Budget { edits: 1, ..NONE };
    let small = [
        ("two, same clocks: a crash", two(Clocks::Same, crash)),
        ("two, same clocks", two(Clocks::Same, NONE)),
        ("two, same clocks: crashes, doubts", two(Clocks::Same, outages)),
        ("two, clocks apart: a crash", two(Clocks::Apart, crash)),
        ("two, clocks apart, gap: a crash", two(Clocks::ApartWithGap, crash)),
        ("two, same clocks: a crash, two stops", two(Clocks::Same, Budget { stops: 2, ..crash })),
        ("two, same clocks: a crash, an edit", two(Clocks::Same, Budget { crashes: 1, ..edit })),
        ("three, same clocks", three(Clocks::Same, NONE)),
        ("two locks", two_locks(Clocks::Same, NONE)),
        ("two locks: a resignation", two_locks(Clocks::Same, Budget { resignations: 1, ..NONE })),
        ("two locks: a crash", two_locks(Clocks::Same, crash)),
        ("two locks: a stop", two_locks(Clocks::Same, stop)),
    ];
    let large = [
        ("two, clocks apart: crashes, doubts", two(Clocks::Apart, outages)),
        ("two, clocks apart, gap: crashes, doubts", two(Clocks::ApartWithGap, outages)),
        ("two, same clocks: crashes, doubts, stops", two(Clocks::Same, Budget { stops: UNLIMITED, ..outages })),
        ("two, clocks apart, gap: a crash, two stops", two(Clocks::ApartWithGap, Budget { stops: 2, ..crash })),
        ("two, same clocks: a crash, a doubt, two edits", two(Clocks::Same, Budget { doubts: 1, edits: 2, ..crash })),
        ("two, clocks apart: a crash, two edits", two(Clocks::Apart, Budget { edits: 2, ..crash })),
        ("two, same clocks, slow reads: a crash, an edit", two_slow(Budget { crashes: 1, ..edit })),
        ("three, same clocks: a crash, a doubt", three(Clocks::Same, Budget { doubts: 1, ..crash })),
        ("three, clocks apart: a crash", three(Clocks::Apart, crash)),
        ("three, same clocks: an edit", three(Clocks::Same, edit)),
        ("three, same clocks, quick: a crash, a stop, two edits", three_quick(Budget { stops: 1, edits: 2, ..crash })),
        ("two locks, slow writes", two_locks_slow(NONE)),
        ("two locks, clocks apart, gap", two_locks(Clocks::ApartWithGap, NONE)),
        (
            "two locks: a crash, a stop, a resignation",
            two_locks(Clocks::Same, Budget { stops: 1, resignations: 1, ..crash }),
        ),
        ("two locks: a crash, an edit", two_locks(Clocks::Same, Budget { crashes: 1, ..edit })),
    ];
    let of = |is_small| move |(name, size)| Configuration { name, is_small, size };
    small.into_iter().map(of(true)).chain(large.into_iter().map(of(false))).collect()
}

/// For each weakened rule, a world in which it is found, and the properties of which it violates one.
pub fn weakened(rule: Weakened) -> (Size, &'static [&'static str]) {
    const LEADERS: &[&str] = &[ONE_LEADER, GAP];
    let two_edits = Budget { edits: 2, ..NONE };
    let (size, broken) = match rule {
        Weakened::DeadlineFromAnswer => (two(Clocks::Same, NONE), LEADERS),
        Weakened::TakenAfterDeadline => (two(Clocks::Apart, NONE), LEADERS),
        Weakened::AbsentTakenAtOnce | Weakened::RecordRemovedTakenAtOnce => {
            (two(Clocks::Same, Budget { edits: 1, ..NONE }), LEADERS)
        }
        Weakened::RemovedHolderForgotten | Weakened::OwnOldRecordTrusted => (two(Clocks::Same, two_edits), LEADERS),
        Weakened::UnreadableUntilGone => (two(Clocks::Same, Budget { crashes: 1, ..two_edits }), LEADERS),
        Weakened::NoResourceVersion => (two(Clocks::Same, NONE), LEADERS),
        Weakened::ReleaseOverAnything => (two(Clocks::Same, Budget { stops: 1, ..NONE }), &[RELEASES] as &[_]),
        Weakened::StaleEventAccepted => (two(Clocks::Same, NONE), &[STALE_EVENT] as &[_]),
        Weakened::ClaimDespiteForeignRecord => (two(Clocks::Same, two_edits), &[OWN_RECORD] as &[_]),
        Weakened::DoubtTakenAsDone => (two(Clocks::Same, Budget { doubts: 2, ..NONE }), LEADERS),
        Weakened::OwnNameTakenAtOnce => (two(Clocks::Same, NONE), LEADERS),
        Weakened::PredecessorForgotten => (two(Clocks::Same, Budget { crashes: 1, stops: 1, ..NONE }), &[GAP] as &[_]),
        Weakened::LockReleasedAtOnce => (two_locks(Clocks::Same, NONE), &[GAP] as &[_]),
        Weakened::OneNewTermIsEnough => (two_locks(Clocks::Same, NONE), &[TOKENS] as &[_]),
    };
    (size.with_weakened(rule), broken)
}

impl Size {
    fn with_weakened(mut self, rule: Weakened) -> Size {
        let (rules, symmetric) = match &mut self {
            Size::Two(world) => (&mut world.rules, &mut world.symmetric),
            Size::Three(world) => (&mut world.rules, &mut world.symmetric),
            Size::TwoLocks(world) => (&mut world.rules, &mut world.symmetric),
        };
        rules.weakened = Some(rule);
        if rule == Weakened::OwnNameTakenAtOnce {
            rules.names = &[0, 0, 0];
        }
        *symmetric = false; // so that the path distinguishes the candidates
        self
    }
}
