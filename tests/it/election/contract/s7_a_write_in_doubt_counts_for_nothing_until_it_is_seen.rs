use super::*;

#[test]
fn a_renewal_in_doubt_does_not_extend_the_claim() {
    let mut it = Scenario::leader(settings());
    it.writes();
    it.answered(Answer::Unknown);
    assert!(it.leads_at(5_999) && !it.leads_at(6_000));
}

#[test]
fn a_renewal_read_back_counts_from_its_own_sending() {
    let mut it = Scenario::leader(settings());
    let first = it.writes();
    it.answered_at(3_000, Answer::Unknown);
    it.writes();
    it.answered_at(3_100, Answer::Conflict);
    it.reads(shown(&first, 101));
    assert!(it.leads_at(7_999) && !it.leads_at(8_000));
    assert_eq!(it.token(), Some(100));
}

#[test]
fn an_acquisition_in_doubt_leads_only_once_it_was_read_back() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let write = it.writes();
    it.answered(Answer::Unknown);
    assert!(!it.leads());
    it.reads(shown(&write, 51));
    assert_eq!((it.leads(), it.token()), (true, Some(51)));
}

#[test]
fn a_takeover_that_arrives_after_its_base_was_read_once_more_is_still_ours() {
    let mut it = Scenario::that_sees(held(50, "other", 1, 1));
    it.reads_until_it_writes(&held(50, "other", 1, 1));
    let late = it.writes();
    it.answered_at(11_000, Answer::Unknown);
    it.reads(held(50, "other", 1, 1));
    it.writes();
    it.answered(Answer::Conflict); // the first one was late, not lost
    it.reads(shown(&late, 51));
    assert_eq!((it.leads_at(15_999), it.leads_at(16_000)), (true, false));
    assert!(!it.machine().name_is_taken());
}

#[test]
fn the_same_record_without_our_mark_is_not_ours() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let write = it.writes();
    it.answered(Answer::Unknown);
    // A clone whose wall clock has stopped too wrote it; then somebody removed the annotation.
    it.reads(Sight { mark: None, ..shown(&write, 52) });
    assert!(!it.leads());
}

#[test]
fn an_acknowledgement_overtaken_by_a_foreign_record_proves_nothing_and_shows_nothing() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let write = it.writes();
    it.watches(100, held(52, "other", 10, 2));
    it.acknowledged(&write, 51);
    assert!(!it.leads());
    assert_eq!(it.machine().other().map(|other| other.identity), Some("other".into()));
}

#[test]
fn a_write_seen_by_watch_needs_no_answer() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let write = it.writes();
    it.watches(100, shown(&write, 51));
    assert!(it.leads_at(5_999) && !it.leads_at(6_000));
    it.answered(Answer::Unknown);
    assert_eq!(it.writes().purpose, Purpose::Renew { fencing_token: 51 });
    assert_eq!(it.now, 2_000);
}

#[test]
fn a_refusal_leaves_no_doubt() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    it.writes();
    it.answered(Answer::Busy(None));
    it.happens_at(100, Event::Stop);
    assert!(it.output.finished);
}

#[test]
fn a_conflict_with_the_own_write_sent_twice_on_the_way_costs_nothing() {
    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.answered(Answer::Conflict);
    it.reads(shown(&renewal, 101));
    assert!(it.leads_at(7_999) && !it.leads_at(8_000));
}

#[test]
fn once_a_foreign_holder_was_seen_a_write_in_doubt_counts_no_longer() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let write = it.writes();
    it.answered(Answer::Unknown);
    it.reads(held(52, "other", 10, 2));
    it.watches(100, shown(&write, 53)); // somebody put it back
    assert!(!it.leads());
}

#[test]
fn a_2xx_that_shows_the_own_record_with_the_mark_of_another_write_acknowledges_nothing() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let write = it.writes();
    it.answered(Answer::Seen(marked(shown(&write, 51), 2, None)));
    assert!(!it.leads());
}

#[test]
fn a_2xx_without_the_mark_acknowledges_nothing() {
    for lock in [held(50, "", 1, 1), Sight::MISSING] {
        let mut it = Scenario::that_sees(lock);
        let write = it.writes();
        it.answered(Answer::Seen(Sight { mark: None, ..shown(&write, 51) }));
        assert!(!it.leads());
    }
}

#[test]
fn an_acknowledgement_that_no_longer_counts_is_still_an_observation() {
    let mut it = Scenario::that_sees(Sight::MISSING);
    let late = it.writes();
    it.watches(100, held(52, "other", 10, 2));
    // Somebody deleted that, and only then the create arrived at the server.
    it.acknowledged(&late, 54);
    assert!(!it.leads() && it.machine().name_is_taken());
}

/// A candidate with an acquisition in doubt when the lock is no longer wanted.
fn unwanted_in_doubt() -> (Scenario, Write) {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let write = it.writes();
    it.answered(Answer::Unknown);
    it.happens_at(10, Event::Wanted(false));
    (it, write)
}

#[test]
fn a_write_in_doubt_is_read_when_the_lock_is_given_up_and_released_if_it_was_carried_out() {
    let (mut it, write) = unwanted_in_doubt();
    it.reads(shown(&write, 51));
    assert_eq!((it.writes().purpose, it.now), (Purpose::Release, 10));
}

#[test]
fn an_acquisition_recognised_while_giving_up_begins_no_term() {
    let (mut it, write) = unwanted_in_doubt();
    it.reads(shown(&write, 51));
    assert_eq!(it.writes().purpose, Purpose::Release);
    // Only during a term would it ignore Retry-After.
    it.answered(Answer::Busy(Some(ms(5_000))));
    assert_eq!((it.writes().purpose, it.now), (Purpose::Release, 5_010));
}

#[test]
fn a_wrong_404_does_not_lose_a_renewal_in_doubt() {
    for lost in [true, false] {
        let mut it = Scenario::leader(settings());
        let renewal = it.writes();
        if lost {
            it.answered(Answer::Unknown);
            it.writes();
        }
        it.answered(Answer::Conflict);
        it.reads(Sight::MISSING);
        assert_eq!(it.writes().base, None);
        it.answered(Answer::Conflict);
        it.reads(shown(&renewal, 101));
        assert_eq!((it.now, it.leads_at(7_999), it.leads_at(8_000)), (2_000, true, false), "answer lost: {lost}");
    }
}

#[test]
fn a_wrong_404_does_not_lose_an_acquisition_in_doubt() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    let acquisition = it.writes();
    it.answered(Answer::Unknown);
    it.reads(Sight::MISSING);
    it.reads_until_it_writes(&Sight::MISSING);
    assert_eq!(it.writes().base, None);
    it.answered(Answer::Conflict);
    it.reads(shown(&acquisition, 51));
    assert_eq!((it.token(), it.machine().name_is_taken()), (Some(51), false));
}

#[test]
fn a_copy_of_a_write_in_doubt_in_another_object_is_not_ours() {
    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.answered(Answer::Unknown);
    it.watches(2_500, in_another_object(shown(&renewal, 103)));
    assert!(!it.leads());
}

/// Somebody has put the record before back.
#[test]
fn an_acknowledgement_older_than_what_the_watch_has_shown_does_not_extend_the_claim() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    let renewal = it.writes();
    it.watches(2_100, shown(&write, 102));
    it.answered_at(2_200, Answer::Seen(shown(&renewal, 101)));
    assert_eq!((it.leads_at(5_999), it.leads_at(6_000)), (true, false));
    assert_eq!(it.machine().lock(), Some(&shown(&write, 102)));
}

#[test]
fn of_many_writes_in_doubt_the_oldest_is_not_forgotten() {
    let mut it = Scenario::leader(Settings { retry_period: Duration::from_millis(100), ..settings() });
    let first = it.writes();
    for _ in 0..40 {
        it.writes();
        it.answered(Answer::Unknown);
    }
    it.writes();
    it.answered(Answer::Conflict);
    it.reads(shown(&first, 101));
    assert!(it.leads(), "at {} ms", it.now);
}

#[test]
fn a_creation_counts_although_an_older_state_with_the_own_record_is_seen_before_its_answer() {
    let (mut it, before) = Scenario::leader_with_write(settings());
    it.writes();
    it.answered(Answer::Absent);
    it.reads(Sight::MISSING);
    let create = it.writes();
    assert_eq!(create.base, None);
    it.watches(2_010, shown(&before, 101));
    it.answered(Answer::Seen(in_another_object(shown(&create, 103))));
    assert_eq!((it.leads(), it.token()), (true, Some(103)));
}
