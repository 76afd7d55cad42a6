//! The record: who holds the lock, since when and for how long, and its two forms on the wire.
//!
//! In Endpoints and ConfigMaps it is a JSON text in the annotation [`RECORD_ANNOTATION`], as written by
//! leader-elector 0.5 and client-go since 2016; in a Lease it is the `spec`
//! (`coordination.k8s.io/v1`). Beside it, in [`MARK_ANNOTATION`], stands the [`Mark`] of the write.

use crate::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The annotation that holds the record in Endpoints and ConfigMaps.
pub const RECORD_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// The annotation that holds the mark of the write, in every kind of lock.
pub const MARK_ANNOTATION: &str = "leader-elector/mark";

/// The longest lease a record may claim; a longer one cannot be meant.
pub const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// Kubernetes keeps the transitions in an int32.
const MOST_TRANSITIONS: u32 = i32::MAX as u32;

/// Who holds the lock, since when, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The identity of the holder; empty when nobody holds the lock.
    pub holder: Arc<str>,
    /// L in whole seconds. At least 1 and at most a day, but 0 where an empty holder came without one.
    pub lease_seconds: u32,
    pub acquired: Stamp,
    pub renewed: Stamp,
    /// How often the lock changed hands; saturates at 2^31 - 1.
    pub transitions: u32,
}

impl Record {
    pub fn is_free(&self) -> bool {
        self.holder.is_empty()
    }

    /// L as the record states it.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    /// What `leaseTransitions` is in the term after this record.
    pub fn next_transitions(&self) -> u32 {
        self.transitions.saturating_add(1).min(MOST_TRANSITIONS)
    }
}

/// A time stamp in a record. It is written for people and peers, and compared only for being the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stamp {
    /// Microseconds since the Unix epoch, on the wire exactly as [`rfc3339::format`] writes them.
    Micros(i64),
    /// A text of any other form, kept because a change of it shows that the holder is alive.
    Text(Arc<str>),
}

impl Stamp {
    fn parse(text: &str) -> Stamp {
        match rfc3339::parse(text) {
            Some(micros) if rfc3339::format(micros) == text => Stamp::Micros(micros),
            _ => Stamp::Text(text.into()),
        }
    }

    /// The text on the wire.
    pub fn text(&self) -> String {
        match self {
            Stamp::Micros(micros) => rfc3339::format(*micros),
            Stamp::Text(text) => text.to_string(),
        }
    }
}

/// What a lock object was seen to hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// There is no record, or no object at all.
    Nothing,
    Record(Record),
    /// There is something that is no record. The text is what stood there, `why` what is wrong with it.
    Unreadable {
        text: Arc<str>,
        why: &'static str,
    },
}

/// The record in the form it has in the annotation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnnotationRecord<'a> {
    holder_identity: &'a str,
    lease_duration_seconds: u32,
    acquire_time: String,
    renew_time: String,
    leader_transitions: u32,
}

/// The text of the annotation for a record.
pub fn to_annotation(record: &Record) -> String {
    let form = AnnotationRecord {
        holder_identity: &record.holder,
        lease_duration_seconds: record.lease_seconds,
        acquire_time: record.acquired.text(),
        renew_time: record.renewed.text(),
        leader_transitions: record.transitions,
    };
    serde_json::to_string(&form).unwrap_or_default() // strings and numbers always serialise
}

/// Reads the text of the annotation.
pub fn from_annotation(text: &str) -> Content {
    let unreadable = |why| Content::Unreadable { text: text.into(), why };
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) if value.get("holderIdentity").is_none() => {
            unreadable("holderIdentity is missing")
        }
        Ok(value @ Value::Object(_)) => read(&value, "leaderTransitions").map_or_else(unreadable, Content::Record),
        Ok(_) => unreadable("it is not a JSON object"),
        Err(_) => unreadable("it is not JSON"),
    }
}

/// The fields of a Lease's `spec` that make up the record, by name.
pub fn to_lease_spec(record: &Record) -> [(&'static str, Value); 5] {
    [
        ("holderIdentity", Value::from(&*record.holder)),
        ("leaseDurationSeconds", Value::from(record.lease_seconds)),
        ("acquireTime", Value::from(record.acquired.text())),
        ("renewTime", Value::from(record.renewed.text())),
        ("leaseTransitions", Value::from(record.transitions)),
    ]
}

/// The fields of a Lease's `spec` that make up the record.
const SPEC_FIELDS: [&str; 5] =
    ["holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions"];

/// Reads a Lease's `spec`, given as JSON text.
///
/// A spec without any field of the record is no record: somebody replaced the Lease or took the record out, and its
/// holder may still lead. A released record keeps its other fields beside an empty or absent holder.
pub fn from_lease_spec(text: &str) -> Content {
    let unreadable = |why| Content::Unreadable { text: text.into(), why };
    let is_there = |value: &Value, name| value.get(name).is_some_and(|field| !field.is_null());
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) if !SPEC_FIELDS.iter().any(|name| is_there(&value, name)) => Content::Nothing,
        Ok(value @ Value::Object(_)) => read(&value, "leaseTransitions").map_or_else(unreadable, Content::Record),
        _ => unreadable("the spec is not a JSON object"),
    }
}

fn read(value: &Value, transitions: &str) -> Result<Record, &'static str> {
    let holder: Arc<str> = match value.get("holderIdentity") {
        None | Some(Value::Null) => "".into(),
        Some(Value::String(holder)) => holder.as_str().into(),
        Some(_) => return Err("holderIdentity is not a string"),
    };
    let lease_seconds = match read_lease_seconds(value.get("leaseDurationSeconds")) {
        Err(_) if holder.is_empty() => 0, // nobody holds it, however long
        other => other?,
    };
    Ok(Record {
        holder,
        lease_seconds,
        acquired: read_stamp(value.get("acquireTime")).ok_or("acquireTime is not a string")?,
        renewed: read_stamp(value.get("renewTime")).ok_or("renewTime is not a string")?,
        transitions: read_transitions(value.get(transitions)).ok_or("the number of transitions is not a number")?,
    })
}

fn read_lease_seconds(value: Option<&Value>) -> Result<u32, &'static str> {
    let seconds = value.ok_or("leaseDurationSeconds is missing")?;
    let seconds = seconds.as_i64().ok_or("leaseDurationSeconds is not a whole number, or too large")?;
    if seconds <= 0 {
        return Err("leaseDurationSeconds is not above 0");
    }
    match u32::try_from(seconds) {
        Ok(seconds) if u64::from(seconds) <= LONGEST_LEASE.as_secs() => Ok(seconds),
        _ => Err("leaseDurationSeconds is more than a day"),
    }
}

fn read_stamp(value: Option<&Value>) -> Option<Stamp> {
    match value {
        None | Some(Value::Null) => Some(Stamp::Text("".into())),
        Some(Value::String(text)) => Some(Stamp::parse(text)),
        Some(_) => None,
    }
}

fn read_transitions(value: Option<&Value>) -> Option<u32> {
    match value {
        None | Some(Value::Null) => Some(0),
        Some(Value::Number(number)) => {
            let below_zero = number.as_f64().is_some_and(|n| n < 0.0);
            let known = number.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
            Some(if below_zero { 0 } else { known.min(MOST_TRANSITIONS) })
        }
        Some(_) => None,
    }
}

/// The mark of one write: unique to the process and the write.
///
/// It lets a candidate recognise its own write after an answer was lost. Peers that do not know it, and people, leave it
/// standing beside their own records, so it repeats the record's holder and renewTime to be told to belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Drawn at random by each process.
    pub process: u128,
    /// The number of the write in the process.
    pub write: u64,
    pub holder: Arc<str>,
    pub renewed: Stamp,
    /// Where the process runs; only where it holds the socket that no other process of its name can hold
    /// there as long as it lives, for otherwise the place would prove nothing.
    pub place: Option<Place>,
}

/// Where a process runs, as far as abstract Unix sockets can reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The kernel's boot id.
    pub boot: Arc<str>,
    /// The network namespace, as `/proc/self/ns/net` names it.
    pub network: Arc<str>,
}

/// The mark in the form it has in the annotation.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkText {
    process: String,
    write: u64,
    holder_identity: Arc<str>,
    renew_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Arc<str>>,
}

impl Mark {
    /// The text of the annotation.
    pub fn to_annotation(&self) -> String {
        let form = MarkText {
            process: format!("{:032x}", self.process),
            write: self.write,
            holder_identity: self.holder.clone(),
            renew_time: self.renewed.text(),
            boot: self.place.as_ref().map(|place| place.boot.clone()),
            network: self.place.as_ref().map(|place| place.network.clone()),
        };
        serde_json::to_string(&form).unwrap_or_default() // strings and numbers always serialise
    }

    /// Reads the text of the annotation; `None` when it is no mark of ours.
    pub fn from_annotation(text: &str) -> Option<Mark> {
        let form: MarkText = serde_json::from_str(text).ok()?;
        Some(Mark {
            process: u128::from_str_radix(&form.process, 16).ok()?,
            write: form.write,
            holder: form.holder_identity,
            renewed: Stamp::parse(&form.renew_time),
            place: form.boot.zip(form.network).map(|(boot, network)| Place { boot, network }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_without_any_field_of_the_record_is_no_record() {
        let nulls = r#"{"holderIdentity":null,"leaseDurationSeconds":null,"acquireTime":null,"renewTime":null,
            "leaseTransitions":null}"#;
        for spec in ["{}", r#"{"preferredHolder":"peer","strategy":"OldestEmulationVersion"}"#, nulls] {
            assert_eq!(from_lease_spec(spec), Content::Nothing, "{spec}");
        }
    }

    #[test]
    fn a_spec_without_a_holder_beside_any_other_field_is_a_released_record() {
        for spec in [
            r#"{"holderIdentity":""}"#,
            r#"{"leaseDurationSeconds":1}"#,
            r#"{"holderIdentity":null,"leaseDurationSeconds":1}"#,
            r#"{"acquireTime":"2026-01-01T00:00:00.000000Z"}"#,
            r#"{"renewTime":"2026-01-01T00:00:00.000000Z"}"#,
            r#"{"leaseTransitions":0}"#,
        ] {
            assert!(matches!(from_lease_spec(spec), Content::Record(record) if record.is_free()), "{spec}");
        }
    }
}
