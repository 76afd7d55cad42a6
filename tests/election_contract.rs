//! The contract of the election, S1 to S10, and its speed: one candidate, driven event by event.
//!
//! Times are milliseconds of the candidate's clock. It has L = 10 s, D = 6 s, R = 2 s and T = 1.8 s.

use leader_elector::election::{
    Answer, Call, Election, Event, Moment, Output, Purpose, Request, Settings, Sight, Version, Write, whole_seconds,
};
use leader_elector::record::{Content, Mark, Place, Record, Stamp};
use std::time::Duration;

const ME: &str = "me";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn place() -> Place {
    Place { boot: "boot".into(), network: "network".into() }
}

fn settings() -> Settings {
    Settings {
        identity: ME.into(),
        process: 1,
        place: Some(place()),
        lease: ms(10_000),
        renew_deadline: ms(6_000),
        retry_period: ms(2_000),
        request_timeout: ms(1_800),
        release_delay: Duration::ZERO,
    }
}

/// One candidate, its clock, and what it asked for last.
struct Scenario {
    machine: Election,
    now: u64,
    wall_micros: i64,
    output: Output,
    request: Option<Request>,
    steps: u32,
}

impl Scenario {
    fn new(settings: Settings) -> Scenario {
        let machine = Election::new(settings);
        let mut new = Scenario { machine, now: 0, wall_micros: 7, output: Output::default(), request: None, steps: 0 };
        new.happens(Event::WatchOpened);
        new
    }

    /// A candidate that has just seen this.
    fn that_sees(sight: Sight) -> Scenario {
        let mut new = Scenario::new(settings());
        new.reads(sight);
        new
    }

    /// A leader since 0 ms, with fencing token 100.
    fn leader(settings: Settings) -> Scenario {
        let mut new = Scenario::new(settings);
        new.reads(Sight::MISSING);
        let write = new.writes();
        new.acknowledged(&write, 100);
        assert!(new.leads());
        new
    }

    fn happens(&mut self, event: Event) {
        self.steps += 1;
        assert!(self.steps < 1_000, "it goes on without end");
        let moment = Moment { now: ms(self.now), wall_micros: self.wall_micros, jitter: 0.0 };
        self.output = self.machine.step(moment, event);
        if let Some(deadline) = self.output.deadline {
            assert!(deadline > ms(self.now), "it asks to be called again at once");
        }
        self.request = self.output.request.clone().or(self.request.take());
    }

    fn happens_at(&mut self, now: u64, event: Event) {
        self.now = now;
        self.happens(event);
    }

    /// The request under way, or the next one that comes with time alone.
    fn asks(&mut self) -> Request {
        for _ in 0..100 {
            if let Some(request) = &self.request {
                return request.clone();
            }
            let deadline = self.output.deadline.expect("it waits for nothing, and would never ask again");
            self.happens_at(deadline.as_millis() as u64, Event::Tick);
        }
        panic!("it asks for nothing, a hundred times");
    }

    fn writes(&mut self) -> Write {
        match self.asks().call {
            Call::Write(write) => write,
            Call::Read => panic!("it reads at {} ms", self.now),
        }
    }

    fn answered(&mut self, answer: Answer) {
        let request = self.request.take().expect("nothing was asked").number;
        self.happens(Event::Answered { request, answer });
    }

    fn answered_at(&mut self, now: u64, answer: Answer) {
        self.now = now;
        self.answered(answer);
    }

    /// The next request is a read, and shows this.
    fn reads(&mut self, sight: Sight) {
        assert_eq!(self.asks().call, Call::Read, "at {} ms", self.now);
        self.answered(Answer::Seen(sight));
    }

    fn acknowledged(&mut self, write: &Write, resource_version: u64) {
        self.answered(Answer::Seen(shown(write, resource_version)));
    }

    fn watches(&mut self, now: u64, sight: Sight) {
        let resource_version = sight.version.as_ref().expect("a deletion has no version").resource_version;
        self.happens_at(now, Event::Watched { resource_version, sight });
    }

    fn sees_deletion(&mut self, now: u64, resource_version: u64) {
        self.happens_at(now, Event::Watched { resource_version, sight: Sight::MISSING });
    }

    fn leads(&self) -> bool {
        self.machine.claim().is_some_and(|claim| ms(self.now) < claim.until)
    }

    fn leads_at(&self, now: u64) -> bool {
        self.machine.claim().is_some_and(|claim| ms(now) < claim.until)
    }

    fn token(&self) -> Option<u64> {
        self.machine.claim().map(|claim| claim.fencing_token)
    }
}

/// The lock as it is after this write.
fn shown(write: &Write, resource_version: u64) -> Sight {
    let version = Some(Version { uid: "uid".into(), resource_version });
    Sight { version, content: Content::Record(write.record.clone()), mark: Some(write.mark.clone()) }
}

/// A record that somebody wrote: who, for how long, and when.
fn held(resource_version: u64, holder: &str, lease_seconds: u32, stamp: i64) -> Sight {
    let record = Record {
        holder: holder.into(),
        lease_seconds,
        acquired: Stamp::Micros(1),
        renewed: Stamp::Micros(stamp),
        transitions: 3,
    };
    let version = Some(Version { uid: "uid".into(), resource_version });
    Sight { version, content: Content::Record(record), mark: None }
}

fn unreadable(resource_version: u64) -> Sight {
    let content = Content::Unreadable { text: "{".into(), why: "it is not JSON" };
    Sight { content, ..held(resource_version, "", 1, 0) }
}

fn without_record(resource_version: u64) -> Sight {
    Sight { content: Content::Nothing, ..held(resource_version, "", 1, 0) }
}

/// The same record, written by a process whose mark says where it ran.
fn marked(sight: Sight, process: u128, place: Option<Place>) -> Sight {
    let Content::Record(record) = &sight.content else { panic!("nothing to mark") };
    let mark = Some(Mark { process, write: 1, renewed: record.renewed.clone(), place });
    Sight { mark, ..sight }
}

mod s1_a_claim_ends_at_f {
    use super::*;

    #[test]
    fn f_counts_from_the_sending_and_not_from_the_answer() {
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
    fn a_term_that_lapsed_does_not_come_back_with_its_renewal() {
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
}

mod s2_every_write_is_a_compare_and_swap {
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
        let version = Some(Version { uid: "another".into(), resource_version: 101 });
        it.answered(Answer::Seen(Sight { version, ..shown(&renewal, 101) }));
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
    fn a_takeover_differs_from_a_record_that_bears_the_very_same_stamp() {
        let mut it = Scenario::that_sees(held(50, "", 1, 7));
        assert_eq!(it.writes().record.renewed, Stamp::Micros(8));
    }

    #[test]
    fn the_lease_on_the_wire_is_rounded_up() {
        assert_eq!([300, 1_000, 2_001].map(|lease| whole_seconds(ms(lease))), [1, 1, 3]);
    }

    #[test]
    fn a_renewal_keeps_the_moment_of_acquisition_and_the_transitions() {
        let mut it = Scenario::leader(settings());
        let Some(Content::Record(first)) = it.machine.lock().map(|lock| lock.content.clone()) else { panic!() };
        let renewal = it.writes().record;
        assert_eq!((renewal.acquired, renewal.transitions), (first.acquired, first.transitions));
    }
}

mod s3_a_held_lock_is_left_alone {
    use super::*;

    #[test]
    fn it_is_taken_when_its_own_longer_lease_has_run_out() {
        let mut it = Scenario::new(settings());
        it.happens(Event::WatchClosed);
        it.reads(held(50, "other", 60, 1));
        while it.asks().call == Call::Read {
            it.reads(held(50, "other", 60, 1));
        }
        assert_eq!(it.now, 60_000);
    }

    #[test]
    fn it_is_taken_when_our_longer_lease_has_run_out() {
        let mut it = Scenario::that_sees(held(50, "other", 1, 1));
        it.now = 9_999;
        it.happens(Event::Tick);
        while it.asks().call == Call::Read {
            it.reads(held(50, "other", 1, 1));
        }
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
        while it.asks().call == Call::Read {
            it.reads(renewed.clone());
        }
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
    fn absence_is_free_to_who_never_saw_a_holder_and_a_held_lock_to_who_did() {
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
    fn the_holder_writes_a_lost_record_anew_while_its_claim_lasts() {
        let mut it = Scenario::leader(settings());
        it.sees_deletion(1_000, 101);
        assert!(it.leads());
        let write = it.writes();
        assert_eq!((it.now, write.base.clone()), (1_000, None));
        it.acknowledged(&write, 102);
        assert_eq!(it.token(), Some(102));
    }

    #[test]
    fn somebody_who_takes_the_record_away_each_time_does_not_make_it_write_without_pause() {
        let mut it = Scenario::leader(settings());
        let (mut resource_version, mut writes) = (100, 0);
        while it.now < 5_000 && writes < 100 {
            it.watches(it.now, without_record(resource_version + 1));
            let write = it.writes();
            it.acknowledged(&write, resource_version + 2);
            (resource_version, writes) = (resource_version + 2, writes + 1);
        }
        assert!(writes <= 7, "{writes} writes in five seconds"); // one at once, then one a pace
    }

    #[test]
    fn the_same_record_by_another_write_or_in_another_object_is_a_new_one() {
        let seen = || marked(held(50, ME, 10, 1), 2, None);
        let by_another = marked(held(51, ME, 10, 1), 3, None);
        let version = Some(Version { uid: "another".into(), resource_version: 51 });
        let in_another_object = Sight { version, ..seen() };
        for changed in [by_another, in_another_object] {
            let mut it = Scenario::that_sees(seen());
            it.watches(1_000, changed.clone());
            while it.asks().call == Call::Read {
                it.reads(changed.clone());
            }
            assert_eq!(it.now, 11_000);
        }
    }
}

mod s4_a_release_is_written_over_the_own_last_write {
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
        let mine = it.machine.lock().cloned().expect("a leader knows the lock");
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
            it.happens_at(deadline.as_millis() as u64, Event::Tick);
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
}

mod s5_the_claim_ends_before_the_release {
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
}

mod s6_a_record_that_is_not_ours_ends_the_claim {
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
        let mine = it.machine.lock().cloned().expect("a leader knows the lock");
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
}

mod s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen {
    use super::*;

    #[test]
    fn a_renewal_in_doubt_does_not_extend_the_claim() {
        let mut it = Scenario::leader(settings());
        it.writes();
        it.answered(Answer::Unknown);
        assert!(it.leads_at(5_999) && !it.leads_at(6_000));
    }

    #[test]
    fn a_renewal_read_back_counts_from_its_own_sending() {
        let mut it = Scenario::leader(settings());
        let first = it.writes();
        it.answered_at(3_000, Answer::Unknown);
        it.writes();
        it.answered_at(3_100, Answer::Conflict);
        it.reads(shown(&first, 101));
        assert!(it.leads_at(7_999) && !it.leads_at(8_000));
        assert_eq!(it.token(), Some(100));
    }

    #[test]
    fn an_acquisition_in_doubt_leads_only_once_it_was_read_back() {
        let mut it = Scenario::that_sees(held(50, "", 1, 1));
        let write = it.writes();
        it.answered(Answer::Unknown);
        assert!(!it.leads());
        it.reads(shown(&write, 51));
        assert_eq!((it.leads(), it.token()), (true, Some(51)));
    }

    #[test]
    fn a_takeover_that_arrives_after_its_base_was_read_once_more_is_still_ours() {
        let mut it = Scenario::that_sees(held(50, "other", 1, 1));
        while it.asks().call == Call::Read {
            it.reads(held(50, "other", 1, 1));
        }
        let late = it.writes();
        it.answered_at(11_000, Answer::Unknown);
        it.reads(held(50, "other", 1, 1));
        it.writes();
        it.answered(Answer::Conflict); // the first one was late, not lost
        it.reads(shown(&late, 51));
        assert_eq!((it.leads_at(15_999), it.leads_at(16_000)), (true, false));
        assert!(!it.machine.name_is_taken());
    }

    #[test]
    fn the_same_record_without_our_mark_is_not_ours() {
        let mut it = Scenario::that_sees(held(50, "", 1, 1));
        let write = it.writes();
        it.answered(Answer::Unknown);
        // A clone whose wall clock stands still as well wrote it; then somebody took the annotation away.
        it.reads(Sight { mark: None, ..shown(&write, 52) });
        assert!(!it.leads());
    }

    #[test]
    fn an_acknowledgement_overtaken_by_a_foreign_record_proves_nothing_and_shows_nothing() {
        let mut it = Scenario::that_sees(held(50, "", 1, 1));
        let write = it.writes();
        it.watches(100, held(52, "other", 10, 2));
        it.acknowledged(&write, 51);
        assert!(!it.leads());
        assert_eq!(it.machine.other().map(|other| other.identity), Some("other".into()));
    }

    #[test]
    fn a_write_seen_by_watch_needs_no_answer() {
        let mut it = Scenario::that_sees(held(50, "", 1, 1));
        let write = it.writes();
        it.watches(100, shown(&write, 51));
        assert!(it.leads_at(5_999) && !it.leads_at(6_000));
        it.answered(Answer::Unknown);
        assert_eq!(it.writes().purpose, Purpose::Renew { fencing_token: 51 });
        assert_eq!(it.now, 2_000);
    }

    #[test]
    fn a_refusal_leaves_no_doubt() {
        let mut it = Scenario::that_sees(held(50, "", 1, 1));
        it.writes();
        it.answered(Answer::Busy(None));
        it.happens_at(100, Event::Stop);
        assert!(it.output.finished);
    }

    #[test]
    fn a_conflict_with_the_own_write_sent_twice_on_the_way_costs_nothing() {
        let mut it = Scenario::leader(settings());
        let renewal = it.writes();
        it.answered(Answer::Conflict);
        it.reads(shown(&renewal, 101));
        assert!(it.leads_at(7_999) && !it.leads_at(8_000));
    }

    #[test]
    fn once_a_foreign_holder_was_seen_a_write_in_doubt_counts_no_longer() {
        let mut it = Scenario::that_sees(held(50, "", 1, 1));
        let write = it.writes();
        it.answered(Answer::Unknown);
        it.reads(held(52, "other", 10, 2));
        it.watches(100, shown(&write, 53)); // somebody put it back
        assert!(!it.leads());
    }
}

mod s8_each_term_has_a_greater_token {
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
}

mod s9_the_own_name_of_another_process_is_another_candidate {
    use super::*;

    fn acts_at(sight: Sight, alone: bool) -> u64 {
        let mut it = Scenario::new(settings());
        it.happens(Event::Alone(alone));
        it.reads(sight.clone());
        while it.asks().call == Call::Read {
            it.reads(sight.clone());
        }
        it.now
    }

    #[test]
    fn it_is_taken_at_once_only_when_its_writer_is_provably_dead() {
        let elsewhere = Place { network: "elsewhere".into(), ..place() };
        let dead = || marked(held(50, ME, 10, 1), 2, Some(place()));
        assert_eq!(acts_at(dead(), true), 0);
        assert_eq!(acts_at(dead(), false), 10_000);
        assert_eq!(acts_at(held(50, ME, 10, 1), true), 10_000);
        assert_eq!(acts_at(marked(held(50, ME, 10, 1), 2, None), true), 10_000);
        assert_eq!(acts_at(marked(held(50, ME, 10, 1), 1, Some(place())), true), 10_000);
        assert_eq!(acts_at(marked(held(50, ME, 10, 1), 2, Some(elsewhere)), true), 10_000);
        assert_eq!(acts_at(marked(held(50, "other", 10, 1), 2, Some(place())), true), 10_000);
        // A mark that an earlier record left behind proves nothing.
        let left_behind = Sight { mark: dead().mark, ..held(51, ME, 10, 2) };
        assert_eq!(acts_at(left_behind, true), 10_000);
    }

    #[test]
    fn a_mark_says_where_only_when_nobody_else_can_be_there() {
        let mut it = Scenario::that_sees(Sight::MISSING);
        assert_eq!(it.writes().mark.place, None);
        let mut it = Scenario::new(settings());
        it.happens(Event::Alone(true));
        it.reads(Sight::MISSING);
        assert_eq!(it.writes().mark.place, Some(place()));
    }

    #[test]
    fn a_clone_is_reported_and_never_named_as_another_leader() {
        let it = Scenario::that_sees(held(50, ME, 10, 1));
        assert!(it.machine.name_is_taken());
        assert_eq!(it.machine.other(), None);
    }

    #[test]
    fn a_dead_writer_in_a_new_object_does_not_free_the_one_who_held_the_old_object() {
        let mut it = Scenario::new(settings());
        it.happens(Event::Alone(true));
        it.reads(held(50, "other", 20, 1));
        let version = Some(Version { uid: "another".into(), resource_version: 60 });
        let replaced = Sight { version, ..marked(held(60, ME, 10, 2), 2, Some(place())) };
        it.watches(1_000, replaced.clone());
        while it.asks().call == Call::Read {
            it.reads(replaced.clone());
        }
        assert_eq!(it.now, 11_000);
    }
}

mod s10_an_unreadable_record_counts_as_held {
    use super::*;

    fn taken_at(mut it: Scenario, resource_version: u64) -> u64 {
        while it.asks().call == Call::Read {
            it.reads(unreadable(resource_version));
        }
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
    fn the_claim_of_its_holder_stands_to_f_without_a_busy_loop() {
        let mut it = Scenario::leader(Settings { renew_deadline: ms(9_000), ..settings() });
        it.watches(100, unreadable(101));
        while it.now < 8_000 {
            it.asks();
            let hung = ms(it.now) + it.output.deadline.map_or(ms(1), |at| at - ms(it.now));
            it.happens_at(hung.as_millis() as u64, Event::Tick);
        }
        assert!(it.leads_at(8_999) && !it.leads_at(9_000));
    }
}

mod speed {
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
    fn a_follower_of_a_healthy_holder_asks_for_nothing() {
        let mut it = Scenario::that_sees(held(50, "other", 10, 1));
        for n in 1..=20 {
            it.watches(n * 3_000, held(50 + n, "other", 10, 1 + n as i64));
            assert_eq!(it.request, None);
        }
    }

    #[test]
    fn a_silent_watch_is_checked_with_one_read_and_opened_anew_if_it_missed_something() {
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
    fn the_end_of_a_watch_does_not_make_everybody_read_at_that_moment() {
        let mut it = Scenario::that_sees(held(50, "other", 10, 1));
        it.happens_at(5_000, Event::WatchClosed);
        assert_eq!(it.request, None);
        it.happens_at(5_500, Event::WatchClosed); // a second one puts nothing off
        assert_eq!((it.asks().call, it.now), (Call::Read, 7_000));
    }

    #[test]
    fn a_watch_that_opens_again_and_again_and_shows_nothing_does_not_put_reads_off_for_ever() {
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
    fn one_refusal_after_an_outage_is_not_the_end_of_a_long_row_of_refusals() {
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
    fn refusals_in_a_row_are_asked_again_less_and_less_but_every_three_minutes() {
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
    fn a_busy_server_is_left_alone_as_long_as_it_asks_whatever_the_lease() {
        let hours = |n: u64| ms(n * 3_600_000);
        let day = Settings {
            lease: hours(24),
            renew_deadline: hours(16),
            retry_period: hours(5),
            request_timeout: hours(1),
            ..settings()
        };
        for (settings, asked, waited) in [(settings(), 30, 30_000), (settings(), 900, 180_000), (day, 1, 5 * 3_600_000)]
        {
            let mut it = Scenario::new(settings);
            it.asks();
            it.answered(Answer::Busy(Some(Duration::from_secs(asked))));
            it.asks();
            assert_eq!(it.now, waited);
        }
    }

    #[test]
    fn a_read_overtaken_by_the_watch_is_not_believed() {
        let mut it = Scenario::new(settings());
        it.asks();
        it.watches(5, held(60, "new", 10, 2));
        it.reads(held(50, "old", 10, 1));
        assert_eq!(it.machine.other().map(|other| other.identity), Some("new".into()));
    }

    #[test]
    fn a_watch_from_the_future_is_opened_anew() {
        let mut it = Scenario::that_sees(held(50, "", 1, 1));
        it.writes();
        it.answered(Answer::Conflict);
        it.reads(held(40, "other", 10, 2));
        assert!(it.output.reopen_watch);
        it.watches(it.now + 1, held(41, "third", 10, 3));
        assert_eq!(it.machine.other().map(|other| other.identity), Some("third".into()));
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
}
