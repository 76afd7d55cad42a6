use super::*;

fn taken_at(mut it: Scenario, resource_version: u64) -> u64 {
    it.reads_until_it_writes(&unreadable(resource_version));
    it.now
}

#[test]
fn for_the_longest_of_the_own_lease_and_the_last_one_read() {
    assert_eq!(taken_at(Scenario::that_sees(unreadable(50)), 50), 10_000);
    let mut it = Scenario::that_sees(held(50, "other", 20, 1));
    it.watches(1_000, unreadable(51));
    assert_eq!(taken_at(it, 51), 21_000);
}

#[test]
fn the_holder_keeps_its_claim_until_f_without_a_busy_loop() {
    let mut it = Scenario::leader(Settings { renew_deadline: ms(9_000), ..settings() });
    it.watches(100, unreadable(101));
    while it.now < 8_000 {
        it.asks();
        let hung = it.output.deadline.unwrap_or(at(it.now + 1));
        it.happens_at(hung.uptime().as_millis() as u64, Event::Tick);
    }
    assert!(it.leads_at(8_999) && !it.leads_at(9_000));
}

#[test]
fn it_counts_as_held_after_it_is_gone_too() {
    for gone in [Sight::MISSING, without_record(51), held(51, "", 1, 2)] {
        let mut it = Scenario::that_sees(unreadable(50));
        it.happens_at(300, Event::Watched { resource_version: 51, sight: gone.clone() });
        it.reads_until_it_writes(&gone);
        assert_eq!(it.now, 10_300, "after {gone:?}");
    }
}
