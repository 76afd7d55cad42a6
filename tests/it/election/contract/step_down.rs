//! The step-down annotation.

use super::*;

/// The same sight, with the annotation that asks this holder to step down.
fn asked(holder: &str, sight: Sight) -> Sight {
    Sight { step_down: Some(holder.into()), ..sight }
}

#[test]
fn the_holder_that_is_named_releases_at_once_and_stands_back_for_one_lease() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    it.watches(1_000, asked(ME, shown(&write, 101)));
    assert!(!it.leads());
    let release = it.writes();
    assert_eq!((release.purpose, it.now), (Purpose::Release, 1_000));
    it.now = 1_500;
    it.answered(Answer::Seen(asked(ME, shown(&release, 102))));
    it.happens_at(11_499, Event::Tick);
    it.reads(asked(ME, shown(&release, 102)));
    assert_eq!(it.request, None);
    assert_eq!(it.writes().purpose, Purpose::Acquire, "nobody else has taken it");
    assert_eq!(it.now, 11_500);
}

#[test]
fn an_annotation_that_names_another_holder_is_ignored() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    it.watches(1_000, asked("other", shown(&write, 101)));
    assert!(it.leads());
    assert!(matches!(it.writes().purpose, Purpose::Renew { .. }));
    assert_eq!(it.now, 2_000);
}

#[test]
fn the_annotation_is_seen_after_a_conflict_of_a_renewal() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    it.happens(Event::WatchClosed);
    it.happens_at(2_000, Event::Tick);
    assert!(matches!(it.writes().purpose, Purpose::Renew { .. }));
    it.answered(Answer::Conflict);
    it.reads(asked(ME, shown(&write, 101)));
    assert!(!it.leads());
    assert_eq!((it.writes().purpose, it.now), (Purpose::Release, 2_000));
}

#[test]
fn the_annotation_is_obeyed_after_the_end_of_the_term() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    while it.leads() {
        it.asks();
        it.answered(Answer::Unknown);
    }
    assert_eq!(it.asks().call, Call::Read);
    // So late that an acquisition could be sent at once.
    it.answered_at(it.now + 1_700, Answer::Seen(asked(ME, shown(&write, 101))));
    it.releases_for_one_lease(102);
}

#[test]
fn the_annotation_is_obeyed_while_the_lock_is_given_up_for_another_reason() {
    let settings = Settings { release_delay: ms(30_000), health_failures: Some(1), ..settings() };
    let mut it = Scenario::new(settings);
    it.befalls(CandidateEvent::Checked { healthy: true });
    it.reads(Sight::MISSING);
    let write = it.writes();
    it.acknowledged(&write, 100);
    it.befalls_at(it.now + 1_000, CandidateEvent::Checked { healthy: false });
    it.watches(1_001, asked(ME, shown(&write, 101)));
    let mut version = 101;
    while it.writes().purpose != Purpose::Release {
        version += 1;
        let write = it.writes();
        it.acknowledged(&write, version);
        it.befalls(CandidateEvent::Checked { healthy: true });
    }
    assert_eq!(it.now, 31_001);
    it.releases_for_one_lease(version + 1);
}

#[test]
fn a_follower_that_is_named_does_nothing() {
    let seen = || asked(ME, held(50, "other", 10, 1));
    let mut it = Scenario::that_sees(seen());
    it.reads(seen()); // the watch was silent for too long
    assert_eq!(it.writes().purpose, Purpose::Acquire);
    assert_eq!(it.now, 10_000);
}

#[test]
fn a_stop_during_the_step_down_stops_the_candidate() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    it.watches(1_000, asked(ME, shown(&write, 101)));
    assert_eq!(it.writes().purpose, Purpose::Release);
    it.happens(Event::Stop);
    let release = it.writes();
    assert_eq!(release.purpose, Purpose::Release);
    it.acknowledged(&release, 102);
    assert!(it.output.finished);
}
