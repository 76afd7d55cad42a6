//! Objects as tables, which kubectl prints.

use serde_json::{Value, json};

use crate::object::text;
use crate::resource::Resource;
use crate::time;

/// A `Table` of these objects; `with_columns` is false for all but the first in a watch.
pub(crate) fn table<'a>(
    resource: Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    version: &str,
    include: Option<&str>,
    with_columns: bool,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|object| row(resource, object, include)).collect();
    let columns = if with_columns { columns(resource) } else { Value::Null };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
        "columnDefinitions": columns, "rows": rows,
    })
}

/// The columns between name and age: names and types.
fn columns(resource: Resource) -> Value {
    let middle: &[(&str, &str)] = match resource {
        Resource::Endpoints => &[("Endpoints", "string")],
        Resource::ConfigMaps => &[("Data", "integer")],
        Resource::Leases => &[("Holder", "string")],
        Resource::EndpointSlices => &[("AddressType", "string"), ("Ports", "string"), ("Endpoints", "string")],
    };
    let column = |name: &str, kind: &str, format: &str| json!({"name": name, "type": kind, "format": format, "description": "", "priority": 0});
    let mut columns = vec![column("Name", "string", "name")];
    columns.extend(middle.iter().map(|(name, kind)| column(name, kind, "")));
    columns.push(column("Age", "string", ""));
    columns.into()
}

fn row(resource: Resource, object: &Value, include: Option<&str>) -> Value {
    let mut cells: Vec<Value> = vec![text(object, "name").into()];
    match resource {
        Resource::Endpoints => cells.push(addresses(object).into()),
        Resource::ConfigMaps => cells.push((size(&object["data"]) + size(&object["binaryData"])).into()),
        Resource::Leases => cells.push(object["spec"]["holderIdentity"].as_str().unwrap_or_default().into()),
        Resource::EndpointSlices => cells.extend([
            object["addressType"].clone(),
            shortened(&ports_of_slice(object), "<unset>").into(),
            shortened(&addresses_of_slice(object), "<unset>").into(),
        ]),
    }
    cells.push(time::age(text(object, "creationTimestamp")).into());
    let object = match include {
        Some("None") => return json!({"cells": cells}),
        Some("Object") => object.clone(),
        _ => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        }),
    };
    json!({"cells": cells, "object": object})
}

fn size(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

/// The first three addresses with their ports, and how many more there are.
fn addresses(object: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for subset in list(&object["subsets"]) {
        let ports = list(&subset["ports"]);
        for address in list(&subset["addresses"]) {
            let ip = address["ip"].as_str().unwrap_or_default();
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"])));
        }
    }
    shortened(&all, "<none>")
}

fn ports_of_slice(object: &Value) -> Vec<String> {
    let number = |port: &Value| port["port"].as_i64().map_or_else(|| "*".to_owned(), |number| number.to_string());
    object["ports"].as_array().into_iter().flatten().map(number).collect()
}

fn addresses_of_slice(object: &Value) -> Vec<String> {
    let endpoints = object["endpoints"].as_array().into_iter().flatten();
    let addresses = endpoints.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
    addresses.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The first three, and how many more there are.
fn shortened(all: &[String], none: &str) -> String {
    let shown = all.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => none.to_owned(),
        1..=3 => shown,
        count => format!("{shown} + {} more...", count - 3),
    }
}
