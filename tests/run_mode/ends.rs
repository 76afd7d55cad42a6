//! How a command ends: with its claim, or when the candidate gives up its term.

use crate::stage::{Stage, Who};
use leader_elector::clock;
use rustix::process::Signal;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

/// Writes down that it was asked, and ends.
const POLITE: &str =
    "trap 'echo TERM >> $RUN_MODE_FILE; exit 9' TERM; echo ready > $RUN_MODE_FILE; while :; do sleep 0.01; done";

#[test]
fn without_a_renewal_it_is_asked_to_end_before_the_claim_does() {
    let mut stage = Stage::shell(POLITE, SECOND);
    let until = stage.lead(7, 3 * SECOND);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 9");
    assert!(clock::now() < until);
    stage.wait_for_text("TERM");
    stage.wait_for_end_of_all();
}

#[test]
fn without_a_renewal_one_that_ignores_that_is_killed_before_the_claim_ends() {
    for manner in ["stubborn", "forks"] {
        let mut stage = Stage::writer(manner, SECOND);
        let until = stage.lead(7, 3 * SECOND);
        stage.started(7);
        assert_eq!(stage.report(), "ended 7 137");
        assert!(clock::now() < until);
        stage.wait_for_end_of_all();
        assert!(stage.last_write() < until);
    }
}

#[test]
fn each_renewal_moves_the_end() {
    let mut stage = Stage::writer("polite", SECOND);
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
fn a_term_that_is_given_up_gives_it_the_time_to_end() {
    let mut stage = Stage::shell(POLITE, 60 * SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.wait_for_text("ready");
    stage.end(LONG, true);
    assert_eq!(stage.report(), "ended 7 9");
    assert_eq!(stage.report(), "idle");
}

#[test]
fn one_that_does_not_take_that_time_to_end_is_killed_after_it() {
    let mut stage = Stage::writer("forks", SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.wait_for_text("orphan");
    let began = clock::now();
    // While it ends the lock is renewed.
    stage.end(2 * SECOND, true);
    stage.end(LONG, true);
    assert_eq!(stage.report(), "ended 7 137");
    assert!(clock::now() >= began.saturating_add(SECOND));
    assert!(stage.command_processes().is_empty());
}

#[test]
fn a_claim_that_is_over_ends_it_at_once() {
    for graceful in [true, false] {
        let mut stage = Stage::writer("forks", 60 * SECOND);
        stage.lead(7, LONG);
        stage.started(7);
        stage.wait_for_text("orphan");
        stage.end(if graceful { Duration::ZERO } else { LONG }, graceful);
        assert_eq!(stage.report(), "ended 7 137");
        assert!(stage.command_processes().is_empty());
    }
}

#[test]
fn a_release_may_be_sent_when_nothing_is_left_and_nothing_can_begin() {
    let mut stage = Stage::shell("exit 3", 10 * SECOND);
    assert!(stage.is_idle());
    stage.lead(7, LONG);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 3");
    assert!(!stage.is_idle(), "it could be run again");
    stage.end(LONG, true);
    assert_eq!(stage.report(), "idle");
    assert!(stage.is_idle());
    // Nothing was begun in this term, for it would have had to end at once.
    stage.lead(8, SECOND);
    assert!(!stage.is_idle());
    stage.end(SECOND, true);
    assert_eq!(stage.report(), "idle");
}

#[test]
fn what_it_leaves_behind_ends_before_its_end_is_reported() {
    let mut stage = Stage::shell("setsid sleep 600 & sleep 600 & sleep 0.1; exit 4", 60 * SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 4");
    assert!(stage.command_processes().is_empty());
}

#[test]
fn what_it_leaves_behind_is_asked_to_end_once() {
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
fn one_that_forks_without_end_ends_in_time() {
    for again in ["sh", "setsid sh"] {
        // Each process writes the time, starts the next, and is gone.
        let hop = format!("read up idle < /proc/uptime; echo $up >> $RUN_MODE_FILE; {again} -c \"$0\" \"$0\" &");
        let argv = ["/bin/sh", "-c", "setsid sh -c \"$0\" \"$0\" & exec sleep 600", &hop].map(str::to_owned);
        let mut stage = Stage::with(&argv, SECOND, |_| {});
        let until = stage.lead(7, 3 * SECOND);
        stage.started(7);
        assert_eq!(stage.report(), "ended 7 143");
        assert!(clock::now() < until);
        assert!(stage.command_processes().is_empty());
        assert!(stage.file().lines().count() > 100);
    }
}

#[test]
fn one_that_is_stopped_ends_as_well() {
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
fn one_that_is_interrupted_is_not_asked_again_at_once() {
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
fn the_wardens_outlive_a_signal_to_all_until_their_work_is_done() {
    let mut stage = Stage::shell(POLITE, 60 * SECOND);
    stage.lead(7, LONG);
    let pid = stage.started(7);
    stage.wait_for_text("ready");
    stage.signal(&[Who::OuterWarden, Who::Warden], Signal::TERM);
    stage.signal(&[Who::OuterWarden, Who::Warden], Signal::INT);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(stage.report(), "ended 7 9");
}
