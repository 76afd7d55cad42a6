//! The annotation that asks a holder to step down.

use super::*;

/// The same sight of the lock, with the wish that this holder steps down.
fn asked(holder: &str, sight: Sight) -> Sight {
    Sight { step_down: Some(holder.into()), ..sight }
}

/// A leader since 0 ms, and its write.
fn leader() -> (Scenario, Write) {
    let mut it = Scenario::new(settings());
    it.reads(Sight::MISSING);
    let write = it.writes();
    it.acknowledged(&write, 100);
    (it, write)
}

#[test]
fn the_holder_that_is_named_releases_at_once_and_stands_back_for_one_lease() {
    let (mut it, write) = leader();
    it.watches(1_000, asked(ME, shown(&write, 101)));
    assert!(!it.leads());
    let release = it.writes();
    assert_eq!((release.purpose, it.now), (Purpose::Release, 1_000));
    it.now = 1_500;
    it.answered(Answer::Seen(asked(ME, shown(&release, 102))));
    it.happens_at(11_499, Event::Tick);
    assert_eq!(it.request, None);
    assert_eq!(it.writes().purpose, Purpose::Acquire, "nobody else has taken it");
    assert_eq!(it.now, 11_500);
}

#[test]
fn a_wish_that_names_somebody_else_is_left_alone() {
    let (mut it, write) = leader();
    it.watches(1_000, asked("other", shown(&write, 101)));
    assert!(it.leads());
    assert!(matches!(it.writes().purpose, Purpose::Renew { .. }));
    assert_eq!(it.now, 2_000);
}

#[test]
fn the_wish_is_found_when_a_renewal_meets_it() {
    let (mut it, write) = leader();
    it.happens(Event::WatchClosed);
    it.happens_at(2_000, Event::Tick);
    assert!(matches!(it.writes().purpose, Purpose::Renew { .. }));
    it.answered(Answer::Conflict);
    it.reads(asked(ME, shown(&write, 101)));
    assert!(!it.leads());
    assert_eq!((it.writes().purpose, it.now), (Purpose::Release, 2_000));
}

#[test]
fn the_wish_is_not_lost_when_the_term_has_lapsed() {
    let (mut it, write) = leader();
    while it.leads() {
        it.asks();
        it.answered(Answer::Unknown);
    }
    it.reads(asked(ME, shown(&write, 101)));
    let release = it.writes();
    assert_eq!(release.purpose, Purpose::Release);
    it.acknowledged(&release, 102);
    let released_at = it.now;
    assert_eq!((it.writes().purpose, it.now), (Purpose::Acquire, released_at + 10_000));
}

#[test]
fn a_follower_that_is_named_does_not_mind() {
    let seen = || asked(ME, held(50, "other", 10, 1));
    let mut it = Scenario::that_sees(seen());
    it.reads(seen()); // a watch that shows nothing for so long is not believed
    assert_eq!(it.writes().purpose, Purpose::Acquire);
    assert_eq!(it.now, 10_000);
}

#[test]
fn whoever_is_told_to_leave_meanwhile_leaves() {
    let (mut it, write) = leader();
    it.watches(1_000, asked(ME, shown(&write, 101)));
    assert_eq!(it.writes().purpose, Purpose::Release);
    it.happens(Event::Stop);
    let release = it.writes();
    assert_eq!(release.purpose, Purpose::Release);
    it.acknowledged(&release, 102);
    assert!(it.output.finished);
}
