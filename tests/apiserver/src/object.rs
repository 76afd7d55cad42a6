//! Objects from clients: parsing of bodies, and validation.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Map, Value};

use crate::endpoint_slice;
use crate::resource::Resource;
use crate::status::Refusal;

/// The limit on all annotations of an object together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
     and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Parses a request body as an object of `resource`: checks types, drops empty fields, fills in `kind` and
/// `apiVersion`. Unknown fields are kept.
pub(crate) fn decode(resource: Resource, body: &[u8]) -> Result<Value, Refusal> {
    let kind = resource.kind();
    let value: Value = serde_json::from_slice(body).map_err(|e| unreadable(kind, body, &e))?;
    check(resource, value)
}

/// Like `decode`, for an object that is already parsed.
pub(crate) fn check(resource: Resource, value: Value) -> Result<Value, Refusal> {
    let Value::Object(mut object) = value else {
        return Err(mistyped(resource, "", "object"));
    };
    check_type(resource, &mut object)?;
    object.retain(|_, value| !value.is_null());
    check_metadata(resource, object.entry("metadata").or_insert_with(|| Map::new().into()))?;
    match resource {
        Resource::Endpoints => check_subsets(&mut object)?,
        Resource::ConfigMaps => check_data(&mut object)?,
        Resource::Leases => {
            check_spec(object.entry("spec").or_insert_with(|| Map::new().into()))?;
        }
        Resource::EndpointSlices => endpoint_slice::complete(&mut object)?,
    }
    Ok(Value::Object(object))
}

fn unreadable(kind: &str, body: &[u8], error: &serde_json::Error) -> Refusal {
    let shown = String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned();
    Refusal::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; \
         json parse error: {error} ({shown})"
    ))
}

pub(crate) fn mistyped(resource: Resource, field: &str, expected: &str) -> Refusal {
    let kind = resource.kind();
    Refusal::bad_request(format!(
        "{kind} in version \"v1\" cannot be handled as a {kind}: json: cannot unmarshal field {kind}.{field} of type {expected}"
    ))
}

fn check_type(resource: Resource, object: &mut Map<String, Value>) -> Result<(), Refusal> {
    for (field, expected) in [("kind", resource.kind()), ("apiVersion", resource.api_version())] {
        let given = object.get(field).and_then(Value::as_str).unwrap_or_default();
        if !given.is_empty() && given != expected {
            return Err(Refusal::bad_request(format!(
                "the {field} in the data ({given}) does not match the expected {field} ({expected})"
            )));
        }
        object.insert(field.into(), expected.into());
    }
    Ok(())
}

fn check_metadata(resource: Resource, metadata: &mut Value) -> Result<(), Refusal> {
    let Value::Object(metadata) = metadata else {
        return Err(mistyped(resource, "metadata", "object"));
    };
    for field in ["name", "namespace", "uid", "resourceVersion", "generateName"] {
        if metadata.get(field).is_some_and(|v| !v.is_string() && !v.is_null()) {
            return Err(mistyped(resource, &format!("metadata.{field}"), "string"));
        }
    }
    for field in ["annotations", "labels"] {
        check_strings(resource, metadata, field)?;
    }
    drop_empty(metadata);
    Ok(())
}

fn check_subsets(object: &mut Map<String, Value>) -> Result<(), Refusal> {
    if object.get("subsets").is_some_and(|s| !s.is_array()) {
        return Err(mistyped(Resource::Endpoints, "subsets", "[]v1.EndpointSubset"));
    }
    drop_empty(object);
    Ok(())
}

fn check_data(object: &mut Map<String, Value>) -> Result<(), Refusal> {
    for field in ["data", "binaryData"] {
        check_strings(Resource::ConfigMaps, object, field)?;
    }
    drop_empty(object);
    Ok(())
}

fn check_strings(resource: Resource, holder: &Map<String, Value>, field: &str) -> Result<(), Refusal> {
    match holder.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(map)) if map.values().all(Value::is_string) => Ok(()),
        Some(_) => Err(mistyped(resource, field, "map[string]string")),
    }
}

/// An absent field, a null and an empty map are the same to the real server, and are stored as absent.
fn drop_empty(map: &mut Map<String, Value>) {
    map.retain(|name, value| match value {
        Value::Null => false,
        Value::Object(inner) => name == "metadata" || !inner.is_empty(),
        Value::Array(inner) => !inner.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

fn check_spec(spec: &mut Value) -> Result<(), Refusal> {
    let Value::Object(spec) = spec else {
        return Err(mistyped(Resource::Leases, "spec", "v1.LeaseSpec"));
    };
    spec.retain(|_, value| !value.is_null());
    for field in ["holderIdentity", "acquireTime", "renewTime", "strategy", "preferredHolder"] {
        if spec.get(field).is_some_and(|v| !v.is_string()) {
            return Err(mistyped(Resource::Leases, &format!("spec.{field}"), "string"));
        }
    }
    for field in ["leaseDurationSeconds", "leaseTransitions"] {
        let is_int32 = |v: &Value| v.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
        if spec.get(field).is_some_and(|v| !is_int32(v)) {
            return Err(mistyped(Resource::Leases, &format!("spec.{field}"), "int32"));
        }
    }
    for field in ["acquireTime", "renewTime"] {
        if let Some(time) = spec.get(field).and_then(Value::as_str) {
            check_micro_time(time)?;
        }
    }
    Ok(())
}

/// A MicroTime has exactly six fractional digits; then `Z`, or an offset as in `+01:00`.
fn check_micro_time(time: &str) -> Result<(), Refusal> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00.000000";
    let matches = |byte: u8, shape: u8| {
        if shape == b'0' { byte.is_ascii_digit() } else { byte == shape }
    };
    let bytes = time.as_bytes();
    let (body, zone) = bytes.split_at(bytes.len().min(SHAPE.len()));
    let body_matches = body.len() == SHAPE.len() && body.iter().zip(SHAPE).all(|(&b, &s)| matches(b, s));
    let zone_matches = match zone {
        b"Z" => true,
        [b'+' | b'-', rest @ ..] => rest.len() == 5 && rest.iter().zip(b"00:00").all(|(&b, &s)| matches(b, s)),
        _ => false,
    };
    if body_matches && zone_matches && is_on_the_calendar(time) {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "Lease in version \"v1\" cannot be handled as a Lease: parsing time \"{time}\" as \
         \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"{time}\" as \"2006-01-02T15:04:05.000000Z07:00\""
    )))
}

fn is_on_the_calendar(time: &str) -> bool {
    let number = |from: usize, to: usize| time.get(from..to).and_then(|t| t.parse::<u32>().ok()).unwrap_or(u32::MAX);
    (1..=12).contains(&number(5, 7))
        && (1..=31).contains(&number(8, 10))
        && number(11, 13) < 24
        && number(14, 16) < 60
        && number(17, 19) < 60
}

/// Validates an object that a client stores.
pub(crate) fn validate(resource: Resource, object: &Value) -> Result<(), Refusal> {
    let name = text(object, "name");
    if name.is_empty() {
        let why = "Required value: name or generateName is required";
        return Err(Refusal::required(resource, name, "metadata.name", why));
    }
    if name.len() > 253 {
        let why = format!("Invalid value: \"{name}\": must be no more than 253 bytes");
        return Err(Refusal::invalid(resource, name, "metadata.name", &why));
    }
    if !is_dns_subdomain(name) {
        let why = format!("Invalid value: \"{name}\": {NAME_RULE}");
        return Err(Refusal::invalid(resource, name, "metadata.name", &why));
    }
    validate_annotations(resource, name, object)?;
    match resource {
        Resource::Endpoints | Resource::ConfigMaps => Ok(()),
        Resource::Leases => validate_spec(name, &object["spec"]),
        Resource::EndpointSlices => endpoint_slice::validate(name, object),
    }
}

fn is_dns_subdomain(name: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        bytes.first().is_some_and(inner)
            && bytes.last().is_some_and(inner)
            && bytes.iter().all(|b| inner(b) || *b == b'-')
    };
    name.split('.').all(is_label)
}

fn validate_annotations(resource: Resource, name: &str, object: &Value) -> Result<(), Refusal> {
    let annotations = object["metadata"]["annotations"].as_object();
    let size: usize =
        annotations.into_iter().flatten().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size <= ANNOTATIONS_MAX {
        return Ok(());
    }
    let why = format!("Too long: may not be more than {ANNOTATIONS_MAX} bytes");
    Err(Refusal::invalid(resource, name, "metadata.annotations", &why))
}

fn validate_spec(name: &str, spec: &Value) -> Result<(), Refusal> {
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|&n| n <= 0) {
        let why = format!("Invalid value: {seconds}: must be greater than 0");
        return Err(Refusal::invalid(Resource::Leases, name, "spec.leaseDurationSeconds", &why));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64().filter(|&n| n < 0) {
        let why = format!("Invalid value: {count}: must be greater than or equal to 0");
        return Err(Refusal::invalid(Resource::Leases, name, "spec.leaseTransitions", &why));
    }
    Ok(())
}

/// A field of the metadata as text; empty if it is absent or not a string.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The resourceVersion of an object: 0 if it is absent, empty or `"0"`.
pub(crate) fn version(object: &Value) -> Result<u64, Refusal> {
    parse_version(text(object, "resourceVersion")).map_err(Refusal::internal)
}

/// Reads a resourceVersion; the error is the real server's message.
pub(crate) fn parse_version(text: &str) -> Result<u64, String> {
    match text {
        "" => Ok(0),
        text if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map_err(|_| format!("strconv.ParseUint: parsing \"{text}\": value out of range"))
        }
        _ => Err(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax")),
    }
}

/// Whether two objects are equal in everything that a client may change.
pub(crate) fn same_content(a: &Value, b: &Value) -> bool {
    content(a) == content(b)
}

fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for system in ["resourceVersion", "managedFields"] {
            metadata.remove(system);
        }
    }
    object
}

/// A random uid: a version 4 UUID.
pub(crate) fn new_uid() -> String {
    let (a, b) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

/// Five random characters, as `generateName` appends them.
pub(crate) fn name_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = random();
    let mut letter = || {
        let letter = ALPHABET[(rest % ALPHABET.len() as u64) as usize];
        rest /= ALPHABET.len() as u64;
        char::from(letter)
    };
    std::iter::repeat_with(&mut letter).take(5).collect()
}

/// Not fit for secrets. The standard library seeds its hash maps from the operating system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
