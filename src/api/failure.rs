//! Failed requests, and their one-line messages.

use std::fmt;
use std::time::Duration;

use super::object_name::{ObjectName, collection_path};
use crate::json::{Scalar, each_field};
use crate::logging::escape::escaped;

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// The status of the answer, if there was one.
    pub code: Option<u16>,
    /// One line: what was attempted, on what, what came back, and what to do.
    pub message: String,
    /// How long the server asks to wait before the next request.
    pub retry_after: Option<Duration>,
}

/// What a failure means for the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// 404 with a `Status` that names the object (for a create: the namespace) as not found.
    Absent,
    /// 409: the object exists already, or is not the version to be replaced.
    Conflict,
    /// 401 or 403.
    Denied,
    /// 400 or 422, or a name that cannot be used in a request.
    Invalid,
    /// 429.
    Busy,
    /// 410 for a watch: it must be restarted.
    Expired,
    /// This process aborted the watch.
    Aborted,
    /// Anything else. It is unknown what the server did: a write may have been done, or may still be done. For a read,
    /// the server is unavailable.
    Unknown,
}

/// The class of a failure, for output that must not contain a server's free text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 403.
    Forbidden,
    /// 401.
    Unauthorized,
    /// 400 or 422.
    Invalid,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 429.
    Throttled,
    /// 410 for a watch.
    Expired,
    /// No answer in time, an unusable answer, or any other status.
    Unavailable,
}

impl Class {
    pub const ALL: [Class; 8] = [
        Class::Forbidden,
        Class::Unauthorized,
        Class::Invalid,
        Class::NotFound,
        Class::Conflict,
        Class::Throttled,
        Class::Expired,
        Class::Unavailable,
    ];

    /// Lower-case letters and `_`, for JSON and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Class::Forbidden => "forbidden",
            Class::Unauthorized => "unauthorized",
            Class::Invalid => "invalid",
            Class::NotFound => "not_found",
            Class::Conflict => "conflict",
            Class::Throttled => "throttled",
            Class::Expired => "expired",
            Class::Unavailable => "unavailable",
        }
    }
}

/// The operation on an object, named by its verb in RBAC rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Create,
    Update,
    Watch,
}

impl Verb {
    pub const ALL: [Verb; 4] = [Verb::Get, Verb::Create, Verb::Update, Verb::Watch];

    pub fn in_rules(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

/// Messages say `read endpoints`, not `get endpoints`.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Get => "read",
            other => other.in_rules(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    pub(crate) fn new(kind: FailureKind, verb: Verb, object: &dyn ObjectName, what: impl fmt::Display) -> Failure {
        Failure { kind, code: None, message: format!("cannot {verb} {object}: {what}"), retry_after: None }
    }

    pub fn class(&self) -> Class {
        match self.kind {
            FailureKind::Absent => Class::NotFound,
            FailureKind::Conflict => Class::Conflict,
            FailureKind::Denied if self.code == Some(401) => Class::Unauthorized,
            FailureKind::Denied => Class::Forbidden,
            FailureKind::Invalid => Class::Invalid,
            FailureKind::Busy => Class::Throttled,
            FailureKind::Expired => Class::Expired,
            FailureKind::Unknown if self.code == Some(404) => Class::NotFound,
            FailureKind::Aborted | FailureKind::Unknown => Class::Unavailable,
        }
    }

    /// A 2xx answer that is unusable. The caller decides that and gives the reason.
    pub fn unreadable(verb: Verb, object: &dyn ObjectName, body: &[u8], why: &str) -> Failure {
        let start = escaped(&body[..body.len().min(FIRST_BYTES)]);
        let what = format!("the answer is not a usable Kubernetes object: {why} (first bytes \"{start}\")");
        Failure::new(FailureKind::Unknown, verb, object, what)
    }

    /// An answer with a status other than 2xx.
    pub(super) fn refused(verb: Verb, object: &dyn ObjectName, refusal: &Refusal) -> Failure {
        let status = ApiStatus::parse(&refusal.body);
        let said = match status.as_ref().and_then(|status| status.message.as_deref()) {
            Some(message) => escaped(message.as_bytes()),
            None => escaped(refusal.body.trim_ascii()),
        };
        let mut what = refusal.code.to_string();
        if !refusal.reason.is_empty() {
            what.push_str(&format!(" {}", refusal.reason.to_ascii_lowercase()));
        }
        if !said.is_empty() {
            what.push_str(&format!(" ({said})"));
        }
        if let Some(advice) = advice(verb, object, refusal, status.as_ref(), &said) {
            what.push_str(&format!("; {advice}"));
        }
        let kind = kind(verb, object, refusal.code, status.as_ref());
        let asked = refusal.retry_after.or(status.and_then(|status| status.retry_after));
        let failure = Failure::new(kind, verb, object, what);
        Failure { code: Some(refusal.code), retry_after: asked, ..failure }
    }
}

/// How much of a body is quoted that should be JSON.
const FIRST_BYTES: usize = 60;

/// The parts of an answer with a status other than 2xx.
pub(super) struct Refusal {
    pub(super) code: u16,
    /// The standard reason phrase of the code.
    pub(super) reason: &'static str,
    pub(super) retry_after: Option<Duration>,
    pub(super) location: Option<Vec<u8>>,
    pub(super) sent_token: bool,
    pub(super) body: Vec<u8>,
}

fn kind(verb: Verb, object: &dyn ObjectName, code: u16, status: Option<&ApiStatus>) -> FailureKind {
    match code {
        404 if status.is_some_and(|status| status.is_about_absence(verb, object)) => FailureKind::Absent,
        409 => FailureKind::Conflict,
        401 | 403 => FailureKind::Denied,
        400 | 422 => FailureKind::Invalid,
        429 => FailureKind::Busy,
        410 if verb == Verb::Watch => FailureKind::Expired,
        _ => FailureKind::Unknown,
    }
}

fn advice(
    verb: Verb,
    object: &dyn ObjectName,
    refusal: &Refusal,
    status: Option<&ApiStatus>,
    said: &str,
) -> Option<String> {
    match refusal.code {
        300..=399 => {
            let target = escaped(refusal.location.as_deref().unwrap_or_default());
            Some(format!("a redirect, to \"{target}\", is not followed; give the address of the API server itself"))
        }
        400 if said.contains("HTTP request to an HTTPS server") => Some("give an https:// address".into()),
        401 if refusal.sent_token => Some("the token was not accepted; is it of this cluster and still valid?".into()),
        401 => Some("no token was sent".into()),
        403 => grant(verb, object, said),
        404 => match status {
            None => Some("is that the address of a Kubernetes API server?".into()),
            Some(status) if status.is_about("namespaces", object.namespace()) => Some(format!(
                "create the namespace \"{}\", or give the right one with --election-namespace",
                object.namespace()
            )),
            Some(status) if status.subject == (None, None) => {
                Some(format!("this API server has no {} at {}", object.resource(), collection_path(object)))
            }
            Some(_) => None,
        },
        410 => Some("start again without a resourceVersion".into()),
        _ => None,
    }
}

/// The missing RBAC rule, ready to paste into a Role. `None` if the server refused for another reason, such as a
/// namespace in deletion or an admission webhook.
fn grant(verb: Verb, object: &dyn ObjectName, said: &str) -> Option<String> {
    let for_want_of_rights = said.contains(&format!(" cannot {} resource ", verb.in_rules()));
    if !said.is_empty() && !for_want_of_rights {
        return None;
    }
    let user = said.split_once("User \"").and_then(|(_, rest)| rest.split_once('"')).map(|(user, _)| user);
    let (name, namespace, resource) = (object.name(), object.namespace(), object.resource());
    // A rule for create cannot have resourceNames: the object does not exist yet when the rule is checked.
    let (named, names) = match verb {
        Verb::Create => (String::new(), String::new()),
        _ => (format!(" named \"{name}\""), format!("resourceNames: [\"{name}\"], ")),
    };
    let verbs = match verb {
        Verb::Create => "\"create\"",
        Verb::Get | Verb::Update => "\"get\", \"update\"",
        Verb::Watch => "\"get\", \"update\", \"watch\"",
    };
    Some(format!(
        "grant the verb \"{}\" on \"{resource}\"{named} in namespace \"{namespace}\" to {}: \
         - {{apiGroups: [\"{}\"], resources: [\"{resource}\"], {names}verbs: [{verbs}]}}",
        verb.in_rules(),
        user.map_or("this pod's service account".into(), |user| format!("\"{user}\"")),
        object.api_group(),
    ))
}

/// A Kubernetes `Status`: the body of a refusal, or the object of an `ERROR` event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiStatus {
    pub message: Option<String>,
    pub reason: Option<String>,
    pub code: Option<u16>,
    pub retry_after: Option<Duration>,
    /// The resource and the name of the object in question. Both `None`: there is no such resource or path.
    subject: (Option<String>, Option<String>),
}

impl ApiStatus {
    /// `None` if these bytes are not a Status. Fields that are missing or have another type are ignored. Long strings
    /// are shortened.
    pub fn parse(json: &[u8]) -> Option<ApiStatus> {
        let [mut kind, mut message, mut reason, mut code] = [const { Scalar::Null }; 4];
        let [mut of_kind, mut of_name, mut seconds] = [const { Scalar::Null }; 3];
        let mut details = "null";
        let read = each_field(std::str::from_utf8(json).ok()?, |name, value| match name {
            "kind" => kind = Scalar::of(value),
            "message" => message = Scalar::of(value),
            "reason" => reason = Scalar::of(value),
            "code" => code = Scalar::of(value),
            "details" => details = value.get(),
            _ => {}
        });
        read.ok()?;
        if kind.text().map(|kind| &**kind) != Some("Status") {
            return None;
        }
        // Ignore details of another type.
        let _ = each_field(details, |name, value| match name {
            "kind" => of_kind = Scalar::of(value),
            "name" => of_name = Scalar::of(value),
            "retryAfterSeconds" => seconds = Scalar::of(value),
            _ => {}
        });
        let text = |value: Scalar| value.text().map(ToString::to_string);
        Some(ApiStatus {
            message: text(message),
            reason: text(reason),
            code: code.as_u64().and_then(|code| u16::try_from(code).ok()),
            retry_after: seconds.as_u64().map(bounded_seconds),
            subject: (text(of_kind), text(of_name)),
        })
    }

    /// Whether the API server itself says that the object, or the namespace to create it in, does not exist.
    fn is_about_absence(&self, verb: Verb, object: &dyn ObjectName) -> bool {
        let found_nothing = match verb {
            Verb::Create => self.is_about("namespaces", object.namespace()),
            Verb::Get | Verb::Update => self.is_about(object.resource(), object.name()),
            Verb::Watch => false,
        };
        found_nothing && self.reason.as_deref() == Some("NotFound")
    }

    fn is_about(&self, resource: &str, name: &str) -> bool {
        (self.subject.0.as_deref(), self.subject.1.as_deref()) == (Some(resource), Some(name))
    }
}

/// Caps a requested wait at one hour.
pub(super) fn bounded_seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_far_as_it_can_be() {
        assert_eq!(ApiStatus::parse(b"{\"kind\":\"Pod\"}"), None);
        assert_eq!(ApiStatus::parse(b"<html>"), None);
        let status = ApiStatus::parse(br#"{"kind":"Status","message":7,"reason":"Expired","code":410,"details":[]}"#);
        let status = status.unwrap();
        assert_eq!((status.message, status.reason.as_deref(), status.code), (None, Some("Expired"), Some(410)));
        let status = ApiStatus::parse(br#"{"kind":"Status","code":99999,"details":{"retryAfterSeconds":5}}"#).unwrap();
        assert_eq!((status.code, status.retry_after), (None, Some(Duration::from_secs(5))));
    }
}
