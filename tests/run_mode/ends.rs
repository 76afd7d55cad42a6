//! How a command ends: before F, or after a voluntary end of the claim.

use crate::stage::{Part, Stage};
use leader_elector::clock;
use rustix::process::Signal;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

/// A script that writes a line when it gets SIGTERM, and ends.
const ENDS_ON_SIGTERM: &str =
    "trap 'echo TERM >> $RUN_MODE_FILE; exit 9' TERM; echo ready > $RUN_MODE_FILE; while :; do sleep 0.01; done";

#[test]
fn without_a_renewal_the_command_gets_sigterm_before_the_claim_ends() {
    let mut stage = Stage::shell(ENDS_ON_SIGTERM, SECOND);
    let until = stage.lead(7, 3 * SECOND);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 9");
    assert!(clock::now() < until);
    stage.wait_for_text("TERM");
    stage.wait_for_end_of_all();
}

#[test]
fn without_a_renewal_a_command_that_ignores_sigterm_is_killed_before_the_claim_ends() {
    for behaviour in ["ignores-sigterm", "leaves-orphan"] {
        let mut stage = Stage::writer(behaviour, SECOND);
        let until = stage.lead(7, 3 * SECOND);
        stage.started(7);
        assert_eq!(stage.report(), "ended 7 137");
        assert!(clock::now() < until);
        stage.wait_for_end_of_all();
        assert!(stage.last_write() < until);
    }
}

#[test]
fn each_renewal_extends_the_deadline() {
    let mut stage = Stage::writer("ends", SECOND);
    let first = stage.lead(7, 3 * SECOND);
    stage.started(7);
    let mut last = first;
    while clock::now() < first.saturating_add(SECOND) {
        last = stage.lead(7, 3 * SECOND);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(stage.report(), "ended 7 143");
    assert!(stage.last_write() > first && stage.last_write() < last);
}

#[test]
fn after_a_voluntary_end_the_command_has_the_stop_timeout() {
    let mut stage = Stage::shell(ENDS_ON_SIGTERM, 60 * SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.wait_for_text("ready");
    stage.end(LONG, true);
    assert_eq!(stage.report(), "ended 7 9");
    assert_eq!(stage.report(), "idle");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_the_stop_timeout() {
    let mut stage = Stage::writer("leaves-orphan", SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.wait_for_text("orphan");
    let began = clock::now();
    // The lock is renewed while the command ends.
    stage.end(2 * SECOND, true);
    stage.end(LONG, true);
    assert_eq!(stage.report(), "ended 7 137");
    assert!(clock::now() >= began.saturating_add(SECOND));
    assert!(stage.command_processes().is_empty());
}

#[test]
fn the_command_is_killed_at_once_if_the_claim_is_over() {
    for graceful in [true, false] {
        let mut stage = Stage::writer("leaves-orphan", 60 * SECOND);
        stage.lead(7, LONG);
        stage.started(7);
        stage.wait_for_text("orphan");
        stage.end(if graceful { Duration::ZERO } else { LONG }, graceful);
        assert_eq!(stage.report(), "ended 7 137");
        assert!(stage.command_processes().is_empty());
    }
}

#[test]
fn it_is_idle_when_no_process_is_left_and_none_can_start() {
    let mut stage = Stage::shell("exit 3", 10 * SECOND);
    assert!(stage.is_idle());
    stage.lead(7, LONG);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 3");
    assert!(!stage.is_idle(), "it could be run again");
    stage.end(LONG, true);
    assert_eq!(stage.report(), "idle");
    assert!(stage.is_idle());
    // No command was started in this term, because it would have had to end at once.
    stage.lead(8, SECOND);
    assert!(!stage.is_idle());
    stage.end(SECOND, true);
    assert_eq!(stage.report(), "idle");
}

#[test]
fn the_end_is_reported_after_processes_left_behind_have_ended() {
    let mut stage = Stage::shell("setsid sleep 600 & sleep 600 & sleep 0.1; exit 4", 60 * SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 4");
    assert!(stage.command_processes().is_empty());
}

#[test]
fn processes_left_behind_get_one_sigterm() {
    let script = "setsid sh -c 'trap \"echo other session >> $RUN_MODE_FILE; exit\" TERM; \
                               echo ready >> $RUN_MODE_FILE; while :; do sleep 0.01; done' & \
                  sh -c 'trap \"echo own group >> $RUN_MODE_FILE\" TERM; \
                         echo ready >> $RUN_MODE_FILE; until grep -q other $RUN_MODE_FILE; do sleep 0.01; done' & \
                  wait";
    let mut stage = Stage::shell(script, 60 * SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.wait_for_text("ready\nready\n");
    stage.end(LONG, true);
    assert_eq!(stage.report(), "ended 7 143");
    let mut lines: Vec<_> = stage.file().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["other session", "own group", "ready", "ready"]);
}

#[test]
fn a_command_that_keeps_forking_ends_in_time() {
    for again in ["sh", "setsid sh"] {
        let mut stage = Stage::forking(again, SECOND);
        let until = stage.lead(7, 3 * SECOND);
        stage.started(7);
        // By SIGTERM or, on a busy machine, by SIGKILL.
        assert!(["ended 7 143", "ended 7 137"].contains(&stage.report().as_str()));
        assert!(clock::now() < until);
        assert!(stage.command_processes().is_empty());
        assert!(stage.file().lines().count() > 10);
    }
}

#[test]
fn a_stopped_command_ends_too() {
    let mut stage = Stage::shell("kill -STOP $$", 60 * SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.end(LONG, true);
    assert_eq!(stage.report(), "ended 7 143");
}

#[test]
fn signals_go_to_its_whole_group() {
    let script = "trap 'echo got USR1 >> $RUN_MODE_FILE' USR1; \
                  sh -c 'trap \"echo child got USR1 >> $RUN_MODE_FILE\" USR1; echo ready >> $RUN_MODE_FILE; \
                         while :; do sleep 0.01; done' & \
                  while :; do sleep 0.01; done";
    let mut stage = Stage::shell(script, SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.wait_for_text("ready");
    stage.forward(Signal::USR1);
    stage.wait_for_text("\ngot USR1");
    stage.wait_for_text("child got USR1");
}

#[test]
fn after_sigint_the_command_gets_sigterm_later() {
    let script = "trap 'sleep 0.2; echo INT >> $RUN_MODE_FILE; exit 9' INT; trap 'exit 8' TERM; \
                  echo ready > $RUN_MODE_FILE; while :; do sleep 0.01; done";
    let mut stage = Stage::shell(script, 60 * SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.wait_for_text("ready");
    stage.forward(Signal::INT);
    stage.end(LONG, true);
    assert_eq!(stage.report(), "ended 7 9");
}

#[test]
fn the_wardens_ignore_signals_while_the_command_runs() {
    let mut stage = Stage::shell(ENDS_ON_SIGTERM, 60 * SECOND);
    stage.lead(7, LONG);
    let pid = stage.started(7);
    stage.wait_for_text("ready");
    stage.signal(&[Part::OuterWarden, Part::Warden], Signal::TERM);
    stage.signal(&[Part::OuterWarden, Part::Warden], Signal::INT);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(stage.report(), "ended 7 9");
}
