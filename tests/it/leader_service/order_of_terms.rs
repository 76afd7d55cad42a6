//! The address of an older term never replaces one of a newer term, even if writes are lost, late or repeated, or
//! slices are deleted.

use super::*;
use crate::common::cluster::{plain_server, wait_for};
use apiserver::{ChangeKind, Fault};
use leader_elector::api::FailureKind;

/// A recorded request for a slice, to be sent again.
fn sent(server: &Server, verb: &str) -> Vec<u8> {
    let requests = server.requests();
    requests.iter().rfind(|request| request.verb == verb && of(request, V4)).expect("it was sent").body.to_vec()
}

fn replay(server: &Server, verb: &str, body: &[u8]) -> Result<(), FailureKind> {
    let (api, name) = (client(server), name(V4));
    let reply = if verb == "create" { api.create(&name, body, LONG) } else { api.update(&name, body, LONG) };
    reply.map(drop).map_err(|failure| failure.kind)
}

#[test]
fn a_write_that_comes_late_changes_nothing() {
    let server = plain_server();
    // It is in flight when the term ends.
    let lost = server.fault(on("update", V4), Some(1), Fault::HangRequest);
    let old = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    old.leads(7, never());
    wait_for(&server, "the write is sent", |_| lost.hits() == 1);
    let (create, update) = (sent(&server, "create"), sent(&server, "update"));

    let new = Candidate::start(&server, "web-1", &["10.0.0.2"]);
    new.is_routed(8);
    assert_eq!(replay(&server, "update", &update), Err(FailureKind::Conflict));
    assert_eq!(replay(&server, "create", &create), Err(FailureKind::Conflict));
    assert_eq!(addresses(&slice(&server, V4)), ["10.0.0.2"]);

    // Somebody deletes the slice: it is created again without an address.
    server.delete(SLICES, "default", V4);
    assert_eq!(replay(&server, "update", &update), Err(FailureKind::Absent));
    assert_eq!(slice(&server, V4), Value::Null);
    assert_eq!(replay(&server, "create", &create), Ok(()));
    assert_eq!(replay(&server, "update", &update), Err(FailureKind::Conflict), "it names another uid");
    assert!(addresses(&slice(&server, V4)).is_empty());
    Candidate::start(&server, "web-2", &["10.0.0.3"]).is_routed(9);
    assert_eq!(addresses(&slice(&server, V4)), ["10.0.0.3"]);
}

#[test]
fn a_term_does_not_overwrite_a_newer_one() {
    let server = plain_server();
    Candidate::start(&server, "web-1", &["10.0.0.2"]).is_routed(8);
    let old = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    old.leads(7, never());
    assert_eq!(old.next(), ServiceReport::Problem(Some("outdated")));
    old.withdraws(7);
    assert_eq!((addresses(&slice(&server, V4)), token(&slice(&server, V4))), (vec!["10.0.0.2".to_owned()], 8));
    assert!(!verbs(&server, V4)[3..].contains(&"update"));
}

#[test]
fn the_end_of_a_term_does_not_overwrite_a_newer_one() {
    let server = plain_server();
    let old = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    old.is_routed(7);
    Candidate::start(&server, "web-1", &["10.0.0.2"]).is_routed(8);
    old.withdraws(7);
    assert_eq!((addresses(&slice(&server, V4)), token(&slice(&server, V4))), (vec!["10.0.0.2".to_owned()], 8));
}

#[test]
fn a_lost_answer_is_read_back() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    for verb in ["create", "update"] {
        server.fault(on(verb, V4), Some(1), Fault::DropAnswer);
    }
    candidate.is_routed(7);
    assert_eq!(verbs(&server, V4), ["get", "create", "get", "update", "get"]);
    server.clear_requests();
    server.fault(on("update", V4), Some(1), Fault::DropAnswer);
    candidate.withdraws(7);
    assert_eq!(verbs(&server, V4), ["update", "get"]);
    assert!(addresses(&slice(&server, V4)).is_empty());
}

#[test]
fn an_answer_with_the_old_version_acknowledges_nothing() {
    let server = plain_server();
    let old_version = |answer: &mut Value| {
        let version: u64 = answer["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        answer["metadata"]["resourceVersion"] = (version - 1).to_string().into();
    };
    server.fault(on("update", V4), Some(1), Fault::EditAnswer(old_version));
    Candidate::start(&server, "web-0", &["10.0.0.1"]).is_routed(7);
    assert_eq!(verbs(&server, V4), ["get", "create", "update", "get"]);
}

#[test]
fn a_withdrawal_invalidates_a_write_in_flight() {
    let server = plain_server();
    let lost = server.fault(on("update", V4), Some(1), Fault::HangRequest);
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.leads(7, never());
    wait_for(&server, "the write is sent", |_| lost.hits() == 1);
    let update = sent(&server, "update");
    // It is aborted at once, although it may take a minute, and has no visible effect.
    candidate.withdraws(7);
    assert_eq!(verbs(&server, V4), ["get", "create", "update", "get", "update"]);
    assert_eq!(token(&slice(&server, V4)), 7);
    assert_eq!(replay(&server, "update", &update), Err(FailureKind::Conflict));
    assert!(addresses(&slice(&server, V4)).is_empty());
}

#[test]
fn a_withdrawal_of_what_was_deleted_is_done() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.is_routed(7);
    server.delete(SLICES, "default", V4);
    candidate.withdraws(7);
    assert_eq!(slice(&server, V4), Value::Null);
}

#[test]
fn an_old_address_is_replaced_by_the_next_term() {
    let server = plain_server();
    let candidate = Candidate::start(&server, "web-0", &["10.0.0.1"]);
    candidate.is_routed(7);
    // The writes at the end of that term and of the next one fail.
    let refused = server.fault(|it| it.verb == "update", None, Fault::Status { code: 500, retry_after: None });
    candidate.ends(7, after(Duration::from_millis(100)));
    candidate.wait_for(ServiceReport::GaveUp { fencing_token: 7 });
    candidate.leads(9, after(Duration::from_millis(1)));
    refused.remove();
    candidate.withdraws(9);
    assert!(addresses(&slice(&server, V4)).is_empty());
}

/// A sequence of terms, as in an election: each begins after the previous one has ended or expired.
#[test]
fn addresses_follow_the_order_of_the_terms_whatever_becomes_of_the_writes() {
    const TERMS: u64 = 60;
    let server = plain_server();
    let timeout = Duration::from_millis(20);
    let candidates =
        ["10.0.0.0", "10.0.0.1", "10.0.0.2"].map(|ip| Candidate::with_timeout(&server, ip, &[ip], timeout));
    let mut random = Random(1);
    for term in 1..=TERMS {
        server.clear_faults();
        let time = Duration::from_millis(random.below(60));
        let fault = match random.below(5) {
            0 => Fault::DelayRequest(time),
            1 => Fault::Committed(Box::new(Fault::DropAnswer)),
            2 => Fault::DelayAnswer(time),
            3 => Fault::DropRequest,
            _ => Fault::Status { code: 503, retry_after: None },
        };
        let times = 1 + random.below(3) as u32;
        server.fault(|request| request.verb != "get", Some(times), fault);
        if random.below(10) == 0 {
            server.delete(SLICES, "default", V4);
        }
        let candidate = &candidates[(term % 3) as usize];
        let until = after(Duration::from_millis(5 + random.below(60)));
        candidate.leads(term, until);
        if random.below(2) == 0 {
            candidate.ends(term, until);
        }
        // The leader of a term that is not ended was killed or paused.
        crate::common::wait_until("its time is up", || clock::now() >= until);
    }
    let shown = |change: &apiserver::Change| {
        assert!(change.kind == ChangeKind::Deleted || change.object["metadata"]["annotations"].is_object());
        let leads = addresses(&change.object);
        (change.name == V4 && change.kind != ChangeKind::Deleted && !leads.is_empty())
            .then(|| (token(&change.object), leads))
    };
    let shown: Vec<(u64, Vec<String>)> = server.history().iter().filter_map(shown).collect();
    assert!(shown.len() as u64 > TERMS / 10, "few terms came to be shown: {shown:?}");
    assert!(shown.is_sorted_by(|(one, _), (next, _)| one < next), "{shown:?}");
    for (token, leads) in &shown {
        assert_eq!(*leads, [format!("10.0.0.{}", token % 3)], "the address is that of the term");
    }
}

/// A small random number generator (xorshift64) with a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
