use super::*;

#[test]
fn f_counts_from_sending_and_not_from_the_answer() {
    let mut it = Scenario::new(settings());
    it.reads(Sight::MISSING);
    let write = it.writes();
    it.now = 1_500;
    it.acknowledged(&write, 100);
    assert!(it.leads_at(5_999));
    assert!(!it.leads_at(6_000));
}

#[test]
fn an_acquisition_acknowledged_after_its_own_f_is_no_leadership() {
    let mut it = Scenario::new(settings());
    it.reads(Sight::MISSING);
    let write = it.writes();
    it.now = 6_000;
    it.acknowledged(&write, 100);
    assert!(!it.leads());
}

#[test]
fn a_term_that_has_ended_is_not_revived_by_its_renewal() {
    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.now = 6_000;
    it.acknowledged(&renewal, 101);
    assert!(!it.leads(), "the renewal was of a term that ended at 6 s");
    let next = it.writes();
    assert_eq!((it.now, next.purpose), (6_000, Purpose::Acquire));
    it.acknowledged(&next, 102);
    assert_eq!(it.token(), Some(102));
}

#[test]
fn a_renewal_in_doubt_at_f_is_read_back_before_the_next_term() {
    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.answered_at(5_900, Answer::Unknown);
    it.writes();
    it.answered(Answer::Unknown);
    it.happens_at(6_000, Event::Tick);
    it.reads(shown(&renewal, 101));
    assert!(!it.leads());
    assert_eq!(it.writes().purpose, Purpose::Acquire);
}
