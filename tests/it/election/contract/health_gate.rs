//! The health gate: whoever is not well does not stand, and a leader that is not well steps down by release.

use super::*;

const WELL: CandidateEvent = CandidateEvent::Checked { healthy: true };
const SICK: CandidateEvent = CandidateEvent::Checked { healthy: false };

/// Two failures in a row end the leadership.
fn checked() -> Settings {
    Settings { health_failures: Some(2), ..settings() }
}

/// A leader that was well when it began.
fn leader() -> Scenario {
    let mut it = Scenario::new(checked());
    it.befalls(WELL);
    it.reads(Sight::MISSING);
    let write = it.writes();
    it.acknowledged(&write, 100);
    assert!(it.leads());
    it
}

#[test]
fn whoever_was_not_yet_well_does_not_stand() {
    let mut it = Scenario::new(checked());
    it.reads(Sight::MISSING);
    it.befalls_at(1_000, SICK);
    it.happens_at(30_000, Event::Tick);
    assert_eq!(it.request, None);
    it.befalls_at(31_000, WELL);
    assert_eq!(it.writes().purpose, Purpose::Acquire);
}

#[test]
fn a_leader_is_given_one_failure_and_releases_at_the_second() {
    let mut it = leader();
    it.befalls_at(1_000, SICK);
    assert!(it.leads() && it.request.is_none());
    it.befalls_at(1_500, SICK);
    assert!(!it.leads());
    assert_eq!(it.writes().purpose, Purpose::Release);
    assert_eq!(it.now, 1_500);
}

#[test]
fn it_comes_back_when_it_was_well_for_long_enough() {
    let mut it = leader();
    it.befalls_at(1_000, SICK);
    it.befalls_at(5_000, SICK);
    let release = it.writes();
    it.acknowledged(&release, 101);
    // The failures took 4 s.
    for now in [6_000, 7_000, 9_999] {
        it.befalls_at(now, WELL);
        assert_eq!(it.request, None, "at {now} ms");
    }
    it.befalls_at(10_000, WELL);
    assert_eq!(it.writes().purpose, Purpose::Acquire);
}

#[test]
fn whoever_is_not_well_watches_on() {
    let mut it = leader();
    it.befalls_at(1_000, SICK);
    it.befalls_at(1_000, SICK);
    let release = it.writes();
    it.acknowledged(&release, 101);
    it.watches(2_000, held(102, "other", 10, 1));
    assert_eq!(it.lock_set.others().next().map(|other| other.identity), Some("other".into()));
}
