use super::*;

#[test]
fn it_frees_the_lock_and_finishes() {
    let mut it = Scenario::leader(settings());
    it.happens_at(500, Event::Stop);
    let release = it.writes();
    assert_eq!((it.now, release.purpose), (500, Purpose::Release));
    assert!(release.record.is_free());
    assert_eq!(release.base.as_ref().map(|base| base.resource_version), Some(100));
    it.acknowledged(&release, 101);
    assert!(it.output.finished && !it.leads());
}

#[test]
fn a_follower_has_nothing_to_release() {
    let mut it = Scenario::that_sees(held(50, "other", 10, 1));
    it.happens_at(500, Event::Stop);
    assert!(it.output.finished && it.request.is_none());
}

#[test]
fn nothing_is_released_after_a_foreign_holder_was_seen() {
    let mut it = Scenario::leader(settings());
    it.watches(400, held(101, "other", 10, 1));
    it.happens_at(500, Event::Stop);
    assert!(it.output.finished && it.request.is_none());
}

#[test]
fn a_release_in_doubt_is_read_back_and_tried_again() {
    let mut it = Scenario::leader(settings());
    let mine = it.machine().lock().cloned().expect("a leader knows the lock");
    it.happens_at(500, Event::Stop);
    it.answered(Answer::Unknown);
    it.reads(mine);
    let again = it.writes();
    assert_eq!(again.purpose, Purpose::Release);
    it.answered(Answer::Unknown);
    it.reads(shown(&again, 101));
    assert!(it.output.finished);
}

#[test]
fn a_release_that_never_gets_through_ends_after_two_seconds() {
    let mut it = Scenario::leader(settings());
    it.happens_at(500, Event::Stop);
    while !it.output.finished {
        it.request = None; // hung
        let deadline = it.output.deadline.expect("it has not finished");
        it.happens_at(deadline.uptime().as_millis() as u64, Event::Tick);
    }
    assert!(it.now <= 2_500);
}

#[test]
fn a_renewal_under_way_at_the_stop_does_not_keep_the_lock() {
    let mut it = Scenario::leader(settings());
    let renewal = it.writes();
    it.happens(Event::Stop);
    assert_eq!(it.writes().purpose, Purpose::Release);
    it.answered(Answer::Conflict); // the renewal was first
    it.reads(shown(&renewal, 101));
    let release = it.writes();
    assert_eq!(release.base.as_ref().map(|base| base.resource_version), Some(101));
    it.acknowledged(&release, 102);
    assert!(it.output.finished);
}

#[test]
fn a_takeover_under_way_at_the_stop_is_released_only_once_it_is_seen() {
    let free = || held(50, "", 1, 1);
    let mut it = Scenario::that_sees(free());
    let takeover = it.writes();
    it.happens_at(100, Event::Stop);
    it.reads(free());
    it.reads(shown(&takeover, 51));
    assert!(!it.leads());
    let release = it.writes();
    assert_eq!((release.purpose, release.base.map(|base| base.resource_version)), (Purpose::Release, Some(51)));
}
