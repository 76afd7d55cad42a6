use super::*;

fn acts_at(sight: Sight, sole_instance: bool) -> u64 {
    let mut it = Scenario::new(settings());
    it.happens(Event::SoleInstance(sole_instance));
    it.reads(sight.clone());
    it.reads_until_it_writes(&sight);
    it.now
}

#[test]
fn it_is_taken_at_once_only_when_its_writer_is_provably_dead() {
    let elsewhere = Host { network: "elsewhere".into(), ..host() };
    let dead = || marked(held(50, ME, 10, 1), 2, Some(host()));
    assert_eq!(acts_at(dead(), true), 0);
    assert_eq!(acts_at(dead(), false), 10_000);
    assert_eq!(acts_at(held(50, ME, 10, 1), true), 10_000);
    assert_eq!(acts_at(marked(held(50, ME, 10, 1), 2, None), true), 10_000);
    assert_eq!(acts_at(marked(held(50, ME, 10, 1), 1, Some(host())), true), 10_000);
    assert_eq!(acts_at(marked(held(50, ME, 10, 1), 2, Some(elsewhere)), true), 10_000);
    assert_eq!(acts_at(marked(held(50, "other", 10, 1), 2, Some(host())), true), 10_000);
    // A mark that belongs to an earlier record proves nothing.
    let left_behind = Sight { mark: dead().mark, ..held(51, ME, 10, 2) };
    assert_eq!(acts_at(left_behind, true), 10_000);
    // Nor does the mark of another candidate in the same network namespace, if somebody put this name into its record
    // by hand.
    let renamed = Sight { mark: marked(held(50, "other", 10, 1), 2, Some(host())).mark, ..held(51, ME, 10, 1) };
    assert_eq!(acts_at(renamed, true), 10_000);
}

#[test]
fn a_mark_says_where_only_when_nobody_else_can_be_there() {
    let mut it = Scenario::that_sees(Sight::MISSING);
    assert_eq!(it.writes().mark.host, None);
    let mut it = Scenario::new(settings());
    it.happens(Event::SoleInstance(true));
    it.reads(Sight::MISSING);
    assert_eq!(it.writes().mark.host, Some(host()));
}

#[test]
fn a_clone_is_reported_and_never_named_as_another_leader() {
    let it = Scenario::that_sees(held(50, ME, 10, 1));
    assert!(it.machine().name_is_taken());
    assert_eq!(it.machine().other(), None);
}

#[test]
fn a_dead_writer_in_a_new_object_does_not_free_the_one_who_held_the_old_object() {
    let mut it = Scenario::new(settings());
    it.happens(Event::SoleInstance(true));
    it.reads(held(50, "other", 20, 1));
    let replaced = in_another_object(marked(held(60, ME, 10, 2), 2, Some(host())));
    it.watches(1_000, replaced.clone());
    it.reads_until_it_writes(&replaced);
    assert_eq!(it.now, 21_000);
}

/// It may have claimed to lead until just now, and nobody else may lead for L - D after that.
#[test]
fn the_lock_of_a_dead_predecessor_is_kept_for_its_claim_even_after_a_stop() {
    for stop_before_the_answer in [true, false] {
        let mut it = Scenario::new(settings());
        it.happens(Event::SoleInstance(true));
        it.reads(marked(held(50, ME, 10, 1), 2, Some(host())));
        let write = it.writes();
        if stop_before_the_answer {
            it.happens_at(10, Event::Stop);
            it.acknowledged(&write, 51);
        } else {
            it.answered_at(10, Answer::Unknown);
            it.happens_at(20, Event::Stop);
            it.reads(shown(&write, 51));
        }
        assert!(!it.leads());
        while it.writes().purpose != Purpose::Release {
            let renewal = it.writes();
            it.acknowledged(&renewal, 52 + it.now);
        }
        assert!(it.now >= 4_000, "released after {} ms", it.now);
    }
}

#[test]
fn a_stop_ends_in_time_although_nothing_can_be_learned_of_the_lock_of_a_dead_predecessor() {
    let mut it = Scenario::new(settings());
    it.happens(Event::SoleInstance(true));
    it.reads(marked(held(50, ME, 10, 1), 2, Some(host())));
    it.writes();
    for _ in 0..10 {
        it.asks();
        it.answered_at(it.now + 10, Answer::Unknown);
    }
    it.happens_at(it.now + 10, Event::Stop);
    let limit = it.now + 1_400;
    while !it.output.finished {
        if it.request.is_some() {
            it.answered_at(it.now + 10, Answer::Unknown);
        } else {
            let deadline = it.output.deadline.expect("it waits for nothing");
            it.happens_at(deadline.uptime().as_millis() as u64, Event::Tick);
        }
        assert!(it.now <= limit, "it goes on at {} ms", it.now);
    }
}

/// It took the lock from another holder while it lived, and has released it.
#[test]
fn a_living_clone_that_released_the_lock_is_not_waited_for() {
    let mut it = Scenario::new(settings());
    it.happens(Event::SoleInstance(false));
    it.reads(held(100, "other", 20, 1));
    it.watches(1_000, marked(held(101, ME, 10, 2), 9, Some(host())));
    it.watches(2_000, held(102, "", 10, 2));
    assert_eq!((it.writes().purpose, it.now), (Purpose::Acquire, 2_000));
}

#[test]
fn a_dead_writers_record_put_back_does_not_free_the_one_who_held_the_lock() {
    let put_back = marked(held(102, ME, 10, 2), 9, Some(host()));
    for between in [None, Some(unreadable(101))] {
        let mut it = Scenario::new(settings());
        it.happens(Event::SoleInstance(true));
        it.reads(held(100, "other", 20, 1));
        if let Some(between) = between {
            it.watches(900, between);
        }
        it.watches(1_000, put_back.clone());
        it.reads_until_it_writes(&put_back);
        assert_eq!(it.now, 21_000);
    }
}

#[test]
fn a_dead_writers_record_put_back_does_not_free_the_lock_when_the_socket_is_obtained_later() {
    let put_back = marked(held(102, ME, 10, 2), 9, Some(host()));
    let mut it = Scenario::new(settings());
    it.happens(Event::SoleInstance(false));
    it.reads(held(100, "other", 20, 1));
    it.watches(1_000, put_back.clone());
    it.happens(Event::SoleInstance(true));
    it.reads_until_it_writes(&put_back);
    assert_eq!(it.now, 21_000);
}

#[test]
fn a_dead_writers_record_that_was_put_back_and_deleted_does_not_shorten_the_wait_for_the_holder_before_it() {
    for sole_instance in [false, true] {
        let mut it = Scenario::new(settings());
        it.happens(Event::SoleInstance(sole_instance));
        it.reads(held(100, "other", 20, 1));
        it.watches(1_000, marked(held(102, ME, 10, 2), 9, Some(host())));
        it.sees_deletion(2_000, 103);
        it.reads_until_it_writes(&Sight::MISSING);
        assert_eq!(it.now, 21_000, "sole instance: {sole_instance}");
    }
}
