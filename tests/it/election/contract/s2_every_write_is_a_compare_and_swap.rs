use super::*;

#[test]
fn a_write_names_the_version_it_replaces() {
    let mut it = Scenario::leader(settings());
    let version = |resource_version| Some(Version { uid: "uid".into(), resource_version });
    assert_eq!(it.writes().base, version(100));
    let renewal = it.writes();
    it.acknowledged(&renewal, 105);
    assert_eq!(it.writes().base, version(105));
}

#[test]
fn an_answer_with_the_old_resource_version_or_another_uid_is_no_acknowledgement() {
    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.acknowledged(&renewal, 100);
    assert!(!it.leads_at(6_000));

    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.answered(Answer::Seen(in_another_object(shown(&renewal, 101))));
    assert!(!it.leads_at(6_000));
}

#[test]
fn every_stamp_is_above_the_one_before_though_the_wall_clock_stands_still_or_goes_back() {
    let mut it = Scenario::leader(settings());
    let mut last = Stamp::Micros(7);
    for n in 0..3 {
        it.wall_micros -= 5;
        let renewal = it.writes();
        let (Stamp::Micros(before), Stamp::Micros(now)) = (&last, &renewal.record.renewed) else { panic!() };
        assert!(before < now);
        last = renewal.record.renewed.clone();
        it.acknowledged(&renewal, 101 + n);
    }
}

#[test]
fn a_takeover_differs_from_a_record_with_the_same_stamp() {
    let mut it = Scenario::that_sees(held(50, "", 1, 7));
    assert_eq!(it.writes().record.renewed, Stamp::Micros(8));
}

#[test]
fn the_lease_in_the_record_is_rounded_up() {
    assert_eq!([300, 1_000, 2_001].map(|lease| whole_seconds(ms(lease))), [1, 1, 3]);
}

#[test]
fn a_renewal_keeps_the_moment_of_acquisition_and_the_transitions() {
    let mut it = Scenario::leader(settings());
    let Some(Content::Record(first)) = it.machine().lock().map(|lock| lock.content.clone()) else { panic!() };
    let renewal = it.writes().record;
    assert_eq!((renewal.acquired, renewal.transitions), (first.acquired, first.transitions));
}
