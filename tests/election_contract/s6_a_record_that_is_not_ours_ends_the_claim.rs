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
fn a_conflict_is_read_at_once_and_the_claim_stands_meanwhile() {
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
fn a_watch_that_lags_behind_the_acknowledged_write_is_not_believed() {
    let mut it = Scenario::leader(settings());
    it.watches(500, held(99, "other", 10, 1));
    assert!(it.leads());
}
