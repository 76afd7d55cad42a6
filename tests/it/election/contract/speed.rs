use super::*;

#[test]
fn renewals_are_sent_every_r_counted_from_the_last_sending() {
    let mut it = Scenario::leader(settings());
    for n in 1..=3 {
        let renewal = it.writes();
        assert_eq!(it.now, 2_000 * n);
        it.now += 700;
        it.acknowledged(&renewal, 100 + n);
    }
}

#[test]
fn two_hung_requests_in_a_row_do_not_cost_the_leadership() {
    let mut it = Scenario::leader(settings());
    for _ in 0..2 {
        it.writes();
        it.answered_at(it.now + 1_800, Answer::Unknown);
    }
    let third = it.writes();
    assert!(it.leads());
    it.acknowledged(&third, 101);
    assert!(it.leads_at(it.now + 5_999));
}

#[test]
fn a_request_that_never_ends_is_given_up() {
    let mut it = Scenario::that_sees(Sight::MISSING);
    let first = it.asks().number;
    it.request = None;
    assert!(it.asks().number > first);
    assert_eq!(it.now, 2_700);
}

#[test]
fn a_follower_of_a_renewing_holder_sends_no_request() {
    let mut it = Scenario::that_sees(held(50, "other", 10, 1));
    for n in 1..=20 {
        it.watches(n * 3_000, held(50 + n, "other", 10, 1 + n as i64));
        assert_eq!(it.request, None);
    }
}

#[test]
fn a_silent_watch_is_checked_with_one_read_and_reopened_if_it_missed_something() {
    let mut it = Scenario::that_sees(held(50, "other", 10, 1));
    it.reads(held(51, "other", 10, 2));
    assert_eq!((it.now, it.output.reopen_watch), (5_800, true));
    it.reads(held(51, "other", 10, 2));
    assert_eq!((it.now, it.output.reopen_watch), (11_600, false));
}

#[test]
fn a_loser_of_a_race_that_has_seen_the_winner_does_not_read() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    it.writes();
    it.watches(1, held(51, "other", 10, 2));
    it.answered(Answer::Conflict);
    assert_eq!(it.request, None);
}

#[test]
fn the_end_of_a_watch_does_not_cause_a_read_at_once() {
    let mut it = Scenario::that_sees(held(50, "other", 10, 1));
    it.happens_at(5_000, Event::WatchClosed);
    assert_eq!(it.request, None);
    it.happens_at(5_500, Event::WatchClosed); // a second one does not delay the read
    assert_eq!((it.asks().call, it.now), (Call::Read, 7_000));
}

#[test]
fn a_watch_that_reopens_and_shows_nothing_does_not_delay_reads_forever() {
    let mut it = Scenario::that_sees(held(50, "other", 60, 1));
    for n in 1..=20 {
        it.happens_at(n * 1_000, Event::WatchClosed);
        if it.request.is_some() {
            return assert!((5_800..=8_000).contains(&it.now), "at {} ms", it.now);
        }
        it.happens(Event::WatchOpened);
    }
    panic!("it never reads");
}

#[test]
fn failures_of_an_outage_do_not_lengthen_the_wait_after_a_refusal() {
    let mut it = Scenario::new(settings());
    for _ in 0..8 {
        it.asks();
        it.answered(Answer::Unknown);
    }
    it.asks();
    let sent = it.now;
    it.answered(Answer::Denied);
    it.asks();
    assert_eq!(it.now - sent, 2_000);
}

#[test]
fn refused_requests_are_repeated_with_growing_pauses_up_to_three_minutes() {
    let mut it = Scenario::new(settings());
    let mut waits = Vec::new();
    for _ in 0..9 {
        it.asks();
        let sent = it.now;
        it.answered(Answer::Denied);
        it.asks();
        waits.push((it.now - sent) / 1_000);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 180, 180]);
}

#[test]
fn retry_after_of_a_429_is_respected_whatever_the_lease() {
    let hours = |n: u64| ms(n * 3_600_000);
    let day = Settings {
        lease: hours(24),
        renew_deadline: hours(16),
        retry_period: hours(5),
        request_timeout: hours(1),
        ..settings()
    };
    for (settings, asked, waited) in [(settings(), 30, 30_000), (settings(), 900, 180_000), (day, 1, 5 * 3_600_000)] {
        let mut it = Scenario::new(settings);
        it.asks();
        it.answered(Answer::Busy(Some(Duration::from_secs(asked))));
        it.asks();
        assert_eq!(it.now, waited);
    }
}

#[test]
fn a_read_older_than_the_watch_is_ignored() {
    let mut it = Scenario::new(settings());
    it.asks();
    it.watches(5, held(60, "new", 10, 2));
    it.reads(held(50, "old", 10, 1));
    assert_eq!(it.machine().other().map(|other| other.identity), Some("new".into()));
}

#[test]
fn a_watch_ahead_of_the_server_is_reopened() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    it.writes();
    it.answered(Answer::Conflict);
    it.reads(held(40, "other", 10, 2));
    assert!(it.output.reopen_watch);
    it.watches(it.now + 1, held(41, "third", 10, 3));
    assert_eq!(it.machine().other().map(|other| other.identity), Some("third".into()));
}

#[test]
fn a_change_of_the_lock_ends_the_wait_after_a_refusal() {
    let mut it = Scenario::that_sees(held(50, "", 1, 1));
    it.writes();
    it.answered(Answer::Denied);
    it.watches(100, held(51, "", 1, 2));
    it.writes();
    assert_eq!(it.now, 100);
}
