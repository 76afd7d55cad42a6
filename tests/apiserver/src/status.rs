//! Refusals and their `Status` objects.

use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// A refused request. Messages, reasons and codes are those of kube-apiserver 1.36.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    /// Empty if the real server gives none.
    reason: &'static str,
    message: String,
    details: Option<Value>,
    pub(crate) retry_after: Option<u32>,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, reason, message: message.into(), details: None, retry_after: None }
    }

    fn about(mut self, resource: Resource, name: &str) -> Refusal {
        self.details = Some(details(resource, name, resource.plural()));
        self
    }

    pub(crate) fn not_found(resource: Resource, name: &str) -> Refusal {
        let message = format!("{} \"{name}\" not found", resource.with_group(resource.plural()));
        Refusal::new(404, "NotFound", message).about(resource, name)
    }

    pub(crate) fn namespace_not_found(namespace: &str) -> Refusal {
        let mut refusal = Refusal::new(404, "NotFound", format!("namespaces \"{namespace}\" not found"));
        refusal.details = Some(json!({"name": namespace, "kind": "namespaces"}));
        refusal
    }

    pub(crate) fn already_exists(resource: Resource, name: &str) -> Refusal {
        let message = format!("{} \"{name}\" already exists", resource.with_group(resource.plural()));
        Refusal::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// The object was changed since the caller read it.
    pub(crate) fn modified(resource: Resource, name: &str) -> Refusal {
        Refusal::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The object has another uid than the stored one; `stored` is empty if there is none.
    pub(crate) fn other_uid(resource: Resource, namespace: &str, name: &str, given: &str, stored: &str) -> Refusal {
        let registry = resource.registry();
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {registry}/{namespace}/{name}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {stored}"
        );
        Refusal::conflict(resource, name, &why)
    }

    fn conflict(resource: Resource, name: &str, why: &str) -> Refusal {
        let what = resource.with_group(resource.plural());
        let message = format!("Operation cannot be fulfilled on {what} \"{name}\": {why}");
        Refusal::new(409, "Conflict", message).about(resource, name)
    }

    /// A Lease must be updated with a resourceVersion. The message names the resource where other validation messages
    /// name the kind, as in the real server.
    pub(crate) fn version_required(resource: Resource, name: &str) -> Refusal {
        let field = "metadata.resourceVersion";
        let why = "Invalid value: 0: must be specified for an update";
        Refusal::invalid_as(resource, resource.plural(), name, "FieldValueInvalid", field, why)
    }

    /// One field fails validation; `why` reads `Invalid value: …: must …`.
    pub(crate) fn invalid(resource: Resource, name: &str, field: &str, why: &str) -> Refusal {
        Refusal::invalid_as(resource, resource.kind(), name, "FieldValueInvalid", field, why)
    }

    pub(crate) fn required(resource: Resource, name: &str, field: &str, why: &str) -> Refusal {
        Refusal::invalid_as(resource, resource.kind(), name, "FieldValueRequired", field, why)
    }

    fn invalid_as(resource: Resource, what: &str, name: &str, cause: &str, field: &str, why: &str) -> Refusal {
        let subject = resource.with_group(what);
        let message = format!("{subject} \"{name}\" is invalid: {field}: {why}");
        let mut refusal = Refusal::new(422, "Invalid", message);
        let mut details = details(resource, name, what);
        details["causes"] = json!([{"reason": cause, "message": why, "field": field}]);
        refusal.details = Some(details);
        refusal
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    /// An internal error without a reason: a resourceVersion that is not a number.
    pub(crate) fn internal(message: impl Into<String>) -> Refusal {
        Refusal::new(500, "", message)
    }

    pub(crate) fn unauthorized() -> Refusal {
        Refusal::new(401, "Unauthorized", "Unauthorized")
    }

    /// `name` and `namespace` are empty if the request has none.
    pub(crate) fn forbidden(user: &str, verb: &str, resource: Resource, namespace: &str, name: &str) -> Refusal {
        let what = resource.with_group(resource.plural());
        let subject = if name.is_empty() { what } else { format!("{what} \"{name}\"") };
        let scope = match namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let message = format!(
            "{subject} is forbidden: User \"{user}\" cannot {verb} resource \"{}\" in API group \"{}\" {scope}",
            resource.plural(),
            resource.group(),
        );
        Refusal::new(403, "Forbidden", message).about(resource, name)
    }

    pub(crate) fn no_such_path() -> Refusal {
        let message = "the server could not find the requested resource";
        Refusal { details: Some(json!({})), ..Refusal::new(404, "NotFound", message) }
    }

    pub(crate) fn method_not_allowed() -> Refusal {
        let message = "the server does not allow this method on the requested resource";
        Refusal { details: Some(json!({})), ..Refusal::new(405, "MethodNotAllowed", message) }
    }

    pub(crate) fn not_acceptable() -> Refusal {
        let message = "only the following media types are accepted: application/json";
        Refusal::new(406, "NotAcceptable", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Refusal {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Refusal::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn body_too_large(limit: usize) -> Refusal {
        let message = format!("Request entity too large: limit is {limit}");
        Refusal::new(413, "RequestEntityTooLarge", message)
    }

    /// The history before `floor` is no longer kept.
    pub(crate) fn expired(asked: u64, floor: u64) -> Refusal {
        Refusal::new(410, "Expired", format!("too old resource version: {asked} ({floor})"))
    }

    /// A read at a future resourceVersion.
    pub(crate) fn version_from_the_future(asked: u64, current: u64) -> Refusal {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        Refusal {
            details: Some(json!({"causes": causes, "retryAfterSeconds": 1})),
            retry_after: Some(1),
            ..Refusal::new(504, "Timeout", message)
        }
    }

    /// A refusal for a fault: the usual reason for `code`, and `retry_after` in seconds.
    pub(crate) fn made_up(code: u16, retry_after: Option<u32>) -> Refusal {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "",
        };
        let mut refusal = Refusal::new(code, reason, format!("the server was told to answer {code}"));
        refusal.details = retry_after.map(|seconds| json!({"retryAfterSeconds": seconds}));
        refusal.retry_after = retry_after;
        refusal
    }

    /// The `Status` object that goes over the wire.
    pub(crate) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

/// The `Status` that answers a delete.
pub(crate) fn deleted(resource: Resource, name: &str, uid: &str) -> Value {
    let mut details = details(resource, name, resource.plural());
    details["uid"] = uid.into();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn details(resource: Resource, name: &str, kind: &str) -> Value {
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".into(), name.into());
    }
    if !resource.group().is_empty() {
        details.insert("group".into(), resource.group().into());
    }
    details.insert("kind".into(), kind.into());
    Value::Object(details)
}
