//! Watches.

use crate::ScenarioResult;
use crate::common::lock::{KINDS, NEVER};
use crate::namespace::{ElectionNamespace, NAME};
use controlplane::ControlPlane;
use rustix::process::Signal;
use serde_json::json;

/// The lease is so long that polling would not notice the change in time.
pub fn a_missing_lock_is_watched(plane: &ControlPlane) -> ScenarioResult {
    for kind in KINDS {
        let namespace =
            ElectionNamespace::with_rights(plane, &format!("missing-{kind}"), kind, &["get", "update", "watch"]);
        let a = namespace.start("a", &[NEVER]);
        a.wait_for_log(&format!("cannot create {kind} {}/{NAME}: 403 forbidden", namespace.name));
        namespace.wait_for_a_watch(1);
        plane.create(kind, &namespace.name, NAME, json!({"metadata": {"labels": {"made": "by-hand"}}}));
        a.wait_to_lead();
        assert_eq!(namespace.object().unwrap()["metadata"]["labels"], json!({"made": "by-hand"}));
    }
    Ok(())
}

pub fn a_watch_from_a_version_that_is_no_longer_kept_starts_again(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "forgotten", "leases");
    let (mut a, b) = namespace.start_two(&[NEVER, "--log-level=debug"]);
    namespace.wait_for_a_watch(2);
    plane.forget_history();
    b.wait_for_log("cannot watch leases forgotten/example: the stream ended with 410");
    // Only the watch can show b in time that the lock was released.
    a.signal(Signal::TERM);
    assert!(a.wait_to_end().success(), "{}", a.log());
    b.wait_to_lead();
    Ok(())
}
