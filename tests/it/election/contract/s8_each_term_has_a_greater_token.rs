use super::*;

#[test]
fn renewals_keep_the_token_and_a_new_term_has_its_own() {
    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.acknowledged(&renewal, 101);
    assert_eq!(it.token(), Some(100));
    it.happens_at(9_000, Event::Tick);
    let next = it.writes();
    it.acknowledged(&next, 102);
    assert_eq!(it.token(), Some(102));
}
