//! The queued watch events of one lock. The queue has few entries even if the watch shows many events.
//!
//! Bookmarks are merged. A newer state replaces an older one, unless both together tell the candidate more than the
//! newer one: that somebody deleted a holder's record (S3, S10), that another candidate held the lock in between (S6),
//! or that a record was written and an earlier one was put back (S3). The queue keeps:
//!
//! - that the watch was opened, and that it ended;
//! - the first and the last of consecutive states that differ only as renewals do;
//! - if there are still too many states: the oldest, the two newest, and the one in between with the longest lease,
//!   marked as deleted afterwards. The candidate may then wait longer than necessary, but never less.

use super::watcher::WatchMessage;
use crate::election::Sight;
use crate::record::Content;
use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// The maximum number of states. An opening, a bookmark and an end may be queued in addition.
pub(super) const MOST_STATES: usize = 6;

#[derive(Debug, Default)]
pub(super) struct WatchQueue(VecDeque<Entry>);

/// A watch event, and a moment before it arrived.
pub(super) type Entry = (Time, WatchMessage);

impl WatchQueue {
    /// Whether this event may be added now. An opening must wait until the end of the previous watch was taken.
    pub(super) fn has_room_for(&self, message: &WatchMessage) -> bool {
        !matches!((message, self.0.back()), (WatchMessage::Opened, Some((_, WatchMessage::Closed(_)))))
    }

    pub(super) fn push(&mut self, since: Time, message: WatchMessage) {
        if let Some((_, WatchMessage::Bookmark)) = self.0.back()
            && !matches!(message, WatchMessage::Closed(_))
        {
            self.0.pop_back();
        }
        let newest = self.0.iter().rev().find_map(|(_, message)| message.resource_version());
        match message.resource_version() {
            // An old state shows the candidate only that the server works.
            Some(shown) if newest.is_some_and(|newest| shown <= newest) => {
                self.0.push_back((since, WatchMessage::Bookmark))
            }
            Some(_) => self.push_state(since, message),
            None => self.0.push_back((since, message)),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a state is queued.
    pub(super) fn has_state(&self) -> bool {
        self.0.iter().any(|(_, message)| message.resource_version().is_some())
    }

    fn push_state(&mut self, since: Time, message: WatchMessage) {
        self.0.push_back((since, message));
        let last = self.0.len() - 1;
        let first = self.0.iter().position(|(_, message)| message.resource_version().is_some()).unwrap_or(last);
        if last > first {
            self.0[last - 1].1.drop_object();
        }
        if last >= first + 2
            && let [a, b, c] = [last - 2, last - 1, last].map(|index| self.0[index].1.sight())
            && is_covered_by(&a, &b)
            && is_covered_by(&b, &c)
            && !is_put_back(&a, &b, &c)
        {
            self.0.remove(last - 1);
        } else if last >= first + MOST_STATES {
            self.keep_longest_lease(first);
        }
    }

    /// Replaces the states between the first and the two newest ones by the one with the longest lease, followed by its
    /// deletion. If the first has the longest lease, only the deletion is kept.
    fn keep_longest_lease(&mut self, first: usize) {
        let newest = self.0.split_off(self.0.len() - 2);
        let mut between: Vec<Entry> = self.0.drain(first + 1..).collect();
        let versions: Vec<u64> = between.iter().filter_map(|(_, message)| message.resource_version()).collect();
        let at_risk = |(_, message): &Entry| lease(&message.sight());
        let longest = (0..between.len()).max_by_key(|index| at_risk(&between[*index])).unwrap_or_default();
        if let [.., before, deleted] = versions[..] {
            let (since, longest) = between.swap_remove(longest);
            if at_risk(&self.0[first]) < lease(&longest.sight()) {
                // If it is the last of them, its deletion must have a higher resourceVersion.
                let resource_version = longest.resource_version().unwrap_or_default().min(before);
                self.0.push_back((since, WatchMessage::Superseded { resource_version, sight: longest.sight() }));
            }
            self.0.push_back((since, WatchMessage::Deleted { resource_version: deleted }));
        }
        self.0.extend(newest);
    }
}

impl WatchMessage {
    /// The resourceVersion of the state that this event shows.
    fn resource_version(&self) -> Option<u64> {
        match self {
            WatchMessage::Superseded { resource_version, .. } | WatchMessage::Deleted { resource_version } => {
                Some(*resource_version)
            }
            WatchMessage::Object(object) => Some(object.version().resource_version),
            WatchMessage::Opened | WatchMessage::Bookmark | WatchMessage::Closed(_) => None,
        }
    }

    fn sight(&self) -> Sight {
        match self {
            WatchMessage::Superseded { sight, .. } => sight.clone(),
            WatchMessage::Object(object) => object.sight(),
            WatchMessage::Deleted { .. } | WatchMessage::Opened | WatchMessage::Bookmark | WatchMessage::Closed(_) => {
                Sight::MISSING
            }
        }
    }

    /// Drops the object, because a newer one is queued.
    fn drop_object(&mut self) {
        if let WatchMessage::Object(object) = self {
            let (resource_version, sight) = (object.version().resource_version, object.sight());
            *self = WatchMessage::Superseded { resource_version, sight };
        }
    }
}

/// Whether the second state alone tells the candidate as much as both.
fn is_covered_by(first: &Sight, second: &Sight) -> bool {
    let uid = |sight: &Sight| sight.version.as_ref().map(|version| version.uid.clone());
    let alike = match (&first.content, &second.content) {
        (Content::Record(a), Content::Record(b)) => a.holder == b.holder || a.is_free() || b.is_free(),
        (Content::Unreadable { .. }, Content::Unreadable { .. }) | (Content::Nothing, Content::Nothing) => true,
        _ => false,
    };
    alike && uid(first) == uid(second)
}

/// Whether the last state shows the first one's record again, and the state in between another one. Without that one,
/// the candidate would count the lease from the first (S3).
fn is_put_back(first: &Sight, between: &Sight, last: &Sight) -> bool {
    last.unchanged_since(first) && !(between.unchanged_since(first) && last.unchanged_since(between))
}

/// How long the holder in this state may continue to claim. An unreadable record counts as more than none.
fn lease(sight: &Sight) -> Duration {
    match &sight.content {
        Content::Record(record) if !record.is_free() => record.lease(),
        Content::Unreadable { .. } => Duration::from_nanos(1),
        Content::Record(_) | Content::Nothing => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::{Election, Event, Moment, Settings, Version};
    use crate::lock::{LockKind, LockName, Object};
    use crate::record::RECORD_ANNOTATION;
    use serde_json::json;

    fn object(version: u64, uid: u64, record: Option<String>) -> WatchMessage {
        let lock = LockName { kind: LockKind::Endpoints, namespace: "default".into(), name: "example".into() };
        let mut object = json!({"metadata": {
            "namespace": "default", "name": "example", "uid": format!("uid-{uid}"),
            "resourceVersion": version.to_string(),
        }});
        if let Some(record) = record {
            object["metadata"]["annotations"] = json!({RECORD_ANNOTATION: record});
        }
        WatchMessage::Object(Object::parse(&lock, object.to_string().as_bytes()).unwrap())
    }

    fn held(version: u64, holder: &str, lease: u32) -> WatchMessage {
        let record = json!({"holderIdentity": holder, "leaseDurationSeconds": lease, "renewTime": version.to_string()});
        object(version, 0, Some(record.to_string()))
    }

    fn deleted(resource_version: u64) -> WatchMessage {
        WatchMessage::Deleted { resource_version }
    }

    fn at(seconds: u64) -> Time {
        Time::after_boot(Duration::from_secs(seconds))
    }

    fn queue(messages: Vec<WatchMessage>) -> WatchQueue {
        let mut queue = WatchQueue::default();
        for (count, message) in messages.into_iter().enumerate() {
            assert!(queue.has_room_for(&message));
            queue.push(at(count as u64), message);
            assert!(queue.0.len() <= MOST_STATES + 3, "{queue:?}");
        }
        queue
    }

    /// Each entry in short, with its time.
    fn entries(mut queue: WatchQueue) -> String {
        let mut entries = Vec::new();
        while let Some((since, message)) = queue.pop() {
            let what = match &message {
                WatchMessage::Opened => "opened".to_owned(),
                WatchMessage::Bookmark => "bookmark".to_owned(),
                WatchMessage::Closed(_) => "closed".to_owned(),
                WatchMessage::Object(object) => format!("object {}", object.version().resource_version),
                WatchMessage::Superseded { resource_version, .. } => format!("past {resource_version}"),
                WatchMessage::Deleted { resource_version } => format!("deleted {resource_version}"),
            };
            entries.push(format!("{what} at {}", since.uptime().as_secs()));
        }
        entries.join(", ")
    }

    #[test]
    fn bookmarks_are_merged() {
        let many = (0..1000).map(|_| WatchMessage::Bookmark).collect();
        assert_eq!(entries(queue(many)), "bookmark at 999");
        let around = vec![
            WatchMessage::Opened,
            WatchMessage::Bookmark,
            held(5, "a", 1),
            WatchMessage::Bookmark,
            WatchMessage::Bookmark,
        ];
        assert_eq!(entries(queue(around)), "opened at 0, object 5 at 2, bookmark at 4");
    }

    #[test]
    fn of_renewals_the_first_and_the_last_are_kept_with_one_object() {
        let renewals = (1..1000).map(|version| held(version, "a", 1)).collect();
        assert_eq!(entries(queue(renewals)), "past 1 at 0, object 999 at 998");
    }

    #[test]
    fn the_end_of_a_watch_stays_behind_what_it_showed_and_the_next_waits_for_it() {
        let mut queue =
            queue(vec![WatchMessage::Opened, held(1, "a", 1), WatchMessage::Bookmark, WatchMessage::Closed(None)]);
        assert!(!queue.has_room_for(&WatchMessage::Opened));
        for _ in 0..4 {
            queue.pop().unwrap();
        }
        assert!(queue.has_room_for(&WatchMessage::Opened));
    }

    #[test]
    fn states_that_are_not_newer_are_ignored() {
        let old = vec![held(5, "a", 1), held(5, "b", 1), deleted(4)];
        assert_eq!(entries(queue(old)), "object 5 at 0, bookmark at 2");
    }

    #[test]
    fn a_deletion_and_a_holder_in_between_are_not_lost() {
        let free = |version| held(version, "", 1);
        let gone = vec![held(1, "a", 9), held(2, "a", 9), deleted(3), object(4, 1, None)];
        assert_eq!(entries(queue(gone)), "past 1 at 0, past 2 at 1, deleted 3 at 2, object 4 at 3");
        let taken_out = vec![held(1, "a", 9), object(2, 0, None), free(3), free(4)];
        assert_eq!(entries(queue(taken_out)), "past 1 at 0, past 2 at 1, past 3 at 2, object 4 at 3");
        let unreadable = |version: u64| object(version, 0, Some(format!("garbage {version}")));
        let corrupted = vec![held(1, "a", 1), held(2, "a", 1), unreadable(3), unreadable(4), unreadable(5), free(6)];
        assert_eq!(entries(queue(corrupted)), "past 1 at 0, past 2 at 1, past 3 at 2, past 5 at 4, object 6 at 5");
        let in_between = vec![held(1, "me", 9), held(2, "you", 9), held(3, "me", 9)];
        assert_eq!(entries(queue(in_between)), "past 1 at 0, past 2 at 1, object 3 at 2");
    }

    #[test]
    fn a_record_in_between_is_kept_if_an_earlier_one_is_put_back() {
        let renewed = |version, renewed: &str| {
            let record = json!({"holderIdentity": "a", "leaseDurationSeconds": 9, "renewTime": renewed});
            object(version, 0, Some(record.to_string()))
        };
        let put_back = vec![renewed(1, "0"), renewed(2, "1"), renewed(3, "2"), renewed(4, "0")];
        assert_eq!(entries(queue(put_back)), "past 1 at 0, past 3 at 2, object 4 at 3");
        let touched = vec![renewed(1, "0"), renewed(2, "0"), renewed(3, "0")];
        assert_eq!(entries(queue(touched)), "past 1 at 0, object 3 at 2");
        queue((1..1000).map(|version| renewed(version, ["0", "1"][version as usize % 2])).collect());
    }

    #[test]
    fn of_too_many_states_the_longest_lease_is_kept() {
        let messages: Vec<WatchMessage> =
            (0..10).flat_map(|n| [held(2 * n + 1, "a", if n == 4 { 60 } else { 10 }), deleted(2 * n + 2)]).collect();
        let mut queue = queue(messages);
        let mut longest = Duration::ZERO;
        let mut versions = vec![0];
        while let Some((_, message)) = queue.pop() {
            longest = longest.max(lease(&message.sight()));
            versions.push(message.resource_version().unwrap());
        }
        assert_eq!(longest, Duration::from_secs(60));
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    }

    fn settings() -> Settings {
        Settings {
            identity: "me".into(),
            process: 1,
            host: None,
            lease: Duration::from_secs(10),
            renew_deadline: Duration::from_secs(6),
            retry_period: Duration::from_secs(2),
            request_timeout: Duration::from_secs(1),
            release_delay: Duration::ZERO,
            creation_delay: Duration::ZERO,
            health_failures: None,
        }
    }

    fn show(machine: &mut Election, message: &WatchMessage) {
        let moment = Moment { now: at(1000), wall_micros: 0, jitter: 0.0 };
        if let Some(resource_version) = message.resource_version() {
            machine.process(moment, Event::Watched { resource_version, sight: message.sight() });
        }
    }

    /// Numbers that look random, the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }

        fn state(&mut self, version: u64, uid: &mut u64) -> WatchMessage {
            let holder = ["", "a", "b", "c"][self.below(4) as usize];
            let record = json!({
                "holderIdentity": holder, "leaseDurationSeconds": 1 + self.below(60), "renewTime": version.to_string(),
            });
            // The events of a deletion and of what came after it, or only the latter.
            *uid += u64::from(self.below(6) == 0);
            match self.below(8) {
                0 => {
                    *uid += 1;
                    deleted(version)
                }
                1 => object(version, *uid, None),
                2 => object(version, *uid, Some(format!("garbage {version}"))),
                _ => object(version, *uid, Some(record.to_string())),
            }
        }
    }

    /// The longest lease of all holders that may still claim after these states: those whose records were removed, and
    /// the last one.
    fn at_risk(states: &[WatchMessage]) -> Duration {
        let sights: Vec<Sight> = states.iter().map(WatchMessage::sight).collect();
        let removed = |pair: &[Sight]| match &pair[1].content {
            Content::Record(record) => {
                let uid = |sight: &Sight| sight.version.as_ref().map(|Version { uid, .. }| uid.clone());
                let unreadable = matches!(pair[0].content, Content::Unreadable { .. }) && record.is_free();
                uid(&pair[0]) != uid(&pair[1]) || unreadable
            }
            Content::Nothing => true,
            Content::Unreadable { .. } => false,
        };
        // If the lease is shorter or unknown, the own lease counts.
        let needed = |sight: &Sight| match &sight.content {
            Content::Record(record) if !record.is_free() => record.lease().max(settings().lease),
            Content::Unreadable { .. } => settings().lease,
            Content::Record(_) | Content::Nothing => Duration::ZERO,
        };
        let gone = sights.windows(2).filter(|pair| removed(pair)).map(|pair| needed(&pair[0]));
        gone.chain(sights.last().map(needed)).max().unwrap_or_default()
    }

    #[test]
    fn merging_states_never_shortens_a_wait() {
        let mut numbers = Numbers(7);
        for _ in 0..10_000 {
            let (mut machine, mut whole) = (Election::new(settings()), Election::new(settings()));
            let (mut queue, mut uid, mut all) = (WatchQueue::default(), 0, Vec::new());
            let mut taken = 0;
            for version in 1..=2 + numbers.below(20) {
                let mut same = Numbers(numbers.0);
                let state = numbers.state(version, &mut uid.clone());
                all.push(same.state(version, &mut uid));
                queue.push(Time::ZERO, state);
                show(&mut whole, all.last().unwrap());
                if numbers.below(6) == 0
                    && let Some((_, message)) = queue.pop()
                {
                    show(&mut machine, &message);
                    taken += 1;
                }
            }
            while let Some((_, message)) = queue.pop() {
                show(&mut machine, &message);
            }
            let newest = |machine: &Election| machine.lock().cloned();
            assert_eq!(newest(&machine), newest(&whole), "{all:?}");
            let (free_from, needed) = (machine.free_from().unwrap(), at(1000).saturating_add(at_risk(&all)));
            let shown =
                all.iter().map(|message| (message.resource_version(), message.sight().content)).collect::<Vec<_>>();
            assert!(free_from >= needed, "{free_from:?} < {needed:?} with {taken} taken early: {shown:?}");
        }
    }
}
