//! Elections and handovers.

use crate::ScenarioResult;
use crate::common::claim_checker::ClaimChecker;
use crate::common::cluster::{STEADY, all_at_once};
use crate::common::lock::{KINDS, NEVER, transitions_of};
use crate::common::{Elector, wait_until};
use crate::namespace::ElectionNamespace;
use controlplane::ControlPlane;
use rustix::process::Signal;
use std::time::{Duration, Instant};

pub fn three_candidates_elect_one_leader(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("three-{kind}"), kind);
        let candidates = ["a", "b", "c"].map(|id| namespace.start(id, &[STEADY]));
        let leader = leader_of(&namespace, &candidates);
        namespace.wait_for_renewals(2);
        for candidate in &candidates {
            let leads = candidate.id == leader;
            assert_eq!(candidate.ask("/isLeader").unwrap(), (200, format!("{{\"isLeader\": {leads}}}")));
            assert_eq!(candidate.ask("/leader").unwrap().0, if leads { 200 } else { 503 });
            assert_eq!(candidate.ask("/readyz").unwrap().0, 200, "{}", candidate.log());
        }
        // Only the verbs that many clusters grant are used.
        let asked = namespace.requests();
        let unexpected = asked.iter().find(|it| !["get", "create", "update", "watch"].contains(&it.verb.as_str()));
        assert!(unexpected.is_none() && !asked.is_empty(), "{unexpected:?}");
    }
    Ok(())
}

/// The name of the leader, when all candidates and the lock agree on it.
fn leader_of(namespace: &ElectionNamespace, candidates: &[Elector]) -> String {
    wait_until("a candidate holds the lock", || !namespace.holder().is_empty());
    let leader = namespace.holder();
    candidates.iter().for_each(|candidate| candidate.wait_to_name(&leader));
    leader
}

pub fn of_many_candidates_without_a_lock_one_leads_and_none_exits(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("many-{kind}"), kind);
        let mut candidates = ["a", "b", "c", "d", "e", "f"].map(|id| namespace.spawn(id, &[NEVER]));
        candidates.iter_mut().for_each(Elector::wait_to_serve);
        let leader = leader_of(&namespace, &candidates);
        for candidate in &mut candidates {
            assert!(candidate.is_running(), "{} exited: {}", candidate.id, candidate.log());
            assert_eq!(candidate.leads(), candidate.id == leader);
        }
        let created = || namespace.requests().iter().filter(|it| it.verb == "create" && it.status == Some(201)).count();
        wait_until("one candidate has created the lock", || created() == 1);
    }
    Ok(())
}

pub fn a_leader_that_gets_sigterm_hands_over_at_once(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("handover-{kind}"), kind);
        let (mut a, b) = namespace.start_two(&[NEVER]);
        let checker = ClaimChecker::start(&[&a, &b]);
        namespace.wait_for_a_watch(2);
        a.signal(Signal::TERM);
        b.wait_to_lead();
        assert_eq!(a.wait_to_end().code(), Some(0), "{}", a.log());
        wait_until("the server has recorded the takeover", || namespace.holders() == ["a", "", "b"]);
        namespace.check_claims(checker);
        assert_eq!(transitions_of(&namespace.record()), 1);
        b.wait_for_log("with the fencing token");
        let (before, after) = (a.fencing_tokens(), b.fencing_tokens());
        assert!(before.len() == 1 && after.len() == 1 && before < after, "{before:?} {after:?}");
    }
    Ok(())
}

pub fn a_killed_leader_keeps_the_lock_for_its_lease(plane: &ControlPlane) -> ScenarioResult {
    const LEASE: Duration = Duration::from_secs(3);
    all_at_once(KINDS.into(), |kind| {
        let namespace = ElectionNamespace::new(plane, &format!("killed-{kind}"), kind);
        let (a, b) = namespace.start_two(&["--ttl=3s"]);
        a.signal(Signal::KILL);
        b.wait_to_lead();
        wait_until("the server has recorded the takeover", || namespace.holders() == ["a", "b"]);
        let commits = namespace.commits();
        let taken = commits.iter().position(|(_, holder)| holder == "b").expect("just seen");
        // The earliest and the latest possible times: the interval between them is the longest possible.
        let (renewed, taken) = (commits[taken - 1].0.within.0, commits[taken].0.within.1);
        assert!(taken - renewed >= LEASE, "{kind}: {:?}", taken - renewed);
    });
    Ok(())
}

pub fn a_paused_leader_never_names_itself_again(plane: &ControlPlane) -> ScenarioResult {
    const LEASE: Duration = Duration::from_secs(3);
    let namespace = ElectionNamespace::new(plane, "stood-still", "leases");
    let (a, b) = namespace.start_two(&["--ttl=3s"]);
    a.signal(Signal::STOP);
    let stopped = Instant::now();
    b.wait_to_lead();
    // The requests that were sent during the pause are answered as soon as it is resumed.
    let checker = ClaimChecker::start(&[&a, &b]);
    wait_until("the leader was paused for two leases", || stopped.elapsed() > 2 * LEASE);
    a.signal(Signal::CONT);
    a.wait_to_name("b");
    namespace.check_claims(checker);
    Ok(())
}

pub fn a_restarted_candidate_leads_at_once(plane: &ControlPlane) -> ScenarioResult {
    // The name needs a socket in a network namespace that all tests on this machine share.
    let id = format!("conformance-again-{}", std::process::id());
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("again-{kind}"), kind);
        let mut before = namespace.start(&id, &[NEVER]);
        before.wait_to_lead();
        before.wait_for_log("with the fencing token");
        before.signal(Signal::KILL);
        before.wait_to_end();
        let after = namespace.start(&id, &[NEVER]);
        after.wait_to_lead();
        after.wait_for_log("with the fencing token");
        let (old, new) = (before.fencing_tokens(), after.fencing_tokens());
        assert!(old.len() == 1 && new.len() == 1 && old < new, "{old:?} {new:?}");
    }
    Ok(())
}

/// The server sends a warning about Endpoints in each answer.
pub fn normal_operation_logs_no_warning(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("ordinary-{kind}"), kind);
        let (mut a, mut b) = namespace.start_two(&[STEADY]);
        namespace.wait_for_renewals(2);
        let path = controlplane::object_path(kind, &namespace.name, "example");
        let warnings = plane.send("GET", &path, None).unwrap().warnings;
        let is_deprecated = warnings.iter().any(|it| it.contains("Endpoints is deprecated"));
        assert_eq!(is_deprecated, kind == "endpoints", "{warnings:?}");
        for elector in [&mut a, &mut b] {
            elector.wait_to_lead();
            elector.signal(Signal::TERM);
            assert!(elector.wait_to_end().success());
            let log = elector.log();
            assert!(!log.contains(" WARN ") && !log.contains(" ERROR ") && !log.contains("deprecated"), "{log}");
        }
    }
    Ok(())
}
