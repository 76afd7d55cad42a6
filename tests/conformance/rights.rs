//! What works with which rights, and the messages about missing rights.

use crate::common::cluster::{STEADY, lines};
use crate::common::lock::KINDS;
use crate::common::{Elector, wait_until};
use crate::namespace::{ALL, ElectionNamespace, NAME};
use crate::third_parties::kubectl;
use crate::{ScenarioResult, Skipped};
use controlplane::ControlPlane;
use rustix::process::Signal;
use serde_json::json;

pub fn get_and_update_are_enough_for_an_existing_lock(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::with_rights(plane, &format!("two-rights-{kind}"), kind, &["get", "update"]);
        plane.create(kind, &namespace.name, NAME, json!({"metadata": {}}));
        let (mut a, b) = namespace.start_two(&["--ttl=60s", "--retry-period=300ms"]);
        wait_for_missing_right(&b, &namespace, "watch");
        b.wait_for_log("; until then the lock is polled");
        a.signal(Signal::TERM);
        assert!(a.wait_to_end().success());
        b.wait_to_lead();
        let unexpected =
            namespace.requests().into_iter().find(|it| !["get", "update", "watch"].contains(&it.verb.as_str()));
        assert!(unexpected.is_none(), "{unexpected:?}");
    }
    Ok(())
}

pub fn create_is_enough_for_a_missing_lock(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace =
            ElectionNamespace::with_rights(plane, &format!("three-rights-{kind}"), kind, &["get", "update", "create"]);
        let a = namespace.start("a", &[STEADY]);
        a.wait_to_lead();
        assert_eq!(namespace.holder(), "a");
        namespace.wait_for_renewals(2);
    }
    Ok(())
}

pub fn a_right_to_watch_that_is_granted_later_is_used(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::with_rights(plane, "watch-later", "endpoints", &["get", "update", "create"]);
    let a = namespace.start("a", &[STEADY]);
    a.wait_to_lead();
    a.wait_for_log("cannot watch endpoints");
    namespace.allow(ALL);
    namespace.wait_for_a_watch(1);
    assert_eq!(lines(&a, "cannot watch endpoints"), 1, "{}", a.log());
    Ok(())
}

pub fn a_candidate_without_rights_logs_them_and_leads_when_they_are_granted(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::with_rights(plane, &format!("no-rights-{kind}"), kind, &[]);
        let mut a = namespace.start("a", &["--ttl=2s"]);
        wait_for_missing_right(&a, &namespace, "get");
        wait_until("the candidate tries again", || {
            let refused = namespace.requests().into_iter().filter(|it| it.verb == "get" && it.status == Some(403));
            refused.count() >= 2
        });
        assert!(a.is_running() && a.body() == "{\"name\":\"\"}", "{}", a.log());
        assert_eq!(a.ask("/readyz").unwrap().0, 503);
        namespace.allow(ALL);
        a.wait_to_lead();
    }
    Ok(())
}

/// Grants exactly the rules in the log.
pub fn the_rules_in_the_log_are_sufficient(plane: &ControlPlane) -> ScenarioResult {
    if !plane.is_real() {
        return Err(Skipped("the in-memory API server has no roles"));
    }
    for kind in KINDS {
        let namespace = ElectionNamespace::with_rights(plane, &format!("logged-rights-{kind}"), kind, &[]);
        let a = namespace.start("a", &["--ttl=2s"]);
        let mut granted = Vec::new();
        let is_watched = || namespace.requests().iter().any(|it| it.verb == "watch" && it.status == Some(200));
        while !(a.leads() && is_watched()) {
            wait_until("the candidate leads, or logs another missing rule", || {
                a.leads() && is_watched() || rules_named(&a).iter().any(|rule| !granted.contains(rule))
            });
            granted = rules_named(&a);
            let role = format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {}}}\nrules:\n{}\n",
                namespace.account.role(kind),
                granted.join("\n")
            );
            namespace.files.write("role.yaml", &role);
            kubectl(&namespace, &["apply", "--filename", &namespace.files.path("role.yaml")])?;
        }
        assert!(!granted.is_empty());
    }
    Ok(())
}

/// The rules in a log, in order, without duplicates.
fn rules_named(elector: &Elector) -> Vec<String> {
    let mut rules = Vec::new();
    for line in elector.log().lines() {
        let from = line.find("- {apiGroups: ");
        let rule = from.and_then(|from| Some(line[from..].split_once("]}")?.0.to_owned() + "]}"));
        rules.extend(rule.filter(|rule| !rules.contains(rule)));
    }
    rules
}

fn wait_for_missing_right(elector: &Elector, namespace: &ElectionNamespace, verb: &str) {
    elector.wait_for_log(&format!("grant the verb \"{verb}\" on \"{}\"", namespace.kind));
    elector.wait_for_log(&format!(
        "in namespace \"{}\" to \"{}\": - {{apiGroups: ",
        namespace.name,
        namespace.account.user()
    ));
}
