//! Work that a candidate starts for its leadership: it has ended by F, and before a release is sent (S1, S5).

use super::*;

/// A leader since 0 ms that has started work.
fn leader(settings: Settings) -> Scenario {
    let mut it = Scenario::leader(settings);
    it.lock_set.begin_work();
    it
}

fn until(it: &Scenario) -> Option<u64> {
    it.lock_set.work_until().map(|until| until.uptime().as_millis() as u64)
}

/// Expects the next request to be a renewal, and acknowledges it.
fn renews(it: &mut Scenario, resource_version: u64) {
    let write = it.writes();
    assert!(matches!(write.purpose, Purpose::Renew { .. }), "at {} ms: {write:?}", it.now);
    it.acknowledged(&write, resource_version);
}

#[test]
fn work_may_continue_until_f_which_each_renewal_moves() {
    let mut it = leader(settings());
    assert_eq!(until(&it), Some(6_000));
    it.happens_at(2_000, Event::Tick);
    renews(&mut it, 101);
    assert_eq!(until(&it), Some(8_000));
    it.happens_at(8_000, Event::Tick);
    assert_eq!(until(&it), None);
}

#[test]
fn after_a_stop_the_lock_is_kept_and_renewed_until_the_work_has_ended() {
    let mut it = leader(settings());
    it.happens_at(1_000, Event::Stop);
    assert!(!it.leads() && !it.output.finished);
    assert_eq!(until(&it), Some(6_000));
    for version in 101..110 {
        renews(&mut it, version);
    }
    assert_eq!(until(&it), Some(it.now + 6_000));
    it.befalls(CandidateEvent::WorkEnded);
    let release = it.writes();
    assert_eq!(release.purpose, Purpose::Release);
    it.acknowledged(&release, 110);
    assert!(it.output.finished);
}

#[test]
fn the_release_delay_applies_with_work_too() {
    let mut it = leader(Settings { release_delay: ms(3_000), ..settings() });
    it.happens_at(1_000, Event::Stop);
    it.befalls_at(1_500, CandidateEvent::WorkEnded);
    renews(&mut it, 101);
    assert_eq!(it.writes().purpose, Purpose::Release);
    assert_eq!(it.now, 4_000);
}

#[test]
fn the_process_does_not_finish_before_the_work_has_ended() {
    let mut it = leader(settings());
    it.watches(1_000, held(101, "other", 10, 1));
    assert_eq!(until(&it), None, "it has to end at once");
    it.happens_at(1_100, Event::Stop);
    it.happens_at(30_000, Event::Tick);
    assert!(!it.output.finished);
    it.befalls(CandidateEvent::WorkEnded);
    assert!(it.output.finished);
}

#[test]
fn a_later_term_does_not_extend_work_of_an_earlier_one() {
    let mut it = leader(settings());
    it.watches(1_000, held(101, "other", 10, 1));
    it.watches(1_500, Sight { mark: None, ..held(102, "", 10, 2) });
    let write = it.writes();
    assert_eq!((write.purpose, until(&it)), (Purpose::Acquire, None));
    it.acknowledged(&write, 103);
    assert_eq!(until(&it), Some(7_500), "that of the new term");
}

#[test]
fn the_time_of_standing_back_counts_from_the_release() {
    let mut it = leader(settings());
    it.befalls_at(1_000, CandidateEvent::StandBack);
    assert!(!it.leads());
    for version in 101..120 {
        renews(&mut it, version);
        assert!(!it.leads());
    }
    it.befalls(CandidateEvent::WorkEnded);
    it.releases_for_one_lease(120);
}

#[test]
fn the_time_of_standing_back_starts_again_with_a_late_release() {
    let mut it = Scenario::leader(settings());
    it.sees_deletion(1_000, 101);
    let write = it.writes();
    it.befalls_at(1_001, CandidateEvent::StandBack);
    it.reads(Sight::MISSING);
    it.watches(3_000, shown(&write, 102));
    it.releases_for_one_lease(103);
}

#[test]
fn it_stands_back_after_a_late_release_although_it_sees_its_record_after_it_had_stood_back() {
    for tries_to_acquire in [false, true] {
        let mut it = Scenario::leader(settings());
        it.sees_deletion(1_000, 101);
        let write = it.writes();
        it.befalls_at(1_001, CandidateEvent::StandBack);
        if tries_to_acquire {
            it.reads_until_it_writes(&Sight::MISSING);
            it.answered(Answer::Conflict);
        } else {
            while it.now < 11_001 {
                assert_eq!(it.asks().call, Call::Read);
                it.answered_at(it.now + 500, Answer::Unknown);
            }
        }
        it.reads(shown(&write, 102));
        it.releases_for_one_lease(103);
    }
}

#[test]
fn it_stands_back_after_a_late_release_although_it_had_already_stood_back_for_one_lease() {
    let mut it = Scenario::leader(Settings { release_delay: ms(30_000), ..settings() });
    it.sees_deletion(1_000, 101);
    let write = it.writes();
    it.befalls_at(1_001, CandidateEvent::StandBack);
    it.answered_at(6_000, Answer::Unknown);
    it.reads(Sight::MISSING);
    it.watches(8_000, shown(&write, 102));
    let mut version = 102;
    while it.writes().purpose == Purpose::Keep {
        version += 1;
        let write = it.writes();
        it.acknowledged(&write, version);
    }
    assert_eq!(it.now, 31_001);
    it.releases_for_one_lease(version + 1);
}

#[test]
fn a_record_that_shows_late_is_kept_for_the_work_and_not_acquired() {
    let mut it = leader(settings());
    it.sees_deletion(1_000, 101);
    let write = it.writes();
    it.befalls_at(1_001, CandidateEvent::StandBack);
    // It writes until its term ends, and stands back for one lease after that.
    while it.now < 20_000 {
        it.asks();
        it.answered_at(it.now + 500, Answer::Unknown);
    }
    it.reads(shown(&write, 102));
    let kept = it.writes();
    assert_eq!(kept.purpose, Purpose::Keep);
    it.acknowledged(&kept, 103);
    it.befalls(CandidateEvent::WorkEnded);
    assert_eq!(it.writes().purpose, Purpose::Release);
}
