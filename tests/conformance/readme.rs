//! The commands and manifests of the README and of `deploy/`.

use crate::common::cluster::{STEADY, ServiceAccount, lines};
use crate::common::deploy::{self, DEPLOY, Overlay};
use crate::common::kubectl::Proxy;
use crate::common::lock::{KINDS, RECORD};
use crate::common::{Elector, wait_until};
use crate::namespace::ElectionNamespace;
use crate::third_parties::kubectl;
use crate::{ScenarioResult, Skipped};
use controlplane::ControlPlane;

pub fn kubectl_shows_who_leads(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "shown-endpoints", "endpoints");
    namespace.start("web-1", &[STEADY]).wait_to_lead();
    let (yaml, warning) = kubectl(&namespace, &["get", "endpoints", "example", "-o", "yaml"])?;
    let record = yaml.lines().find(|line| line.contains(RECORD));
    let record = record.unwrap_or_else(|| panic!("no record in {yaml}"));
    for part in ["'{\"holderIdentity\":\"web-1\",\"leaseDurationSeconds\":6,", "\"leaderTransitions\":0}'"] {
        assert!(record.contains(part), "{record}");
    }
    assert!(yaml.contains("\n    leader-elector/mark: '{\"process\":\""), "{yaml}");
    assert!(warning.contains("Endpoints is deprecated"), "{warning}");

    let namespace = ElectionNamespace::new(plane, "shown-leases", "leases");
    namespace.start("web-2", &[STEADY]).wait_to_lead();
    let (table, _) = kubectl(&namespace, &["get", "lease", "example"])?;
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((&words[0][..2], &words[1][..2]), (&["NAME", "HOLDER"][..], &["example", "web-2"][..]), "{table}");
    Ok(())
}

pub fn kubectl_proxy_is_enough_for_a_server(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace = ElectionNamespace::new(plane, &format!("proxied-{kind}"), kind);
        let program = plane.kubectl(&namespace.name).ok_or(Skipped("kubectl is not installed"))?;
        let proxy = Proxy::start(program)?;
        let flags = [
            &format!("--server={}", proxy.url),
            &format!("--election-namespace={}", namespace.name),
            &format!("--lock={kind}"),
            STEADY,
        ];
        let mut a = Elector::start("a", &flags);
        a.wait_to_lead();
        assert_eq!(namespace.holder(), "a");
        namespace.wait_for_renewals(2);
        let b = Elector::start("b", &flags);
        b.wait_to_name("a");
        a.signal(rustix::process::Signal::TERM);
        assert!(a.wait_to_end().success(), "{}", a.log());
        b.wait_to_lead();
    }
    Ok(())
}

pub fn the_manifests_are_valid(plane: &ControlPlane) -> ScenarioResult {
    if !plane.is_real() {
        return Err(Skipped("the in-memory API server has no Deployments"));
    }
    let namespace = ElectionNamespace::new(plane, "manifests", "endpoints");
    // The strictest Pod Security Standard: the server sends warnings about violations.
    kubectl(&namespace, &["label", "namespace", "manifests", "pod-security.kubernetes.io/warn=restricted"])?;
    let is_accepted = |what: [&str; 2]| {
        for flags in [&["--server-side"][..], &["--validate=strict"]] {
            let (_, warnings) = kubectl(&namespace, &[&["apply", "--dry-run=server"], &what[..], flags].concat())?;
            assert!(warnings.is_empty(), "{what:?}: {warnings}");
        }
        Ok(())
    };
    let files = deploy::manifests();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        is_accepted(["--filename", &format!("{DEPLOY}/{file}")])?;
    }
    is_accepted(["--kustomize", DEPLOY])?;
    let components = deploy::components();
    assert_eq!(components.len(), 4, "{components:?}");
    for component in components {
        is_accepted(["--kustomize", Overlay::of(&[&component], "").folder()])?;
    }
    Ok(())
}

/// The manifest for Leases, with the change for ConfigMaps that its comment describes, and with the other roles.
pub fn the_rights_of_the_manifest_are_enough(plane: &ControlPlane) -> ScenarioResult {
    if !plane.is_real() {
        return Err(Skipped("the in-memory API server has no roles"));
    }
    let locks: [(&str, &[&str], Option<&str>); 4] = [
        ("endpoints", &["endpoints"], Some("lock-endpoints/role.yaml")),
        ("configmaps", &["configmaps"], None),
        ("leases", &["leases"], None),
        ("endpointsleases", &["endpoints", "leases"], Some("lock-endpointsleases/role.yaml")),
    ];
    for (lock, kinds, role) in locks {
        let last = *kinds.last().expect("a lock is something");
        let namespace = ElectionNamespace::with_rights(plane, &format!("manifest-{lock}"), last, &[]);
        let mut manifest =
            deploy::text("rbac.yaml").replace("namespace: default", &format!("namespace: {}", namespace.name));
        if lock == "configmaps" {
            manifest = manifest
                .replace("apiGroups: [\"coordination.k8s.io\"]", "apiGroups: [\"\"]")
                .replace("resources: [\"leases\"]", "resources: [\"configmaps\"]");
        }
        namespace.files.write("rbac.yaml", &manifest);
        kubectl(&namespace, &["apply", "--filename", &namespace.files.path("rbac.yaml")])?;
        if let Some(role) = role {
            kubectl(&namespace, &["apply", "--filename", &format!("{DEPLOY}/{role}")])?;
        }
        let (token, _) = kubectl(&namespace, &["create", "token", "leader-elector", "--duration=10m"])?;
        let files = ServiceAccount::new(&token, plane.ca_pem());
        let asked = format!("--as=system:serviceaccount:{}:leader-elector", namespace.name);
        let can = |verb: &str, what: &str| {
            let mut command = plane.kubectl(&namespace.name).expect("it was there just now");
            command.args(["auth", "can-i", verb, what, &asked, "--quiet"]).status().expect("it can be run").success()
        };
        wait_until("the rights are in force", || {
            kinds.iter().all(|kind| can("create", kind) && can("watch", &format!("{kind}/example")))
        });
        for kind in KINDS {
            let is_asked_for = kinds.contains(&kind);
            assert_eq!(can("update", &format!("{kind}/example")), is_asked_for, "{kind} with {lock}");
            assert!(!can("update", &format!("{kind}/other")) && !can("delete", &format!("{kind}/example")));
        }
        let start = |id: &str| namespace.start(id, &[STEADY, &files.flag(), &format!("--lock={lock}")]);
        let a = start("a");
        a.wait_to_lead();
        let b = start("b");
        b.wait_to_name("a");
        namespace.wait_for_renewals(2);
        for elector in [&a, &b] {
            assert_eq!(lines(elector, "forbidden"), 0, "{}", elector.log());
        }
    }
    Ok(())
}
