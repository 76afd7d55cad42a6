//! `/metrics`: each series changes when the event that it counts happens. `promtool` tests that Prometheus accepts the
//! output.

use crate::common::cluster::{STEADY, elector, lock_of, on, plain_server, put, wait_for, wait_for_renewals};
use crate::common::http::{Client, Events, following, header, known, leading, sample, serve, unknown};
use crate::common::{Elector, wait_until};
use apiserver::{Fault, Options, Rule, Server};
use leader_elector::http::Limits;
use rustix::process::Signal;

fn page(elector: &Elector) -> String {
    elector.ask("/metrics").expect("the port is served").1
}

fn value(elector: &Elector, series: &str) -> f64 {
    sample(&page(elector), series).unwrap_or_else(|| panic!("no {series} in\n{}", page(elector)))
}

fn wait_for_value(elector: &Elector, series: &str, at_least: f64) {
    wait_until(&format!("{series} is {at_least}, not {}", value(elector, series)), || {
        value(elector, series) >= at_least
    });
}

fn requests(verb: &str, outcome: &str) -> String {
    format!("leader_elector_api_requests_total{{verb=\"{verb}\",outcome=\"{outcome}\"}}")
}

fn lost(cause: &str) -> String {
    format!("leader_elector_terms_lost_total{{cause=\"{cause}\"}}")
}

const MASTER: &str = "leader_election_master_status{name=\"example\"}";
const SLOW_PATH: &str = "leader_election_slowpath_total{name=\"example\"}";

#[test]
fn each_series_comes_once_with_its_help_and_type_and_no_identity() {
    let (address, status) = serve(Limits::default());
    for snapshot in [unknown(), known(), leading()] {
        status.publish(snapshot);
        let answer = Client::connect(address).get("/metrics");
        assert_eq!(answer.status, 200);
        let content_type = header(&answer.head, "content-type");
        assert_eq!(content_type, Some("text/plain; version=0.0.4; charset=utf-8"));
        let series = |line: &str| line.rsplit_once(' ').unwrap().0.to_owned();
        let mut all: Vec<String> = answer.body.lines().filter(|line| !line.starts_with("# HELP")).map(series).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{}", answer.body);
        for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("leader_election_") || line.starts_with("leader_elector_"), "{line}");
            assert!(!line.contains("me-"), "{line}");
        }
    }
}

#[test]
fn a_term_its_renewals_and_its_end_are_counted() {
    let server = plain_server();
    let elector = elector(&server, "a", &[STEADY, "--release-delay=10m"]);
    assert!(sample(&page(&elector), MASTER).is_some());
    elector.wait_to_lead();
    wait_for_renewals(&server, 2);
    wait_for_value(&elector, "leader_elector_renewal_duration_seconds_count", 2.0);
    assert_eq!(value(&elector, MASTER), 1.0);
    assert_eq!(value(&elector, "leader_elector_terms_won_total"), 1.0);
    assert_eq!(value(&elector, "leader_elector_transitions_total"), 1.0);
    assert_eq!(value(&elector, SLOW_PATH), 0.0);
    assert_eq!(value(&elector, &requests("create", "ok")), 1.0);
    assert_eq!(value(&elector, &requests("get", "not_found")), 1.0);
    assert!(value(&elector, &requests("update", "ok")) >= 2.0);
    assert!(value(&elector, "leader_elector_renewal_duration_seconds_sum") > 0.0);
    let left = value(&elector, "leader_elector_valid_for_seconds");
    assert!(left > 0.0 && left <= 4.0, "{left}");
    assert!(value(&elector, "leader_elector_renewal_age_seconds") < 4.0);

    elector.signal(Signal::TERM);
    wait_for_value(&elector, &lost("left"), 1.0);
    assert_eq!(value(&elector, MASTER), 0.0);
    assert_eq!(value(&elector, "leader_elector_valid_for_seconds"), 0.0);
}

#[test]
fn the_causes_for_which_a_term_ends_are_told_apart() {
    let server = plain_server();
    let elector = elector(&server, "a", &["--ttl=3s", "--retry-period=100ms"]);
    elector.wait_to_lead();
    put(&server, lock_of("b", 1));
    wait_for_value(&elector, &lost("replaced"), 1.0);
    wait_for_value(&elector, "leader_elector_terms_won_total", 2.0);
    // a, b, and a again.
    assert!(value(&elector, "leader_elector_transitions_total") >= 3.0);
    server.freeze();
    wait_for_value(&elector, &lost("expired"), 1.0);
    assert!(value(&elector, SLOW_PATH) >= 1.0);
    assert!(value(&elector, &requests("update", "unavailable")) >= 1.0);
    server.thaw();
    elector.wait_to_lead();
    elector.signal(Signal::STOP);
    let stopped = std::time::Instant::now();
    wait_until("it is paused for a while", || stopped.elapsed().as_secs() >= 3);
    elector.signal(Signal::CONT);
    wait_for_value(&elector, &lost("stood_still"), 1.0);
    assert_eq!((value(&elector, &lost("replaced")), value(&elector, &lost("left"))), (1.0, 0.0));
}

#[test]
fn a_renewal_that_needs_a_second_try_is_the_slow_path() {
    let server = plain_server();
    let elector = elector(&server, "a", &[STEADY]);
    elector.wait_to_lead();
    let broken = server.fault(on(&["update"]), Some(1), Fault::Status { code: 500, retry_after: None });
    wait_for(&server, "an update breaks", |_| broken.hits() == 1);
    wait_for_value(&elector, SLOW_PATH, 1.0);
    wait_for_renewals(&server, 2);
    assert_eq!(value(&elector, SLOW_PATH), 1.0);
    assert_eq!(value(&elector, &requests("update", "unavailable")), 1.0);
    assert_eq!(value(&elector, "leader_elector_terms_won_total"), 1.0);
}

#[test]
fn refusals_and_watches_that_are_opened_again_are_counted() {
    let rules = vec![Rule::new("system:anonymous", &["get", "watch"], "endpoints")];
    let server = Server::start(Options { rules, ..Options::default() }).unwrap();
    let elector = elector(&server, "a", &[]);
    wait_for_value(&elector, &requests("create", "forbidden"), 1.0);
    assert_eq!(sample(&page(&elector), "leader_elector_renewal_age_seconds"), None, "nobody ever led");
    wait_for_value(&elector, &requests("watch", "ok"), 1.0);
    assert_eq!(value(&elector, "leader_elector_watch_restarts_total"), 0.0);
    server.cut_watches();
    wait_for_value(&elector, "leader_elector_watch_restarts_total", 1.0);
    let refused = server.fault(on(&["watch"]), None, Fault::Status { code: 403, retry_after: None });
    server.cut_watches();
    wait_for_value(&elector, &requests("watch", "forbidden"), 1.0);
    refused.remove();
    server.freeze();
    wait_until("the age of the last answer grows", || {
        value(&elector, "leader_elector_server_contact_age_seconds") > 0.5
    });
}

#[test]
fn requests_to_the_port_are_counted_by_path_and_code() {
    let (address, status) = serve(Limits { connections: 8, ..Limits::default() });
    status.publish(following("a"));
    let count = |path: &str, code: &str| {
        let series = format!("leader_elector_http_requests_total{{path=\"{path}\",code=\"{code}\"}}");
        sample(&Client::connect(address).get("/metrics").body, &series)
    };
    assert_eq!((count("/", "200"), count("/leader", "503"), count("none", "400")), (Some(0.0), None, None));
    let mut client = Client::connect(address);
    for path in ["/", "/x", "/leader", "/isLeader", "/livez", "/healthz", "/status", "/readyz"] {
        client.get(path);
    }
    client.send("HEAD /y HTTP/1.1\r\n\r\n").head();
    let mut events = Events::of(address);
    events.until_named("a");
    Client::connect(address).send("nonsense\r\n\r\n").answer();
    let counted = [("/", "200"), ("/leader", "503"), ("/isLeader", "200"), ("/healthz", "200"), ("/status", "200")];
    assert_eq!(counted.map(|(path, code)| count(path, code).unwrap()), [3.0, 1.0, 1.0, 2.0, 1.0]);
    assert_eq!(
        (count("none", "400"), count("/events", "200"), count("/leader", "200")),
        (Some(1.0), Some(1.0), Some(0.0))
    );
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let (address, _) = serve(Limits { connections: 8, ..Limits::default() });
    let open = || sample(&Client::connect(address).get("/metrics").body, "leader_elector_http_connections").unwrap();
    let idle: Vec<Client> = (0..3).map(|_| Client::connect(address)).collect();
    wait_until("three are open, and the one that asks", || open() == 4.0);
    drop(idle);
    wait_until("only the one that asks is open", || open() == 1.0);
}

#[test]
fn a_page_that_nobody_reads_holds_little_memory() {
    let (address, status) = serve(Limits { connections: 64, held_bytes: 64 * 1024, ..Limits::default() });
    status.publish(following("a"));
    let requests = "GET /metrics HTTP/1.1\r\n\r\n".repeat(2000);
    let mut deaf: Vec<Client> = (0..40).map(|_| Client::connect(address)).collect();
    // Each requests 14 MB, more than the kernel buffers, and reads nothing.
    deaf.iter_mut().for_each(|client| drop(client.try_send(&requests)));
    wait_until("one of them is closed", || {
        let page = Client::connect(address).get("/metrics").body;
        sample(&page, "leader_elector_http_evictions_total{reason=\"memory\"}").unwrap() > 0.0
    });
    assert_eq!(Client::connect(address).get("/").body, r#"{"name":"a"}"#);
}
