//! The paths that are about the server itself: what it serves, its version, its health.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::http::Answer;
use crate::resource::Resource;

/// The groups beside the core group.
const GROUPS: [&str; 2] = ["coordination.k8s.io", "discovery.k8s.io"];

/// The answer to a GET of such a path; none if there is no such path.
pub(crate) fn answer(path: &str, addr: SocketAddr) -> Option<Answer> {
    let document = match path.trim_end_matches('/') {
        "/healthz" | "/livez" | "/readyz" => return Some(Answer::text("ok")),
        "/version" => version(),
        "/api" => core_versions(addr),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": GROUPS.map(group)}),
        "/api/v1" => resources("", "v1"),
        "/openapi/v3" => openapi_index(),
        "/openapi/v3/api/v1" => openapi(""),
        other => of_group(other)?,
    };
    Some(Answer::json(200, &document))
}

/// The documents about one of the [`GROUPS`].
fn of_group(path: &str) -> Option<Value> {
    GROUPS.into_iter().find_map(|name| match path.split_once(name)? {
        ("/apis/", "") => Some(with_type("APIGroup", group(name))),
        ("/apis/", "/v1") => Some(resources(name, &format!("{name}/v1"))),
        ("/openapi/v3/apis/", "/v1") => Some(openapi(name)),
        _ => None,
    })
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.0+standin", "gitCommit": "", "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "",
        "platform": "linux/amd64",
    })
}

fn core_versions(addr: SocketAddr) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": addr.to_string()}],
    })
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn with_type(kind: &str, mut document: Value) -> Value {
    document["kind"] = kind.into();
    document["apiVersion"] = "v1".into();
    document
}

fn resources(group: &str, group_version: &str) -> Value {
    let of_group = Resource::ALL.into_iter().filter(|resource| resource.group() == group);
    let resources: Vec<Value> = of_group.map(resource).collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": resources,
    })
}

fn resource(resource: Resource) -> Value {
    json!({
        "name": resource.plural(), "singularName": resource.singular(), "namespaced": true,
        "kind": resource.kind(), "shortNames": resource.short_names(),
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    })
}

fn openapi_index() -> Value {
    let at = |path: &str| json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
    let paths = ["api/v1".to_owned()].into_iter().chain(GROUPS.map(|name| format!("apis/{name}/v1")));
    let paths: Map<String, Value> = paths.map(|path| (path.clone(), at(&path))).collect();
    json!({"paths": paths})
}

/// No schema: just enough for kubectl to see that it may leave validation to the server, without
/// which `create` and `apply` want `--validate=false`.
fn openapi(group: &str) -> Value {
    let of_group = Resource::ALL.into_iter().filter(|resource| resource.group() == group);
    let paths: Map<String, Value> = of_group.map(openapi_path).collect();
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}, "paths": paths})
}

fn openapi_path(resource: Resource) -> (String, Value) {
    let api = if resource.group().is_empty() { "api" } else { "apis" };
    let version = resource.api_version();
    let path = format!("/{api}/{version}/namespaces/{{namespace}}/{}/{{name}}", resource.plural());
    let patch = json!({
        "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
        "x-kubernetes-group-version-kind":
            {"group": resource.group(), "version": "v1", "kind": resource.kind()},
    });
    (path, json!({"patch": patch}))
}
