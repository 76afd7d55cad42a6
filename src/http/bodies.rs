//! The bodies of `/status` and `/events`. No I/O.

use crate::election::Candidacy;
use crate::record::{Record, Stamp};
use crate::status::Snapshot;
use crate::time::Time;
use serde::{Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;

/// The body of `/status`. Every field is always present; a field without a value is null.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    election: &'a str,
    namespace: &'a str,
    /// The kind of the lock, as `--lock` names it.
    lock: &'static str,
    /// This candidate, also while another one leads. No other path shows it then.
    id: &'a str,
    /// Empty if no leader is known, as in `/`.
    leader: &'a str,
    is_leader: bool,
    /// Whether this candidate would lead if the lock were free, or why not.
    candidacy: &'static str,
    fencing_token: Option<u64>,
    transitions: Option<u32>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    valid_for_seconds: Seconds,
    last_error: Option<&'static str>,
}

/// The body of `/status` at `now`.
pub fn state(snapshot: &Snapshot, now: Time) -> String {
    let leader = snapshot.leader(now);
    let record = snapshot.record(now);
    let times = record.filter(|record| !leader.is_empty() && *record.holder == *leader);
    let time = |which: fn(&Record) -> &Stamp| times.map(|record| which(record).text());
    to_json(&State {
        election: &snapshot.locks.name,
        namespace: &snapshot.locks.namespace,
        lock: snapshot.locks.choice(),
        id: &snapshot.identity,
        leader,
        is_leader: snapshot.leads(now),
        candidacy: match snapshot.candidacy {
            Candidacy::Standing => "standing",
            Candidacy::Unhealthy => "unhealthy",
            Candidacy::StandingBack => "standing-back",
            Candidacy::Leaving => "leaving",
        },
        fencing_token: snapshot.claim_at(now).map(|claim| claim.fencing_token),
        transitions: record.map(|record| record.transitions),
        acquire_time: time(|record| &record.acquired),
        renew_time: time(|record| &record.renewed),
        valid_for_seconds: Seconds(valid_for(snapshot, now)),
        last_error: snapshot.last_error,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderEvent<'a> {
    name: &'a str,
    valid_for_seconds: Seconds,
}

/// What an event contains: who leads, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderState(Option<(Arc<str>, Time)>);

/// A comment that keeps proxies and clients from closing a quiet stream.
pub const HEARTBEAT: &[u8] = b":\n\n";

impl LeaderState {
    /// The state at `now`.
    pub fn at(snapshot: &Snapshot, now: Time) -> LeaderState {
        LeaderState(snapshot.leadership(now).map(|(leader, until)| (Arc::clone(leader), until)))
    }

    /// The event at `now` (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
    pub fn event(&self, now: Time) -> String {
        format!("data: {}\n\n", self.data(now))
    }

    /// The first event of a stream. It also tells the client to reconnect after 1 s if the stream ends.
    pub fn first_event(&self, now: Time) -> String {
        format!("data: {}\nretry: 1000\n\n", self.data(now))
    }

    fn data(&self, now: Time) -> String {
        let (name, until) = self.0.as_ref().map_or(("", now), |(leader, until)| (leader, *until));
        to_json(&LeaderEvent { name, valid_for_seconds: Seconds(until.since(now)) })
    }
}

fn valid_for(snapshot: &Snapshot, now: Time) -> Duration {
    snapshot.leadership(now).map_or(Duration::ZERO, |(_, until)| until.since(now))
}

/// A duration in seconds, rounded down to milliseconds.
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        match millis % 1000 {
            0 => serializer.serialize_u64(millis / 1000),
            // The `f64` nearest to a decimal with three places prints as that decimal. A sum of two `f64` may not.
            _ => serializer.serialize_f64(millis as f64 / 1000.0),
        }
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() // strings and numbers always serialise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_never_more_than_there_are() {
        for (nanos, text) in
            [(0, "0"), (999_999, "0"), (1_000_000, "0.001"), (6_632_999_999, "6.632"), (7_000_000_001, "7")]
        {
            assert_eq!(to_json(&Seconds(Duration::from_nanos(nanos))), text);
        }
    }

    #[test]
    fn seconds_have_three_decimal_places_at_most() {
        for millis in (0..100_000).chain(86_400_000..86_410_000) {
            let (seconds, thousandths) = (millis / 1000, millis % 1000);
            let text = format!("{seconds}.{thousandths:03}");
            let text = text.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(to_json(&Seconds(Duration::from_nanos(millis * 1_000_000 + 999_999))), text);
        }
    }
}
