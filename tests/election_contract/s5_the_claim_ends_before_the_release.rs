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
fn a_lapse_during_the_delay_does_not_hurry_the_release() {
    let mut it = Scenario::leader(delayed());
    it.happens_at(5_000, Event::Stop);
    while it.now < 9_999 {
        let request = it.asks();
        let release = matches!(request.call, Call::Write(Write { purpose: Purpose::Release, .. }));
        assert!(!release || it.now >= 10_000, "released at {} ms, while what it started still runs", it.now);
        it.answered_at(it.now + 1, Answer::Unknown);
    }
}

#[test]
fn a_stop_just_after_a_lapse_waits_as_well() {
    let mut it = Scenario::leader(delayed());
    it.happens_at(6_001, Event::Stop);
    assert!(!it.output.finished);
    let released = matches!(it.output.request, Some(Request { call: Call::Write(_), .. }));
    assert!(!released, "released while what was stopped at 6 s still runs");
}
