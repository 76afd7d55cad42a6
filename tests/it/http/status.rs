//! `/status`: its fields and their values, and that it contains no secret.

use crate::common::cluster::{ServiceAccount, elector, lock_of, owned, plain_server, put};
use crate::common::http::{self, Client, HOUR, ME, following, known, leading, serve, unknown};
use crate::common::lock::{KINDS, Lock, NEVER, transitions_of};
use crate::common::{Elector, wait_until};
use apiserver::{Options, Rule, Server};
use leader_elector::clock;
use leader_elector::election::Claim;
use leader_elector::http::Limits;
use leader_elector::record::{Record, Stamp};
use leader_elector::status::{Seen, Snapshot};
use serde_json::{Value, json};
use std::time::Duration;

pub fn status_of(elector: &Elector) -> Value {
    let (code, body) = elector.ask("/status").expect("the port is served");
    assert_eq!(code, 200);
    serde_json::from_str(&body).expect("JSON")
}

/// Waits until `/status` shows this class as the last error; null for none.
pub fn wait_for_error(elector: &Elector, class: impl Into<Value>) {
    let class = class.into();
    wait_until(&format!("{class} is shown, not {}", status_of(elector)), || status_of(elector)["lastError"] == class);
}

fn record_of(holder: &str) -> Record {
    Record {
        holder: holder.into(),
        lease_seconds: 10,
        acquired: Stamp::Text("some time".into()),
        renewed: Stamp::Micros(0),
        transitions: 7,
    }
}

/// The same, with the fields of the record in the lock.
fn with_record(mut snapshot: Snapshot, holder: &str) -> Snapshot {
    snapshot.seen.resize(1, Seen::default());
    snapshot.seen[0].record = Some(record_of(holder));
    snapshot
}

#[test]
fn every_field_is_always_there_in_one_order() {
    let (address, status) = serve(Limits::default());
    let mut client = Client::connect(address);
    let nothing_known = r#"{"election":"example","namespace":"default","lock":"endpoints","id":"me-\"0\"","leader":"","#
        .to_owned()
        + r#""isLeader":false,"candidacy":"standing","fencingToken":null,"transitions":null,"acquireTime":null,"renewTime":null,"#
        + r#""validForSeconds":0,"lastError":null}"#;
    status.publish(unknown());
    assert_eq!(client.get("/status").body, nothing_known);
    let answer = client.get("/status?pretty");
    assert_eq!(http::header(&answer.head, "content-type"), Some("application/json"));

    let fields = |body: &str| {
        let value: Value = serde_json::from_str(body).unwrap();
        value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    status.publish(Snapshot { last_error: Some("unavailable"), ..with_record(leading(), ME) });
    assert_eq!(fields(&client.get("/status").body), fields(&nothing_known));
}

#[test]
fn what_belongs_to_a_term_is_shown_only_while_it_lasts() {
    let (address, status) = serve(Limits::default());
    let mut client = Client::connect(address);
    let mut page = |snapshot: Snapshot| {
        status.publish(snapshot);
        let mut page: Value = serde_json::from_str(&client.get("/status").body).unwrap();
        let left = page["validForSeconds"].take().as_f64().unwrap();
        let all = ["leader", "isLeader", "fencingToken", "transitions", "acquireTime", "renewTime", "lastError"];
        (Value::from_iter(all.map(|field| (field, page[field].take()))), left)
    };
    let own = with_record(leading(), ME);
    let other = Snapshot { last_error: Some("forbidden"), ..with_record(following("a"), "a") };
    let lapsed = Some(Claim { until: clock::now(), fencing_token: 9 });

    let (shown, left) = page(own.clone());
    let expected = json!({
        "leader": ME, "isLeader": true, "fencingToken": 1, "transitions": 7, "acquireTime": "some time",
        "renewTime": "1970-01-01T00:00:00.000000Z", "lastError": null,
    });
    assert!(shown == expected && left > 3000.0 && left < 3600.0, "{shown} {left}");

    let (shown, left) = page(other);
    let expected = json!({
        "leader": "a", "isLeader": false, "fencingToken": null, "transitions": 7, "acquireTime": "some time",
        "renewTime": "1970-01-01T00:00:00.000000Z", "lastError": "forbidden",
    });
    assert!(shown == expected && left > 3000.0 && left < 3600.0, "{shown} {left}");

    let (shown, left) = page(Snapshot { claim: lapsed, ..own });
    let expected = json!({
        "leader": "", "isLeader": false, "fencingToken": null, "transitions": 7, "acquireTime": null,
        "renewTime": null, "lastError": null,
    });
    assert!(shown == expected && left == 0.0, "{shown} {left}");
}

#[test]
fn a_leader_and_a_follower_show_what_stands_in_the_lock() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let a = lock.start("a", &[NEVER]);
        a.wait_to_lead();
        let b = lock.start("b", &[NEVER]);
        b.wait_to_name("a");
        let token = lock.changes()[0].0.object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>();
        let record = lock.record();
        let (left, mut of_a) = without_time(status_of(&a));
        assert!(left > 300.0 && left <= 400.0, "{left}");
        let expected = json!({
            "election": "example", "namespace": "default", "lock": kind, "id": "a", "leader": "a", "isLeader": true,
            "candidacy": "standing", "fencingToken": token.unwrap(), "transitions": transitions_of(&record),
            "acquireTime": record["acquireTime"], "renewTime": record["renewTime"], "lastError": null,
        });
        assert_eq!(of_a, expected);

        let (left, of_b) = without_time(status_of(&b));
        assert!(left > 500.0 && left <= 600.0, "{left}");
        of_a["id"] = "b".into();
        of_a["isLeader"] = false.into();
        of_a["fencingToken"] = Value::Null;
        assert_eq!(of_b, of_a);
    }
}

fn without_time(mut status: Value) -> (f64, Value) {
    let left = status.as_object_mut().unwrap().remove("validForSeconds").unwrap();
    (left.as_f64().unwrap(), status)
}

#[test]
fn the_last_error_is_one_word_until_it_is_over() {
    let server = plain_server();
    let elector = elector(&server, "a", &[]);
    elector.wait_to_lead();
    wait_for_error(&elector, Value::Null);
    server.down();
    wait_for_error(&elector, "unavailable");
    server.up();
    wait_for_error(&elector, Value::Null);
    server.set_rules(vec![Rule::new("system:anonymous", &["get", "watch"], "endpoints")]);
    wait_for_error(&elector, "forbidden");
    let shown = status_of(&elector).to_string();
    assert!(!shown.contains("system:") && !shown.contains("127.0.0.1"), "{shown}");
    server.set_rules(vec![Rule::new("system:anonymous", &["*"], "endpoints")]);
    wait_for_error(&elector, Value::Null);
    put(
        &server,
        json!({"metadata": {"name": "example", "annotations": {
            "control-plane.alpha.kubernetes.io/leader": "no record"
        }}}),
    );
    wait_for_error(&elector, "unreadable");
    assert_eq!(status_of(&elector)["transitions"], Value::Null);
    elector.wait_to_lead();
    wait_for_error(&elector, Value::Null);
}

#[test]
fn an_unknown_token_and_a_missing_right_are_different_errors() {
    let server = Server::start(Options { tokens: owned(&[("secret", "pod")]), ..Options::default() }).unwrap();
    let account = ServiceAccount::new("wrong", "");
    account.remove("ca.crt");
    let elector = elector(&server, "a", &[&account.flag()]);
    wait_for_error(&elector, "unauthorized");
}

#[test]
fn a_write_that_failed_is_over_when_another_leads() {
    let rules = vec![Rule::new("system:anonymous", &["get", "watch"], "endpoints")];
    let server = Server::start(Options { rules, ..Options::default() }).unwrap();
    let elector = elector(&server, "a", &["--ttl=10m"]);
    wait_for_error(&elector, "forbidden");
    put(&server, lock_of("b", 600));
    elector.wait_to_name("b");
    wait_for_error(&elector, Value::Null);
}

#[test]
fn all_answers_agree_on_who_leads() {
    let (address, status) = serve(Limits::default());
    let mut client = Client::connect(address);
    let now = clock::now();
    for (until, leads) in [(now, false), (now.saturating_add(HOUR), true)] {
        status.publish(Snapshot { claim: Some(Claim { until, fencing_token: 1 }), ..known() });
        let name = if leads { ME } else { "" };
        let page: Value = serde_json::from_str(&client.get("/status").body).unwrap();
        assert_eq!((&page["isLeader"], &page["leader"]), (&json!(leads), &json!(name)));
        assert_eq!(client.get("/").body, json!({ "name": name }).to_string());
        assert_eq!(client.get("/isLeader").body, format!("{{\"isLeader\": {leads}}}"));
        assert_eq!(client.get("/leader").status, if leads { 200 } else { 503 });
        let metrics = client.get("/metrics").body;
        let sample = |series| http::sample(&metrics, series).unwrap();
        assert_eq!(sample("leader_election_master_status{name=\"example\"}"), f64::from(u8::from(leads)));
        assert_eq!(sample("leader_elector_valid_for_seconds") > 0.0, leads);
        let mut events = http::Events::of(address);
        let (told, left) = events.event().unwrap();
        assert!(told == name && (left > 0.0) == leads);
        assert!(Duration::from_secs_f64(left) <= HOUR);
    }
}
