//! The health gate: an unhealthy candidate does not stand, and an unhealthy leader releases the lock.

use super::*;

const WELL: CandidateEvent = CandidateEvent::Checked { healthy: true };
const SICK: CandidateEvent = CandidateEvent::Checked { healthy: false };

/// Two failures in a row end the leadership.
fn checked() -> Settings {
    Settings { health_failures: Some(2), ..settings() }
}

/// A leader that was healthy when its term began.
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
fn a_candidate_does_not_stand_before_the_first_success() {
    let mut it = Scenario::new(checked());
    it.reads(Sight::MISSING);
    it.befalls_at(1_000, SICK);
    it.happens_at(30_000, Event::Tick);
    it.reads(Sight::MISSING);
    assert_eq!(it.request, None);
    it.befalls_at(31_000, WELL);
    assert_eq!(it.writes().purpose, Purpose::Acquire);
}

#[test]
fn a_leader_releases_at_the_second_failure() {
    let mut it = leader();
    it.befalls_at(1_000, SICK);
    assert!(it.leads() && it.request.is_none());
    it.befalls_at(1_500, SICK);
    assert!(!it.leads());
    assert_eq!(it.writes().purpose, Purpose::Release);
    assert_eq!(it.now, 1_500);
}

#[test]
fn it_stands_again_after_being_healthy_for_long_enough() {
    let mut it = leader();
    it.befalls_at(1_000, SICK);
    it.befalls_at(5_000, SICK);
    let release = it.writes();
    it.acknowledged(&release, 101);
    // The failures took 4 s.
    for now in [6_000, 7_000, 9_999] {
        it.befalls_at(now, WELL);
        if it.request.is_some() {
            it.reads(shown(&release, 101));
        }
        assert_eq!(it.request, None, "at {now} ms");
    }
    it.befalls_at(10_000, WELL);
    assert_eq!(it.writes().purpose, Purpose::Acquire);
}

/// A candidate that has released the lock at 1 s, and its release.
fn unhealthy() -> (Scenario, Write) {
    let mut it = leader();
    it.befalls_at(1_000, SICK);
    it.befalls_at(1_000, SICK);
    let release = it.writes();
    it.acknowledged(&release, 101);
    (it, release)
}

#[test]
fn an_unhealthy_candidate_keeps_watching() {
    let (mut it, _) = unhealthy();
    it.watches(2_000, held(102, "other", 10, 1));
    assert_eq!(it.lock_set.others().next().map(|other| other.identity), Some("other".into()));
}

/// So that `/readyz` does not fail while nobody may lead.
#[test]
fn an_unhealthy_candidate_reads_a_free_lock_more_often_than_once_in_a_lease() {
    let (mut it, release) = unhealthy();
    for n in 1..=3 {
        it.reads(shown(&release, 101));
        assert_eq!((it.now, it.output.reopen_watch), (n * 4_000, false));
    }
}
