//! `/metrics` of electors in many states passes `promtool check metrics`, which also checks names.

use crate::common::cluster::{elector, lock_of, plain_server, put};
use crate::common::{Elector, ask, wait_until};
use std::io::Write;
use std::process::{Command, Stdio};

/// Checks that `promtool check metrics` reports nothing.
fn check(elector: &Elector) {
    let (_, page) = elector.ask("/metrics").expect("the port is served");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian: prometheus)");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}\n{page}");
}

#[test]
#[ignore = "needs promtool; `.ci/run metrics` runs it"]
fn promtool_accepts_the_metrics_of_electors_in_many_states() {
    let server = plain_server();
    server.freeze();
    let elector = elector(&server, "a", &[]);
    check(&elector); // before anything is known
    server.thaw();
    elector.wait_to_lead();
    check(&elector);
    put(&server, lock_of("b", 600));
    elector.wait_to_name("b");
    for path in ["/", "/leader", "/status", "/no such path"] {
        let _ = ask(elector.address(), path);
    }
    server.down();
    wait_until("requests fail", || elector.ask("/metrics").unwrap().1.contains("outcome=\"unavailable\"} 1"));
    check(&elector);
}
