//! Watches.

use crate::Verdict;
use crate::common::lock::{KINDS, NEVER};
use crate::stage::{NAME, Stage};
use controlplane::ControlPlane;
use rustix::process::Signal;
use serde_json::json;

/// The lease is so long that polling would not notice the change in time.
pub fn a_missing_lock_is_watched(plane: &ControlPlane) -> Verdict {
    for kind in KINDS {
        let stage = Stage::that_allows(plane, &format!("missing-{kind}"), kind, &["get", "update", "watch"]);
        let a = stage.start("a", &[NEVER]);
        a.wait_for_log(&format!("cannot create {kind} {}/{NAME}: 403 forbidden", stage.namespace));
        stage.wait_for_a_watch(1);
        plane.create(kind, &stage.namespace, NAME, json!({"metadata": {"labels": {"made": "by-hand"}}}));
        a.wait_to_lead();
        assert_eq!(stage.object().unwrap()["metadata"]["labels"], json!({"made": "by-hand"}));
    }
    Ok(())
}

pub fn a_watch_from_a_version_that_is_no_longer_kept_starts_again(plane: &ControlPlane) -> Verdict {
    let stage = Stage::new(plane, "forgotten", "leases");
    let (mut a, b) = stage.start_two(&[NEVER, "--log-level=debug"]);
    stage.wait_for_a_watch(2);
    plane.forget_history();
    b.wait_for_log("cannot watch leases forgotten/example: the stream ended with 410");
    // Only the watch can show b in time that the lock was released.
    a.signal(Signal::TERM);
    assert!(a.wait_to_end().success(), "{}", a.log());
    b.wait_to_lead();
    Ok(())
}
