//! The clock for decisions, and its timer, count the time during which the machine is suspended. A test cannot suspend
//! the machine. But in a time namespace the boot-time clock can be as far ahead of the monotonic clock as after a long
//! suspension, and the program sees only the two clocks.

use leader_elector::clock::{self, Alarm};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long the machine seems to have been suspended.
const SLEPT: Duration = Duration::from_secs(100_000);
/// Tells the process that it runs in the namespace.
const INSIDE: &str = "AFTER_A_LONG_SLEEP";

#[test]
fn the_clock_and_its_timer_count_sleep() {
    if std::env::var_os(INSIDE).is_some() {
        return counts_sleep();
    }
    // As root, or in a user namespace of its own.
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let Some(way) = ways.into_iter().find(|way| inside(way, "true").status().is_ok_and(|status| status.success()))
    else {
        return eprintln!("not tested: no time namespace can be made here");
    };
    let this = std::env::current_exe().expect("a test knows its program");
    let mut there = inside(way, this);
    let output =
        there.args(["--exact", "the_clock_and_its_timer_count_sleep", "--nocapture"]).env(INSIDE, "1").output();
    let output = output.expect("unshare has just run");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// Runs a program in a namespace where only the boot-time clock is ahead.
fn inside(way: &[&str], program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).args(["--time", "--fork"]).arg(format!("--boottime={}", SLEPT.as_secs())).arg("--").arg(program);
    command
}

fn counts_sleep() {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("a Linux kernel says for how long it has run");
    let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("seconds come first");
    assert!(uptime > SLEPT.as_secs_f64(), "this is not the namespace that was asked for");
    let now = clock::now().uptime();
    assert!(now.as_secs_f64().max(uptime) - now.as_secs_f64().min(uptime) < SLEPT.as_secs_f64() / 2.0, "it is {now:?}");

    let (rings, rung) = channel();
    let alarm = Alarm::start(move || rings.send(()).is_ok()).expect("there is a timer");
    alarm.set(clock::now().saturating_add(Duration::from_millis(10))).expect("it can be set");
    rung.recv_timeout(Duration::from_secs(60)).expect("it rings when the moment has come by this clock");
}
