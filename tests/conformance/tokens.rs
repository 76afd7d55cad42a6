//! Tokens that are replaced or revoked while the program runs.

use crate::ScenarioResult;
use crate::common::cluster::{STEADY, lines};
use crate::common::wait_until;
use crate::namespace::ElectionNamespace;
use controlplane::ControlPlane;

pub fn a_new_token_does_not_end_the_leadership(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "new-token", "leases");
    let a = namespace.start("a", &[STEADY]);
    a.wait_to_lead();
    let began = namespace.record()["acquireTime"].clone();
    let mut old = namespace.token.clone();
    for _ in 0..2 {
        let new = plane.token(&namespace.account);
        namespace.files.write("token", &new.text);
        // The file is read again before the next renewal at the latest.
        namespace.wait_for_renewals(2);
        plane.revoke(&old);
        wait_until("the server rejects the old token", || !plane.accepts(&old));
        namespace.wait_for_renewals(3);
        assert_eq!(namespace.record()["acquireTime"], began, "{}", a.log());
        old = new;
    }
    assert_eq!(lines(&a, "401 unauthorized"), 0, "{}", a.log());
    Ok(())
}

pub fn a_leader_with_a_revoked_token_stops_in_time(plane: &ControlPlane) -> ScenarioResult {
    let namespace = ElectionNamespace::new(plane, "no-token", "endpoints");
    let mut a = namespace.start("a", &[STEADY]);
    a.wait_to_lead();
    plane.revoke(&namespace.token);
    a.wait_for_log("no renewal was acknowledged in time; the last one: cannot update endpoints no-token/example: 401");
    a.wait_for_log("the token was not accepted; is it of this cluster and still valid?");
    wait_until("the elector names no leader", || a.body() == "{\"name\":\"\"}");
    assert!(a.is_running());
    namespace.files.write("token", &plane.token(&namespace.account).text);
    a.wait_to_lead();
    Ok(())
}
