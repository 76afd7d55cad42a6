//! How objects are created, updated and deleted.

mod common;

use common::{CONFIGMAPS, Client, ENDPOINTS, LEASES, annotated, lease, server, version};
use serde_json::{Value, json};

const ALL: [(&str, &str); 3] = [("endpoints", ENDPOINTS), ("configmaps", CONFIGMAPS), ("leases", LEASES)];

#[test]
fn a_second_create_conflicts() {
    let server = server();
    let mut client = Client::to(&server);
    for (_, path) in ALL {
        assert_eq!(client.call("POST", path, Some(&annotated("x", "1"))).status, 201);
        let second = client.call("POST", path, Some(&annotated("x", "2")));
        assert_eq!((second.status, second.reason().as_str()), (409, "AlreadyExists"));
    }
}

#[test]
fn an_update_at_an_old_version_conflicts() {
    let server = server();
    let mut client = Client::to(&server);
    for (resource, path) in ALL {
        let mut object = server.put(resource, "default", annotated("x", "1"));
        server.put(resource, "default", annotated("x", "2"));
        object["metadata"]["annotations"]["a"] = "3".into();
        let answer = client.call("PUT", &format!("{path}/x"), Some(&object));
        assert_eq!((answer.status, answer.reason().as_str()), (409, "Conflict"));
        let stored = server.get(resource, "default", "x").unwrap();
        assert_eq!(stored["metadata"]["annotations"]["a"], "2");
    }
}

#[test]
fn an_update_at_no_version_overwrites_all_but_leases() {
    let server = server();
    let mut client = Client::to(&server);
    for (resource, path) in ALL {
        let stored = server.put(resource, "default", annotated("x", "1"));
        for given in [Value::Null, json!(""), json!("0")] {
            let mut object = annotated("x", &given.to_string());
            object["metadata"]["uid"] = stored["metadata"]["uid"].clone();
            object["metadata"]["resourceVersion"] = given;
            let answer = client.call("PUT", &format!("{path}/x"), Some(&object));
            assert_eq!(answer.status, if resource == "leases" { 422 } else { 200 }, "{}", answer.text);
        }
    }
}

#[test]
fn an_update_creates_all_but_configmaps_unless_it_has_a_uid() {
    let server = server();
    let mut client = Client::to(&server);
    for (resource, path) in ALL {
        let path = format!("{path}/x");
        let mut object = annotated("x", "1");
        object["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
        let with_uid = client.call("PUT", &path, Some(&object)).status;
        let without = client.call("PUT", &path, Some(&annotated("x", "1"))).status;
        let expected = if resource == "configmaps" { (404, 404) } else { (409, 201) };
        assert_eq!((with_uid, without), expected, "{resource}");
    }
}

#[test]
fn an_update_that_changes_nothing_is_no_change() {
    let server = server();
    let mut client = Client::to(&server);
    let created = client.call("POST", LEASES, Some(&lease("x", "a"))).json();
    let again = client.call("PUT", &format!("{LEASES}/x"), Some(&created)).json();
    assert_eq!(version(&again), version(&created));
    assert_eq!(server.history().len(), 1);
}

#[test]
fn identity_survives_an_update() {
    let server = server();
    let mut client = Client::to(&server);
    let created = client.call("POST", ENDPOINTS, Some(&annotated("x", "1"))).json();
    let mut object = annotated("x", "2");
    object["metadata"]["creationTimestamp"] = "2000-01-01T00:00:00Z".into();
    let updated = client.call("PUT", &format!("{ENDPOINTS}/x"), Some(&object)).json();
    for field in ["uid", "creationTimestamp"] {
        assert_eq!(updated["metadata"][field], created["metadata"][field]);
    }
}

#[test]
fn other_fields_are_kept() {
    let server = server();
    let mut client = Client::to(&server);
    let object = json!({
        "metadata": {
            "name": "x", "labels": {"l": "1"}, "finalizers": ["example.com/f"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "x", "uid": "u"}],
        },
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}],
    });
    let created = client.call("POST", ENDPOINTS, Some(&object)).json();
    assert_eq!(created["subsets"], object["subsets"]);
    for field in ["labels", "finalizers", "ownerReferences"] {
        assert_eq!(created["metadata"][field], object["metadata"][field]);
    }
}

#[test]
fn bad_leases_are_refused() {
    let server = server();
    let mut client = Client::to(&server);
    for (field, value, status) in [
        ("renewTime", json!("2026-01-01T00:00:01Z"), 400),
        ("renewTime", json!("2026-01-01T00:00:01.123Z"), 400),
        ("renewTime", json!("2026-01-01T00:00:01.1234567Z"), 400),
        ("renewTime", json!("2026-13-01T00:00:01.123456Z"), 400),
        ("renewTime", json!("2026-01-01T00:00:01.123456+02:00"), 201),
        ("leaseDurationSeconds", json!(0), 422),
        ("leaseDurationSeconds", json!(-1), 422),
        ("leaseDurationSeconds", json!("10"), 400),
        ("leaseDurationSeconds", json!(3_000_000_000_u32), 400),
        ("leaseTransitions", json!(-1), 422),
    ] {
        let mut object = lease("x", "a");
        object["spec"][field] = value.clone();
        let answer = client.call("POST", LEASES, Some(&object));
        assert_eq!(answer.status, status, "{field} {value}: {}", answer.text);
        server.delete("leases", "default", "x");
    }
}

#[test]
fn bad_names_are_refused() {
    let server = server();
    let mut client = Client::to(&server);
    for name in ["Upper", "under_score", "-dash", "dash-", "a..b", &"x".repeat(254)] {
        let answer = client.call("POST", CONFIGMAPS, Some(&annotated(name, "1")));
        assert_eq!((answer.status, answer.reason().as_str()), (422, "Invalid"), "{name}");
    }
    assert_eq!(client.call("POST", CONFIGMAPS, Some(&annotated("a.b-c", "1"))).status, 201);
}

#[test]
fn nothing_is_created_in_a_missing_namespace() {
    let missing_namespaces = vec!["default".to_owned()];
    let options = apiserver::Options { missing_namespaces, ..Default::default() };
    let server = apiserver::Server::start(options).unwrap();
    let mut client = Client::to(&server);
    let answer = client.call("POST", LEASES, Some(&lease("x", "a")));
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["message"], "namespaces \"default\" not found");
}

#[test]
fn a_merge_patch_changes_only_the_named_fields() {
    let server = server();
    let mut client = Client::to(&server);
    server.put("endpoints", "default", annotated("x", "1"));
    let patch = json!({"metadata": {"annotations": {"b": "2"}}});
    let patched = client.call("PATCH", &format!("{ENDPOINTS}/x"), Some(&patch)).json();
    assert_eq!(patched["metadata"]["annotations"], json!({"a": "1", "b": "2"}));
}

#[test]
fn a_delete_at_another_uid_conflicts() {
    let server = server();
    let mut client = Client::to(&server);
    server.put("leases", "default", lease("x", "a"));
    let options = json!({"preconditions": {"uid": "other"}});
    assert_eq!(client.call("DELETE", &format!("{LEASES}/x"), Some(&options)).status, 409);
    assert_eq!(client.call("DELETE", &format!("{LEASES}/x"), None).status, 200);
    assert_eq!(client.get(&format!("{LEASES}/x")).status, 404);
}

#[test]
fn a_list_contains_the_matching_objects() {
    let server = server();
    let mut client = Client::to(&server);
    server.put("leases", "default", lease("x", "a"));
    server.put("leases", "default", lease("y", "a"));
    server.put("leases", "other", lease("z", "a"));
    let names = |list: Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(client.get(LEASES).json()), ["x", "y"]);
    let one = format!("{LEASES}?fieldSelector=metadata.name%3Dy");
    assert_eq!(names(client.get(&one).json()), ["y"]);
    assert_eq!(names(client.get("/apis/coordination.k8s.io/v1/leases").json()), ["x", "y", "z"]);
}
