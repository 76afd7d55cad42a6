//! Objects as tables: what kubectl prints, it has from the server.

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

fn columns(resource: Resource) -> Value {
    let (middle, kind) = match resource {
        Resource::Endpoints => ("Endpoints", "string"),
        Resource::ConfigMaps => ("Data", "integer"),
        Resource::Leases => ("Holder", "string"),
    };
    let column = |name: &str, kind: &str, format: &str| json!({"name": name, "type": kind, "format": format, "description": "", "priority": 0});
    json!([column("Name", "string", "name"), column(middle, kind, ""), column("Age", "string", "")])
}

fn row(resource: Resource, object: &Value, include: Option<&str>) -> Value {
    let middle: Value = match resource {
        Resource::Endpoints => addresses(object).into(),
        Resource::ConfigMaps => (size(&object["data"]) + size(&object["binaryData"])).into(),
        Resource::Leases => object["spec"]["holderIdentity"].as_str().unwrap_or_default().into(),
    };
    let cells = json!([text(object, "name"), middle, time::age(text(object, "creationTimestamp"))]);
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
    let shown = all.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => "<none>".to_owned(),
        1..=3 => shown,
        count => format!("{shown} + {} more...", count - 3),
    }
}
