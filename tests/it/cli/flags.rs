//! The flags: which are accepted, which are refused, and with which message.

use leader_elector::check::Elector;
use leader_elector::cli::{self, Config, Environment, HELP, Invocation, VERSION};
use leader_elector::command::OnExit;
use leader_elector::leader_service::{Addresses, Port};
use leader_elector::lock::{CHOICES, LockKind};
use leader_elector::logging::{Filter, Format};
use log::LevelFilter;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

fn environment() -> Environment {
    Environment { hostname: "pod-0".to_owned(), ..Environment::default() }
}

fn parse(args: &[&str]) -> Result<Invocation, String> {
    cli::parse(args.iter().map(OsString::from), &environment()).map_err(|error| error.to_string())
}

fn config(args: &[&str]) -> Config {
    match parse(args) {
        Ok(Invocation::Run(config)) => config,
        other => panic!("{args:?} gave {other:?}"),
    }
}

/// The configuration of an election named `e` with more flags.
fn with(args: &[&str]) -> Config {
    config(&[&["--election=e"], args].concat())
}

fn error(args: &[&str]) -> String {
    match parse(args) {
        Err(message) => message,
        Ok(command) => panic!("{args:?} gave {command:?}"),
    }
}

fn error_with(arg: &str) -> String {
    error(&["--election=e", arg])
}

#[test]
fn only_the_election_is_required() {
    let config = config(&["--election=my-app"]);
    assert_eq!(config.election, "my-app");
    assert_eq!(config.namespace, "default");
    assert_eq!(config.lock, [LockKind::Endpoints]);
    assert_eq!(config.id, "pod-0");
    assert_eq!(config.timing.lease_duration, Duration::from_secs(10));
    assert_eq!(config.release_delay, Duration::ZERO);
    assert_eq!((config.http, config.server, config.service_account_dir), (None, None, None));
    assert_eq!(config.http_max_connections, 256);
    assert_eq!(config.leader_service, None);
    assert!(!config.use_cluster_credentials);
    assert_eq!((config.log.format, config.log.filter), (Format::Text, Filter::Level(LevelFilter::Info)));
    assert_eq!(config.ignored, [""; 0]);
}

#[test]
fn every_flag_sets_its_field() {
    let config = config(&[
        "--election=a.b",
        "--election-namespace=prod",
        "--lock=leases",
        "--id=me",
        "--ttl=20s",
        "--lease-duration=30s",
        "--renew-deadline=18s",
        "--retry-period=3s",
        "--release-delay=1m",
        "--health-check=https://localhost:8443/healthz?full",
        "--health-interval=5s",
        "--health-timeout=500ms",
        "--health-failures=7",
        "--leader-service=web:http=8080",
        "--pod-ip=10.0.0.1",
        "--http=:4040",
        "--http-max-connections=1000",
        "--server=https://[::1]:6443/k8s",
        "--service-account-dir=/sa",
        "--use-cluster-credentials",
        "--log-format=json",
        "--log-level=debug",
    ]);
    assert_eq!((config.election.as_str(), config.namespace.as_str(), config.id.as_str()), ("a.b", "prod", "me"));
    let spec = config.leader_service.unwrap();
    assert_eq!((spec.service.as_str(), spec.namespace.as_str()), ("web", "prod"));
    assert_eq!((spec.election.as_str(), spec.identity.as_str(), spec.pod.name.as_str()), ("a.b", "me", "pod-0"));
    assert_eq!(spec.ports, [Port { name: "http".to_owned(), number: 8080 }]);
    assert_eq!(spec.addresses, Addresses { v4: Some([10, 0, 0, 1].into()), v6: None });
    assert_eq!(config.lock, [LockKind::Leases]);
    assert_eq!(config.timing.lease_duration, Duration::from_secs(30));
    assert_eq!(config.timing.renew_deadline, Duration::from_secs(18));
    assert_eq!(config.timing.retry_period, Duration::from_secs(3));
    assert_eq!(config.release_delay, Duration::from_secs(60));
    let health = config.health.expect("a check was asked for");
    assert_eq!(health.target.to_string(), "https://localhost:8443/healthz");
    assert_eq!((health.interval, health.timeout), (Duration::from_secs(5), Duration::from_millis(500)));
    assert_eq!(health.failures, 7);
    assert_eq!(config.http, Some(":4040".parse().unwrap()));
    assert_eq!(config.http_max_connections, 1000);
    assert_eq!(config.server.as_deref(), Some("https://[::1]:6443/k8s"));
    assert_eq!(config.service_account_dir.as_deref(), Some(Path::new("/sa")));
    assert!(config.use_cluster_credentials);
    assert_eq!((config.log.format, config.log.filter), (Format::Json, Filter::Level(LevelFilter::Debug)));
}

#[test]
fn a_flag_takes_its_value_behind_an_equals_sign_or_from_the_next_argument_with_one_dash_or_two() {
    for args in [["--election=x", "--id=y"].as_slice(), &["--election", "x", "-id=y"], &["-election", "x", "-id", "y"]]
    {
        let config = config(args);
        assert_eq!((config.election.as_str(), config.id.as_str()), ("x", "y"), "{args:?}");
    }
    assert_eq!(with(&["--id=a=b"]).id, "a=b");
}

#[test]
fn the_last_of_several_wins() {
    assert_eq!(with(&["--id=wrapper", "--id", "user"]).id, "user");
    assert_eq!(with(&["-id", "wrapper", "--id=user"]).id, "user");
    assert!(!with(&["--use-cluster-credentials", "--use-cluster-credentials=false"]).use_cluster_credentials);
}

#[test]
fn the_next_argument_is_the_value_whatever_it_looks_like() {
    for value in ["--http", "-x", "--", "--election=z --http=:1", "my pod", "=", "=y", "'q'"] {
        let config = with(&["--id", value]);
        assert_eq!((config.id.as_str(), config.http, config.election.as_str()), (value, None, "e"));
    }
}

#[test]
fn yes_and_no_are_written_as_go_writes_them_and_never_taken_from_the_next_argument() {
    for yes in ["", "=1", "=t", "=T", "=true", "=True", "=TRUE"] {
        assert!(with(&[&format!("--use-cluster-credentials{yes}")]).use_cluster_credentials, "{yes}");
    }
    for no in ["=0", "=f", "=F", "=false", "=False", "=FALSE"] {
        assert!(!with(&[&format!("--use-cluster-credentials{no}")]).use_cluster_credentials, "{no}");
    }
    let config = with(&["--use-cluster-credentials", "false"]);
    assert!(config.use_cluster_credentials);
    assert_eq!(config.ignored, ["false"]);
    assert_eq!(
        error_with("--use-cluster-credentials=yes"),
        "--use-cluster-credentials=\"yes\": \
         write --use-cluster-credentials, --use-cluster-credentials=true or --use-cluster-credentials=false"
    );
}

#[test]
fn arguments_that_are_no_flags_are_ignored_wherever_they_stand() {
    let config = config(&["/server", "--election=x", "-", "", "--http=:1", "tail"]);
    assert_eq!((config.election.as_str(), config.http), ("x", Some(":1".parse().unwrap())));
    assert_eq!(config.ignored, ["/server", "-", "", "tail"]);
}

#[test]
fn two_dashes_end_the_flags() {
    let config = with(&["--", "--election=late", "--bogus", "--", "two words"]);
    assert_eq!(config.election, "e");
    assert!(config.ignored.is_empty());
    let run_mode = config.run_mode.unwrap();
    assert_eq!(run_mode.argv, ["--election=late", "--bogus", "--", "two words"]);
    assert_eq!((run_mode.stop_timeout, run_mode.on_exit), (config.timing.renew_deadline / 3, OnExit::Release));
    assert_eq!(with(&["--on-exit=standby", "--stop-timeout=1s", "--", "x"]).run_mode.unwrap().on_exit, OnExit::Standby);
}

#[test]
fn one_argument_with_several_flags_is_split() {
    for argument in ["--election=x --http=:4040", "--election x\t--http\n:4040\n", "  --election=x   --http :4040 "] {
        let config = config(&[argument]);
        assert_eq!((config.election.as_str(), config.http), ("x", Some(":4040".parse().unwrap())), "{argument:?}");
    }
    let config = config(&["--election=x --id", "my pod"]);
    assert_eq!(config.id, "my pod");
}

#[test]
fn an_argument_that_is_not_utf_8_is_refused() {
    let args = [OsString::from("--election=e"), OsString::from_vec(b"--id=\xff".to_vec())];
    let message = cli::parse(args, &environment()).unwrap_err().to_string();
    assert_eq!(message, "the argument \"--id=\u{fffd}\" is not valid UTF-8: write every argument in UTF-8");
}

#[test]
fn the_log_flags_of_the_old_program_are_accepted_and_named() {
    let config = with(&[
        "--v=4",
        "-v",
        "5",
        "-v6",
        "--vmodule",
        "a=1",
        "--logtostderr",
        "--alsologtostderr=false",
        "--stderrthreshold",
        "INFO",
        "--log_dir",
        "/tmp",
        "--log-dir=/tmp",
        "--log_backtrace_at=a:1",
        "--log-flush-frequency",
        "5s",
        "--http=:1",
    ]);
    assert_eq!(config.http, Some(":1".parse().unwrap()));
    assert_eq!(
        config.ignored,
        [
            "--v=4",
            "--v=5",
            "--v=6",
            "--vmodule=a=1",
            "--logtostderr=true",
            "--alsologtostderr=false",
            "--stderrthreshold=INFO",
            "--log-dir=/tmp",
            "--log-dir=/tmp",
            "--log-backtrace-at=a:1",
            "--log-flush-frequency=5s",
        ]
    );
}

#[test]
fn credentials_come_from_one_place() {
    let config = config(&["--election=e", "--kubeconfig=/k", "--context", "c"]);
    assert_eq!((config.kubeconfig.as_deref(), config.context.as_deref()), (Some(Path::new("/k")), Some("c")));
    let config = self::config(&["--election=e", "--kubeconfig=", "--context=", "--server=http://a"]);
    assert_eq!((config.kubeconfig, config.context), (None, None));
    for (one, value) in [("--kubeconfig", "/k"), ("--context", "c")] {
        for (other, argument) in [
            ("--server", "--server=http://a"),
            ("--service-account-dir", "--service-account-dir=/a"),
            ("--use-cluster-credentials", "--use-cluster-credentials"),
        ] {
            assert_eq!(
                error(&["--election=e", argument, one, value]),
                format!("{one} and {other} exclude each other: leave out one of them")
            );
        }
        assert!(parse(&["--election=e", one, value, "--use-cluster-credentials=false"]).is_ok());
    }
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest_known_one() {
    for (argument, nearest) in [
        ("--electon=x", "--election"),
        ("--election_namespace=x", "--election-namespace"),
        ("--namespace=x", ""),
        ("--use-cluster-credential", "--use-cluster-credentials"),
        ("--HTTP=x", ""),
        ("-ttx", "--ttl"),
        ("--kubeconfg=x", "--kubeconfig"),
    ] {
        let name = argument.trim_start_matches('-').split('=').next().unwrap();
        let hint = match nearest {
            "" => "; --help lists all flags".to_owned(),
            known => format!("; did you mean {known}? --help lists all flags"),
        };
        assert_eq!(error_with(argument), format!("the flag \"--{name}\" is unknown{hint}"));
    }
}

#[test]
fn an_argument_that_only_looks_like_a_flag_is_refused() {
    for argument in ["---election=x", "--=x", "-=x", "---"] {
        assert_eq!(
            error_with(argument),
            format!("{argument:?} is not a flag: write --flag=value or --flag value"),
            "{argument}"
        );
    }
}

#[test]
fn a_missing_value_is_reported_with_an_example() {
    assert_eq!(error_with("--ttl"), "--ttl needs a value, such as --ttl=10s");
    assert_eq!(error_with("-v"), "--v needs a value, such as --v=4");
}

#[test]
fn an_election_is_a_dns_name() {
    for name in ["a", "0", "my-app", "a.b-c.9", &"a".repeat(253)] {
        assert_eq!(config(&["--election", name]).election, name);
    }
    assert_eq!(error(&[]), "--election is missing: name the election, such as --election=my-app");
    for (name, fault) in [
        ("", "a name, or a part of it between dots, is empty"),
        ("a..b", "a name, or a part of it between dots, is empty"),
        ("a.", "a name, or a part of it between dots, is empty"),
        ("My-App", "'M' is not allowed, only lower-case letters, digits and '-'"),
        ("my_app", "'_' is not allowed, only lower-case letters, digits and '-'"),
        ("a/b", "'/' is not allowed, only lower-case letters, digits and '-'"),
        ("\u{e4}", "'\u{e4}' is not allowed, only lower-case letters, digits and '-'"),
        ("-a", "a name, and each part of it between dots, begins and ends with a letter or digit"),
        ("a.b-", "a name, and each part of it between dots, begins and ends with a letter or digit"),
        (&"a".repeat(254), "254 bytes are too many, 253 are allowed"),
    ] {
        let expected = format!("--election={name:?}: {fault}; write it like my-app or my-app.example");
        assert_eq!(error(&["--election", name]), expected);
    }
}

#[test]
fn a_namespace_is_a_dns_label() {
    assert_eq!(with(&["--election-namespace", &"a".repeat(63)]).namespace, "a".repeat(63));
    for (name, fault) in [
        ("a.b", "'.' is not allowed, only lower-case letters, digits and '-'"),
        ("", "a name, or a part of it between dots, is empty"),
        (&"a".repeat(64), "64 bytes are too many, 63 are allowed"),
    ] {
        let expected = format!("--election-namespace={name:?}: {fault}; write it like my-namespace");
        assert_eq!(error_with(&format!("--election-namespace={name}")), expected);
    }
}

#[test]
fn an_identity_is_free_text_without_control_characters() {
    for id in ["x", "pod.0/\u{e9}\u{1f600} \"'", &"i".repeat(1024)] {
        assert_eq!(with(&["--id", id]).id, id);
    }
    let hint = "give every candidate a name of its own, such as --id=my-app-0";
    let long = "i".repeat(1025);
    for (id, fault) in [
        ("", "must not be empty"),
        ("a\nb", "the control character '\\n' is not allowed"),
        ("a\u{85}", "the control character '\\u{85}' is not allowed"),
        (&long, "1025 bytes are too many, 1024 are allowed"),
    ] {
        assert_eq!(error(&["--election=e", "--id", id]), format!("--id={id:?}: {fault}; {hint}"));
    }
    let nameless = Environment::default();
    assert_eq!(
        cli::parse([OsString::from("--election=e")], &nameless).unwrap_err().to_string(),
        format!("--id is missing, and the hostname cannot replace it: hostname=\"\": must not be empty; {hint}")
    );
}

#[test]
fn the_hostname_of_this_machine_can_be_read() {
    assert_eq!(Environment::read().hostname, std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end());
}

#[test]
fn a_wrong_choice_is_refused_with_the_possible_values() {
    for (name, kinds) in CHOICES {
        assert_eq!(with(&["--lock", name]).lock, kinds);
    }
    assert_eq!(with(&["--lock=endpointsleases"]).lock, [LockKind::Endpoints, LockKind::Leases]);
    assert_eq!(
        error_with("--lock=lease"),
        "--lock=\"lease\": use one of endpoints, configmaps, leases, endpointsleases, configmapsleases"
    );
    assert_eq!(error_with("--log-format=xml"), "--log-format=\"xml\": use one of text, json");
    assert_eq!(error_with("--log-level="), "--log-level=\"\": use one of error, warn, info, debug");
}

#[test]
fn an_empty_http_address_disables_the_port() {
    assert_eq!(with(&["--http=:1", "--http="]).http, None);
}

#[test]
fn the_number_of_connections_has_bounds() {
    for (text, number) in [("1", 1), ("10000", 10_000), ("0256", 256)] {
        assert_eq!(with(&["--http-max-connections", text]).http_max_connections, number);
    }
    for text in ["", "0", "10001", "-1", "+1", "many", "1e3", "99999999999999999999"] {
        assert_eq!(
            error_with(&format!("--http-max-connections={text}")),
            format!("--http-max-connections={text:?}: give a number from 1 to 10000")
        );
    }
}

/// The URL of the elector to query.
fn checked(args: &[&str]) -> Elector {
    match parse(args) {
        Ok(Invocation::Check(elector)) => elector,
        other => panic!("{args:?} gave {other:?}"),
    }
}

#[test]
fn a_check_asks_the_url_or_else_the_port_of_the_other_flags() {
    for (args, url) in [
        (["--check"].as_slice(), "http://localhost:4040"),
        (&["-check=true"], "http://localhost:4040"),
        (&["--check", "--http="], "http://localhost:4040"),
        (&["--check", "--http=:8080"], "http://localhost:8080"),
        (&["--http=0.0.0.0:4040", "--check"], "http://localhost:4040"),
        (&["--check", "--http=[::]:4040"], "http://localhost:4040"),
        (&["--check", "--http", "10.0.0.1:4040"], "http://10.0.0.1:4040"),
        (&["--check", "--http=[::1]:1"], "http://[::1]:1"),
        (&["--check=http://web-0:1", "--http=:2"], "http://web-0:1"),
        (&["--check=http://[::1]:1/leader"], "http://[::1]:1"),
        // With all the arguments of the elector itself.
        (&["--election=My_App --ttl=0 --check", "--v=4"], "http://localhost:4040"),
    ] {
        assert_eq!(checked(args), url.parse().unwrap(), "{args:?}");
    }
}

#[test]
fn a_check_without_an_address_is_refused() {
    for (args, message) in [
        (
            ["--check", "http://web-0:1"].as_slice(),
            "\"http://web-0:1\" is not a flag: write --check=http://localhost:4040",
        ),
        (&["--check="], "--check: \"\" is not a URL; write it like http://localhost:4040"),
        (&["--check=https://web-0:1"], "--check: \"https://web-0:1\" is an https URL, but electors serve plain HTTP"),
        (&["--check", "--http=localhost:0"], "--check cannot know the port of --http=localhost:0"),
        (&["--check", "--http=x"], "--http: \"x\" is not an address"),
    ] {
        let error = error(args);
        assert!(error.starts_with(message), "{args:?}: {error}");
    }
}

#[test]
fn a_server_is_a_url_with_a_host() {
    for (url, fault) in [
        ("", "\"\" begins with neither https:// nor http://"),
        ("10.0.0.1:6443", "\"10.0.0.1:6443\" begins with neither https:// nor http://"),
        ("https://", "it names no host"),
        ("http:///api", "it names no host"),
        ("https://a:0", "\"0\" is not a port number"),
        ("https://user:hunter2@a", "it has a user name ('@'), which is never sent; leave it out"),
    ] {
        let expected = format!("cannot use the address of --server: {fault}; write it like https://10.0.0.1:6443");
        assert_eq!(error(&["--election=e", "--server", url]), expected);
    }
}

#[test]
fn a_service_account_directory_has_a_name() {
    assert_eq!(
        error_with("--service-account-dir="),
        "--service-account-dir=\"\": give the directory with the files token and ca.crt"
    );
}

#[test]
fn the_flag_for_the_log_level_wins_over_rust_log() {
    let filter = |rust_log: &str, args: &[&str]| {
        let environment = Environment { rust_log: Some(rust_log.to_owned()), ..environment() };
        match cli::parse(args.iter().map(OsString::from), &environment) {
            Ok(Invocation::Run(config)) => config.log.filter,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(filter("ureq=debug", &["--election=e"]), Filter::RustLog("ureq=debug".to_owned()));
    assert_eq!(filter("ureq=debug", &["--election=e", "--log-level=warn"]), Filter::Level(LevelFilter::Warn));
    assert_eq!(filter(" ", &["--election=e"]), Filter::Level(LevelFilter::Info));
}

#[test]
fn help_and_version_need_nothing_else() {
    for args in [["--help"].as_slice(), &["-h"], &["-help", "--ttl=broken"], &["--version", "--help"]] {
        assert_eq!(parse(args), Ok(Invocation::Help), "{args:?}");
    }
    assert_eq!(parse(&["--version"]), Ok(Invocation::Version));
    assert_eq!(VERSION, format!("leader-elector {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_names_every_flag_and_fits_a_terminal() {
    let flags = "--election --election-namespace --id --lock --ttl --lease-duration --renew-deadline --retry-period \
                 --release-delay --health-check --health-interval --health-timeout --health-failures \
                 --leader-service --pod-ip --stop-timeout --on-exit --http --http-max-connections --check --kubeconfig --context --server \
                 --service-account-dir --use-cluster-credentials --log-format --log-level --version --help --v --vmodule --logtostderr --alsologtostderr --stderrthreshold \
                 --log_dir --log_backtrace_at --log-flush-frequency";
    let words: Vec<&str> = HELP.split(|c: char| !(c.is_alphanumeric() || "-_".contains(c))).collect();
    for flag in flags.split_whitespace() {
        assert!(words.contains(&flag), "{flag} is missing");
    }
    for line in HELP.lines() {
        assert!(line.chars().count() <= 100 && line.trim_end() == line, "{line}");
    }
}

#[test]
fn no_message_is_longer_than_two_lines_whatever_comes_in() {
    let pieces = ["--", "-", "=", "--id", "--ttl", "--http=", " ", "\n", "\u{0}", "9", "h", "v", "--lock", "\u{1f600}"];
    let mut seed: u64 = 1;
    let mut next = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % bound
    };
    for _ in 0..20_000 {
        let mut args = vec!["--election=e".to_owned()];
        for _ in 0..next(4) {
            args.push((0..next(5)).map(|_| pieces[next(pieces.len())]).collect());
        }
        if let Err(error) = cli::parse(args.iter().map(OsString::from), &environment()) {
            assert!(error.to_string().lines().count() <= 2, "{args:?}: {error}");
        }
    }
}
