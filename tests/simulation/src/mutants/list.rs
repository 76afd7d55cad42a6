//! The deliberate bugs.

use super::Mutant;

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "F counted from the answer instead of from the sending",
        file: "src/election/learning.rs",
        find: r#"let until = write.sent.saturating_add(self.settings.renew_deadline); // S1"#,
        replace: r#"let until = now.saturating_add(self.settings.renew_deadline); // S1"#,
    },
    Mutant {
        name: "F is the lease instead of the renew deadline",
        file: "src/election/learning.rs",
        find: r#"let until = write.sent.saturating_add(self.settings.renew_deadline); // S1"#,
        replace: r#"let until = write.sent.saturating_add(self.settings.lease); // S1"#,
    },
    Mutant {
        name: "a lapse at F does not end the term",
        file: "src/election.rs",
        find: r#"if self.term.is_some_and(|term| term.until <= now) {"#,
        replace: r#"if false && self.term.is_some_and(|term| term.until <= now) {"#,
    },
    Mutant {
        name: "expiry read from the record's time stamps",
        file: "src/election/learning.rs",
        find: r#"        if !unchanged {
            self.since = now;
        }"#,
        replace: r#"        if let Some(crate::record::Stamp::Micros(at)) = sight.record().map(|record| &record.renewed) {
            self.since = std::time::Duration::from_micros(at.unsigned_abs());
        } else if !unchanged {
            self.since = now;
        }"#,
    },
    Mutant {
        name: "a write without resourceVersion",
        file: "src/election/decision.rs",
        find: r#"base: self.lock.as_ref().and_then(|lock| lock.version.clone()), // S2"#,
        replace: r#"base: self.lock.as_ref().and_then(|lock| lock.version.clone()).map(|v| super::Version { resource_version: 0, ..v }),"#,
    },
    Mutant {
        name: "a write without uid",
        file: "src/election/decision.rs",
        find: r#"base: self.lock.as_ref().and_then(|lock| lock.version.clone()), // S2"#,
        replace: r#"base: self.lock.as_ref().and_then(|lock| lock.version.clone()).map(|v| super::Version { uid: "".into(), ..v }),"#,
    },
    Mutant {
        name: "a renewal with the renewTime that is there",
        file: "src/election/decision.rs",
        find: r#"        self.last_stamp = stamp;
        stamp"#,
        replace: r#"        self.last_stamp = stamp;
        wall_micros"#,
    },
    Mutant {
        name: "a 2xx with the old object taken for an acknowledgement",
        file: "src/election/answers.rs",
        find: r#"Answer::Seen(sight) if acknowledges(&write, &sight) => {"#,
        replace: r#"Answer::Seen(sight) => {"#,
    },
    Mutant {
        name: "a release without looking whose record is there",
        file: "src/election/decision.rs",
        find: r#"(Time::ZERO, self.own.as_ref().map(|_| Purpose::Release)?) // S4"#,
        replace: r#"(Time::ZERO, Purpose::Release)"#,
    },
    Mutant {
        name: "takeover one R early",
        file: "src/election/decision.rs",
        find: r#"Content::Record(record) => self.since.saturating_add(record.lease().max(self.settings.lease)),"#,
        replace: r#"Content::Record(record) => {
                self.since.saturating_add(record.lease().max(self.settings.lease)).saturating_sub(self.settings.retry_period)
            }"#,
    },
    Mutant {
        name: "only the own L waited for",
        file: "src/election/decision.rs",
        find: r#"Content::Record(record) => self.since.saturating_add(record.lease().max(self.settings.lease)),"#,
        replace: r#"Content::Record(_) => self.since.saturating_add(self.settings.lease),"#,
    },
    Mutant {
        name: "only the record's L waited for",
        file: "src/election/decision.rs",
        find: r#"Content::Record(record) => self.since.saturating_add(record.lease().max(self.settings.lease)),"#,
        replace: r#"Content::Record(record) => self.since.saturating_add(record.lease()),"#,
    },
    Mutant {
        name: "a lock that lost its record taken at once by who has seen a holder",
        file: "src/election/decision.rs",
        find: r#"Content::Nothing if self.last_lease.is_none() => self.since,"#,
        replace: r#"Content::Nothing => self.since,"#,
    },
    Mutant {
        name: "an unreadable record taken at once",
        file: "src/election/decision.rs",
        find: r#"Content::Nothing | Content::Unreadable { .. } => self.since"#,
        replace: r#"Content::Unreadable { .. } => self.since,
            Content::Nothing => self.since"#,
    },
    Mutant {
        name: "an empty holder waited for",
        file: "src/election/decision.rs",
        find: r#"Content::Record(record) if record.is_free() => self.since,"#,
        replace: r#"Content::Record(record) if record.is_free() => self.since.saturating_add(record.lease()),"#,
    },
    Mutant {
        name: "claim kept after a foreign holder was seen",
        file: "src/election/learning.rs",
        find: r#"self.term = None; // S6; gone or unreadable, the claim stands to F"#,
        replace: r#"// S6"#,
    },
    Mutant {
        name: "old news of the watch believed",
        file: "src/election/learning.rs",
        find: r#"        if resource_version <= self.floor {
            return;"#,
        replace: r#"        if false {
            return;"#,
    },
    Mutant {
        name: "a renewal in doubt taken as done",
        file: "src/election/answers.rs",
        find: r#"            Answer::Unknown | Answer::Seen(_) => {}
        }"#,
        replace: r#"            Answer::Unknown | Answer::Seen(_) => return self.settle(moment.now, write, 0),
        }"#,
    },
    Mutant {
        name: "an acquisition in doubt taken as won",
        file: "src/election/answers.rs",
        find: r#"Answer::Unknown | Answer::Seen(_) if self.term.is_none() => self.read_before_writing(),"#,
        replace: r#"Answer::Unknown | Answer::Seen(_) if self.term.is_none() => return self.settle(moment.now, write, self.floor + 1),"#,
    },
    Mutant {
        name: "a write in doubt taken as lost",
        file: "src/election/answers.rs",
        find: r#"        if failed != Answer::Absent && !void {"#,
        replace: r#"        if false && failed != Answer::Absent && !void {"#,
    },
    Mutant {
        name: "a write acknowledged after a foreign holder was seen counts",
        file: "src/election/answers.rs",
        find: r#"        let void = fate == Fate::Void;"#,
        replace: r#"        let void = false && fate == Fate::Void;"#,
    },
    Mutant {
        name: "writes in doubt kept after a foreign holder was seen",
        file: "src/election/learning.rs",
        find: r#"        self.doubts.retain(|write| write.base == sight.version);"#,
        replace: r#"        // S7"#,
    },
    Mutant {
        name: "a mark not compared: the record alone tells whose write it was",
        file: "src/election/interface.rs",
        find: r#"sight.record() == Some(&self.record) && sight.mark_of_record() == Some(&self.mark)"#,
        replace: r#"sight.record() == Some(&self.record)"#,
    },
    Mutant {
        name: "a mark that only repeats the renewTime",
        file: "src/election/interface.rs",
        find: r#"mark.renewed == record.renewed && mark.holder == record.holder"#,
        replace: r#"mark.renewed == record.renewed"#,
    },
    Mutant {
        name: "the same identity taken at once, wherever its writer was",
        file: "src/election/decision.rs",
        find: r#"let from_here = |mark: &Mark| mark.place.is_some() && mark.place == *place && mark.process != *process;"#,
        replace: r#"let from_here = |mark: &Mark| place.is_some() && mark.process != *process;"#,
    },
    Mutant {
        name: "the same identity taken at once without the namespace's socket",
        file: "src/election/decision.rs",
        find: r#"self.alone && record.holder == *identity && lock"#,
        replace: r#"record.holder == *identity && lock"#,
    },
    Mutant {
        name: "the place in the mark of a process that does not hold the socket",
        file: "src/election/decision.rs",
        find: r#"place: place.clone().filter(|_| self.alone),"#,
        replace: r#"place: place.clone(),"#,
    },
    Mutant {
        name: "a record taken away from its holder, and one put in its place, frees the lock",
        file: "src/election/decision.rs",
        find: r#"        free_at.max(self.robbed_until)"#,
        replace: r#"        free_at"#,
    },
    Mutant {
        name: "the claim goes on after Stop",
        file: "src/election.rs",
        find: r#"self.term.filter(|_| !self.leaving.has_begun())"#,
        replace: r#"self.term"#,
    },
    Mutant {
        name: "a release without its delay",
        file: "src/contest.rs",
        find: r#"let delay = if leads { self.release.delay } else { Duration::ZERO };"#,
        replace: r#"let delay = if leads { Duration::ZERO } else { self.release.delay };"#,
    },
    Mutant {
        name: "a lock given up, and claimed still",
        file: "src/election/leaving.rs",
        find: r#"        self.term = None; // S5
        self.give_up_request(moment);"#,
        replace: r#"        self.give_up_request(moment);"#,
    },
    Mutant {
        name: "L rounded down",
        file: "src/election/decision.rs",
        find: r#"let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);"#,
        replace: r#"let seconds = lease.as_secs();"#,
    },
    Mutant {
        name: "a resourceVersion that changed counted as a renewal",
        file: "src/election/interface.rs",
        find: r#"same_object && same_mark && self.content == earlier.content"#,
        replace: r#"same_object && same_mark && self.content == earlier.content && self.version == earlier.version"#,
    },
    Mutant {
        name: "the token from the transitions",
        file: "src/election/learning.rs",
        find: r#"Claim { until, fencing_token: resource_version }"#,
        replace: r#"Claim { until, fencing_token: write.record.transitions.into() }"#,
    },
    Mutant {
        name: "transitions that do not count",
        file: "src/election/decision.rs",
        find: r#"_ => (stamp.clone(), self.next_transitions),"#,
        replace: r#"_ => (stamp.clone(), 0),"#,
    },
    Mutant {
        name: "acquireTime written anew by a renewal",
        file: "src/election/decision.rs",
        find: r#"(own.acquired.clone(), own.transitions)"#,
        replace: r#"(stamp.clone(), own.transitions)"#,
    },
    Mutant {
        name: "a clock that sleeps with the machine",
        file: "src/clock.rs",
        find: r#"rustix::time::clock_gettime(rustix::time::ClockId::Boottime)"#,
        replace: r#"rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)"#,
    },
    Mutant {
        name: "a leader that tries again too seldom",
        file: "src/election/pacing.rs",
        find: r#"self.settings.retry_period.min(self.settings.request_timeout / 2)"#,
        replace: r#"self.settings.renew_deadline"#,
    },
    Mutant {
        name: "a follower that asks though its watch is open",
        file: "src/election/decision.rs",
        find: r#"        if !self.watch.open {
            return Some(self.pacing.poll_at);
        }"#,
        replace: r#"        if true {
            return Some(self.pacing.poll_at);
        }"#,
    },
    Mutant {
        name: "a second lock stood for without the first",
        file: "src/contest.rs",
        find: r#"!spent && self.locks[0].claim().is_some()"#,
        replace: r#"!spent"#,
    },
    Mutant {
        name: "two locks, and the longer of two claims",
        file: "src/contest.rs",
        find: r#"until: first.until.min(second.until),"#,
        replace: r#"until: first.until.max(second.until),"#,
    },
    Mutant {
        name: "two locks, and the lesser of two tokens",
        file: "src/contest.rs",
        find: r#"fencing_token: first.fencing_token.max(second.fencing_token),"#,
        replace: r#"fencing_token: first.fencing_token.min(second.fencing_token),"#,
    },
    Mutant {
        name: "two locks, and a term that goes on with a term of one of them",
        file: "src/contest.rs",
        find: r#"            binding.spent = over;"#,
        replace: r#"            let _ = over;"#,
    },
    Mutant {
        name: "two locks, and the first kept when its token is spent",
        file: "src/contest.rs",
        find: r#"        !spent && !refused &&"#,
        replace: r#"        !refused &&"#,
    },
    Mutant {
        name: "two locks, and a lapse of one of them releases the other at once",
        file: "src/contest.rs",
        find: r#"            self.protect(lapsed.until);"#,
        replace: r#"            let _ = lapsed;"#,
    },
    Mutant {
        name: "two locks, and the loss of one of them releases the other at once",
        file: "src/contest.rs",
        find: r#"            self.protect(now);"#,
        replace: r#""#,
    },
    Mutant {
        name: "a stop forgets what an earlier end of the claim still protects",
        file: "src/contest.rs",
        find: r#"            if self.release.claim.take().is_some() {
                self.release.protected_until = Time::ZERO;
            }"#,
        replace: r#"            self.release.claim = None;
            self.release.protected_until = Time::ZERO;"#,
    },
    Mutant {
        name: "a free record in the place of one taken away frees the lock at once",
        file: "src/election/decision.rs",
        find: r#"Content::Record(record) if record.is_free() => self.since,"#,
        replace: r#"Content::Record(record) if record.is_free() => return self.since,"#,
    },
    Mutant {
        name: "a record taken out of its object leaves no holder to wait for",
        file: "src/election/interface.rs",
        find: r#"|| self.content == Content::Nothing || cannot_be_read"#,
        replace: r#"|| cannot_be_read"#,
    },
    Mutant {
        name: "a record that cannot be read is freed by an empty holder",
        file: "src/election/interface.rs",
        find: r#" || cannot_be_read && is_free"#,
        replace: r#" || false && cannot_be_read && is_free"#,
    },
    Mutant {
        name: "an unreadable record counts as held only until it vanishes",
        file: "src/election/learning.rs",
        find: r#"self.last_lease = self.last_lease.or(Some(self.settings.lease)),"#,
        replace: r#"{}"#,
    },
    Mutant {
        name: "the same record in another object counted as unchanged",
        file: "src/election/interface.rs",
        find: r#"same_object && same_mark && self.content"#,
        replace: r#"(same_object || true) && same_mark && self.content"#,
    },
    Mutant {
        name: "a record taken away waited for by its own lease alone",
        file: "src/election/learning.rs",
        find: r#"self.robbed_until = now.saturating_add(last_lease.max(self.settings.lease));"#,
        replace: r#"self.robbed_until = now.saturating_add(last_lease);"#,
    },
    Mutant {
        name: "an acquisition recognised while giving up begins a term",
        file: "src/election/learning.rs",
        find: r#"let counts = now < until && self.leaving.releasing.is_none();"#,
        replace: r#"let counts = now < until;"#,
    },
    Mutant {
        name: "a write acknowledged by its record alone",
        file: "src/election/answers.rs",
        find: r#"new && (write.made(sight) || sight.mark.is_none() && sight.record() == Some(&write.record))"#,
        replace: r#"new && sight.record() == Some(&write.record)"#,
    },
    Mutant {
        name: "a 404 that crossed the watch believed",
        file: "src/election/answers.rs",
        find: r#"if crossed && shown.is_none_or(|shown| shown < self.floor) {"#,
        replace: r#"if crossed && shown.is_some_and(|shown| shown < self.floor) {"#,
    },
    Mutant {
        name: "a lock given up without a read of what is in doubt",
        file: "src/election/leaving.rs",
        find: r#"self.pacing.must_read = self.own.is_none() && !self.doubts.is_empty();"#,
        replace: r#"self.pacing.must_read = false;"#,
    },
    Mutant {
        name: "an acknowledgement that came too late to count dropped",
        file: "src/election/answers.rs",
        find: r#"            return self.news(moment.now, version.resource_version, sight); // S7"#,
        replace: r#"            return; // S7"#,
    },
    Mutant {
        name: "a lock given up, and what is in doubt forgotten",
        file: "src/election/leaving.rs",
        find: r#"let holds = self.holds() || self.may_hold();"#,
        replace: r#"let holds = self.holds();"#,
    },
    Mutant {
        name: "the own record disowned after a lie about absence",
        file: "src/election/learning.rs",
        find: r#"            self.own = Some(own);
        } else"#,
        replace: r#"            drop(own);
        } else"#,
    },
    Mutant {
        name: "an own record believed again after its term",
        file: "src/election/learning.rs",
        find: r#"        if self.term.is_some()
            && let Some"#,
        replace: r#"        if true
            && let Some"#,
    },
    Mutant {
        name: "two locks, and no deadline for standing back",
        file: "src/contest.rs",
        find: r#"            Some(self.binding.back_until),
"#,
        replace: "",
    },
    Mutant {
        name: "two locks, and no deadline for a second that cannot be had",
        file: "src/contest.rs",
        find: r#"            stuck,
        ];"#,
        replace: r#"            stuck.filter(|_| false),
        ];"#,
    },
    Mutant {
        name: "two locks, and no deadline for a second that cannot be read",
        file: "src/contest.rs",
        find: r#"            Some(second.unreadable_at()),
"#,
        replace: "",
    },
    Mutant {
        name: "two locks, and no deadline for a second that is refused",
        file: "src/contest.rs",
        find: r#"            second.refused_until(),
            Some"#,
        replace: r#"            Some"#,
    },
    Mutant {
        name: "no deadline for the release of what is protected",
        file: "src/contest.rs",
        find: r#"[Some(protected_until), due,"#,
        replace: r#"[due.filter(|_| protected_until > now), due,"#,
    },
    Mutant {
        name: "another holder named for longer than its lease",
        file: "src/election.rs",
        find: r#"until: self.since.saturating_add(record.lease()) })"#,
        replace: r#"until: self.since.saturating_add(record.lease() * 2) })"#,
    },
];
