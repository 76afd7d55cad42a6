//! `--check`: its output and exit code.

use crate::common::lock::{Lock, NEVER};
use crate::common::{Elector, wait_until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// The exit code of `--check`, its stdout and its stderr.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn check(args: &[&str]) -> Said {
    // Proxies that do not exist: an answer did not pass through them.
    let proxies = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9"));
    let output =
        Elector::program().args(args).envs(proxies).stdin(Stdio::null()).output().expect("the program is there");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn url(address: SocketAddr) -> String {
    format!("--check=http://{address}")
}

fn answers(code: i32, body: &str) -> Said {
    Said { code: Some(code), stdout: format!("{body}\n"), stderr: String::new() }
}

fn assert_unasked(said: &Said, why: &str) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.stderr.starts_with("leader-elector: ") && said.stderr.contains(why), "no {why:?} in {said:?}");
}

/// A server that calls this for every client, after it has read the request.
fn peer(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            answer(stream);
        }
    });
    address
}

fn peer_saying(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    peer(move |mut stream| drop(stream.write_all(&answer)))
}

fn http(status: &str, content_type: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_leader_exits_with_0_and_a_follower_with_1_and_both_print_the_leader() {
    let lock = Lock::new("leases");
    let leader = lock.start("a", &[NEVER]);
    leader.wait_to_lead();
    let follower = lock.start("b", &[NEVER]);
    follower.wait_to_name("a");
    assert_eq!(check(&[&url(leader.address())]), answers(0, r#"{"name":"a"}"#));
    assert_eq!(check(&[&format!("{}/leader", url(leader.address()))]), answers(0, r#"{"name":"a"}"#));
    assert_eq!(check(&[&url(follower.address())]), answers(1, r#"{"name":"a"}"#));
}

#[test]
fn without_a_url_the_port_of_the_arguments_is_asked() {
    let lock = Lock::new("leases");
    for listen in ["0.0.0.0", "", "[::]", "localhost", "127.0.0.1"] {
        let mut elector = lock.start("a", &[NEVER, &format!("--http={listen}:0")]);
        elector.wait_to_lead();
        let http = format!("--http={listen}:{}", elector.address().port());
        assert_eq!(check(&["--check", &http]), answers(0, r#"{"name":"a"}"#), "{http}");
        elector.signal(Signal::TERM);
        elector.wait_to_end();
    }
}

#[test]
fn an_elector_that_knows_no_leader_exits_with_1() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("--server=http://{}", nobody.local_addr().unwrap());
    let elector = Elector::start("a", &[server.as_str(), NEVER]);
    assert_eq!(check(&[&url(elector.address())]), answers(1, r#"{"name":""}"#));
}

#[test]
fn a_check_with_the_arguments_of_the_elector_changes_nothing() {
    let lock = Lock::new("leases");
    let elector = lock.start("a", &[NEVER]);
    elector.wait_to_lead();
    lock.wait("the lock is watched", || lock.server.open_watches() == 1);
    lock.server.clear_requests();
    let (http, server) = (format!("--http={}", elector.address()), format!("--server={}", lock.server.url()));
    // A name that must not be used, an account that does not exist, and the name of a running candidate.
    let args = ["--election=example", "--id=a", "--lock=leases", NEVER, "--service-account-dir=/none", &server, &http];
    for _ in 0..3 {
        assert_eq!(check(&[&args[..], &["--check"]].concat()), answers(0, r#"{"name":"a"}"#));
    }
    assert!(lock.server.requests().iter().all(|request| request.verb == "update"), "{:?}", lock.server.requests());
    assert!(elector.leads() && !elector.log().contains("no longer leading"), "{}", elector.log());
}

#[test]
fn a_port_that_nobody_serves_exits_with_2() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = check(&[&url(address)]);
    assert_unasked(&said, &format!("cannot ask the elector at {address}: connection refused"));
}

#[test]
fn a_server_that_is_slow_exits_with_2_and_is_not_waited_for() {
    let silent = peer(|stream| {
        thread::spawn(move || (thread::park(), drop(stream)));
    });
    let dripping = peer(|mut stream| {
        thread::spawn(move || {
            let answer = http("200 OK", "application/json", r#"{"name":"a"}"#);
            answer.bytes().cycle().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(100));
                stream.write_all(&[byte])
            })
        });
    });
    for address in [silent, dripping] {
        assert_unasked(&check(&[&url(address)]), "no answer within 3s");
    }
}

#[test]
fn a_server_that_is_no_elector_exits_with_2() {
    const ME: &str = r#"{"name":"a"}"#;
    let elsewhere = peer_saying(http("200 OK", "application/json", ME));
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/leader\r\nContent-Length: 0\r\n\r\n");
    for (answer, why) in [
        (
            http("404 Not Found", "application/json", ME).into_bytes(),
            "not that of a leader-elector 0.6 or later: 404 Not Found",
        ),
        (http("200 OK", "text/html", "<h1>It works!</h1>").into(), r#"200 OK, "<h1>It works!</h1>""#),
        // 0.5 gives this answer whether it leads or not.
        (http("200 OK", "text/plain; charset=utf-8", ME).into(), "not that of a leader-elector 0.6 or later: 200 OK"),
        (
            http("200 OK", "application/json", r#"{"name":""}"#).into(),
            "not that of a leader-elector 0.6 or later: 200 OK",
        ),
        (
            http("503 Service Unavailable", "text/plain", "no upstream").into(),
            "not that of a leader-elector 0.6 or later: 503",
        ),
        (redirect.into_bytes(), "not that of a leader-elector 0.6 or later: 302 Found"),
        (
            http("200 OK", "application/json", &"x".repeat(1 << 20)).into(),
            "not that of a leader-elector 0.6 or later: 200 OK, \"xxx",
        ),
        (http("200 OK", "application/json", ME)[..80].into(), "cannot ask the elector at "),
        (b"SSH-2.0-OpenSSH_10.0\r\n".to_vec(), "cannot ask the elector at "),
        (vec![0xff; 100_000], "cannot ask the elector at "),
        (Vec::new(), "cannot ask the elector at "),
    ] {
        let said = check(&[&url(peer_saying(answer))]);
        assert_unasked(&said, why);
        assert!(said.stderr.lines().count() == 1 && said.stderr.len() < 1000, "{said:?}");
    }
}

#[test]
fn a_paused_elector_exits_with_2_until_it_continues() {
    let lock = Lock::new("leases");
    let elector = lock.start("a", &[NEVER]);
    elector.wait_to_lead();
    elector.signal(Signal::STOP);
    assert_unasked(&check(&[&url(elector.address())]), "no answer within 3s");
    elector.signal(Signal::CONT);
    wait_until("it answers", || check(&[&url(elector.address())]).code == Some(0));
}
