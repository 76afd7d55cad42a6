//! The record: who holds the lock, since when and for how long; and its two serialized forms.
//!
//! In Endpoints and ConfigMaps the record is a JSON text in the annotation [`RECORD_ANNOTATION`], as in leader-elector
//! 0.5 and in client-go since 2016. In a Lease it is the `spec` (`coordination.k8s.io/v1`). The annotation
//! [`MARK_ANNOTATION`] holds the [`Mark`] of the write.

mod mark;

pub use self::mark::{Host, Mark};
use crate::json::{Scalar, bounded, each_field};
use crate::rfc3339;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// The annotation with the record in Endpoints and ConfigMaps.
pub const RECORD_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// The annotation with the [`Mark`] of the write, in every kind of lock.
pub const MARK_ANNOTATION: &str = "leader-elector/mark";

/// The annotation with which a user asks the holder that it names to release the lock, in every kind of lock.
pub const STEP_DOWN_ANNOTATION: &str = "leader-elector/step-down";

/// The longest lease that a record may state. A longer one is a mistake.
pub const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// Kubernetes stores the number of transitions as an int32.
const MOST_TRANSITIONS: u32 = i32::MAX as u32;

/// Who holds the lock, since when, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The identity of the holder, at most 1024 bytes; empty if nobody holds the lock.
    pub holder: Arc<str>,
    /// L in whole seconds, from 1 to a day; 0 only if the holder is empty and no valid duration was given.
    pub lease_seconds: u32,
    pub acquired: Stamp,
    pub renewed: Stamp,
    /// How often the holder changed; saturates at 2^31 - 1.
    pub transitions: u32,
}

impl Record {
    pub fn is_free(&self) -> bool {
        self.holder.is_empty()
    }

    /// L as stated in the record.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    /// `leaseTransitions` of the term after this record.
    pub fn next_transitions(&self) -> u32 {
        self.transitions.saturating_add(1).min(MOST_TRANSITIONS)
    }
}

/// A time stamp in a record. It is informative: this program only tests stamps for equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stamp {
    /// Microseconds since the Unix epoch, serialized by [`rfc3339::format`].
    Micros(i64),
    /// Any other text. It is kept because a change shows that the holder is alive. A long text is shortened by
    /// `bounded`.
    Text(Arc<str>),
}

impl Stamp {
    fn parse(text: &str) -> Stamp {
        match rfc3339::parse(text) {
            Some(micros) if rfc3339::format(micros) == text => Stamp::Micros(micros),
            _ => Stamp::Text(text.into()),
        }
    }

    /// The serialized form.
    pub fn text(&self) -> String {
        match self {
            Stamp::Micros(micros) => rfc3339::format(*micros),
            Stamp::Text(text) => text.to_string(),
        }
    }
}

/// The content of a lock object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// There is no record, or no object at all.
    Nothing,
    Record(Record),
    /// There is something that is not a record. `text` is that text, shortened if long so that every change still
    /// shows; `why` says what is wrong with it.
    Unreadable {
        text: Arc<str>,
        why: &'static str,
    },
}

/// The record in the form of the annotation.
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

/// Parses the text of the annotation.
pub fn from_annotation(text: &str) -> Content {
    let unreadable = |why| Content::Unreadable { text: bounded(text), why };
    match serde_json::from_str::<&RawValue>(text) {
        Err(_) => unreadable("it is not JSON"),
        Ok(json) if !json.get().starts_with('{') => unreadable("it is not a JSON object"),
        Ok(json) => match Fields::of(json.get(), "leaderTransitions") {
            Fields { holder: None, .. } => unreadable("holderIdentity is missing"),
            fields => fields.read().map_or_else(unreadable, Content::Record),
        },
    }
}

/// The fields of a Lease's `spec` that form the record, by name.
pub fn to_lease_spec(record: &Record) -> [(&'static str, Value); 5] {
    [
        ("holderIdentity", Value::from(&*record.holder)),
        ("leaseDurationSeconds", Value::from(record.lease_seconds)),
        ("acquireTime", Value::from(record.acquired.text())),
        ("renewTime", Value::from(record.renewed.text())),
        ("leaseTransitions", Value::from(record.transitions)),
    ]
}

/// The names of the fields of a Lease's `spec` that form the record.
pub(crate) const SPEC_FIELDS: [&str; 5] =
    ["holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions"];

/// Parses a Lease's `spec`, given as the text of a JSON object.
///
/// A spec without any field of the record holds no record: somebody replaced the Lease or deleted the record, and its
/// holder may still lead. A released record has an empty or absent holder, but keeps its other fields.
pub fn from_lease_spec(text: &str) -> Content {
    let fields = Fields::of(text, "leaseTransitions");
    if fields.are_absent() {
        return Content::Nothing;
    }
    let unreadable = |why| Content::Unreadable { text: spec_fields(text), why };
    fields.read().map_or_else(unreadable, Content::Record)
}

/// The record's fields of a spec, as text.
fn spec_fields(spec: &str) -> Arc<str> {
    let mut fields = Vec::new();
    // The spec was parsed before, so there is no error.
    let _ = each_field(spec, |name, value| {
        if SPEC_FIELDS.contains(&name) {
            fields.push(format!("\"{name}\":{}", value.get()));
        }
    });
    bounded(&fields.join(","))
}

/// The fields of a record, in either form.
#[derive(Default)]
struct Fields {
    holder: Option<Scalar>,
    lease_seconds: Option<Scalar>,
    acquired: Option<Scalar>,
    renewed: Option<Scalar>,
    transitions: Option<Scalar>,
}

impl Fields {
    /// Parses the text of a JSON object; `transitions` is the name of that field.
    fn of(text: &str, transitions: &str) -> Fields {
        let mut fields = Fields::default();
        // If the text is not an object, there are no fields.
        let _ = each_field(text, |name, value| {
            let field = match name {
                "holderIdentity" => &mut fields.holder,
                "leaseDurationSeconds" => &mut fields.lease_seconds,
                "acquireTime" => &mut fields.acquired,
                "renewTime" => &mut fields.renewed,
                name if name == transitions => &mut fields.transitions,
                _ => return,
            };
            *field = Some(Scalar::of(value));
        });
        fields
    }

    fn are_absent(&self) -> bool {
        let Fields { holder, lease_seconds, acquired, renewed, transitions } = self;
        let absent = |field: &Option<Scalar>| matches!(field, None | Some(Scalar::Null));
        [holder, lease_seconds, acquired, renewed, transitions].into_iter().all(absent)
    }

    fn read(&self) -> Result<Record, &'static str> {
        let holder: Arc<str> = match &self.holder {
            None | Some(Scalar::Null) => "".into(),
            Some(Scalar::Text(holder)) => holder.clone(),
            Some(Scalar::LongText(_)) => return Err("holderIdentity is longer than 1024 bytes"),
            Some(_) => return Err("holderIdentity is not a string"),
        };
        let lease_seconds = match read_lease_seconds(self.lease_seconds.as_ref()) {
            Err(_) if holder.is_empty() => 0, // without a holder the duration does not matter
            other => other?,
        };
        Ok(Record {
            holder,
            lease_seconds,
            acquired: read_stamp(self.acquired.as_ref()).ok_or("acquireTime is not a string")?,
            renewed: read_stamp(self.renewed.as_ref()).ok_or("renewTime is not a string")?,
            transitions: read_transitions(self.transitions.as_ref())
                .ok_or("the number of transitions is not a number")?,
        })
    }
}

fn read_lease_seconds(value: Option<&Scalar>) -> Result<u32, &'static str> {
    let seconds = match value.ok_or("leaseDurationSeconds is missing")? {
        Scalar::Number(seconds) => seconds.as_i64(),
        _ => None,
    };
    let seconds = seconds.ok_or("leaseDurationSeconds is not a whole number, or too large")?;
    if seconds <= 0 {
        return Err("leaseDurationSeconds is not above 0");
    }
    match u32::try_from(seconds) {
        Ok(seconds) if u64::from(seconds) <= LONGEST_LEASE.as_secs() => Ok(seconds),
        _ => Err("leaseDurationSeconds is more than a day"),
    }
}

fn read_stamp(value: Option<&Scalar>) -> Option<Stamp> {
    match value {
        None | Some(Scalar::Null) => Some(Stamp::Text("".into())),
        Some(value) => value.text().map(|text| Stamp::parse(text)),
    }
}

fn read_transitions(value: Option<&Scalar>) -> Option<u32> {
    match value {
        None | Some(Scalar::Null) => Some(0),
        Some(Scalar::Number(number)) => {
            let below_zero = number.as_f64().is_some_and(|n| n < 0.0);
            let known = number.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
            Some(if below_zero { 0 } else { known.min(MOST_TRANSITIONS) })
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_the_record_is_skipped() {
        let record = r#""holderIdentity":"a","leaseDurationSeconds":10,"renewTime":"now""#;
        let junk = format!("\"junk\":{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let alone = from_annotation(&format!("{{{record}}}"));
        assert!(matches!(&alone, Content::Record(record) if &*record.holder == "a"));
        for text in [format!("{{{junk},{record}}}"), format!(" {{{record},{junk}}} ")] {
            assert_eq!(from_annotation(&text), alone);
            assert_eq!(from_lease_spec(&text), alone);
        }
    }

    #[test]
    fn an_identity_of_this_program_is_never_too_long_to_be_read() {
        let record = |length| format!(r#"{{"holderIdentity":"{}","leaseDurationSeconds":1}}"#, "a".repeat(length));
        assert!(matches!(from_annotation(&record(crate::cli::LONGEST_ID)), Content::Record(_)));
        let unreadable = from_annotation(&record(3 * 1024 * 1024));
        let Content::Unreadable { text, why } = &unreadable else { panic!("{unreadable:?}") };
        assert!(text.len() < 1024 && *why == "holderIdentity is longer than 1024 bytes");
        assert_ne!(from_annotation(&record(3 * 1024 * 1024 - 1)), unreadable);
    }

    #[test]
    fn only_what_a_spec_says_of_the_record_counts_where_it_cannot_be_read() {
        let spec = |other: u8, renewed: u8| {
            from_lease_spec(&format!(r#"{{"holderIdentity":7,"other":{other},"renewTime":"{renewed}"}}"#))
        };
        assert!(matches!(spec(0, 0), Content::Unreadable { .. }));
        assert_eq!(spec(0, 0), spec(1, 0));
        assert_ne!(spec(0, 0), spec(0, 1));
    }

    #[test]
    fn a_spec_without_the_fields_of_a_record_is_no_record() {
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
