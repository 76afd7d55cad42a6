//! The bytes of each request, and the result of each answer.

use std::net::{Ipv6Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::common::api_client::*;
use leader_elector::api::{Api, Failure, FailureKind, Verb};
use leader_elector::credentials::Credentials;
use leader_elector::lock::{LockKind, LockName};

/// The result of a get with this answer.
fn get(answer: Vec<u8>) -> Result<Vec<u8>, Failure> {
    client(&Server::answering(answer).url()).get(&endpoints(), LONG)
}

#[test]
fn a_request_names_its_object_and_what_it_accepts() {
    let server = Server::answering(answer("200 OK", "", "{}"));
    let api = client(&format!("{}/prefix/", server.url()));
    for (kind, collection) in [
        (LockKind::Endpoints, "/prefix/api/v1/namespaces/default/endpoints"),
        (LockKind::ConfigMaps, "/prefix/api/v1/namespaces/default/configmaps"),
        (LockKind::Leases, "/prefix/apis/coordination.k8s.io/v1/namespaces/default/leases"),
    ] {
        let lock = lock(kind);
        assert_eq!(api.get(&lock, LONG).unwrap(), b"{}");
        let get = server.next();
        assert_eq!(get.line, format!("GET {collection}/example HTTP/1.1"));
        assert_eq!((get.header("content-type"), get.header("authorization")), (None, None));

        api.create(&lock, b"[1]", LONG).unwrap();
        let create = server.next();
        assert_eq!((create.line, create.body), (format!("POST {collection} HTTP/1.1"), b"[1]".to_vec()));

        api.update(&lock, b"[2]", LONG).unwrap();
        let update = server.next();
        assert_eq!(update.line, format!("PUT {collection}/example HTTP/1.1"));
        assert_eq!(update.body, b"[2]");
        assert_eq!(update.header("content-type"), Some("application/json"));
        assert_eq!(update.header("accept"), Some("application/json"));
        assert_eq!(update.header("user-agent"), Some(concat!("leader-elector/", env!("CARGO_PKG_VERSION"))));
    }
}

#[test]
fn a_name_that_would_change_the_path_is_not_sent() {
    let server = Server::answering(answer("200 OK", "", "{}"));
    for name in ["", ".", "..", "a/b", "../a", "a?b", "a#b", "a%2fb", "a b", "a\r\nb", "ä"] {
        let lock = LockName { name: name.into(), ..endpoints() };
        assert_eq!(client(&server.url()).get(&lock, LONG).unwrap_err().kind, FailureKind::Invalid, "{name}");
        let lock = LockName { namespace: name.into(), ..endpoints() };
        assert_eq!(client(&server.url()).get(&lock, LONG).unwrap_err().kind, FailureKind::Invalid, "{name}");
    }
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn each_status_code_has_its_failure_kind() {
    for (line, expected) in [
        ("400 Bad Request", FailureKind::Invalid),
        ("401 Unauthorized", FailureKind::Denied),
        ("403 Forbidden", FailureKind::Denied),
        ("404 Not Found", FailureKind::Unknown),
        ("405 Method Not Allowed", FailureKind::Unknown),
        ("409 Conflict", FailureKind::Conflict),
        ("410 Gone", FailureKind::Unknown),
        ("413 Payload Too Large", FailureKind::Unknown),
        ("422 Unprocessable Entity", FailureKind::Invalid),
        ("429 Too Many Requests", FailureKind::Busy),
        ("500 Internal Server Error", FailureKind::Unknown),
        ("503 Service Unavailable", FailureKind::Unknown),
        ("304 Not Modified", FailureKind::Unknown),
        ("302 Found", FailureKind::Unknown),
        ("101 Switching Protocols", FailureKind::Unknown),
        ("299 Odd", FailureKind::Busy),
        ("600 Odd", FailureKind::Unknown),
    ] {
        let outcome = get(answer(line, "", ""));
        match line {
            "299 Odd" => assert_eq!(outcome.unwrap(), b""),
            _ => {
                let failure = outcome.unwrap_err();
                assert_eq!(failure.kind, expected, "{line}: {failure}");
                assert!(failure.message.starts_with("cannot read endpoints default/example: "), "{failure}");
            }
        }
    }
    let server = Server::answering(answer("201 Created", "", "{\"a\":1}"));
    assert_eq!(client(&server.url()).create(&endpoints(), b"{}", LONG).unwrap(), b"{\"a\":1}");
}

#[test]
fn a_missing_right_is_named_with_the_rule_that_grants_it() {
    let said = "endpoints \"example\" is forbidden: User \"system:serviceaccount:default:app\" cannot update resource \
                \"endpoints\" in API group \"\" in the namespace \"default\"";
    let server = Server::answering(answer("403 Forbidden", "", &status(403, said, "{}")));
    let failure = client(&server.url()).update(&endpoints(), b"{}", LONG).unwrap_err();
    assert_eq!(
        failure.message,
        format!(
            "cannot update endpoints default/example: 403 forbidden ({said}); grant the verb \"update\" on \
             \"endpoints\" named \"example\" in namespace \"default\" to \"system:serviceaccount:default:app\": \
             - {{apiGroups: [\"\"], resources: [\"endpoints\"], resourceNames: [\"example\"], verbs: [\"get\", \
             \"update\"]}}"
        )
    );

    // A rule for create cannot name the object.
    let server = Server::answering(answer("403 Forbidden", "", ""));
    let failure = client(&server.url()).create(&lock(LockKind::Leases), b"{}", LONG).unwrap_err();
    assert_eq!(
        failure.message,
        "cannot create leases default/example: 403 forbidden; grant the verb \"create\" on \"leases\" in namespace \
         \"default\" to this pod's service account: - {apiGroups: [\"coordination.k8s.io\"], resources: [\"leases\"], \
         verbs: [\"create\"]}"
    );

    // No rule helps if the namespace is being deleted.
    let said = "unable to create new content in namespace default because it is being terminated";
    let server = Server::answering(answer("403 Forbidden", "", &status(403, said, "{}")));
    let failure = client(&server.url()).create(&endpoints(), b"{}", LONG).unwrap_err();
    assert_eq!(failure.message, format!("cannot create endpoints default/example: 403 forbidden ({said})"));
}

#[test]
fn only_a_status_that_names_the_object_says_that_it_is_absent() {
    let status = |reason: &str, details: &str| {
        format!(r#"{{"kind":"Status","status":"Failure","reason":"{reason}","code":404,"details":{details}}}"#)
    };
    let object = r#"{"name":"example","kind":"endpoints"}"#;
    let namespace = r#"{"name":"default","kind":"namespaces"}"#;
    for (verb, body, expected) in [
        (Verb::Get, status("NotFound", object), FailureKind::Absent),
        (Verb::Update, status("NotFound", object), FailureKind::Absent),
        (Verb::Create, status("NotFound", namespace), FailureKind::Absent),
        (Verb::Create, status("NotFound", object), FailureKind::Unknown),
        (Verb::Get, status("NotFound", namespace), FailureKind::Unknown),
        (Verb::Update, status("NotFound", namespace), FailureKind::Unknown),
        (Verb::Get, status("Unknown", object), FailureKind::Unknown),
        (Verb::Get, status("NotFound", r#"{"name":"other","kind":"endpoints"}"#), FailureKind::Unknown),
        (Verb::Get, status("NotFound", r#"{"name":"example","kind":"leases"}"#), FailureKind::Unknown),
        (Verb::Get, status("NotFound", r#"{"name":"example"}"#), FailureKind::Unknown),
        (Verb::Get, status("NotFound", "{}"), FailureKind::Unknown),
        (Verb::Update, status("NotFound", "{}"), FailureKind::Unknown),
        (Verb::Create, status("NotFound", "{}"), FailureKind::Unknown),
        (Verb::Get, "<html>404 Not Found</html>".into(), FailureKind::Unknown),
        (Verb::Update, "<html>404 Not Found</html>".into(), FailureKind::Unknown),
        (Verb::Update, String::new(), FailureKind::Unknown),
    ] {
        let server = Server::answering(answer("404 Not Found", "", &body));
        let api = client(&server.url());
        let outcome = match verb {
            Verb::Create => api.create(&endpoints(), b"{}", LONG),
            Verb::Update => api.update(&endpoints(), b"{}", LONG),
            _ => api.get(&endpoints(), LONG),
        };
        let failure = outcome.unwrap_err();
        assert_eq!((failure.kind, failure.class().name()), (expected, "not_found"), "{verb:?} {body}");
    }
}

#[test]
fn a_missing_object_and_a_missing_namespace_are_told_apart() {
    let absent = |body: &str| get(answer("404 Not Found", "", body)).unwrap_err().message;
    let object = status(404, "endpoints \"example\" not found", r#"{"name":"example","kind":"endpoints"}"#);
    assert!(absent(&object).ends_with("404 not found (endpoints \"example\" not found)"), "{}", absent(&object));
    let namespace = status(404, "namespaces \"default\" not found", r#"{"name":"default","kind":"namespaces"}"#);
    assert!(absent(&namespace).contains("create the namespace \"default\""), "{}", absent(&namespace));
    let resource = status(404, "the server could not find the requested resource", "{}");
    assert!(absent(&resource).contains("this API server has no endpoints at /api/v1/"), "{}", absent(&resource));
    assert!(absent("<h1>nginx").contains("is that the address of a Kubernetes API server?"), "{}", absent("<h1>nginx"));
}

#[test]
fn the_text_of_a_server_is_escaped_and_cut() {
    let failure = get(answer("500 Internal Server Error", "", &"a\r\n\u{1b}[2J".repeat(500))).unwrap_err();
    assert!(failure.message.contains("a\\r\\n\\u{1b}[2J"), "{failure}");
    assert!(!failure.message.chars().any(char::is_control), "{failure:?}");
    assert!(failure.message.chars().count() < 400, "{failure}");
}

#[test]
fn retry_after_is_read_from_the_answer() {
    let asked = |headers: &str, body: &str| {
        let failure = get(answer("429 Too Many Requests", headers, body)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Busy);
        failure.retry_after
    };
    assert_eq!(asked("", ""), None);
    assert_eq!(asked("Retry-After: 7\r\n", ""), Some(Duration::from_secs(7)));
    assert_eq!(asked("Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", ""), None);
    assert_eq!(asked("Retry-After: 18446744073709551615\r\n", ""), Some(Duration::from_secs(3600)));
    assert_eq!(asked("Retry-After: -1\r\n", ""), None);
    assert_eq!(asked("", &status(429, "later", r#"{"retryAfterSeconds":3}"#)), Some(Duration::from_secs(3)));
    let failure = get(answer("503 Service Unavailable", "Retry-After: 2\r\n", "")).unwrap_err();
    assert_eq!((failure.kind, failure.retry_after), (FailureKind::Unknown, Some(Duration::from_secs(2))));
}

#[test]
fn three_requests_share_a_connection_even_after_a_refusal() {
    let server = Server::http(|seen, stream| {
        let status = if seen.line.starts_with("PUT") { "409 Conflict" } else { "200 OK" };
        stream.write_all(&answer(status, "", "{}")).unwrap();
        Then::Stay
    });
    let api = client(&server.url());
    api.get(&endpoints(), LONG).unwrap();
    api.update(&endpoints(), b"{}", LONG).unwrap_err();
    api.get(&endpoints(), LONG).unwrap();
    assert_eq!([server.next(), server.next(), server.next()].map(|seen| seen.connection), [0, 0, 0]);
}

#[test]
fn a_connection_that_was_idle_too_long_is_not_used_again() {
    let server = Server::answering(answer("200 OK", "", "{}"));
    let api = Api::new(Arc::new(Credentials::server(&server.url(), None).unwrap()), Duration::ZERO);
    api.get(&endpoints(), LONG).unwrap();
    api.update(&endpoints(), b"{}", LONG).unwrap();
    assert_eq!([server.next(), server.next()].map(|seen| seen.connection), [0, 1]);
}

#[test]
fn siblings_use_the_same_idle_connection() {
    let server = Server::answering(answer("200 OK", "", "{}"));
    let api = client(&server.url());
    let sibling = api.sibling();
    api.get(&endpoints(), LONG).unwrap();
    sibling.update(&endpoints(), b"{}", LONG).unwrap();
    api.get(&endpoints(), LONG).unwrap();
    assert_eq!([server.next(), server.next(), server.next()].map(|seen| seen.connection), [0, 0, 0]);
}

#[test]
fn a_server_may_have_an_ipv6_address() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return; // A machine without IPv6.
    };
    let server = Server::on(listener, None, |_, stream| {
        stream.write_all(&answer("200 OK", "", "{}")).unwrap();
        Then::Stay
    });
    assert!(server.url().starts_with("http://[::1]:"));
    assert_eq!(client(&server.url()).get(&endpoints(), LONG).unwrap(), b"{}");
    assert_eq!(server.next().header("host"), Some(server.address.to_string().as_str()));
}

#[test]
fn localhost_needs_no_name_service() {
    let server = Server::answering(answer("200 OK", "", "{}"));
    let api = client(&format!("http://localhost:{}", server.address.port()));
    assert_eq!(api.get(&endpoints(), LONG).unwrap(), b"{}");
}

/// The environment belongs to the process, so the test starts another process: this program with one test.
#[test]
fn a_proxy_in_the_environment_is_not_used() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "client::requests::three_requests_share_a_connection_even_after_a_refusal"]);
    for name in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
        child.env(name, "http://127.0.0.1:1").env(name.to_ascii_lowercase(), "http://127.0.0.1:1");
    }
    let output = child.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[test]
fn an_answer_that_is_no_json_can_be_reported_in_the_same_words() {
    let failure = Failure::unreadable(Verb::Get, &endpoints(), b"<html>\n<body>It works!</body>", "it is not JSON");
    assert_eq!(failure.kind, FailureKind::Unknown);
    assert_eq!(
        failure.message,
        "cannot read endpoints default/example: the answer is not a usable Kubernetes object: it is not JSON (first bytes \
         \"<html>\\n<body>It works!</body>\")"
    );
}
