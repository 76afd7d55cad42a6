//! EndpointSlices: the types of their fields, defaults, and validation.
//!
//! Written from the source, not from measurements: `pkg/apis/discovery/validation/validation.go`,
//! `pkg/apis/discovery/v1/defaults.go` and `pkg/registry/discovery/endpointslice/strategy.go` in kubernetes/kubernetes.
//! Hostnames, topology, hints and `metadata.generation` are left out.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::resource::Resource;
use crate::status::Refusal;

const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 100;

/// Checks the types of the fields, and fills in defaults as the real server does.
pub(crate) fn complete(object: &mut Map<String, Value>) -> Result<(), Refusal> {
    let mistyped = |field: &str, expected: &str| super::object::mistyped(Resource::EndpointSlices, field, expected);
    if object.get("addressType").is_some_and(|it| !it.is_string()) {
        return Err(mistyped("addressType", "v1.AddressType"));
    }
    for field in ["endpoints", "ports"] {
        // The real server shows an empty list as null.
        let list = object.entry(field).or_insert(Value::Null);
        match list {
            Value::Null => {}
            Value::Array(items) if items.iter().all(Value::is_object) => {
                if items.is_empty() {
                    *list = Value::Null;
                }
            }
            _ => return Err(mistyped(field, "[]v1.Endpoint")),
        }
    }
    for endpoint in items_mut(object, "endpoints") {
        let is_strings = |it: &Value| it.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        if !is_strings(&endpoint["addresses"]) && !endpoint["addresses"].is_null() {
            return Err(mistyped("endpoints.addresses", "[]string"));
        }
        let conditions = &mut endpoint["conditions"];
        if conditions.is_null() {
            *conditions = Map::new().into();
        }
    }
    for port in items_mut(object, "ports") {
        let is_port = |it: &Value| it.as_i64().is_some_and(|it| i32::try_from(it).is_ok());
        if !is_port(&port["port"]) && !port["port"].is_null() {
            return Err(mistyped("ports.port", "int32"));
        }
        for (field, default) in [("name", ""), ("protocol", "TCP")] {
            match &port[field] {
                Value::Null => port[field] = default.into(),
                Value::String(_) => {}
                _ => return Err(mistyped(&format!("ports.{field}"), "string")),
            }
        }
    }
    Ok(())
}

fn items_mut<'a>(object: &'a mut Map<String, Value>, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The rules for every slice that a client stores.
pub(crate) fn validate(name: &str, object: &Value) -> Result<(), Refusal> {
    let invalid = |field: &str, why: String| Err(Refusal::invalid(Resource::EndpointSlices, name, field, &why));
    let required = |field: &str, why: &str| {
        Err(Refusal::required(Resource::EndpointSlices, name, field, &format!("Required value{why}")))
    };
    let address_type = object["addressType"].as_str().unwrap_or_default();
    match address_type {
        "" => return required("addressType", ""),
        "IPv4" | "IPv6" | "FQDN" => {}
        other => {
            let why = format!("Unsupported value: \"{other}\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"");
            return invalid("addressType", why);
        }
    }
    let (endpoints, ports) = (list(&object["endpoints"]), list(&object["ports"]));
    if endpoints.len() > MOST_ENDPOINTS {
        return invalid("endpoints", too_many(endpoints.len(), MOST_ENDPOINTS));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (field, addresses) = (format!("endpoints[{index}].addresses"), list(&endpoint["addresses"]));
        if addresses.is_empty() {
            return required(&field, ": must contain at least 1 address");
        }
        if addresses.len() > MOST_ADDRESSES {
            return invalid(&field, too_many(addresses.len(), MOST_ADDRESSES));
        }
        for (at, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            if let Some(why) = fault(address_type, address) {
                return invalid(&format!("{field}[{at}]"), format!("Invalid value: \"{address}\": {why}"));
            }
        }
    }
    if ports.len() > MOST_PORTS {
        return invalid("ports", too_many(ports.len(), MOST_PORTS));
    }
    for (index, port) in ports.iter().enumerate() {
        let name = port["name"].as_str().unwrap_or_default();
        if ports[..index].iter().any(|before| before["name"] == name) {
            return invalid(&format!("ports[{index}].name"), format!("Duplicate value: \"{name}\""));
        }
        let protocol = port["protocol"].as_str().unwrap_or_default();
        if !["SCTP", "TCP", "UDP"].contains(&protocol) {
            let why = format!("Unsupported value: \"{protocol}\": supported values: \"SCTP\", \"TCP\", \"UDP\"");
            return invalid(&format!("ports[{index}].protocol"), why);
        }
    }
    Ok(())
}

/// The rule for a slice that replaces another version.
pub(crate) fn validate_update(name: &str, object: &Value, current: &Value) -> Result<(), Refusal> {
    let given = &object["addressType"];
    if *given == current["addressType"] {
        return Ok(());
    }
    let why = format!("Invalid value: {given}: field is immutable");
    Err(Refusal::invalid(Resource::EndpointSlices, name, "addressType", &why))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn too_many(given: usize, most: usize) -> String {
    format!("Too many: {given}: must have at most {most} items")
}

/// What is wrong with an address of that type. Names are not checked.
fn fault(address_type: &str, address: &str) -> Option<&'static str> {
    let parsed: Option<IpAddr> = address.parse().ok();
    let ip = match (address_type, parsed) {
        ("IPv4", Some(ip @ IpAddr::V4(_))) => ip,
        ("IPv4", _) => return Some("must be a valid IPv4 address"),
        ("IPv6", Some(ip @ IpAddr::V6(v6))) if v6.to_ipv4_mapped().is_none() => ip,
        ("IPv6", _) => return Some("must be a valid IPv6 address"),
        _ => return None,
    };
    let (is_link_local, is_link_local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] == 0xff02),
    };
    match ip {
        ip if ip.is_unspecified() => Some("may not be unspecified"),
        ip if ip.is_loopback() => Some("may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        _ if is_link_local => Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        _ if is_link_local_multicast => Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        _ => None,
    }
}
