//! `--leader-service` with candidates: the Service routes to the leader, and nowhere while nobody leads.

use crate::common::cluster::{STEADY, elector, holder, holder_in, lines, plain_server, wait_for, wait_for_renewals};
use crate::common::{Elector, wait_until};
use apiserver::{Change, ChangeKind, Fault, Options, Rule, Server};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const SLICES: &str = "endpointslices";
const SLICE: &str = "web-leader";
const TOKEN: &str = "leader-elector/fencing-token";

/// Starts a candidate whose pod has this address.
fn candidate(server: &Server, id: &str, address: &str, flags: &[&str]) -> Elector {
    let pod_ip = format!("--pod-ip={address}");
    elector(server, id, &[&["--leader-service=web:8080", pod_ip.as_str()], flags].concat())
}

/// The addresses to which the Service routes.
fn addresses(server: &Server) -> Vec<String> {
    let Some(slice) = server.get(SLICES, "default", SLICE) else { return Vec::new() };
    let endpoints = slice["endpoints"].as_array().cloned().unwrap_or_default();
    let of_endpoint = |endpoint: &serde_json::Value| endpoint["addresses"].as_array().cloned().unwrap_or_default();
    endpoints.iter().flat_map(of_endpoint).filter_map(|address| address.as_str().map(str::to_owned)).collect()
}

fn wait_to_lead_to(server: &Server, expected: &[&str]) {
    wait_for(server, &format!("the Service routes to {expected:?}"), |server| addresses(server) == expected);
}

/// Waits until the log says so.
fn wait_for_last_error(elector: &Elector, class: &str) {
    let shown = format!("\"lastError\":\"{class}\"");
    wait_until(&shown, || elector.ask("/status").is_ok_and(|(_, body)| body.contains(&shown)));
}

#[test]
fn the_service_follows_the_leader_and_the_address_is_withdrawn_before_the_release() {
    let server = plain_server();
    let mut a = candidate(&server, "a", "10.0.0.1", &[STEADY]);
    wait_to_lead_to(&server, &["10.0.0.1"]);
    let b = candidate(&server, "b", "10.0.0.2", &[STEADY]);
    b.wait_to_name("a");
    a.signal(Signal::TERM);
    wait_to_lead_to(&server, &["10.0.0.2"]);
    assert_eq!(a.wait_to_end().code(), Some(0));
    let history = server.history();
    let shows = |it: &Change| !it.object["endpoints"].as_array().is_none_or(Vec::is_empty);
    let routed = history.iter().position(|it| it.resource == SLICES && shows(it)).expect("a is shown");
    let withdrawn = history.iter().skip(routed).position(|it| it.resource == SLICES && !shows(it));
    let withdrawn = withdrawn.map(|index| routed + index);
    let released = history.iter().position(|it| holder_in(&it.object).as_deref() == Some(""));
    assert!(withdrawn.is_some() && withdrawn < released, "{withdrawn:?} {released:?}");
    let slice = server.get(SLICES, "default", SLICE).unwrap();
    let token: u64 = slice["metadata"]["annotations"][TOKEN].as_str().unwrap().parse().unwrap();
    assert_eq!(b.fencing_tokens(), [token], "the slice carries the fencing token of the term");
}

#[test]
fn after_a_crash_the_old_address_stays_until_the_next_leader_writes() {
    let server = plain_server();
    let a = candidate(&server, "a", "10.0.0.1", &["--ttl=2s"]);
    wait_to_lead_to(&server, &["10.0.0.1"]);
    let b = candidate(&server, "b", "10.0.0.2", &["--ttl=2s"]);
    b.wait_to_name("a");
    a.signal(Signal::KILL);
    wait_to_lead_to(&server, &["10.0.0.2"]);
    let history = server.history();
    let slices = history.iter().filter(|it| it.resource == SLICES && it.name == SLICE);
    let mut shown: Vec<_> = slices.map(|it| it.object["endpoints"][0]["addresses"][0].as_str()).collect();
    shown.dedup();
    assert_eq!(shown, [None, Some("10.0.0.1"), Some("10.0.0.2")], "it is created empty");
}

#[test]
fn a_leader_that_steps_down_withdraws_its_address_first() {
    let server = plain_server();
    let a = candidate(&server, "a", "10.0.0.1", &[STEADY]);
    wait_to_lead_to(&server, &["10.0.0.1"]);
    server.edit("endpoints", "default", "example", |lock| {
        lock["metadata"]["annotations"]["leader-elector/step-down"] = "a".into();
    });
    wait_to_lead_to(&server, &[]);
    a.wait_to_name("");
}

#[test]
fn no_requests_for_slices_are_sent_at_rest() {
    let server = plain_server();
    let _a = candidate(&server, "a", "10.0.0.1", &[STEADY]);
    wait_to_lead_to(&server, &["10.0.0.1"]);
    let requests = |server: &Server| server.requests().iter().filter(|request| request.resource == SLICES).count();
    wait_for_renewals(&server, 10); // the slice of the other IP family is read too
    let before = requests(&server);
    wait_for_renewals(&server, 10);
    assert_eq!(requests(&server), before);
}

#[test]
fn without_the_right_the_log_names_the_rule_and_the_election_goes_on() {
    let rules = vec![Rule::new("system:anonymous", &["*"], "endpoints")];
    let server = Server::start(Options { rules, ..Options::default() }).unwrap();
    let mut a = candidate(&server, "a", "10.0.0.1", &[STEADY]);
    a.wait_to_lead();
    a.wait_for_log("grant the verb \"get\" on \"endpointslices\"");
    wait_for_last_error(&a, "forbidden");
    wait_for_renewals(&server, 10);
    assert!(a.leads());
    assert_eq!(lines(&a, "named \"web-leader\" in"), 1, "it is said once: {}", a.log());
    let counted = r#"leader_elector_api_requests_total{verb="get",outcome="forbidden"}"#;
    let metrics = a.ask("/metrics").unwrap().1;
    assert!(metrics.contains(counted) && !metrics.contains(&format!("{counted} 0\n")), "{metrics}");
    a.signal(Signal::TERM);
    assert_eq!(a.wait_to_end().code(), Some(0));
    assert_eq!(holder(&server), "", "the lock is released all the same");
}

#[test]
fn hanging_requests_for_slices_do_not_prevent_the_release() {
    let server = plain_server();
    let mut a = candidate(&server, "a", "10.0.0.1", &[STEADY]);
    wait_to_lead_to(&server, &["10.0.0.1"]);
    let b = candidate(&server, "b", "10.0.0.2", &[STEADY]);
    b.wait_to_name("a");
    server.fault(|request| request.resource == SLICES, None, Fault::HangRequest);
    a.signal(Signal::TERM);
    assert_eq!(a.wait_to_end().code(), Some(0));
    b.wait_to_lead();
    server.clear_faults();
    wait_to_lead_to(&server, &["10.0.0.2"]);
}

#[test]
fn the_address_is_withdrawn_as_long_as_the_lock_is_kept() {
    let server = plain_server();
    let mut a = candidate(&server, "a", "10.0.0.1", &[STEADY, "--release-delay=8s"]);
    wait_to_lead_to(&server, &["10.0.0.1"]);
    let failing = Fault::Status { code: 500, retry_after: None };
    let failing = server.fault(|request| request.resource == SLICES, None, failing);
    a.signal(Signal::TERM);
    // Without a release delay it would give up before the sixth attempt.
    wait_until("it tries to withdraw the address", || failing.hits() >= 6);
    failing.remove();
    wait_to_lead_to(&server, &[]);
    assert_eq!(holder(&server), "a", "the lock is kept");
    assert_eq!(a.wait_to_end().code(), Some(0));
}

#[test]
fn a_slice_of_another_owner_is_not_written() {
    let server = plain_server();
    let slice = json!({
        "metadata": {"name": SLICE, "labels": {"endpointslice.kubernetes.io/managed-by": "somebody"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.9.9.9"]}], "ports": [{"port": 1}],
    });
    server.put(SLICES, "default", slice);
    let a = candidate(&server, "a", "10.0.0.1", &[STEADY]);
    a.wait_to_lead();
    a.wait_for_log("somebody");
    wait_for_last_error(&a, "foreign");
    assert_eq!(addresses(&server), ["10.9.9.9"]);
}

/// `HANDOVERS` handovers: the leader is stopped, killed or paused, while writes of slices are late, repeated or lost.
#[test]
fn the_address_of_an_older_term_never_replaces_that_of_a_newer_one() {
    let handovers: usize = std::env::var("HANDOVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let server = Server::start(Options { keep_requests: 1000, ..Options::default() }).unwrap();
    let start = |number: usize| {
        let address = format!("10.0.{}.{}", number / 250, number % 250 + 1);
        candidate(&server, &format!("n{number}"), &address, &["--ttl=1s"])
    };
    let mut running: Vec<Elector> = (0..3).map(start).collect();
    let late = |millis| Fault::DelayRequest(Duration::from_millis(millis));
    for number in 3..3 + handovers {
        let leads = |elector: &&mut Elector| elector.leads();
        wait_until("somebody leads", || running.iter_mut().any(|elector| elector.leads()));
        let writes = |request: &apiserver::RequestSeen| request.resource == SLICES && request.verb == "update";
        server.clear_faults();
        match number % 5 {
            0 => drop(server.fault(writes, Some(1), late(300))),
            1 => drop(server.fault(writes, Some(2), late(1500))),
            2 => drop(server.fault(writes, Some(1), Fault::DropAnswer)),
            3 => drop(server.fault(writes, Some(1), Fault::DropRequest)),
            _ => {}
        }
        let Some(leader) = running.iter_mut().find(leads) else { continue };
        match number % 3 {
            0 => leader.signal(Signal::TERM),
            1 => leader.signal(Signal::KILL),
            _ => {
                leader.signal(Signal::STOP);
                let id = leader.id.clone();
                let others = |it: &&mut Elector| it.id != id && it.leads();
                wait_until("another one leads", || running.iter_mut().find(others).is_some());
                running.iter().find(|it| it.id == id).expect("it is there").signal(Signal::CONT);
                continue;
            }
        }
        let id = leader.id.clone();
        running.iter_mut().filter(|it| it.id == id).for_each(|it| {
            it.wait_to_end();
        });
        running.retain(|it| it.id != id);
        running.push(start(number));
    }
    wait_until("the Service routes to the leader", || {
        let leader = running.iter().find(|elector| elector.leads());
        leader
            .is_some_and(|leader| leader.log().contains(&addresses(&server).join(" ")) && addresses(&server).len() == 1)
    });
    // The terms in the order in which their addresses appeared.
    let mut terms: BTreeMap<u64, u64> = BTreeMap::new();
    let mut newest = 0;
    for change in server.history().iter().filter(|it| it.resource == SLICES && it.kind != ChangeKind::Deleted) {
        let token = change.object["metadata"]["annotations"][TOKEN].as_str().map_or(0, |text| text.parse().unwrap());
        assert!(token >= newest, "the term {token} follows {newest}");
        newest = token;
        *terms.entry(token).or_default() += 1;
    }
    println!("{handovers} handovers, {} terms came to write the slice", terms.len());
    assert!(terms.len() > handovers / 3, "{terms:?}");
}
