//! The durations that follow from `--ttl`, and invalid ones.

use leader_elector::cli::{self, Environment, Invocation, Timing};
use leader_elector::duration;
use std::ffi::OsString;
use std::time::Duration;

fn timing(flags: &str) -> Result<Timing, String> {
    let environment = Environment { hostname: "pod-0".to_owned(), ..Environment::default() };
    let args = ["--election=e"].into_iter().chain(flags.split_whitespace()).map(OsString::from);
    match cli::parse(args, &environment) {
        Ok(Invocation::Run(config)) => Ok(config.timing),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn times(flags: &str) -> [String; 4] {
    let timing = timing(flags).unwrap_or_else(|message| panic!("{flags}: {message}"));
    [timing.lease_duration, timing.renew_deadline, timing.retry_period, timing.request_timeout].map(duration::format)
}

#[test]
fn all_times_follow_from_the_ttl() {
    assert_eq!(times("--ttl=15s"), ["15s", "10s", "3s", "3.15s"]);
    assert_eq!(times(""), ["10s", "6.666666666s", "2s", "2.099999999s"]);
    assert_eq!(times("--ttl=100ms"), ["100ms", "66.666666ms", "20ms", "20.999999ms"]);
    assert_eq!(times("--ttl=24h"), ["24h0m0s", "16h0m0s", "4h48m0s", "5h2m24s"]);
    assert_eq!(Timing::from_ttl(Duration::from_secs(15)), timing("--ttl=15s").map_err(|_| unreachable!()));
}

#[test]
fn each_time_can_be_given_on_its_own() {
    assert_eq!(times("--ttl=1h --lease-duration=15s"), ["15s", "10s", "3s", "3.15s"]);
    assert_eq!(times("--ttl=15s --renew-deadline=6s"), ["15s", "6s", "3s", "1.35s"]);
    assert_eq!(times("--ttl=15s --retry-period=1s"), ["15s", "10s", "1s", "3.333333333s"]);
    assert_eq!(times("--retry-period=5s --renew-deadline=10s --lease-duration=15s"), ["15s", "10s", "5s", "2.25s"]);
}

#[test]
fn times_that_cannot_work_are_refused_with_the_number_to_change() {
    for (flags, message) in [
        ("--ttl=99ms", "--ttl=99ms is too short for an API server: set --ttl=100ms or more"),
        ("--ttl=0", "--ttl=0s is too short for an API server: set --ttl=100ms or more"),
        (
            "--lease-duration=0",
            "--lease-duration=0s is too short for an API server: set --lease-duration=100ms or more",
        ),
        (
            "--ttl=24h1ns",
            "--ttl=24h0m0.000000001s is too long for the other candidates to accept: set --ttl=24h or less",
        ),
        (
            "--renew-deadline=10s",
            "--renew-deadline=10s must be below the lease duration (--ttl=10s): \
             set --renew-deadline=6.666s, two thirds of it",
        ),
        (
            "--lease-duration=3s --renew-deadline=1h",
            "--renew-deadline=1h0m0s must be below the lease duration (--lease-duration=3s): \
             set --renew-deadline=2s, two thirds of it",
        ),
        (
            "--renew-deadline=19ms",
            "--renew-deadline=19ms is too short for an API server: set --renew-deadline=20ms or more",
        ),
        ("--retry-period=0s", "--retry-period=0s is too short for an API server: set --retry-period=10ms or more"),
        (
            "--ttl=15s --retry-period=5001ms",
            "--retry-period=5.001s must fit twice into the renew deadline of 10s: set --retry-period=5s or less",
        ),
        (
            "--ttl=15s --renew-deadline=5s",
            "--retry-period=3s, a fifth of the lease duration, must fit twice into the renew deadline of 5s: \
             set --retry-period=2.5s or less",
        ),
    ] {
        assert_eq!(timing(flags), Err(message.to_owned()), "{flags}");
    }
}

#[test]
fn an_invalid_duration_is_refused_with_its_flag() {
    for flag in ["--ttl", "--lease-duration", "--renew-deadline", "--retry-period", "--release-delay"] {
        for (value, fault) in [
            ("10", "lacks a unit"),
            ("", "is not a duration"),
            ("-1s", "must not be negative"),
            ("3000000h", "is too long"),
        ] {
            let expected = format!("{flag}: {value:?} {fault}; write it like 10s, 1m30s or 300ms");
            assert_eq!(timing(&format!("{flag}={value}")), Err(expected));
        }
    }
}

#[test]
fn the_release_delay_is_at_most_a_day() {
    assert!(timing("--release-delay=24h").is_ok());
    assert_eq!(timing("--release-delay=24h1s"), Err("--release-delay=24h0m1s: at most 24h is allowed".to_owned()));
}

#[test]
fn accepted_times_keep_the_guarantees_and_advised_times_are_accepted() {
    let values = ["", "1ns", "9ms", "15ms", "20ms", "33.3ms", "100ms", "1s", "1.000000001s", "2.5s", "10s", "24h"];
    let flag = |name: &str, value: &str| if value.is_empty() { String::new() } else { format!(" --{name}={value}") };
    for lease in values {
        for deadline in values {
            for retry in values {
                let mut flags =
                    flag("lease-duration", lease) + &flag("renew-deadline", deadline) + &flag("retry-period", retry);
                // The last flag wins, so the advice is followed by adding flags. At most two pieces of advice must be
                // enough.
                for advice in 0..=3 {
                    match timing(&flags) {
                        Ok(t) => {
                            assert!(t.retry_period * 2 <= t.renew_deadline && t.renew_deadline < t.lease_duration);
                            assert!(t.retry_period + t.request_timeout * 2 < t.renew_deadline, "{flags}");
                            assert!(t.request_timeout > Duration::ZERO);
                            break;
                        }
                        Err(message) => {
                            assert!(advice < 3, "{flags}: {message}");
                            let set = message.split("set ").nth(1).unwrap().split([' ', ',']).next().unwrap();
                            flags = format!("{flags} {set}");
                        }
                    }
                }
            }
        }
    }
}
