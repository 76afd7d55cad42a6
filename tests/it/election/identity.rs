//! Two processes with one name, one after the other or at the same time.

use crate::common::lock::{KINDS, Lock, MARK, NEVER, transitions_of};
use crate::common::wait_until;
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// A name that no other test on this machine uses, because each name has a socket in the network namespace.
fn name(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

#[test]
fn a_restarted_process_of_the_same_name_leads_at_once_with_a_greater_token() {
    for kind in KINDS {
        let lock = Lock::new(kind);
        let id = name("again");
        let mut before = lock.start(&id, &[NEVER]);
        before.wait_to_lead();
        before.wait_for_log("with the fencing token");
        let mark = lock.object().unwrap()["metadata"]["annotations"][MARK].clone();
        before.signal(Signal::KILL);
        before.wait_to_end();
        let after = lock.start(&id, &[NEVER]);
        after.wait_to_lead();
        after.wait_for_log("with the fencing token");
        let (old, new) = (before.fencing_tokens(), after.fencing_tokens());
        assert!(old.len() == 1 && new.len() == 1 && new > old, "{old:?} {new:?}");
        assert_eq!(transitions_of(&lock.record()), 1);
        assert_ne!(lock.object().unwrap()["metadata"]["annotations"][MARK], mark);
    }
}

#[test]
fn the_same_name_in_another_election_delays_nobody() {
    let id = name("elsewhere");
    let (first, second) = (Lock::new("leases"), Lock::new("configmaps"));
    let here = first.start(&id, &[NEVER]);
    here.wait_to_lead();
    let mut before = second.start(&id, &[NEVER]);
    before.wait_to_lead();
    before.signal(Signal::KILL);
    before.wait_to_end();
    second.start(&id, &[NEVER]).wait_to_lead();
    assert!(here.leads(), "{}", here.log());
}

#[test]
fn a_second_process_of_the_same_name_never_leads_and_logs_what_to_change() {
    let lock = Lock::new("endpoints");
    let id = name("twin");
    let first = lock.start(&id, &["--ttl=30s", "--retry-period=50ms"]);
    first.wait_to_lead();
    let clone = lock.start(&id, &["--ttl=30s", "--retry-period=50ms"]);
    let goal = lock.version() + 100;
    wait_until("it was renewed a hundred times", || {
        assert!(!clone.body().contains("twin"), "the clone names itself: {}", clone.body());
        lock.version() >= goal
    });
    assert!(first.leads() && first.fencing_tokens().len() == 1, "{}", first.log());
    assert_eq!(clone.fencing_tokens().len(), 0, "{}", clone.log());
    assert_eq!(transitions_of(&lock.record()), 0);
    clone.wait_for_log(&format!(
        "another process renews endpoints default/example under this candidate's own name, {id:?}"
    ));
    let loud: Vec<String> = clone.log().lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect();
    assert!(loud[0].contains("--id"), "{loud:?}");
    assert_eq!(loud.len(), 1, "a hundred renewals are one piece of news: {loud:#?}");
}

#[test]
fn a_second_process_of_the_same_name_leads_when_the_first_has_left() {
    let lock = Lock::new("leases");
    let id = name("heir");
    let mut first = lock.start(&id, &[NEVER]);
    first.wait_to_lead();
    let clone = lock.start(&id, &[NEVER]);
    clone.wait_for_log("held under this candidate's own name");
    first.signal(Signal::TERM);
    assert!(first.wait_to_end().success());
    clone.wait_to_lead();
}

/// The mark of a process that has ended, with a record of this name.
fn left_behind(lock: &Lock, id: &str, boot: &str, network: &str) {
    let renewed = "2026-01-01T00:00:00.000000Z";
    lock.put_record(&lock.peer(id, 1, renewed));
    let mark = json!({
        "process": "000000000000000000000000000000ff", "write": 7, "holderIdentity": id, "renewTime": renewed,
        "boot": boot, "network": network,
    });
    lock.edit(|object| object["metadata"]["annotations"][MARK] = mark.to_string().into());
}

#[test]
fn only_a_writer_on_this_boot_and_in_this_network_is_known_to_be_dead() {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let network = std::fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
    let here = Lock::new("endpoints");
    left_behind(&here, &name("here"), boot.trim(), &network);
    here.start(&name("here"), &[NEVER]).wait_to_lead();

    for (boot, network) in [("another boot", network.as_str()), (boot.trim(), "net:[1]")] {
        let lock = Lock::new("endpoints");
        left_behind(&lock, &name("there"), boot, network);
        let a = lock.start(&name("there"), &["--ttl=1s"]);
        a.wait_to_lead();
        assert!(a.log().contains("held under this candidate's own name"), "{}", a.log());
        let changes = lock.changes();
        let waited = changes[2].0.when - changes[1].0.when;
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
    }
}
