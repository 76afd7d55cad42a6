//! The program as users start it: exit codes, stdout and stderr.

use crate::common::lock::{Lock, NEVER};
use crate::common::{self, Elector, wait_until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Output, Stdio};

fn run(args: &[&str]) -> Output {
    Elector::program().args(args).env_remove("RUST_LOG").stdin(Stdio::null()).output().expect("the program is there")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints UTF-8")
}

#[test]
fn a_usage_error_ends_with_2_and_says_on_stderr_what_to_write_instead() {
    let long = "a".repeat(254);
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "--election is missing", "--election=my-app"),
        (&["--election="], "--election=\"\"", "my-app"),
        (&["--election"], "--election needs a value", "--election=my-app"),
        (&["--election=My_App"], "--election=\"My_App\": 'M' is not allowed", "my-app.example"),
        (&["--election=a..b"], "--election=\"a..b\"", "my-app.example"),
        (&["--election=-a"], "--election=\"-a\"", "my-app"),
        (&["--election", &long], "254 bytes are too many, 253 are allowed", "my-app"),
        (&["--election=e", "--election-namespace=a.b"], "--election-namespace=\"a.b\"", "my-namespace"),
        (&["--election=e", "--id="], "--id=\"\": must not be empty", "--id=my-app-0"),
        (&["--election=e", "--id", "a\nb"], "--id=\"a\\nb\"", "--id=my-app-0"),
        (&["--election=e", "--bogus"], "the flag \"--bogus\" is unknown", "--help"),
        (&["--election=e", "--tll=1s"], "the flag \"--tll\" is unknown; did you mean --ttl?", "--help"),
        (&["--election=e", "--lock=secrets"], "--lock=\"secrets\"", "endpoints, configmaps, leases"),
        (&["--election=e", "--ttl=10"], "--ttl: \"10\" lacks a unit", "10s, 1m30s or 300ms"),
        (&["--election=e", "--ttl="], "--ttl: \"\" is not a duration", "10s"),
        (&["--election=e", "--ttl=ten"], "--ttl: \"ten\" is not a duration", "10s"),
        (&["--election=e", "--ttl=10sec"], "--ttl: \"10sec\" has the unknown unit \"sec\"", "10s"),
        (&["--election=e", "--ttl=-10s"], "--ttl: \"-10s\" must not be negative", "10s"),
        (&["--election=e", "--ttl=9999999999h"], "--ttl: \"9999999999h\" is too long", "10s"),
        (&["--election=e", "--ttl=0"], "--ttl=0s is too short", "--ttl=100ms"),
        (&["--election=e", "--ttl=1us"], "--ttl=1\u{b5}s is too short", "--ttl=100ms"),
        (&["--election=e", "--ttl=25h"], "--ttl=25h0m0s is too long", "--ttl=24h"),
        (&["--election=e", "--lease-duration=0s"], "--lease-duration=0s is too short", "--lease-duration=100ms"),
        (&["--election=e", "--renew-deadline=10s"], "--renew-deadline=10s must be below", "--renew-deadline=6.666s"),
        (&["--election=e", "--renew-deadline=0"], "--renew-deadline=0s is too short", "--renew-deadline=20ms"),
        (&["--election=e", "--retry-period=5s"], "--retry-period=5s must fit twice", "--retry-period=3.333s"),
        (&["--election=e", "--retry-period=0"], "--retry-period=0s is too short", "--retry-period=10ms"),
        (&["--election=e", "--release-delay=-1s"], "--release-delay: \"-1s\" must not be negative", "10s"),
        (&["--election=e", "--release-delay=25h"], "--release-delay=25h0m0s", "at most 24h"),
        (&["--election=e", "--health-check=localhost"], "is not a URL that begins with", "tcp://127.0.0.1:5432"),
        (&["--election=e", "--health-timeout=1s"], "--health-timeout has no effect without", "--health-check=http"),
        (
            &["--election=e", "--health-check=tcp://h:1", "--health-interval=1ms"],
            "--health-interval=1ms",
            "100ms to 1h0m0s",
        ),
        (&["--election=e", "--health-check=tcp://h:1", "--health-timeout=0"], "--health-timeout=0s", "10ms to 1m0s"),
        (&["--election=e", "--health-check=tcp://h:1", "--health-failures=0"], "--health-failures=\"0\"", "1 to 1000"),
        (&["--election=e", "--"], "the command after -- is missing", "-- /app/server"),
        (&["--election=e", "--", ""], "the command after -- is missing", "-- /app/server"),
        (&["--election=e", "--stop-timeout=1s"], "--stop-timeout has no effect without a command", "-- /app/server"),
        (&["--election=e", "--on-exit=restart"], "--on-exit has no effect without a command", "-- /app/server"),
        (&["--election=e", "--on-exit=stop", "--", "x"], "--on-exit=\"stop\"", "release, restart, standby"),
        // D is 6.667 s and R 2 s.
        (
            &["--election=e", "--stop-timeout=3s", "--", "x"],
            "--stop-timeout=3s and two retry periods of 2s must fit into the renew deadline of 6.666s",
            "set --stop-timeout=2.666s or less, or raise --ttl",
        ),
        (&["--election=e", "--ttl=1s", "--", "x"], "stopping a command needs 400ms", "raise --ttl"),
        (&["--election=e", "--http=4040"], "--http: ", ":4040"),
        (&["--election=e", "--http=:70000"], "--http: ", ":4040"),
        (&["--election=e", "--http=[::1:4040"], "--http: ", ":4040"),
        (&["--election=e", "--http-max-connections=0"], "--http-max-connections=\"0\"", "from 1 to 10000"),
        (&["--check=localhost:4040"], "--check: \"localhost:4040\" is not a URL", "http://localhost:4040"),
        (
            &["--check=https://localhost:4040"],
            "is an https URL, but electors serve plain HTTP",
            "http://localhost:4040",
        ),
        (&["--election=e", "--server=10.0.0.1"], "--server: \"10.0.0.1\" begins with neither", "https://10.0.0.1:6443"),
        (&["--election=e", "--log-level=loud"], "--log-level=\"loud\"", "error, warn, info, debug"),
        (&["--election=e", "--log-format=xml"], "--log-format=\"xml\"", "text, json"),
        (&["--election=e", "--use-cluster-credentials=maybe"], "--use-cluster-credentials=\"maybe\"", "=true or"),
        (&["--election=e --ttl=1s --bogus"], "the flag \"--bogus\" is unknown", "--help"),
    ];
    for (args, what, instead) in cases {
        let output = run(args);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{args:?}: {said}");
        assert!(said.starts_with("leader-elector: ") && said.ends_with('\n'), "{args:?}: {said}");
        assert!(said.contains(what) && said.contains(instead) && said.lines().count() <= 2, "{args:?}: {said}");
    }
}

#[test]
fn help_and_version_are_what_was_asked_for_and_go_to_stdout() {
    for args in [["--help"].as_slice(), &["-h"], &["-help=true"], &["--election=e", "--help"]] {
        let output = run(args);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{args:?}");
        assert!(text(&output.stdout).starts_with("leader-elector elects one leader"), "{args:?}");
        assert!(text(&output.stdout).ends_with("--check has its own exit codes, see above.\n"));
    }
    let output = run(&["--version"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert_eq!(text(&output.stdout), concat!("leader-elector ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn no_server_and_no_credentials_end_with_1_and_the_reason() {
    let dir = std::env::temp_dir().join("no-such-service-account");
    let dir = format!("--service-account-dir={}", dir.display());
    let output = Elector::program()
        .args(["--election=e", &dir])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the program is there");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{said}");
    assert!(said.contains("--server"), "{said}");
}

#[test]
fn a_port_in_use_ends_it_with_1_before_it_asks_the_api_server_anything() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let lock = Lock::new("endpoints");
    let output = lock.command("a", &[&format!("--http={address}")]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("in use"), "{said}");
    assert!(lock.server.requests().is_empty() && lock.server.open_connections() == 0);
}

#[test]
fn it_serves_the_address_of_the_flag() {
    for (http, host) in [
        ("localhost:0", "127.0.0.1"),
        ("127.0.0.1:0", "127.0.0.1"),
        (":0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("[::]:0", "127.0.0.1"),
    ] {
        let lock = Lock::new("endpoints");
        let a = lock.start("a", &[NEVER, &format!("--http={http}")]);
        let address = SocketAddr::new(host.parse().unwrap(), a.address().port());
        wait_until(http, || common::ask(address, "/").is_ok_and(|answer| answer == (200, "{\"name\":\"a\"}".into())));
    }
}

#[test]
fn the_number_of_connections_is_that_of_the_flag() {
    let lock = Lock::new("endpoints");
    let a = lock.start("a", &[NEVER, "--http-max-connections=2"]);
    a.wait_to_lead();
    let mut clients: Vec<TcpStream> = Vec::new();
    let answered = |client: &mut TcpStream| {
        let _ = client.write_all(b"GET /healthz HTTP/1.1\r\n\r\n");
        client.read(&mut [0; 4096]).is_ok_and(|count| count > 0)
    };
    for _ in 0..3 {
        clients.push(TcpStream::connect(a.address()).unwrap());
        assert!(clients.last_mut().is_some_and(answered));
    }
    assert_eq!(clients.iter_mut().map(answered).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn a_lower_limit_of_connections_is_logged() {
    let lock = Lock::new("endpoints");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]).arg(Elector::program().get_program());
    let a = Elector::start_as(shell, "a", &[&format!("--server={}", lock.server.url()), "--http-max-connections=37"]);
    a.wait_for_log("serving at most 36 HTTP connections at a time, not 37: this process may not open more");
}

#[test]
fn without_a_port_it_takes_part_in_the_election() {
    for none in ["--http=", "--http"] {
        let lock = Lock::new("leases");
        let more = if none == "--http" { vec![NEVER, "--http", ""] } else { vec![NEVER, none] };
        let a = lock.spawn("a", &more);
        lock.wait("it leads", || lock.holder() == "a");
        assert!(!a.log().contains("serving"), "{}", a.log());
    }
}

#[test]
fn the_flags_of_the_old_program_start_it() {
    let old: [&[&str]; 4] = [
        &["--ttl=10s", "--use-cluster-credentials"],
        &["--ttl", "10s", "--use-cluster-credentials=false", "--v=4", "--logtostderr", "--alsologtostderr=true"],
        &["--stderrthreshold=0", "--vmodule=a=1", "--log_dir=/tmp", "--log-flush-frequency=5s", "tail"],
        &["--use-cluster-credentials --ttl=10s", "/server"],
    ];
    for args in old {
        let lock = Lock::new("endpoints");
        let mut a = lock.start("a", args);
        a.wait_to_lead();
        let ignored = a.log().lines().filter(|line| line.contains("ignored")).count();
        assert!(ignored <= 1, "{}", a.log());
        a.signal(Signal::TERM);
        assert!(a.wait_to_end().success());
    }
}

#[test]
fn one_argument_may_hold_several_flags() {
    let lock = Lock::new("configmaps");
    let all = format!("--election=example --server={} --lock=configmaps --id=a {NEVER}", lock.server.url());
    let mut process = Elector::program().arg(all).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    lock.wait("it leads", || lock.holder() == "a");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn the_last_of_several_flags_wins() {
    let lock = Lock::new("leases");
    let a = lock.start("wrapper", &["--id=user", NEVER]);
    a.wait_to_name("user");
    assert_eq!(lock.holder(), "user");
}

#[test]
fn the_hostname_is_the_default_identity() {
    let lock = Lock::new("leases");
    let mut process = Elector::program()
        .args(["--election=example", "--lock=leases", NEVER, &format!("--server={}", lock.server.url())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    lock.wait("it leads", || lock.holder() == hostname.trim_end());
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_port_that_cannot_be_served_any_longer_ends_the_program_with_1() {
    // The smallest limit of descriptors with which it starts: none is left to serve the port.
    let run = |descriptors: u32| {
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).arg(Elector::program().get_program());
        command.args(["--election=e", "--id=a", "--server=http://127.0.0.1:9", "--http=127.0.0.1:0"]);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).output().expect("there is a shell")
    };
    let started = |output: &Output| text(&output.stderr).contains("serving http://");
    let output = (4..64).map(run).find(started).expect("it starts with some number of descriptors");
    let log = text(&output.stderr);
    assert!(log.contains("leader-elector: the HTTP port cannot be served any longer: "), "{log}");
    assert_eq!(output.status.code(), Some(1), "{log}");
}
