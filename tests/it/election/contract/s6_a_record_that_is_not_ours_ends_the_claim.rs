use super::*;

#[test]
fn a_foreign_holder_and_the_own_name_of_another_process_alike() {
    for holder in ["other", ME] {
        let mut it = Scenario::leader(settings());
        it.watches(500, held(101, holder, 10, 1));
        assert!(!it.leads());
    }
}

#[test]
fn after_a_conflict_the_lock_is_read_at_once_and_the_claim_is_kept() {
    for refusal in [Answer::Conflict, Answer::Absent] {
        let mut it = Scenario::leader(settings());
        it.writes();
        it.answered(refusal);
        assert!(it.leads());
        assert_eq!((it.asks().call, it.now), (Call::Read, 2_000));
        it.answered(Answer::Seen(held(102, "other", 10, 1)));
        assert!(!it.leads());
    }
}

#[test]
fn after_somebody_wrote_another_field_the_renewal_goes_out_again_at_once() {
    let mut it = Scenario::leader(settings());
    let mine = it.machine().lock().cloned().expect("a leader knows the lock");
    it.writes();
    it.answered(Answer::Conflict);
    it.reads(Sight { version: Some(Version { uid: "uid".into(), resource_version: 101 }), ..mine });
    let again = it.writes();
    assert_eq!(it.now, 2_000);
    it.acknowledged(&again, 102);
    assert_eq!((it.token(), it.leads_at(7_999)), (Some(100), true));
}

#[test]
fn a_watch_event_older_than_the_acknowledged_write_is_ignored() {
    let mut it = Scenario::leader(settings());
    it.watches(500, held(99, "other", 10, 1));
    assert!(it.leads());
}

#[test]
fn a_copy_of_the_own_record_in_another_object_is_not_ours() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    it.watches(1_000, in_another_object(shown(&write, 102)));
    assert!(!it.leads());
}

#[test]
fn a_wrong_404_does_not_lose_the_acknowledged_record() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    it.writes();
    it.answered(Answer::Absent);
    it.reads(Sight::MISSING);
    assert_eq!(it.writes().base, None);
    it.answered(Answer::Conflict);
    it.reads(shown(&write, 100));
    assert_eq!((it.leads(), it.token()), (true, Some(100)));
    assert_eq!(it.writes().purpose, Purpose::Renew { fencing_token: 100 });
}

#[test]
fn a_wrong_404_does_not_lose_the_own_record_either_if_somebody_has_taken_out_its_mark() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    let unmarked = |resource_version| Sight { mark: None, ..shown(&write, resource_version) };
    it.watches(1_000, unmarked(101));
    it.writes();
    it.answered(Answer::Absent);
    it.reads(Sight::MISSING);
    assert_eq!(it.writes().base, None);
    it.answered(Answer::Conflict);
    it.reads(unmarked(101));
    assert_eq!((it.leads(), it.token()), (true, Some(100)));
    assert_eq!(it.writes().purpose, Purpose::Renew { fencing_token: 100 });
}

#[test]
fn the_same_record_by_another_process_ends_it_also_after_somebody_has_taken_out_the_own_mark() {
    let (mut it, write) = Scenario::leader_with_write(settings());
    let unmarked = |resource_version| Sight { mark: None, ..shown(&write, resource_version) };
    it.watches(1_000, unmarked(101));
    it.watches(1_100, unmarked(102));
    assert!(it.leads());
    it.watches(1_200, marked(unmarked(103), 3, None));
    assert!(!it.leads());
}
