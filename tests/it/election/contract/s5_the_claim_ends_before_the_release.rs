use super::*;

fn delayed() -> Settings {
    Settings { release_delay: ms(5_000), ..settings() }
}

#[test]
fn with_a_delay_the_lock_is_kept_and_renewed_without_a_claim() {
    let mut it = Scenario::leader(delayed());
    it.happens_at(500, Event::Stop);
    assert!(!it.leads());
    for n in 1..=2 {
        let renewal = it.writes();
        assert!(matches!(renewal.purpose, Purpose::Renew { .. }));
        it.acknowledged(&renewal, 100 + n);
        assert!(!it.leads());
    }
    assert_eq!(it.writes().purpose, Purpose::Release);
    assert_eq!(it.now, 5_500);
}

#[test]
fn the_end_of_the_term_during_the_delay_does_not_hasten_the_release() {
    let mut it = Scenario::leader(delayed());
    it.happens_at(5_000, Event::Stop);
    while it.now < 9_999 {
        let request = it.asks();
        let release = matches!(&request.call, Call::Write(write) if write.purpose == Purpose::Release);
        assert!(!release || it.now >= 10_000, "released at {} ms, while what it started still runs", it.now);
        it.answered_at(it.now + 1, Answer::Unknown);
    }
}

#[test]
fn a_stop_just_after_the_end_of_a_term_waits_too() {
    let mut it = Scenario::leader(delayed());
    it.happens_at(6_001, Event::Stop);
    assert!(!it.output.finished);
    assert_eq!(it.writes().purpose, Purpose::Keep, "what was stopped at 6 s still runs");
}

#[test]
fn a_write_in_doubt_does_not_hasten_the_release() {
    let mut it = Scenario::leader(delayed());
    it.sees_deletion(3_000, 110);
    let anew = it.writes();
    it.happens_at(4_000, Event::Stop);
    it.answered_at(4_800, Answer::Unknown);
    it.writes();
    it.answered_at(6_000, Answer::Unknown);
    it.reads(shown(&anew, 111));
    while it.now < 9_000 {
        let write = it.writes();
        assert_eq!(write.purpose == Purpose::Release, it.now >= 9_000, "at {} ms", it.now);
        it.acknowledged(&write, 112 + it.now);
    }
}

#[test]
fn a_record_removed_during_the_delay_is_written_again() {
    let mut it = Scenario::leader(delayed());
    it.happens_at(1_000, Event::Stop);
    it.watches(1_500, without_record(110));
    let anew = it.writes();
    assert_eq!((it.now, &*anew.record.holder), (1_500, ME));
    it.acknowledged(&anew, 111);
    assert!(!it.leads());
    while it.now < 6_000 {
        let write = it.writes();
        assert_eq!(write.purpose == Purpose::Release, it.now >= 6_000, "at {} ms", it.now);
        it.acknowledged(&write, 112 + it.now);
    }
}

#[test]
fn the_term_is_over_when_a_lock_that_is_not_wanted_is_released() {
    let mut it = Scenario::leader(settings());
    it.happens_at(500, Event::Wanted(false));
    assert!(!it.leads());
    assert_eq!((it.writes().purpose, it.now), (Purpose::Release, 500));
    // Only during a term would it ignore Retry-After.
    it.answered(Answer::Busy(Some(ms(5_000))));
    assert_eq!((it.writes().purpose, it.now), (Purpose::Release, 5_500));
}

/// A claim that ended by choice does not end the protection of an earlier one, which did not.
#[test]
fn an_earlier_claim_is_protected_although_a_later_one_ends_by_choice() {
    let mut it = Scenario::new(settings());
    it.happens(Event::SoleInstance(true));
    it.reads(marked(held(50, ME, 10, 1), 2, Some(host()))); // its process died at 0 ms
    let acquisition = it.writes();
    it.acknowledged(&acquisition, 51);
    it.happens_at(20, Event::Stop);
    let mut write = it.writes();
    while write.purpose != Purpose::Release {
        it.acknowledged(&write, 52 + it.now);
        write = it.writes();
    }
    assert_eq!(it.now, 4_000);
}

#[test]
fn a_lock_that_was_not_renewed_in_time_is_kept_for_the_rest_of_the_delay() {
    let (mut it, write) =
        Scenario::leader_with_write(Settings { release_delay: Duration::from_secs(30), ..settings() });
    it.happens_at(1_000, Event::Stop);
    while it.now < 6_000 {
        it.asks();
        it.answered(Answer::Unknown);
    }
    it.reads(shown(&write, 100));
    let again = it.writes();
    assert_eq!(again.purpose, Purpose::Keep);
    assert!(it.now < 10_000, "at {} ms", it.now);
    it.acknowledged(&again, 101);
    assert!(!it.leads());
    for version in 102.. {
        let write = it.writes();
        if write.purpose == Purpose::Release {
            break;
        }
        it.acknowledged(&write, version);
    }
    assert_eq!(it.now, 31_000);
}
