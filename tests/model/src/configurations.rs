//! What is checked: how many candidates and locks, which clocks, and how many of which faults.

use crate::check::{Outcome, check};
use crate::rules::Rules;
use crate::state::{Budget, UNLIMITED};
use crate::weakened::Weakened;
use crate::world::{Deed, GAP, OLD_NEWS, ONE_LEADER, OWN_RECORD, RELEASES, TOKENS, World};

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

impl Size {
    pub fn check(self) -> Outcome {
        match self {
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
    Size::TwoLocks(World { slow_writes: false, late_news: false, budget, ..world(clocks) })
}

/// What holds in all states.
pub fn configurations() -> Vec<Configuration> {
    let crashes = Budget { crashes: UNLIMITED, ..NONE };
    let doubts = Budget { doubts: UNLIMITED, ..crashes };
    let two_instant =
        |clocks, budget| Size::TwoLocks(World { slow_writes: false, late_news: false, budget, ..world(clocks) });
    let all = [
        (
            "2l unlimited crash stop resign",
            false,
            two_instant(Clocks::Same, Budget { crashes: UNLIMITED, stops: UNLIMITED, resignations: UNLIMITED, ..NONE }),
        ),
        (
            "2l apart unlimited crash resign",
            false,
            two_instant(Clocks::Apart, Budget { crashes: UNLIMITED, resignations: UNLIMITED, ..NONE }),
        ),
        ("2l deeds 2 crash 1", false, two_instant(Clocks::Same, Budget { crashes: 1, strangers: 2, ..NONE })),
        (
            "2l deeds 1 crash 1 stop 1 resign 1",
            false,
            two_instant(Clocks::Same, Budget { crashes: 1, strangers: 1, stops: 1, resignations: 1, ..NONE }),
        ),
        (
            "2l late crash 1",
            false,
            Size::TwoLocks(World {
                slow_writes: false,
                late_news: true,
                budget: Budget { crashes: 1, ..NONE },
                ..world(Clocks::Same)
            }),
        ),
        ("3c unlimited crash", false, three(Clocks::Same, crashes)),
        ("3c apart", false, three(Clocks::Apart, NONE)),
        ("3c apart crash 1", false, three(Clocks::Apart, Budget { crashes: 1, ..NONE })),
        ("3c deeds 1", false, three(Clocks::Same, Budget { strangers: 1, ..NONE })),
        (
            "3c instant deeds 2",
            false,
            Size::Three(World { slow_writes: false, budget: Budget { strangers: 2, ..NONE }, ..world(Clocks::Same) }),
        ),
        (
            "3c instant deeds 2 crash 1 stop 1",
            false,
            Size::Three(World {
                slow_writes: false,
                late_news: false,
                budget: Budget { strangers: 2, crashes: 1, stops: 1, ..NONE },
                ..world(Clocks::Same)
            }),
        ),
        (
            "2c slow reads crash doubts",
            false,
            Size::Two(World { slow_reads: true, budget: doubts, ..world(Clocks::Same) }),
        ),
        (
            "2c deeds2 crash1 doubt1 stop1",
            false,
            two(Clocks::Same, Budget { strangers: 2, crashes: 1, doubts: 1, stops: 1, ..NONE }),
        ),
        (
            "2c instant apart deeds2 crash1",
            false,
            Size::Two(World {
                slow_writes: false,
                budget: Budget { strangers: 2, crashes: 1, stops: 0, ..NONE },
                ..world(Clocks::Apart)
            }),
        ),
        (
            "2c instant deeds unlimited crash unlimited",
            false,
            Size::Two(World {
                slow_writes: false,
                budget: Budget { strangers: UNLIMITED, crashes: UNLIMITED, stops: 0, ..NONE },
                ..world(Clocks::Same)
            }),
        ),
    ];
    all.map(|(name, is_small, size)| Configuration { name, is_small, size }).to_vec()
}

/// For each weakened rule, a world in which that is found, and the properties that it breaks there, one or another.
pub fn weakened(rule: Weakened) -> (Size, &'static [&'static str]) {
    const LEADERS: &[&str] = &[ONE_LEADER, GAP];
    let robbed = Budget { strangers: 2, ..NONE };
    let (size, broken) = match rule {
        Weakened::DeadlineFromAnswer => (two(Clocks::Same, NONE), LEADERS),
        Weakened::TakenAfterDeadline => (two(Clocks::Apart, NONE), LEADERS),
        Weakened::AbsentTakenAtOnce | Weakened::StrippedTakenAtOnce => {
            (two(Clocks::Same, Budget { strangers: 1, ..NONE }), LEADERS)
        }
        Weakened::RobbedForgotten | Weakened::OwnOldRecordTrusted => (two(Clocks::Same, robbed), LEADERS),
        Weakened::UnreadableUntilGone => (two(Clocks::Same, Budget { crashes: 1, ..robbed }), LEADERS),
        Weakened::NoResourceVersion => (two(Clocks::Same, NONE), LEADERS),
        Weakened::ReleaseOverAnything => (two(Clocks::Same, Budget { stops: 1, ..NONE }), &[RELEASES] as &[_]),
        Weakened::OldNewsBelieved => (two(Clocks::Same, NONE), &[OLD_NEWS] as &[_]),
        Weakened::ClaimDespiteForeignRecord => (two(Clocks::Same, robbed), &[OWN_RECORD] as &[_]),
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
        *symmetric = false; // so that whoever reads the way can tell one from the other
        self
    }
}
