//! Tokens and CA certificates that are replaced while the program runs, sometimes by wrong ones.

use crate::common::Elector;
use crate::common::cluster::{
    STEADY, ServiceAccount, elector, holder, lines, owned, record, requests, tls_server, wait_for, wait_for_lines,
    wait_for_renewals,
};
use crate::common::wait_until;
use apiserver::{Fault, Rule, Server};
use std::sync::Arc;

const LOOPBACK: &str = "127.0.0.1:0";

fn secured(tokens: &[(&str, &str)]) -> Server {
    tls_server(LOOPBACK, tokens)
}

fn in_pod(server: &Server, account: &ServiceAccount) -> Elector {
    let mut command = Elector::program();
    command.env("KUBERNETES_SERVICE_HOST", server.addr().ip().to_string());
    command.env("KUBERNETES_SERVICE_PORT", server.addr().port().to_string());
    Elector::start_as(command, "a", &[&account.flag()])
}

#[test]
fn a_pod_finds_the_server_in_its_environment() {
    let server = secured(&[("one", "pod")]);
    let account = ServiceAccount::new("one\n", server.ca_pem().unwrap());
    in_pod(&server, &account).wait_to_lead();
    assert!(server.requests().iter().all(|request| request.user.as_deref() == Some("pod")));
}

#[test]
fn a_pod_of_an_ipv6_cluster_finds_it_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("no IPv6 on this machine");
    }
    let server = tls_server("[::1]:0", &[("one", "pod")]);
    let account = ServiceAccount::new("one", server.ca_pem().unwrap());
    let elector = in_pod(&server, &account);
    elector.wait_to_lead();
    assert!(elector.log().contains(&format!("at https://[::1]:{};", server.addr().port())), "{}", elector.log());
}

#[test]
fn any_ca_of_the_bundle_is_trusted() {
    let (server, other) = (secured(&[("one", "pod")]), secured(&[]));
    let bundle = format!("# the old one\n{}\n# the new one\n{}", other.ca_pem().unwrap(), server.ca_pem().unwrap());
    let account = ServiceAccount::new("one", &bundle);
    elector(&server, "a", &[&account.flag()]).wait_to_lead();
}

#[test]
fn a_wrong_ca_is_logged_and_its_replacement_is_used_without_a_restart() {
    let (server, other) = (secured(&[("one", "pod")]), secured(&[]));
    let account = ServiceAccount::new("one", other.ca_pem().unwrap());
    let mut elector = elector(&server, "a", &[&account.flag()]);
    elector.wait_for_log("is not signed by a CA in");
    elector.wait_for_log("/ca.crt; use the CA certificate of this cluster");
    assert!(elector.is_running());
    account.write("ca.crt", server.ca_pem().unwrap());
    elector.wait_to_lead();
    // Once for reads and once for the watch.
    assert!(lines(&elector, "is not signed by a CA in") <= 2, "{}", elector.log());
}

#[test]
fn when_a_ca_file_becomes_unusable_the_old_ca_is_used() {
    let server = secured(&[("one", "pod")]);
    let account = ServiceAccount::new("one", server.ca_pem().unwrap());
    let elector = elector(&server, "a", &[STEADY, &account.flag()]);
    elector.wait_to_lead();
    let began = record(&server).unwrap()["acquireTime"].clone();
    account.write("ca.crt", "no PEM");
    elector.wait_for_log("it is not PEM: no line begins with -----BEGIN; using the previous content");
    server.cut_connections();
    wait_for_renewals(&server, 3);
    assert_eq!(record(&server).unwrap()["acquireTime"], began);
    assert_eq!(lines(&elector, "using the previous content"), 1);
}

#[test]
fn a_new_ca_does_not_end_the_leadership() {
    let server = secured(&[("one", "pod")]);
    let account = ServiceAccount::new("one", server.ca_pem().unwrap());
    let elector = elector(&server, "a", &[STEADY, &account.flag()]);
    elector.wait_to_lead();
    let began = record(&server).unwrap()["acquireTime"].clone();
    account.write("ca.crt", &server.rotate_ca().unwrap());
    let last = server.requests().last().unwrap().connection;
    server.cut_connections();
    wait_for_renewals(&server, 3);
    assert!(server.requests().last().unwrap().connection > last);
    assert_eq!(record(&server).unwrap()["acquireTime"], began, "{}", elector.log());
}

#[test]
fn a_new_token_is_sent_before_the_old_one_expires() {
    let server = secured(&[("one", "pod"), ("two", "renewed")]);
    server.set_rules(vec![Rule::new("*", &["*"], "*")]);
    let account = ServiceAccount::new("one", server.ca_pem().unwrap());
    let elector = elector(&server, "a", &[STEADY, &account.flag()]);
    elector.wait_to_lead();
    let began = record(&server).unwrap()["acquireTime"].clone();
    account.write("token", "two");
    let renewed = |server: &Server| {
        requests(server, "update").last().is_some_and(|request| request.user.as_deref() == Some("renewed"))
    };
    wait_for(&server, "the new token is sent", renewed);
    server.set_tokens(owned(&[("two", "renewed")]));
    wait_for_renewals(&server, 2);
    assert_eq!(record(&server).unwrap()["acquireTime"], began);
    assert_eq!(lines(&elector, "401 unauthorized"), 0, "{}", elector.log());
}

#[test]
fn a_token_that_expired_is_read_again_and_the_request_sent_at_once() {
    let server = Arc::new(secured(&[("one", "pod")]));
    let account = Arc::new(ServiceAccount::new("one", server.ca_pem().unwrap()));
    let elector = elector(&server, "a", &[STEADY, &account.flag()]);
    elector.wait_to_lead();
    // The file changes while a request with the old token is in flight, and the server no longer accepts that token.
    let (at_server, in_file) = (Arc::clone(&server), Arc::clone(&account));
    let change = move |request: &apiserver::RequestSeen| {
        if request.verb == "update" {
            in_file.write("token", "two");
            at_server.set_tokens(owned(&[("two", "pod")]));
        }
        request.verb == "update"
    };
    let fault = server.fault(change, Some(1), Fault::DelayAnswer(std::time::Duration::ZERO));
    wait_for(&server, "the token changes", |_| fault.hits() == 1);
    server.clear_faults();
    wait_for_renewals(&server, 2);
    let updates = requests(&server, "update");
    let refused = updates.iter().position(|request| request.status == Some(401)).expect("one had the old token");
    assert_eq!(updates[refused + 1].status, Some(200));
    assert_eq!(updates[refused].body, updates[refused + 1].body, "the very same request");
    assert_eq!(updates.iter().filter(|request| request.status == Some(401)).count(), 1);
    assert_eq!(lines(&elector, "401 unauthorized"), 0, "{}", elector.log());
}

#[test]
fn a_refused_token_is_logged_once_and_read_again_when_the_file_changes() {
    let server = secured(&[("right", "pod")]);
    let account = ServiceAccount::new("wrong", server.ca_pem().unwrap());
    let mut elector = elector(&server, "a", &["--ttl=300ms", &account.flag()]);
    elector.wait_for_log("cannot read endpoints default/example: 401 unauthorized");
    elector.wait_for_log("the token was not accepted; is it of this cluster and still valid?");
    wait_for(&server, "it tries again", |server| requests(server, "get").len() >= 4);
    assert!(elector.is_running());
    assert_eq!(lines(&elector, "cannot read endpoints default/example: 401"), 1, "{}", elector.log());
    account.write("token", "right");
    elector.wait_to_lead();
}

#[test]
fn when_a_token_file_is_deleted_the_old_token_is_used() {
    let server = secured(&[("one", "pod")]);
    let account = ServiceAccount::new("one", server.ca_pem().unwrap());
    let elector = elector(&server, "a", &[STEADY, &account.flag()]);
    elector.wait_to_lead();
    account.remove("token");
    wait_for_lines(&elector, "/token: No such file or directory (os error 2); using the previous content", 1);
    wait_for_renewals(&server, 3);
    assert_eq!(lines(&elector, "using the previous content"), 1, "{}", elector.log());
    account.write("token", "");
    wait_until("it leads", || elector.leads() && holder(&server) == "a");
}
