//! The deliberate bugs.

use super::{By, Mutant};

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "F counted from the answer instead of from sending",
        file: "src/election/observe.rs",
        find: r#"let until = write.sent.saturating_add(self.settings.renew_deadline); // S1"#,
        replace: r#"let until = now.saturating_add(self.settings.renew_deadline); // S1"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "F is the lease instead of the renew deadline",
        file: "src/election/observe.rs",
        find: r#"let until = write.sent.saturating_add(self.settings.renew_deadline); // S1"#,
        replace: r#"let until = write.sent.saturating_add(self.settings.lease); // S1"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the term does not end at F",
        file: "src/election.rs",
        find: r#"if self.term.is_some_and(|term| term.until <= now) {"#,
        replace: r#"if false && self.term.is_some_and(|term| term.until <= now) {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "expiry read from the record's time stamps",
        file: "src/election/lock_state.rs",
        find: r#"        if !self.is_unchanged(&sight) {
            self.since = now;
        }"#,
        replace: r#"        if let Some(crate::record::Stamp::Micros(at)) = sight.record().map(|record| &record.renewed) {
            self.since = Time::after_boot(Duration::from_micros(at.unsigned_abs()));
        } else if !self.is_unchanged(&sight) {
            self.since = now;
        }"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a write without resourceVersion",
        file: "src/election/own_writes.rs",
        find: r#"base: lock.version().cloned(), // S2"#,
        replace: r#"base: lock.version().cloned().map(|v| Version { resource_version: 0, ..v }),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a write without uid",
        file: "src/election/own_writes.rs",
        find: r#"base: lock.version().cloned(), // S2"#,
        replace: r#"base: lock.version().cloned().map(|v| Version { uid: "".into(), ..v }),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a renewal that does not change renewTime",
        file: "src/election/own_writes.rs",
        find: r#"        self.last_stamp = stamp;
        stamp"#,
        replace: r#"        self.last_stamp = stamp;
        wall_micros"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a 2xx with the old object accepted as acknowledgement",
        file: "src/election/respond.rs",
        find: r#"Answer::Seen(sight) if acknowledges(&write, &sight) => {"#,
        replace: r#"Answer::Seen(sight) => {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a release of a record that is not the own one",
        file: "src/election/schedule.rs",
        find: r#"(Time::ZERO, in_lock.then_some(Purpose::Release)?) // S4"#,
        replace: r#"(Time::ZERO, Purpose::Release)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "takeover one R early",
        file: "src/election/lock_state.rs",
        find: r#"Content::Record(record) => self.since.saturating_add(record.lease().max(settings.lease)),"#,
        replace: r#"Content::Record(record) => {
                self.since.saturating_add(record.lease().max(settings.lease)).saturating_sub(settings.retry_period)
            }"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a wait for the own L only",
        file: "src/election/lock_state.rs",
        find: r#"Content::Record(record) => self.since.saturating_add(record.lease().max(settings.lease)),"#,
        replace: r#"Content::Record(_) => self.since.saturating_add(settings.lease),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a wait for the record's L only",
        file: "src/election/lock_state.rs",
        find: r#"Content::Record(record) => self.since.saturating_add(record.lease().max(settings.lease)),"#,
        replace: r#"Content::Record(record) => self.since.saturating_add(record.lease()),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a lock whose record was removed taken at once by a candidate that saw the holder",
        file: "src/election/lock_state.rs",
        find: r#"Content::Nothing if self.last_lease.is_none() =>"#,
        replace: r#"Content::Nothing =>"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an unreadable record taken at once",
        file: "src/election/lock_state.rs",
        find: r#"Content::Nothing | Content::Unreadable { .. } => self.since"#,
        replace: r#"Content::Unreadable { .. } => self.since,
            Content::Nothing => self.since"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a wait for an empty holder",
        file: "src/election/lock_state.rs",
        find: r#"Content::Record(record) if record.is_free() => self.since,"#,
        replace: r#"Content::Record(record) if record.is_free() => self.since.saturating_add(record.lease()),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the claim kept after another holder was seen",
        file: "src/election/observe.rs",
        find: r#"self.term = None; // S6"#,
        replace: r#"// S6"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "stale watch events accepted",
        file: "src/election/observe.rs",
        find: r#"        if resource_version <= self.lock.resource_version() {
            return;"#,
        replace: r#"        if false {
            return;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a renewal in doubt extends F",
        file: "src/election/respond.rs",
        find: r#"            Answer::Unknown | Answer::Seen(_) => {}
        }"#,
        replace: r#"            Answer::Unknown | Answer::Seen(_) => return self.settle(moment.now, write, 0),
        }"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an acquisition in doubt begins a term",
        file: "src/election/respond.rs",
        find: r#"Answer::Unknown | Answer::Seen(_) if self.term.is_none() => self.pacing.read_before_writing(),"#,
        replace: r#"Answer::Unknown | Answer::Seen(_) if self.term.is_none() => {
                return self.settle(moment.now, write, self.lock.resource_version() + 1);
            }"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a write in doubt treated as refused",
        file: "src/election/respond.rs",
        find: r#"        if failed != Answer::Absent && !superseded {"#,
        replace: r#"        if false && failed != Answer::Absent && !superseded {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a write acknowledged after another holder was seen counts",
        file: "src/election/respond.rs",
        find: r#"        let superseded = effect == Effect::Superseded;"#,
        replace: r#"        let superseded = false && effect == Effect::Superseded;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "writes in doubt kept after another holder was seen",
        file: "src/election/own_writes.rs",
        find: r#"        self.in_doubt.retain(|write| sight.version.is_none() || write.base == sight.version);"#,
        replace: r#"        let _ = sight;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "own writes recognised by the record without the mark",
        file: "src/election/types.rs",
        find: r#"sight.record() == Some(&self.record) && sight.mark_of_record() == Some(&self.mark)"#,
        replace: r#"sight.record() == Some(&self.record)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a mark that contains only the renewTime",
        file: "src/election/types.rs",
        find: r#"mark.renewed == record.renewed && mark.holder == record.holder"#,
        replace: r#"mark.renewed == record.renewed"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the own identity taken at once, wherever its writer ran",
        file: "src/election/types.rs",
        find: r#"let from_here = |mark: &Mark| mark.host.is_some() && mark.host == *host && mark.process != *process;"#,
        replace: r#"let from_here = |mark: &Mark| host.is_some() && mark.process != *process;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the own identity taken at once without the socket of the network namespace",
        file: "src/election/types.rs",
        find: r#"let is_own_name = sole_instance &&"#,
        replace: r#"let is_own_name = (sole_instance || true) &&"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the host in the mark of a process that does not hold the socket",
        file: "src/election/own_writes.rs",
        find: r#"host: host.clone().filter(|_| sole_instance),"#,
        replace: r#"host: host.clone().filter(|_| sole_instance || true),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a removed record that is replaced by another one frees the lock",
        file: "src/election/lock_state.rs",
        find: r#"        Some(free_at.max(self.removed_holder_until))"#,
        replace: r#"        Some(free_at)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the claim continues after Stop",
        file: "src/election.rs",
        find: r#"self.term.filter(|_| !self.withdrawal.has_begun())"#,
        replace: r#"self.term"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a release without the release delay",
        file: "src/election/release_time.rs",
        find: r#"self.kept_until = self.kept_until.max(now.saturating_add(self.delay));"#,
        replace: r#"self.kept_until = self.kept_until.max(now);"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the term continues after the lock is given up",
        file: "src/election/release.rs",
        find: r#"        self.term = None; // S5
        self.give_up_request(moment);"#,
        replace: r#"        self.give_up_request(moment);"#,
        found_by: By::Test(
            "it",
            "election::contract::s5_the_claim_ends_before_the_release::the_term_is_over_when_a_lock_that_is_not_wanted_is_released",
        ),
    },
    Mutant {
        name: "L rounded down",
        file: "src/election/own_writes.rs",
        find: r#"let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);"#,
        replace: r#"let seconds = lease.as_secs();"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a changed resourceVersion counts as a renewal",
        file: "src/election/types.rs",
        find: r#"same_object && same_mark && self.content == earlier.content"#,
        replace: r#"same_object && same_mark && self.content == earlier.content && self.version == earlier.version"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the fencing token taken from the transitions",
        file: "src/election/observe.rs",
        find: r#"Claim { until, fencing_token: resource_version }"#,
        replace: r#"Claim { until, fencing_token: write.record.transitions.into() }"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "transitions that are not incremented",
        file: "src/election/own_writes.rs",
        find: r#"_ => (stamp.clone(), lock.next_transitions()),"#,
        replace: r#"_ => (stamp.clone(), 0),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a renewal changes acquireTime",
        file: "src/election/own_writes.rs",
        find: r#"(own.acquired.clone(), own.transitions)"#,
        replace: r#"(stamp.clone(), own.transitions)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a clock that stops while the machine is suspended",
        file: "src/clock.rs",
        find: r#"rustix::time::clock_gettime(rustix::time::ClockId::Boottime)"#,
        replace: r#"rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)"#,
        found_by: By::Test("sleep_counts", "the_clock_and_its_timer_count_sleep"),
    },
    Mutant {
        name: "a timer that stops while the machine is suspended",
        file: "src/clock.rs",
        find: r#"timerfd_create(TimerfdClockId::Boottime, "#,
        replace: r#"timerfd_create(TimerfdClockId::Monotonic, "#,
        found_by: By::Test("sleep_counts", "the_clock_and_its_timer_count_sleep"),
    },
    Mutant {
        name: "a leader that retries too rarely",
        file: "src/election/pacing.rs",
        find: r#"self.retry_period.min(self.request_timeout / 2)"#,
        replace: r#"self.renew_deadline"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a follower that polls although its watch is open",
        file: "src/election/schedule.rs",
        find: r#"        if !self.watch.is_open() {
            return Some(self.pacing.poll_at);
        }"#,
        replace: r#"        if true {
            return Some(self.pacing.poll_at);
        }"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: the second taken without the first",
        file: "src/election/lock_set.rs",
        find: r#"!spent && self.locks[0].claim().is_some()"#,
        replace: r#"!spent"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: the longer of the two claims counts",
        file: "src/election/lock_set.rs",
        find: r#"until: first.until.min(second.until),"#,
        replace: r#"until: first.until.max(second.until),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: the lesser of the two tokens counts",
        file: "src/election/lock_set.rs",
        find: r#"fencing_token: first.fencing_token.max(second.fencing_token),"#,
        replace: r#"fencing_token: first.fencing_token.min(second.fencing_token),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: the term continues with a new term of one lock",
        file: "src/election/lock_set.rs",
        find: r#"            binding.spent = over;"#,
        replace: r#"            let _ = over;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: the first kept although its token was used",
        file: "src/election/lock_set.rs",
        find: r#"        stands && !spent && !refused &&"#,
        replace: r#"        let _ = spent;
        stands && !refused &&"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: when one term ends at F, the other lock is released at once",
        file: "src/election/release_time.rs",
        find: r#"            self.protect(lapsed.until);"#,
        replace: r#"            let _ = lapsed;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: when one is lost, the other is released at once",
        file: "src/election/release_time.rs",
        find: r#"            self.protect(now);"#,
        replace: r#""#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "Stop forgets that an earlier claim is still protected",
        file: "src/election/release_time.rs",
        find: r#"        self.claim = None;"#,
        replace: r#"        self.claim = None;
        self.protected_until = Time::ZERO;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a claim that ends by choice ends the protection of an earlier one",
        file: "src/election/release_time.rs",
        find: r#"        self.claim = None;"#,
        replace: r#"        if self.claim.take().is_some() {
            self.protected_until = Time::ZERO;
        }"#,
        found_by: By::Test(
            "it",
            "election::contract::s5_the_claim_ends_before_the_release::an_earlier_claim_is_protected_although_a_later_one_ends_by_choice",
        ),
    },
    Mutant {
        name: "a free record that replaces a removed one frees the lock at once",
        file: "src/election/lock_state.rs",
        find: r#"Content::Record(record) if record.is_free() => self.since,"#,
        replace: r#"Content::Record(record) if record.is_free() => return Some(self.since),"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a record removed from its object is not waited for",
        file: "src/election/types.rs",
        find: r#"|| self.content == Content::Nothing || cannot_be_read"#,
        replace: r#"|| cannot_be_read"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an unreadable record is released by an empty holder",
        file: "src/election/types.rs",
        find: r#" || cannot_be_read && is_free"#,
        replace: r#" || false && cannot_be_read && is_free"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an unreadable record counts as held only until it disappears",
        file: "src/election/lock_state.rs",
        find: r#"self.last_lease = self.last_lease.or(Some(settings.lease)),"#,
        replace: r#"{}"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the same record in another object counts as unchanged",
        file: "src/election/types.rs",
        find: r#"same_object && same_mark && self.content"#,
        replace: r#"(same_object || true) && same_mark && self.content"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a mark that appears is no change",
        file: "src/election/types.rs",
        find: r#"earlier.mark_of_record() == Some(mark)"#,
        replace: r#"earlier.mark_of_record().is_none_or(|earlier| earlier == mark)"#,
        found_by: By::Test(
            "it",
            "election::contract::s3_a_held_lock_is_left_alone::the_same_record_by_another_write_or_in_another_object_is_a_new_one",
        ),
    },
    Mutant {
        name: "a removed record is waited for by its lease only",
        file: "src/election/lock_state.rs",
        find: r#"let until = now.saturating_add(last_lease.max(settings.lease));"#,
        replace: r#"let until = now.saturating_add(last_lease);"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a removed record is waited for only until another one is removed",
        file: "src/election/lock_state.rs",
        find: r#"self.removed_holder_until = self.removed_holder_until.max(until);"#,
        replace: r#"self.removed_holder_until = until;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an acquisition that is recognised during the release begins a term",
        file: "src/election/observe.rs",
        find: r#"let counts = now < until && !self.withdrawal.is_releasing();"#,
        replace: r#"let counts = now < until;"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::an_acquisition_recognised_while_giving_up_begins_no_term",
        ),
    },
    Mutant {
        name: "a write acknowledged without its mark",
        file: "src/election/respond.rs",
        find: r#"is_new && write.made(sight)"#,
        replace: r#"is_new && (write.made(sight) || sight.mark.is_none() && sight.record() == Some(&write.record))"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::a_2xx_without_the_mark_acknowledges_nothing",
        ),
    },
    Mutant {
        name: "a write acknowledged by the mark of another one",
        file: "src/election/respond.rs",
        find: r#"is_new && write.made(sight)"#,
        replace: r#"is_new && sight.record() == Some(&write.record)"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::a_2xx_that_shows_the_own_record_with_the_mark_of_another_write_acknowledges_nothing",
        ),
    },
    Mutant {
        name: "a wrong 404 ends the doubts",
        file: "src/election/own_writes.rs",
        find: r#"sight.version.is_none() || write.base == sight.version"#,
        replace: r#"write.base == sight.version"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::a_wrong_404_does_not_lose_a_renewal_in_doubt",
        ),
    },
    Mutant {
        name: "a copy of a write in doubt in another object counts",
        file: "src/election/types.rs",
        find: r#"same_object && sight.record()"#,
        replace: r#"(same_object || true) && sight.record()"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::a_copy_of_a_write_in_doubt_in_another_object_is_not_ours",
        ),
    },
    Mutant {
        name: "an acknowledgement older than the watch counts",
        file: "src/election/respond.rs",
        find: r#"if superseded || resource_version < self.lock.resource_version()"#,
        replace: r#"if superseded"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::an_acknowledgement_older_than_what_the_watch_has_shown_does_not_extend_the_claim",
        ),
    },
    Mutant {
        name: "a dead writer's record put back in the same object frees the lock",
        file: "src/election/lock_state.rs",
        find: r#"let is_put_back = self.dead_record_replaces_holder(&sight, settings);"#,
        replace: r#"let is_put_back = false && self.dead_record_replaces_holder(&sight, settings);"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a dead writer's record put back before the socket is obtained frees the lock",
        file: "src/election/lock_state.rs",
        find: r#"} else if is_put_back {"#,
        replace: r#"} else if false && is_put_back {"#,
        found_by: By::Test(
            "it",
            "election::contract::s9_the_own_name_of_another_process_is_another_candidate::a_dead_writers_record_put_back_does_not_free_the_lock_when_the_socket_is_obtained_later",
        ),
    },
    Mutant {
        name: "the claim of a dead predecessor protected anew with each step",
        file: "src/election/lock_set.rs",
        find: r#".filter(|mark| known.as_ref() != Some(*mark))"#,
        replace: r#".filter(|_| true)"#,
        found_by: By::Test(
            "it",
            "election::contract::s9_the_own_name_of_another_process_is_another_candidate::a_stop_ends_in_time_although_nothing_can_be_learned_of_the_lock_of_a_dead_predecessor",
        ),
    },
    Mutant {
        name: "a 404 accepted that is older than the watch",
        file: "src/election/respond.rs",
        find: r#"if self.watch.has_changed_since(sent) && shown.is_none_or(|shown| shown < newest) {"#,
        replace: r#"if self.watch.has_changed_since(sent) && shown.is_some_and(|shown| shown < newest) {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the lock given up without reading after a write in doubt",
        file: "src/election/release.rs",
        find: r#"self.pacing.must_read = !self.own.is_in_lock() && self.own.is_in_doubt();"#,
        replace: r#"self.pacing.must_read = false;"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::a_write_in_doubt_is_read_when_the_lock_is_given_up_and_released_if_it_was_carried_out",
        ),
    },
    Mutant {
        name: "an acknowledgement that came too late is ignored as an observation",
        file: "src/election/respond.rs",
        find: r#"            return self.observe(moment.now, resource_version, sight); // S7"#,
        replace: r#"            return; // S7"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::an_acknowledgement_that_no_longer_counts_is_still_an_observation",
        ),
    },
    Mutant {
        name: "writes in doubt forgotten when the lock is given up",
        file: "src/election/release.rs",
        find: r#"let holds = self.holds() || self.may_hold();"#,
        replace: r#"let holds = self.holds();"#,
        found_by: By::Test(
            "it",
            "election::contract::s5_the_claim_ends_before_the_release::a_write_in_doubt_does_not_hasten_the_release",
        ),
    },
    Mutant {
        name: "the own record not recognised after a wrong 404",
        file: "src/election/own_writes.rs",
        find: r#"                self.in_lock = Some(own);
                true"#,
        replace: r#"                drop(own);
                true"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: no deadline for standing back",
        file: "src/election/lock_set.rs",
        find: r#"            self.eligibility.back_until(),
"#,
        replace: "",
        found_by: By::Test("it", "election::two_locks::after_one_lease_it_tries_again"),
    },
    Mutant {
        name: "two locks: no deadline for a second lock that cannot be taken",
        file: "src/election/lock_set.rs",
        find: r#"            stuck,
        ];"#,
        replace: r#"            stuck.filter(|_| false),
        ];"#,
        found_by: By::Test(
            "it",
            "election::two_locks::it_gives_the_first_up_when_the_second_was_free_and_could_not_be_had_for_one_lease",
        ),
    },
    Mutant {
        name: "two locks: no deadline for a second lock that cannot be read",
        file: "src/election/lock_set.rs",
        find: r#"            second.map(Election::unreadable_at),
"#,
        replace: "",
        found_by: By::Test(
            "it",
            "election::two_locks::it_gives_the_first_up_when_the_second_was_not_seen_for_one_lease",
        ),
    },
    Mutant {
        name: "two locks: no deadline for a second lock that is refused",
        file: "src/election/lock_set.rs",
        find: r#"            second.and_then(Election::refused_until),
"#,
        replace: "",
        found_by: By::Test("it", "election::two_locks::each_further_denial_doubles_the_wait_up_to_a_limit"),
    },
    Mutant {
        name: "no deadline for the release of a protected lock",
        file: "src/election/release_time.rs",
        find: r#"[Some(self.protected_until), Some(self.kept_until),"#,
        replace: r#"[Some(self.kept_until).filter(|_| self.protected_until > now), Some(self.kept_until),"#,
        found_by: By::Test("it", "election::two_locks::after_losing_the_first_the_second_is_released_after_l_minus_d"),
    },
    Mutant {
        name: "another holder named after its lease",
        file: "src/election/lock_state.rs",
        find: r#"until: self.since.saturating_add(record.lease()) })"#,
        replace: r#"until: self.since.saturating_add(record.lease() * 2) })"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a follower that does not poll without a watch",
        file: "src/election/schedule.rs",
        find: r#"return Some(self.pacing.poll_at);"#,
        replace: r#"return None;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a silent watch trusted forever",
        file: "src/election/schedule.rs",
        find: r#"self.watch.is_open().then(|| last_sign.saturating_add(longest))"#,
        replace: r#"(self.watch.is_open() && self.term.is_some()).then(|| last_sign.saturating_add(longest))"#,
        found_by: By::Test(
            "it",
            "election::contract::speed::a_silent_watch_is_checked_with_one_read_and_reopened_if_it_missed_something",
        ),
    },
    Mutant {
        name: "an event of another object accepted",
        file: "src/lock/object.rs",
        find: r#"if let Some(other) = fields.other_name(lock) {
                    return Ok"#,
        replace: r#"if let Some(other) = fields.other_name(lock).filter(|_| false) {
                    return Ok"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an answer with another object accepted",
        file: "src/lock/object.rs",
        find: r#"match fields.other_name(lock) {"#,
        replace: r#"match fields.other_name(lock).filter(|_| false) {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a spec without the record's fields read as a released record",
        file: "src/record.rs",
        find: r#"if fields.are_absent() {"#,
        replace: r#"if false && fields.are_absent() {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a record without a holder read as released",
        file: "src/record.rs",
        find: r#"Fields { holder: None, .. } => unreadable"#,
        replace: r#"Fields { holder: None, .. } if false => unreadable"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a lease of more than a day accepted",
        file: "src/record.rs",
        find: r#"if u64::from(seconds) <= LONGEST_LEASE.as_secs() => Ok(seconds)"#,
        replace: r#"if seconds > 0 => Ok(seconds)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the other annotations of the object lost",
        file: "src/lock/object.rs",
        find: r#"it.copy_if(annotations.unwrap_or("null"), stays);"#,
        replace: r#"it.copy_if(annotations.map_or("null", |_| "null"), stays);"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the other fields of the spec lost",
        file: "src/lock/object.rs",
        find: r#"it.copy_except(spec.unwrap_or("null"), SPEC_FIELDS);"#,
        replace: r#"it.copy_except(spec.map_or("null", |_| "null"), SPEC_FIELDS);"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a write without its mark",
        file: "src/lock/object.rs",
        find: r#"write_metadata(object, metadata, dropped, [mark]);"#,
        replace: r#"write_metadata(object, metadata, dropped, [(mark.0, Value::from(""))]);"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the resourceVersion of a deletion ignored",
        file: "src/lock/object.rs",
        find: r#"return Ok(WatchEvent::Deleted { resource_version: fields.metadata.resource_version()? });"#,
        replace: r#"return Ok(WatchEvent::Deleted { resource_version: fields.metadata.resource_version()? / 2 });"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a request given up but not aborted",
        file: "src/candidate/requester.rs",
        find: r#"        self.api.abandon();
"#,
        replace: r#"        let _ = self;
"#,
        found_by: By::Test("it", "acting::step_down::a_hanging_renewal_does_not_delay_the_step_down_and_is_aborted"),
    },
    Mutant {
        name: "idle connections kept when a request is aborted",
        file: "src/api.rs",
        find: r#"        self.idle.clear();
"#,
        replace: "",
        found_by: By::Test("it", "client::faults::idle_connections_are_closed_when_requests_are_aborted"),
    },
    Mutant {
        name: "the connection of an aborted request used again",
        file: "src/api.rs",
        find: r#"        if self.end(number) {
"#,
        replace: r#"        self.end(number);
        {
"#,
        found_by: By::Test("it", "client::faults::a_request_in_flight_can_be_aborted"),
    },
    Mutant {
        name: "a connection used again however long it was idle",
        file: "src/api/idle_connections.rs",
        find: r#"now.since(it.since) < self.idle_limit"#,
        replace: r#"now.since(it.since) <= Duration::MAX.max(self.idle_limit)"#,
        found_by: By::Test("it", "client::requests::a_connection_that_was_idle_too_long_is_not_used_again"),
    },
    Mutant {
        name: "requests sent before the snapshot is published",
        file: "src/candidate.rs",
        find: r#"        let published = self.status.publish(snapshot);
"#,
        replace: r#"        self.act(output.clone(), Published(()))?;
        let published = self.status.publish(snapshot);
"#,
        found_by: By::Compiler("cannot initialize a tuple struct which contains private fields"),
    },
    Mutant {
        name: "the clock read before the snapshot",
        file: "src/status.rs",
        find: r#"        let snapshot = self.snapshot();
        (snapshot, clock::now())"#,
        replace: r#"        let now = clock::now();
        (self.snapshot(), now)"#,
        found_by: By::Test("lib", "status::tests::the_clock_is_read_after_the_snapshot"),
    },
    Mutant {
        name: "the last claim stays published when the candidate's thread fails",
        file: "src/candidate.rs",
        find: r#"        if result.is_err() {
            let Settings"#,
        replace: r#"        if result.is_err() && false {
            let Settings"#,
        found_by: By::Test("lib", "candidate::tests::a_candidate_that_fails_claims_nothing"),
    },
    Mutant {
        name: "a reopened watch that continues from the old version",
        file: "src/candidate/watcher.rs",
        find: r#"            self.seen = None;
            self.newest = 0;
"#,
        replace: r#"            self.newest = 0;
"#,
        found_by: By::Test("it", "watches::reopening::a_reopened_watch_begins_with_the_present_object"),
    },
    Mutant {
        name: "the socket's name without the lock",
        file: "src/candidate/sole_instance.rs",
        find: r#"fnv1a(format!("{lock}\0{identity}").as_bytes())"#,
        replace: r#"fnv1a({ let _ = lock; identity.as_bytes() })"#,
        found_by: By::Test("it", "election::identity::the_same_name_in_another_election_delays_nobody"),
    },
    Mutant {
        name: "a second signal within 100 ms ends the process",
        file: "src/signals.rs",
        find: r#"now.duration_since(came) < SAME_REQUEST =>"#,
        replace: r#"now.duration_since(came) < SAME_REQUEST && false =>"#,
        found_by: By::Test("it", "election::handover::a_signal_that_comes_twice_at_once_is_one_request"),
    },
    Mutant {
        name: "any 404 means absence",
        file: "src/api/failure.rs",
        find: r#"404 if status.is_some_and(|status| status.is_about_absence(verb, object)) =>"#,
        replace: r#"404 if status.is_none() || status.is_some() =>"#,
        found_by: By::Test("it", "faults::not_found::a_404_of_a_proxy_does_not_free_a_lock"),
    },
    Mutant {
        name: "a holder of the second lock named after its lease",
        file: "src/status.rs",
        find: r#"self.other.as_ref().filter(|other| now < other.until)"#,
        replace: r#"self.other.as_ref().filter(|other| now < other.until || true)"#,
        found_by: By::Test(
            "it",
            "election::migration::a_follower_names_the_holder_of_the_first_object_when_the_lease_in_the_second_has_run_out",
        ),
    },
    Mutant {
        name: "a release before the work has ended",
        file: "src/election/release_time.rs",
        find: r#"let keeps = self.renews_locks(now, works)"#,
        replace: r#"let keeps = self.renews_locks(now, false)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: work continues when one of its terms is over",
        file: "src/election/lock_set.rs",
        find: r#"        self.work.tokens?;
"#,
        replace: r#"        let _ = self.work.tokens;
"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "work of an earlier term extended by a later one",
        file: "src/election/lock_set.rs",
        find: r#"if self.claim().is_some() || self.work.tokens == Some(tokens) {"#,
        replace: r#"if self.claim().is_some() || self.work.tokens.is_some() {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a process that exits before its work has ended",
        file: "src/election/lock_set.rs",
        find: r#"let finished = !self.work.goes_on && (released"#,
        replace: r#"let finished = (released"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "work that must end with a claim that ends by choice",
        file: "src/election/lock_set.rs",
        find: r#"if self.claim().is_some() || self.work.tokens == Some(tokens) {"#,
        replace: r#"if self.claim().is_some() {"#,
        found_by: By::Test(
            "it",
            "election::contract::work::after_a_stop_the_lock_is_kept_and_renewed_until_the_work_has_ended",
        ),
    },
    Mutant {
        name: "a gate without hysteresis",
        file: "src/election/gate.rs",
        find: r#"if since.saturating_add(self.recovery) <= now {"#,
        replace: r#"if since <= now {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a recovery that may be shorter than R",
        file: "src/election/gate.rs",
        find: r#"now.since(self.failing_since).max(self.least_recovery)"#,
        replace: r#"now.since(self.failing_since)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a recovery that is shorter than the failures",
        file: "src/election/gate.rs",
        find: r#"self.recovery = now.since(self.failing_since).max(self.least_recovery);"#,
        replace: r#"self.recovery = self.least_recovery;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a gate that is open at the start",
        file: "src/election/gate.rs",
        find: r#"open: limit.is_none(),"#,
        replace: r#"open: true,"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a follower that may fail as often as a leader",
        file: "src/election/gate.rs",
        find: r#"self.open &= leads && self.failures < limit;"#,
        replace: r#"self.open &= (leads || true) && self.failures < limit;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a leader that may fail once more",
        file: "src/election/gate.rs",
        find: r#"self.open &= leads && self.failures < limit;"#,
        replace: r#"self.open &= leads && self.failures <= limit;"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an unhealthy leader releases without the release delay",
        file: "src/election/lock_set.rs",
        find: r#"if self.eligibility.checked(now, healthy, leads) {"#,
        replace: r#"if self.eligibility.checked(now, healthy, leads) && false {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the step-down annotation ignored",
        file: "src/election/lock_set.rs",
        find: r#"if !self.eligibility.leaves_to_others() && self.locks.iter().any(Election::is_asked_to_step_down) {"#,
        replace: r#"if self.locks.iter().any(|lock| lock.claim().is_none() && lock.is_asked_to_step_down()) {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "two locks: the step-down annotation ignored unless it leads",
        file: "src/election/lock_set.rs",
        find: r#"if !self.eligibility.leaves_to_others() && self.locks"#,
        replace: r#"if self.claim().is_some() && self.locks"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the step-down annotation ignored after F",
        file: "src/election/schedule.rs",
        find: r#"(!self.is_asked_to_step_down()).then_some(Purpose::Acquire)?"#,
        replace: r#"Purpose::Acquire"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a lock that was never seen is created at once",
        file: "src/election/lock_state.rs",
        find: r#"self.since.saturating_add(settings.creation_delay)"#,
        replace: r#"self.since"#,
        found_by: By::Test(
            "it",
            "election::contract::s3_a_held_lock_is_left_alone::a_lock_that_was_never_seen_is_created_after_the_creation_delay",
        ),
    },
    Mutant {
        name: "the step-down annotation for another holder obeyed",
        file: "src/election.rs",
        find: r#"self.own.is_in_lock() && named == Some(&*self.settings.identity)"#,
        replace: r#"self.own.is_in_lock() && named.is_some()"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "no time of standing back after a release",
        file: "src/election/eligibility.rs",
        find: r#"left_at.saturating_add(self.lease)"#,
        replace: r#"left_at"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "an acquisition that keeps the step-down annotation",
        file: "src/lock/object.rs",
        find: r#"(*purpose == Purpose::Acquire).then_some(STEP_DOWN_ANNOTATION)"#,
        replace: r#"(*purpose == Purpose::Acquire).then_some(STEP_DOWN_ANNOTATION).filter(|_| false)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "every write removes the step-down annotation",
        file: "src/lock/object.rs",
        find: r#"(*purpose == Purpose::Acquire).then_some(STEP_DOWN_ANNOTATION)"#,
        replace: r#"Some(STEP_DOWN_ANNOTATION).filter(|_| *purpose == *purpose)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the time of standing back not counted from a late release",
        file: "src/election/lock_set.rs",
        find: r#"if lock.written_at().is_some_and(|sent| self.eligibility.had_left(sent)) {"#,
        replace: r#"if false && lock.written_at().is_some_and(|sent| self.eligibility.had_left(sent)) {"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "the time of standing back begins again after an acquisition",
        file: "src/election/eligibility.rs",
        find: r#"self.left_at.is_some_and(|left_at| sent <= left_at)"#,
        replace: r#"self.left_at.is_some_and(|left_at| sent >= Time::ZERO && left_at >= Time::ZERO)"#,
        found_by: By::Schedules,
    },
    Mutant {
        name: "a late record acquired in the step that shows it",
        file: "src/election/lock_set.rs",
        find: r#"            self.binding.wanted[index] = false;
            lock.want(false);"#,
        replace: r#""#,
        found_by: By::Test(
            "it",
            "election::contract::work::a_record_that_shows_late_is_kept_for_the_work_and_not_acquired",
        ),
    },
    Mutant {
        name: "the step-down annotation ignored by a candidate that gives the lock up because it is unhealthy",
        file: "src/election/eligibility.rs",
        find: r#"self.leaves.is_some_and(|back| !back.is_zero())"#,
        replace: r#"self.leaves.is_some()"#,
        found_by: By::Test(
            "it",
            "election::contract::step_down::the_annotation_is_obeyed_while_the_lock_is_given_up_for_another_reason",
        ),
    },
    Mutant {
        name: "a candidate with nothing to do never reads",
        file: "src/election/schedule.rs",
        find: r#"false if self.next_write().is_none() =>"#,
        replace: r#"false if self.next_write().is_none() && self.term.is_some() =>"#,
        found_by: By::Test(
            "it",
            "election::contract::health_gate::an_unhealthy_candidate_reads_a_free_lock_more_often_than_once_in_a_lease",
        ),
    },
    Mutant {
        name: "the oldest write in doubt is forgotten first",
        file: "src/election/own_writes.rs",
        find: r#"self.in_doubt.remove(1);"#,
        replace: r#"self.in_doubt.remove(0);"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::of_many_writes_in_doubt_the_oldest_is_not_forgotten",
        ),
    },
    Mutant {
        name: "a lock is kept only during a term",
        file: "src/election/schedule.rs",
        find: r#"(self.term.is_some() || self.withdrawal.keeps_lock())"#,
        replace: r#"self.term.is_some()"#,
        found_by: By::Test(
            "it",
            "election::contract::s5_the_claim_ends_before_the_release::a_lock_that_was_not_renewed_in_time_is_kept_for_the_rest_of_the_delay",
        ),
    },
    Mutant {
        name: "a creation superseded by an older own record",
        file: "src/election/observe.rs",
        find: r#"if !is_back {"#,
        replace: r#"if !is_back || sight.version.is_some() {"#,
        found_by: By::Test(
            "it",
            "election::contract::s7_a_write_in_doubt_counts_for_nothing_until_it_is_seen::a_creation_counts_although_an_older_state_with_the_own_record_is_seen_before_its_answer",
        ),
    },
    Mutant {
        name: "a failed rewrite delays the next one",
        file: "src/election/schedule.rs",
        find: r#"                self.pacing.write_sent = moment.now;
"#,
        replace: r#"                self.pacing.write_sent = moment.now;
                self.pacing.rewrite_after = moment.now.saturating_add(Duration::from_millis(400));
"#,
        found_by: By::Test(
            "it",
            "election::contract::s3_a_held_lock_is_left_alone::a_leader_whose_lock_was_created_again_without_a_record_writes_it_at_once",
        ),
    },
    Mutant {
        name: "a panic of a thread that leaves the process alive",
        file: "src/threads.rs",
        find: r#"            process::exit(PANICKED); // the panic itself has been printed"#,
        replace: r#"            let _ = (process::exit as fn(_) -> _, PANICKED);"#,
        found_by: By::Test("lib", "threads::tests::a_panic_ends_the_process"),
    },
    Mutant {
        name: "the start goes on after SIGTERM",
        file: "src/run.rs",
        find: r#"            return stop.stop();
        }
"#,
        replace: r#"            return stop.stop();
        }
        drop(started);
"#,
        found_by: By::Test(
            "it",
            "cli::unread_output::after_sigterm_during_the_start_nothing_is_sent_although_the_log_is_unread",
        ),
    },
    Mutant {
        name: "a warden that left messages unread counts as silent",
        file: "src/command/socket.rs",
        find: r#"Err(Errno::CONNRESET) => return self.receive(flags),"#,
        replace: r#"Err(Errno::CONNRESET) => return Ok(Heard::End),"#,
        found_by: By::Test(
            "lib",
            "command::socket::tests::the_last_message_of_a_dead_process_comes_although_it_left_messages_unread",
        ),
    },
];
