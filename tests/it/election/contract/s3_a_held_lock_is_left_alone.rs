use super::*;

#[test]
fn it_is_taken_when_its_own_longer_lease_has_run_out() {
    let mut it = Scenario::new(settings());
    it.happens(Event::WatchClosed);
    it.reads(held(50, "other", 60, 1));
    it.reads_until_it_writes(&held(50, "other", 60, 1));
    assert_eq!(it.now, 60_000);
}

#[test]
fn it_is_taken_when_our_longer_lease_has_run_out() {
    let mut it = Scenario::that_sees(held(50, "other", 1, 1));
    it.now = 9_999;
    it.happens(Event::Tick);
    it.reads_until_it_writes(&held(50, "other", 1, 1));
    assert_eq!(it.now, 10_000);
}

#[test]
fn writes_to_other_fields_neither_extend_nor_shorten_the_lease() {
    let mut it = Scenario::that_sees(held(50, "other", 10, 1));
    for n in 1..=9 {
        it.watches(n * 1_000, held(50 + n, "other", 10, 1));
    }
    let write = it.writes();
    assert_eq!(it.now, 10_000);
    assert_eq!(write.base.map(|base| base.resource_version), Some(59));
}

#[test]
fn a_renewal_of_any_form_extends_it() {
    let mut it = Scenario::that_sees(held(50, "other", 10, 1));
    let mut renewed = held(51, "other", 10, 1);
    let Content::Record(record) = &mut renewed.content else { panic!() };
    record.renewed = Stamp::Text("just now".into());
    it.watches(9_000, renewed.clone());
    it.reads_until_it_writes(&renewed);
    assert_eq!(it.now, 19_000);
}

#[test]
fn a_free_lock_is_taken_at_the_moment_it_is_seen() {
    let mut it = Scenario::that_sees(held(50, "other", 10, 1));
    it.watches(300, held(51, "", 1, 2));
    let write = it.writes();
    assert_eq!((it.now, write.record.transitions), (300, 4));
}

#[test]
fn an_absent_record_is_free_only_for_a_candidate_that_never_saw_a_holder() {
    let mut it = Scenario::that_sees(Sight::MISSING);
    it.writes();
    assert_eq!(it.now, 0);

    for gone in [Sight::MISSING, without_record(51)] {
        let mut it = Scenario::that_sees(held(50, "other", 20, 1));
        it.happens_at(300, Event::Watched { resource_version: 51, sight: gone });
        it.writes();
        assert_eq!(it.now, 20_300);
    }
}

#[test]
fn the_holder_writes_a_removed_record_again_during_its_claim() {
    let mut it = Scenario::leader(settings());
    it.sees_deletion(1_000, 101);
    assert!(it.leads());
    let write = it.writes();
    assert_eq!((it.now, write.base.clone()), (1_000, None));
    it.acknowledged(&write, 102);
    assert_eq!(it.token(), Some(102));
}

#[test]
fn repeated_removals_do_not_cause_a_tight_loop_of_writes() {
    let mut it = Scenario::leader(settings());
    let (mut resource_version, mut writes) = (100, 0);
    while it.now < 5_000 && writes < 100 {
        it.watches(it.now, without_record(resource_version + 1));
        let write = it.writes();
        it.acknowledged(&write, resource_version + 2);
        (resource_version, writes) = (resource_version + 2, writes + 1);
    }
    assert!(writes <= 7, "{writes} writes in five seconds"); // one at once, then one per interval
}

#[test]
fn the_same_record_by_another_write_or_in_another_object_is_a_new_one() {
    let seen = || marked(held(50, ME, 10, 1), 2, None);
    let by_another = marked(held(51, ME, 10, 1), 3, None);
    let elsewhere = in_another_object(marked(held(51, ME, 10, 1), 2, None));
    let by_hand = || held(50, ME, 10, 1);
    for (seen, changed) in [(seen(), by_another.clone()), (seen(), elsewhere), (by_hand(), by_another)] {
        let mut it = Scenario::that_sees(seen);
        it.watches(1_000, changed.clone());
        it.reads_until_it_writes(&changed);
        assert_eq!(it.now, 11_000);
    }
}

/// When it writes after it has seen these sights, 100 ms apart.
fn written_at(sights: &[Sight]) -> u64 {
    let mut it = Scenario::new(settings());
    it.reads(sights[0].clone());
    for (n, sight) in sights.iter().enumerate().skip(1) {
        it.watches(100 * n as u64, sight.clone());
    }
    it.reads_until_it_writes(&sights[sights.len() - 1]);
    it.now
}

#[test]
fn a_holder_whose_record_was_removed_is_waited_for_whatever_replaces_it() {
    let removed = || held(50, "other", 20, 1);
    assert_eq!(written_at(&[removed(), without_record(51), held(52, "", 1, 2)]), 20_100);
    assert_eq!(written_at(&[removed(), without_record(51), held(52, "third", 1, 2)]), 20_100);
    assert_eq!(written_at(&[removed(), in_another_object(held(51, "", 1, 2))]), 20_100);
    // The removal of a second record with a shorter lease does not shorten the wait.
    let twice = [held(50, "other", 60, 1), without_record(51), held(52, "third", 1, 2), without_record(53)];
    assert_eq!(written_at(&twice), 60_100);
    // At least for the own lease, because a shorter one may have been edited into the record.
    assert_eq!(written_at(&[held(50, "other", 1, 1), without_record(51), held(52, "", 1, 2)]), 10_100);
}

/// After its term another candidate may have taken the lock, and this candidate may have missed it.
#[test]
fn a_candidate_whose_old_record_was_removed_waits_too() {
    let free_elsewhere = in_another_object(held(200, "", 1, 2));
    for (seen_at, written_at) in [(5_000, 5_000), (20_000, 30_000)] {
        let mut it = Scenario::leader(settings());
        it.happens_at(seen_at, Event::Watched { resource_version: 200, sight: free_elsewhere.clone() });
        while it.now < written_at || it.asks().call == Call::Read {
            match it.asks().call {
                Call::Read => it.reads(free_elsewhere.clone()),
                Call::Write(write) if write.base == free_elsewhere.version => break,
                Call::Write(_) => it.answered(Answer::Conflict),
            }
        }
        assert_eq!(it.now, written_at, "seen at {seen_at} ms");
        assert_eq!(it.writes().purpose, Purpose::Acquire);
    }
}

#[test]
fn after_two_removed_records_the_longer_lease_is_waited_for() {
    let mut it = Scenario::that_sees(held(50, "long", 60, 1));
    it.happens_at(1_000, Event::Watched { resource_version: 51, sight: Sight::MISSING });
    it.watches(2_000, held(52, "short", 1, 1));
    it.happens_at(3_000, Event::Watched { resource_version: 53, sight: Sight::MISSING });
    it.watches(4_000, held(54, "", 1, 1));
    it.reads_until_it_writes(&held(54, "", 1, 1));
    assert_eq!(it.now, 61_000);
}

/// In this time a leader whose lock was just deleted writes it again.
#[test]
fn a_lock_that_was_never_seen_is_created_after_the_creation_delay() {
    let mut it = Scenario::new(Settings { creation_delay: ms(250), ..settings() });
    it.now = 1_000;
    it.reads(Sight::MISSING);
    it.happens_at(1_249, Event::Tick);
    assert_eq!(it.request, None);
    assert_eq!((it.writes().purpose, it.now), (Purpose::Acquire, 1_250));
}

#[test]
fn a_leader_whose_lock_was_created_again_without_a_record_writes_it_at_once() {
    let mut it = Scenario::leader(settings());
    it.sees_deletion(1_000, 101);
    assert_eq!(it.writes().base, None);
    it.answered(Answer::Conflict);
    it.reads(without_record(102));
    assert_eq!((it.writes().purpose, it.now), (Purpose::Acquire, 1_000));
}
