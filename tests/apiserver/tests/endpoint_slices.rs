//! EndpointSlices: defaults and validation.

mod common;

use common::{Client, SLICES, server};
use serde_json::{Value, json};

fn slice(addresses: &[&str]) -> Value {
    let endpoint = json!({"addresses": addresses});
    json!({"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": [endpoint], "ports": [{"port": 80}]})
}

#[test]
fn omitted_fields_are_filled_in() {
    let server = server();
    let mut client = Client::to(&server);
    let created = client.call("POST", SLICES, Some(&slice(&["10.0.0.1"]))).json();
    assert_eq!((&created["kind"], &created["apiVersion"]), (&json!("EndpointSlice"), &json!("discovery.k8s.io/v1")));
    assert_eq!(created["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    assert_eq!(created["endpoints"], json!([{"addresses": ["10.0.0.1"], "conditions": {}}]));
    let mut empty = created.clone();
    empty["endpoints"] = json!([]);
    let updated = client.call("PUT", &format!("{SLICES}/x"), Some(&empty));
    assert_eq!((updated.status, &updated.json()["endpoints"]), (200, &Value::Null));
}

#[test]
fn an_update_creates_no_slice_and_without_a_version_is_unconditional() {
    let server = server();
    let mut client = Client::to(&server);
    let path = format!("{SLICES}/x");
    assert_eq!(client.call("PUT", &path, Some(&slice(&["10.0.0.1"]))).reason(), "NotFound");
    client.call("POST", SLICES, Some(&slice(&["10.0.0.1"])));
    assert_eq!(client.call("PUT", &path, Some(&slice(&["10.0.0.2"]))).status, 200);
}

#[test]
fn invalid_fields_are_refused_by_name() {
    let server = server();
    let mut client = Client::to(&server);
    let edited = |pointer: &str, value: Value| {
        let mut slice = slice(&["10.0.0.1"]);
        *slice.pointer_mut(pointer).unwrap() = value;
        slice
    };
    let port = json!({"name": "a", "port": 80});
    for (object, why) in [
        (edited("/addressType", "".into()), "addressType: Required value"),
        (edited("/addressType", "IPv5".into()), "addressType: Unsupported value: \"IPv5\""),
        (
            edited("/addressType", "IPv6".into()),
            "endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be a valid IPv6",
        ),
        (slice(&[]), "endpoints[0].addresses: Required value"),
        (slice(&["web"]), "endpoints[0].addresses[0]: Invalid value: \"web\": must be a valid IPv4 address"),
        (
            slice(&["10.0.0.1", "127.0.0.1"]),
            "endpoints[0].addresses[1]: Invalid value: \"127.0.0.1\": may not be in the loopback",
        ),
        (slice(&["169.254.0.1"]), "may not be in the link-local range"),
        (slice(&["0.0.0.0"]), "may not be unspecified"),
        (edited("/ports", json!([port, port])), "ports[1].name: Duplicate value: \"a\""),
        (edited("/ports/0", json!({"port": 80, "protocol": "ICMP"})), "ports[0].protocol: Unsupported value: \"ICMP\""),
    ] {
        let answer = client.call("POST", SLICES, Some(&object));
        assert_eq!((answer.status, answer.reason().as_str()), (422, "Invalid"), "{object}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with("EndpointSlice.discovery.k8s.io \"x\" is invalid: ") && message.contains(why),
            "{message}"
        );
    }
    for object in
        [edited("/endpoints", json!({})), edited("/ports/0/port", "80".into()), edited("/endpoints/0", 1.into())]
    {
        assert_eq!(client.call("POST", SLICES, Some(&object)).status, 400, "{object}");
    }
}

#[test]
fn the_address_type_cannot_be_changed() {
    let server = server();
    let mut client = Client::to(&server);
    let mut object = client.call("POST", SLICES, Some(&slice(&["10.0.0.1"]))).json();
    (object["addressType"], object["endpoints"]) = ("IPv6".into(), json!([{"addresses": ["fd00::1"]}]));
    let answer = client.call("PUT", &format!("{SLICES}/x"), Some(&object));
    assert_eq!(answer.status, 422);
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .ends_with("addressType: Invalid value: \"IPv6\": field is immutable")
    );
}
