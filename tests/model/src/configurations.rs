//! What is checked: how many candidates and locks, which clocks, and how many of which faults.

use crate::check::{Outcome, check};
use crate::rules::Rules;
use crate::state::{Budget, UNLIMITED};
use crate::world::{Deed, World};

const NONE: Budget = Budget { crashes: 0, stops: 0, strangers: 0, doubts: 0, resignations: 0 };
pub const ALL_DEEDS: &[Deed] = &[Deed::Touch, Deed::Delete, Deed::Strip, Deed::Corrupt, Deed::Free];

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

/// A world to go through, by its name.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub name: &'static str,
    /// Takes less than some seconds, so that the tests can do it.
    pub is_small: bool,
    pub size: Size,
}

impl Configuration {
    pub fn check(&self) -> Outcome {
        match self.size.clone() {
            Size::Two(world) => check(world),
            Size::Three(world) => check(world),
            Size::TwoLocks(world) => check(world),
        }
    }
}

/// L, D, and whether a clock may miss a tick after two that it did not.
#[derive(Clone, Copy)]
enum Clocks {
    /// 3 and 2, the same rate: the gap is L - D.
    Same,
    /// 3 and 2, rates up to L/D apart: no gap is left.
    Apart,
    /// 4 and 2, rates up to 3/2 apart: one tick of the gap is left.
    ApartWithGap,
}

/// A world without faults, of candidates that all have names of their own.
fn world<const C: usize, const K: usize>(clocks: Clocks) -> World<C, K> {
    let (lease, steady, gap) = match clocks {
        Clocks::Same => (3, None, 1),
        Clocks::Apart => (3, Some(2), 0),
        Clocks::ApartWithGap => (4, Some(2), 1),
    };
    World {
        rules: Rules { lease, renew_deadline: 2, release_delay: 1, names: &[0, 1, 2], weakened: None },
        steady,
        gap,
        late_news: K == 1,
        slow_writes: K == 1,
        slow_reads: false,
        symmetric: true,
        deeds: ALL_DEEDS,
        budget: NONE,
    }
}

fn two(clocks: Clocks, budget: Budget) -> Size {
    Size::Two(World { budget, ..world(clocks) })
}

fn three(clocks: Clocks, budget: Budget) -> Size {
    Size::Three(World { budget, ..world(clocks) })
}

fn two_locks(clocks: Clocks, budget: Budget) -> Size {
    Size::TwoLocks(World { budget, ..world(clocks) })
}

/// What holds in all states.
pub fn configurations() -> Vec<Configuration> {
    let crashes = Budget { crashes: UNLIMITED, doubts: UNLIMITED, ..NONE };
    let all = [
        ("clocks apart, crashes, doubts", true, two(Clocks::Apart, crashes)),
        ("clocks apart with a gap, crashes, doubts", false, two(Clocks::ApartWithGap, crashes)),
        ("stops, crashes, doubts", false, two(Clocks::Same, Budget { stops: UNLIMITED, ..crashes })),
        ("three candidates", true, three(Clocks::Same, NONE)),
        ("three candidates, a crash", true, three(Clocks::Same, Budget { crashes: 1, ..NONE })),
        ("three candidates, a crash, doubt", true, three(Clocks::Same, Budget { crashes: 1, doubts: 1, ..NONE })),
        ("two locks", true, two_locks(Clocks::Same, NONE)),
        ("two locks, a crash", true, two_locks(Clocks::Same, Budget { crashes: 1, ..NONE })),
        ("two locks, stop", true, two_locks(Clocks::Same, Budget { stops: 1, ..NONE })),
        ("two locks, deed", true, two_locks(Clocks::Same, Budget { strangers: 1, ..NONE })),
        ("two locks, doubt", true, two_locks(Clocks::Same, Budget { doubts: 1, ..NONE })),
        ("two locks, a resign", true, two_locks(Clocks::Same, Budget { resignations: 1, ..NONE })),
    ];
    all.map(|(name, is_small, size)| Configuration { name, is_small, size }).to_vec()
}
