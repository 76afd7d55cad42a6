//! The migration from leader-elector 0.5 to Leases in three rolling updates, with two locks in between.

use crate::common::claim_checker::ClaimChecker;
use crate::common::cluster::{ServiceAccount, elector, wait_for};
use crate::common::lock::{RECORD, holder_of, record_of};
use crate::common::{Elector, wait_until};
use apiserver::{Fault, Options, RequestSeen, Rule, Server};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The same lease for the whole migration. Renewals are frequent, so that a busy machine does not end a term.
const LEASE: &str = "--ttl=3s";
const OFTEN: &str = "--retry-period=100ms";

fn holder(server: &Server, resource: &str) -> String {
    server.get(resource, "default", "example").map_or_else(String::new, |object| holder_of(&record_of(&object)))
}

fn status(elector: &Elector) -> Option<Value> {
    elector.ask("/status").ok().and_then(|(_, body)| serde_json::from_str(&body).ok())
}

#[test]
fn the_leader_holds_both_objects_and_hands_both_over() {
    for (choice, first) in [("endpointsleases", "endpoints"), ("configmapsleases", "configmaps")] {
        let server = Server::start(Options::default()).unwrap();
        let lock = format!("--lock={choice}");
        let mut a = elector(&server, "a", &[&lock, LEASE, OFTEN]);
        a.wait_to_lead();
        assert_eq!((holder(&server, first), holder(&server, "leases")), ("a".into(), "a".into()));
        let b = elector(&server, "b", &[&lock, LEASE, OFTEN]);
        b.wait_to_name("a");
        let status = status(&b).unwrap();
        assert_eq!((&status["lock"], &status["leader"]), (&json!(choice), &json!("a")));
        a.signal(Signal::TERM);
        assert!(a.wait_to_end().success());
        b.wait_to_lead();
        let released = |resource: &str| {
            let history = server.history();
            history.iter().position(|it| it.resource == resource && holder_of(&record_of(&it.object)).is_empty())
        };
        assert!(released("leases") < released(first), "the second is released before the first");
        assert!(a.fencing_tokens().last() < b.fencing_tokens().last());
    }
}

#[test]
fn a_candidate_without_rights_on_the_second_object_releases_the_first() {
    let on_endpoints = Rule::new("*", &["*"], "endpoints");
    let rules = vec![on_endpoints, Rule::new("*", &["get", "watch"], "leases")];
    let server = Server::start(Options { rules, ..Options::default() }).unwrap();
    let a = elector(&server, "a", &["--lock=endpointsleases", "--ttl=500ms"]);
    a.wait_for_log("apiGroups: [\"coordination.k8s.io\"], resources: [\"leases\"]");
    wait_for(&server, "it gives the first up", |server| {
        let held = server.history().into_iter().map(|it| holder_of(&record_of(&it.object))).collect::<Vec<_>>();
        held.windows(2).any(|pair| pair == ["a", ""])
    });
    assert!(!a.leads());
    // A candidate that needs no Lease can lead.
    elector(&server, "b", &["--lock=endpoints", "--ttl=500ms"]).wait_to_lead();
}

/// A replica of leader-elector 0.5: it polls the Endpoints, takes the lock when the record has not changed for its own
/// lease, and writes times in whole seconds and no transitions.
struct Old {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Old {
    fn start(server: &Arc<Server>, name: &str, one_at_a_time: &Arc<Mutex<()>>, stamps: &Arc<AtomicU64>) -> Old {
        let done = Arc::new(AtomicBool::new(false));
        let (server, name, turn, stamps) =
            (Arc::clone(server), name.to_owned(), Arc::clone(one_at_a_time), Arc::clone(stamps));
        let is_done = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let (mut seen, mut seen_at) = (Value::Null, Instant::now());
            while !is_done.load(Ordering::Relaxed) {
                {
                    // 0.5 does a compare-and-swap; here nobody else writes in the meantime.
                    let _turn = turn.lock().unwrap();
                    let mut object = server
                        .get("endpoints", "default", "example")
                        .unwrap_or_else(|| json!({"metadata": {"name": "example"}}));
                    let record = record_of(&object);
                    if record != seen {
                        (seen, seen_at) = (record.clone(), Instant::now());
                    }
                    let waits = !record.is_null() && holder_of(&record) != name && seen_at.elapsed().as_secs() < 3;
                    if !waits {
                        let stamp = format!(
                            "2026-01-01T00:{:02}:{:02}Z",
                            stamps.load(Ordering::Relaxed) / 60 % 60,
                            stamps.fetch_add(1, Ordering::Relaxed) % 60
                        );
                        let record = json!({"holderIdentity": name, "leaseDurationSeconds": 3, "acquireTime": stamp,
                            "renewTime": stamp, "leaderTransitions": 0});
                        object["metadata"]["annotations"][RECORD] = record.to_string().into();
                        server.put("endpoints", "default", object);
                    }
                }
                thread::sleep(Duration::from_millis(300));
            }
        });
        Old { done, thread: Some(thread) }
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Asks all replicas twice. A replica that leads in both rounds with the same token also led in between.
fn nobody_leads_beside_another(electors: &[Elector]) {
    let round = || -> Vec<Option<u64>> {
        let token = |status: Value| (status["isLeader"] == true).then(|| status["fencingToken"].as_u64()).flatten();
        electors.iter().map(|elector| status(elector).and_then(token)).collect()
    };
    let (first, second) = (round(), round());
    for (n, token) in first.iter().enumerate().filter(|(n, token)| token.is_some() && **token == second[*n]) {
        let others = || first.iter().enumerate().skip(n + 1).chain(second.iter().enumerate().take(n));
        assert!(
            others().all(|(_, other)| other.is_none()),
            "{token:?} leads, and so does another: {first:?} {second:?}"
        );
    }
}

#[test]
fn a_fleet_moves_from_0_5_to_leases_one_replica_at_a_time() {
    let server = Arc::new(Server::start(Options::default()).unwrap());
    let (turn, stamps) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
    let mut old: Vec<Old> = ["a", "b", "c"].iter().map(|name| Old::start(&server, name, &turn, &stamps)).collect();
    wait_until("one of the old ones leads", || !holder(&server, "endpoints").is_empty());
    let start = |name: &str, lock: &str| elector(&server, name, &[lock, LEASE, OFTEN]);
    let mut fleet: Vec<Elector> = Vec::new();
    for name in ["a", "b", "c"] {
        drop(old.remove(0));
        fleet.push(start(name, "--lock=endpoints"));
        nobody_leads_beside_another(&fleet);
    }
    let led = |fleet: &[Elector], what: &str| {
        wait_until(what, || {
            nobody_leads_beside_another(fleet);
            fleet.iter().any(Elector::leads)
        });
    };
    led(&fleet, "somebody leads after 0.5");
    let mut tokens: Vec<u64> = Vec::new();
    for lock in ["--lock=endpointsleases", "--lock=leases"] {
        for n in 0..fleet.len() {
            // As in a rolling update: a replica ends, and another one replaces it.
            fleet[n].signal(Signal::TERM);
            assert!(fleet[n].wait_to_end().success(), "{}", fleet[n].log());
            tokens.extend(fleet[n].fencing_tokens());
            let name = format!("{}-{}", fleet[n].id, &lock[7..]);
            fleet[n] = start(&name, lock);
            led(&fleet, "somebody leads on the way");
        }
    }
    let leader = fleet.iter().find(|elector| elector.leads()).expect("somebody leads");
    assert_eq!(holder(&server, "leases"), leader.id);
    fleet.iter().for_each(|elector| elector.wait_to_name(&leader.id));
    tokens.extend(fleet.iter().flat_map(Elector::fencing_tokens));
    let count = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), count, "no two terms have one token");
}

/// The leader of both objects loses the right to write one of them, and another candidate needs only the other one.
#[test]
fn after_losing_the_right_to_one_object_the_other_is_kept_for_l_minus_d() {
    // L - D is 2 s.
    let args = ["--ttl=6s", "--renew-deadline=4s", OFTEN];
    for (taken_away, kept) in [("leases", "--lock=endpoints"), ("endpoints", "--lock=leases")] {
        let accounts = ["a", "b"].map(|name| (name.to_owned(), name.to_owned())).to_vec();
        let rules = vec![Rule::new("*", &["*"], "*")];
        let server = Server::start(Options { tls: true, tokens: accounts, rules, ..Options::default() }).unwrap();
        let accounts = ["a", "b"].map(|token| ServiceAccount::new(token, server.ca_pem().unwrap()));
        let start = |id: usize, lock: &str| {
            elector(&server, ["a", "b"][id], &[&args[..], &[lock, accounts[id].flag().as_str()]].concat())
        };
        let a = start(0, "--lock=endpointsleases");
        a.wait_to_lead();
        let b = start(1, kept);
        b.wait_to_name("a");
        let checker = ClaimChecker::start(&[&a]);
        let is_taken_away =
            move |it: &RequestSeen| it.verb == "update" && it.resource == taken_away && it.user.as_deref() == Some("a");
        server.fault(is_taken_away, None, Fault::Status { code: 403, retry_after: None });
        b.wait_to_lead();
        let led = Instant::now();
        let last = checker.answers().iter().filter(|it| it.id == "a" && it.names_itself()).map(|it| it.asked).max();
        let gap = led - last.expect("a led");
        assert!(gap >= Duration::from_secs(2), "{taken_away}: {gap:?}\n{}\n{}", a.log(), b.log());
    }
}

#[test]
fn a_follower_names_the_holder_of_the_first_object_when_the_lease_in_the_second_has_run_out() {
    let server = Server::start(Options::default()).unwrap();
    let stale = json!({
        "metadata": {"name": "example"},
        "spec": {"holderIdentity": "old", "leaseDurationSeconds": 1, "renewTime": "2026-01-01T00:00:00.000000Z"},
    });
    server.put("leases", "default", stale);
    let leader = elector(&server, "a", &["--lock=endpoints", LEASE, OFTEN]);
    leader.wait_to_lead();
    let follower = elector(&server, "b", &["--lock=endpointsleases", LEASE, OFTEN]);
    follower.wait_for_log("\"old\" leads");
    follower.wait_to_name("a");
    assert_eq!(status(&follower).unwrap()["leader"], "a");
}

#[test]
fn with_a_silent_server_it_exits_as_fast_with_two_locks_as_with_one() {
    let leaves_within = || {
        let server = Server::start(Options::default()).unwrap();
        let mut a = elector(&server, "a", &["--lock=endpointsleases", "--ttl=10m"]);
        a.wait_to_lead();
        server.freeze();
        let told = Instant::now();
        a.signal(Signal::TERM);
        assert!(a.wait_to_end().success(), "{}", a.log());
        told.elapsed()
    };
    // Two seconds, and more on a busy machine.
    wait_until("it is gone within three seconds", || leaves_within() < Duration::from_secs(3));
}
