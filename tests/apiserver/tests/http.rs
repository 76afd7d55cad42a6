//! HTTP itself: framing, limits, forms, and many connections.

mod common;

use common::{CONFIGMAPS, Client, ENDPOINTS, LEASES, annotated, lease, server};
use serde_json::json;

#[test]
fn chunked_bodies_are_read() {
    let server = server();
    let mut client = Client::to(&server);
    let body = lease("x", "a").to_string();
    let (one, two) = body.split_at(10);
    let head = format!("POST {LEASES} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    client.send_raw(&(head + &chunks)).unwrap();
    assert_eq!(client.answer().unwrap().status, 201);
    assert_eq!(client.get("/version").status, 200);
}

#[test]
fn large_objects_are_accepted_and_too_large_ones_refused() {
    let server = server();
    let mut client = Client::to(&server);
    let large = json!({"metadata": {"name": "x"}, "data": {"k": "v".repeat(7 << 20)}});
    assert_eq!(client.call("POST", CONFIGMAPS, Some(&large)).status, 201);
    client.send_raw(&format!("POST {CONFIGMAPS} HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n")).unwrap();
    assert_eq!(client.answer().unwrap().status, 413);
}

#[test]
fn other_media_types_are_refused() {
    let server = server();
    let mut client = Client::to(&server);
    let kind = "application/vnd.kubernetes.protobuf";
    client
        .send_raw(&format!("POST {LEASES} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}"))
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 415);
    client.send_raw(&format!("GET {LEASES} HTTP/1.1\r\nAccept: {kind}\r\n\r\n")).unwrap();
    assert_eq!(client.answer().unwrap().status, 406);
}

#[test]
fn malformed_requests_are_refused() {
    for text in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let server = server();
        let mut client = Client::to(&server);
        client.send_raw(text).unwrap();
        assert_eq!(client.answer().unwrap().status, 400, "{text}");
    }
}

#[test]
fn bodies_that_are_no_objects_are_refused() {
    let server = server();
    let mut client = Client::to(&server);
    for body in [json!(5), json!([]), json!({"metadata": 5}), json!({"kind": "Pod"})] {
        for (method, path) in [("POST", LEASES.to_owned()), ("PUT", format!("{LEASES}/x"))] {
            assert_eq!(client.call(method, &path, Some(&body)).status, 400, "{method} {body}");
        }
    }
    server.put("leases", "default", lease("x", "a"));
    for patch in [json!(5), json!({"metadata": 5}), json!({"spec": []})] {
        assert_eq!(client.call("PATCH", &format!("{LEASES}/x"), Some(&patch)).status, 400, "{patch}");
    }
}

#[test]
fn endpoints_come_with_a_warning() {
    let server = server();
    let mut client = Client::to(&server);
    assert!(client.get(ENDPOINTS).head.contains("Warning: 299 - \"v1 Endpoints is deprecated"));
    assert!(!client.get(CONFIGMAPS).head.contains("Warning:"));
}

#[test]
fn tables_have_the_columns_of_kubectl() {
    let server = server();
    server.put("leases", "default", lease("x", "me"));
    let mut client = Client::to(&server);
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    client.send_raw(&format!("GET {LEASES} HTTP/1.1\r\n{accept}\r\n\r\n")).unwrap();
    let table = client.answer().unwrap().json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][1]["name"], "Holder");
    assert_eq!(table["rows"][0]["cells"][1], "me");
}

#[test]
fn discovery_lists_the_resources() {
    let server = server();
    let mut client = Client::to(&server);
    for (path, names) in [
        ("/api/v1", &["endpoints", "configmaps"][..]),
        ("/apis/coordination.k8s.io/v1", &["leases"]),
        ("/apis/discovery.k8s.io/v1", &["endpointslices"]),
    ] {
        let resources = client.get(path).json()["resources"].as_array().unwrap().clone();
        let found: Vec<_> = resources.iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!(found, names);
        let schemas = client.get(&format!("/openapi/v3{path}")).json();
        assert_eq!(schemas["paths"].as_object().unwrap().len(), names.len());
    }
    assert_eq!(client.get("/api/v1/namespaces/default/pods").status, 404);
}

#[test]
fn objects_may_be_nested_up_to_the_limit_of_the_parser() {
    let server = server();
    let mut client = Client::to(&server);
    let mut deep = json!({});
    for _ in 0..120 {
        deep = json!([deep]);
    }
    let object = json!({"metadata": {"name": "x"}, "subsets": [], "deep": deep});
    let created = client.call("POST", ENDPOINTS, Some(&object));
    assert_eq!((created.status, &created.json()["deep"]), (201, &object["deep"]));
    assert_eq!(client.call("PUT", &format!("{ENDPOINTS}/x"), Some(&created.json())).status, 200);
}

#[test]
fn requests_are_recorded() {
    let server = server();
    let mut client = Client::to(&server);
    client.call("POST", LEASES, Some(&lease("x", "a")));
    client.get(&format!("{LEASES}?fieldSelector=metadata.name%3Dx"));
    let seen = server.requests();
    let brief = seen.iter().map(|r| (r.verb, r.resource, r.name.as_str(), r.status, r.connection));
    let brief: Vec<_> = brief.collect();
    assert_eq!(brief, [("create", "leases", "", Some(201), 1), ("list", "leases", "x", Some(200), 1)]);
    assert_eq!(seen[0].json().unwrap(), lease("x", "a"));
    server.clear_requests();
    assert!(server.requests().is_empty());
}

#[test]
fn two_thousand_watches_all_see_a_change() {
    apiserver::raise_file_limit();
    let server = server();
    let mut clients: Vec<Client> = (0..2000).map(|_| Client::to(&server)).collect();
    for client in &mut clients {
        client.watch(&format!("{ENDPOINTS}?watch=1"));
    }
    server.put("endpoints", "default", annotated("x", "1"));
    for client in &mut clients {
        assert_eq!(client.must_event().0, "ADDED");
    }
}
