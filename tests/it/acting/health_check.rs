//! `--health-check`: a candidate leads only while its application is healthy.

use crate::common::cluster::{elector, holder, holder_in, plain_server, requests, wait_for};
use crate::common::{Elector, wait_until};
use apiserver::Server;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A lease that is longer than the tests, and frequent checks: two failures in a row end the leadership.
const CHECKED: &str = "--ttl=60s --health-interval=100ms --health-timeout=1s --health-failures=2";

/// An application with a health endpoint.
struct Application {
    address: SocketAddr,
    healthy: Arc<AtomicBool>,
}

impl Application {
    fn start(healthy: bool) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let healthy = Arc::new(AtomicBool::new(healthy));
        let shown = Arc::clone(&healthy);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let _ = connection.read(&mut [0; 1000]);
                let status = if shown.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
                let _ = write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            }
        });
        Application { address, healthy }
    }

    fn is_well(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::SeqCst);
    }

    fn flag(&self) -> String {
        format!("--health-check=http://{}/healthz", self.address)
    }

    fn elector(&self, server: &Server, id: &str) -> Elector {
        elector(server, id, &[CHECKED, &self.flag()])
    }
}

fn status(elector: &Elector) -> Value {
    serde_json::from_str(&elector.ask("/status").unwrap().1).unwrap()
}

/// The holders of the lock in order, without repetitions.
fn holders(server: &Server) -> Vec<String> {
    let mut holders: Vec<String> = server.history().iter().filter_map(|change| holder_in(&change.object)).collect();
    holders.retain(|holder| !holder.is_empty());
    holders.dedup();
    holders
}

#[test]
fn a_candidate_stays_ready_while_nobody_may_lead() {
    let (server, application) = (plain_server(), Application::start(false));
    let a = elector(&server, "a", &["--ttl=2s --health-interval=100ms --health-failures=2", &application.flag()]);
    wait_for(&server, "it watches", |server| server.open_watches() == 1);
    let reads = |server: &Server| requests(server, "get").len();
    let before = reads(&server);
    wait_for(&server, "it reads the lock, although nothing changes", |server| reads(server) >= before + 3);
    wait_until("it is ready", || a.ask("/readyz").unwrap().0 == 200);
}

#[test]
fn a_candidate_stands_from_the_first_check_that_succeeds() {
    let (server, application) = (plain_server(), Application::start(false));
    let a = application.elector(&server, "a");
    a.wait_for_log(&format!("http://{}/healthz is not healthy: the answer is 503", application.address));
    wait_until("it says why", || status(&a)["lastError"] == "unhealthy");
    assert_eq!(status(&a)["candidacy"], "unhealthy");
    assert!(a.ask("/metrics").unwrap().1.contains("\nleader_elector_standing 0\n"));
    wait_until("it is ready to tell who leads", || a.ask("/readyz").unwrap().0 == 200);
    assert_eq!(server.get("endpoints", "default", "example"), None);
    application.is_well(true);
    a.wait_to_lead();
    a.wait_for_log("is healthy: standing for");
    assert_eq!(status(&a)["candidacy"], "standing");
}

#[test]
fn a_check_of_the_command_itself_is_named_as_the_reason_that_nobody_leads() {
    let (server, application) = (plain_server(), Application::start(false));
    let flag = application.flag();
    let a = elector(&server, "a", &[CHECKED, &flag, "--", "/bin/true"]);
    a.wait_for_log("if the command itself is checked, no candidate will ever lead");
    let b = application.elector(&server, "b");
    b.wait_for_log("is not healthy");
    assert!(!b.log().contains("the command"), "{}", b.log());
}

#[test]
fn a_leader_whose_application_fails_releases_the_lock_and_can_lead_again() {
    let server = plain_server();
    let applications = [Application::start(true), Application::start(true)];
    let a = applications[0].elector(&server, "a");
    a.wait_to_lead();
    let b = applications[1].elector(&server, "b");
    b.wait_to_name("a");
    applications[0].is_well(false);
    b.wait_to_lead();
    a.wait_for_log("no longer leading");
    assert!(a.log().contains("/healthz is not healthy"), "{}", a.log());
    assert!(a.ask("/metrics").unwrap().1.contains("terms_lost_total{cause=\"unhealthy\"} 1"));
    assert!(server.history().iter().any(|change| holder_in(&change.object).as_deref() == Some("")), "by release");
    applications[0].is_well(true);
    a.wait_for_log("is healthy: standing for");
    applications[1].is_well(false);
    a.wait_to_lead();
}

#[test]
fn when_all_applications_are_unhealthy_nobody_leads() {
    let server = plain_server();
    let applications = [Application::start(true), Application::start(false)];
    let a = applications[0].elector(&server, "a");
    let b = applications[1].elector(&server, "b");
    a.wait_to_lead();
    applications[0].is_well(false);
    wait_for(&server, "the lock is released", |server| holder(server).is_empty());
    for it in [&a, &b] {
        it.wait_to_name("");
        assert_eq!(status(it)["candidacy"], "unhealthy");
    }
    assert_eq!(holders(&server), ["a"]);
}

#[test]
fn an_application_that_hangs_ends_the_leadership_without_delaying_a_renewal() {
    let server = plain_server();
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let check = format!("--health-check=http://{}/", hangs.local_addr().unwrap());
    // Only the first check is answered.
    let first = thread::spawn(move || {
        let (mut connection, _) = hangs.accept().unwrap();
        let _ = connection.read(&mut [0; 1000]);
        let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        hangs
    });
    let steady = "--ttl=6s --retry-period=100ms --health-timeout=2s --health-interval=100ms --health-failures=2";
    let a = elector(&server, "a", &[steady, &check]);
    a.wait_to_lead();
    let _hangs = first.join().unwrap();
    let began = Instant::now();
    wait_for(&server, "the lock is released", |server| holder(server).is_empty());
    assert!(began.elapsed() > Duration::from_secs(2), "two checks of 2 s each have to fail");
    assert!(server.history().len() > 20, "it renews meanwhile: {}", server.history().len());
    a.wait_for_log("no answer within 2s");
}

#[test]
fn with_flapping_applications_each_candidate_has_at_most_one_term_in_r() {
    const R: Duration = Duration::from_secs(3);
    let server = plain_server();
    let applications = [Application::start(true), Application::start(true)];
    let flags = |application: &Application| format!("{CHECKED} --retry-period=3s {}", application.flag());
    let electors = [("a", &applications[0]), ("b", &applications[1])]
        .map(|(id, application)| elector(&server, id, &[&flags(application)]));
    wait_until("one of them leads", || electors.iter().any(Elector::leads));
    let began = Instant::now();
    let mut healthy = true;
    while began.elapsed() < R * 2 {
        healthy = !healthy;
        applications.iter().for_each(|application| application.is_well(healthy));
        thread::sleep(Duration::from_millis(250));
    }
    for it in &electors {
        let most = 1 + began.elapsed().as_nanos() / R.as_nanos();
        assert!(it.fencing_tokens().len() as u128 <= most, "{:?} in {:?}", it.fencing_tokens(), began.elapsed());
    }
    applications.iter().for_each(|application| application.is_well(true));
    wait_until("one of them leads", || electors.iter().any(Elector::leads));
}
