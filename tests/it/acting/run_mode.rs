//! Run mode: a command that runs only while its candidate leads.

use crate::common::lock::Lock;
use crate::common::{Elector, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A lease that is longer than the tests, and a long stop timeout.
const CALM: &str = "--ttl=60s --retry-period=100ms --stop-timeout=30s";

/// Writes a line when it gets SIGTERM, and exits with 7 when a file allows it.
const SLOW: &str = "trap 'echo asked >> $FILE; while [ ! -e $FILE.go ]; do sleep 0.01; done; exit 7' TERM; \
                    echo $LEADER_ELECTION_ID runs >> $FILE; while :; do sleep 0.01; done";

/// Ignores SIGTERM; writes the seconds since boot and the fencing token.
const STUBBORN: &str = "trap '' TERM; while :; do read up idle < /proc/uptime; \
                        echo $up $LEADER_ELECTION_FENCING_TOKEN >> $FILE; sleep 0.02; done";

/// A lock, and a file that the commands of its candidates write to.
struct Stage {
    lock: Lock,
    folder: PathBuf,
}

impl Stage {
    fn new() -> Stage {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("run-mode-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        Stage { lock: Lock::new("leases"), folder }
    }

    /// A candidate whose command is a shell script; `$FILE` is the path of the file.
    fn shell(&self, id: &str, flags: &[&str], script: &str) -> Elector {
        self.candidate(id, flags, &["/bin/sh", "-c", script])
    }

    fn candidate(&self, id: &str, flags: &[&str], command: &[&str]) -> Elector {
        let mut program = Elector::program();
        program.env("FILE", self.folder.join("file"));
        Elector::start_as(program, id, &self.lock.flags(&[flags, &["--"], command].concat()))
    }

    fn file(&self) -> String {
        fs::read_to_string(self.folder.join("file")).unwrap_or_default()
    }

    fn wait_for_text(&self, text: &str) {
        wait_until(text, || self.file().contains(text));
    }

    /// Allows a slow command to end.
    fn go(&self) {
        fs::write(self.folder.join("file.go"), "").unwrap();
    }

    /// The lines of a command that ignores SIGTERM: the time in hundredths of a second, and the term.
    fn lines(&self) -> Vec<(u64, u64)> {
        let number = |word: &str| word.replace('.', "").parse().unwrap();
        let line = |line: &str| line.split_once(' ').map(|(up, token)| (number(up), number(token)));
        self.file().lines().filter_map(line).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The hundredths of a second since boot.
fn uptime() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().replace('.', "").parse().unwrap()
}

/// The fencing tokens of the terms so far. The log has each twice: for the claim and for the command.
fn terms(elector: &Elector) -> Vec<u64> {
    let mut tokens = elector.fencing_tokens();
    tokens.dedup();
    tokens
}

fn candidacy(elector: &Elector) -> Value {
    let status: Value = serde_json::from_str(&elector.ask("/status").unwrap().1).unwrap();
    status["candidacy"].clone()
}

#[test]
fn a_command_runs_only_with_the_leader_and_gets_its_term() {
    let stage = Stage::new();
    let script = "echo $LEADER_ELECTION_NAMESPACE/$LEADER_ELECTION_NAME $LEADER_ELECTION_ID \
                  $LEADER_ELECTION_FENCING_TOKEN >> $FILE; exec sleep 600";
    let mut a = stage.shell("a", &[CALM], script);
    a.wait_to_lead();
    let b = stage.shell("b", &[CALM], script);
    b.wait_to_name("a");
    a.wait_for_log("the command runs as process");
    stage.wait_for_text("a");
    a.signal(Signal::TERM);
    stage.wait_for_text("b");
    b.wait_to_lead();
    let expected = format!("default/example a {}\ndefault/example b {}\n", terms(&a)[0], terms(&b)[0]);
    assert_eq!(stage.file(), expected);
    assert_eq!(a.wait_to_end().code(), Some(143), "its command was ended by SIGTERM: {}", a.log());
}

/// Checks that nobody leads while a slow command ends, and that the lock is renewed until then and released afterwards.
fn ends_before_the_release(
    lock: &str,
    flags: &[&str],
    end: impl FnOnce(&Stage, &Elector),
) -> (Stage, Elector, Elector) {
    let (stage, lock) = (Stage::new(), format!("--lock={lock}"));
    let a = stage.shell("a", &[&[CALM, &lock], flags].concat(), SLOW);
    a.wait_to_lead();
    stage.wait_for_text("a runs");
    let b = stage.shell("b", &[CALM, &lock], SLOW);
    b.wait_to_name("a");
    end(&stage, &a);
    stage.wait_for_text("asked");
    assert!(!a.leads(), "the claim ends first");
    let changes = stage.lock.version();
    stage.lock.wait("it is renewed", || stage.lock.version() > changes + 5);
    assert_eq!(stage.lock.holder(), "a");
    assert!(!b.leads() && !stage.file().contains("b runs"));
    stage.go();
    b.wait_to_lead();
    stage.wait_for_text("b runs");
    let holders: Vec<String> = stage.lock.changes().into_iter().map(|(_, holder)| holder).collect();
    assert!(holders.iter().any(String::is_empty), "by a release: {holders:?}");
    (stage, a, b)
}

#[test]
fn after_sigterm_the_lock_is_released_when_the_command_has_ended() {
    let (_stage, mut a, _b) = ends_before_the_release("leases", &[], |_, a| a.signal(Signal::TERM));
    assert_eq!(a.wait_to_end().code(), Some(7), "{}", a.log());
}

#[test]
fn two_locks_are_released_when_the_command_has_ended() {
    let (_stage, mut a, _b) = ends_before_the_release("endpointsleases", &[], |_, a| a.signal(Signal::TERM));
    assert_eq!(a.wait_to_end().code(), Some(7), "{}", a.log());
}

#[test]
fn a_leader_that_is_asked_to_step_down_releases_the_lock_when_the_command_has_ended() {
    let ask = |stage: &Stage, _: &Elector| {
        stage.lock.edit(|object| object["metadata"]["annotations"]["leader-elector/step-down"] = "a".into());
    };
    let (_stage, a, _b) = ends_before_the_release("leases", &[], ask);
    assert_eq!(candidacy(&a), "standing-back");
}

#[test]
fn an_unhealthy_leader_releases_the_lock_when_the_command_has_ended() {
    let application = TcpListener::bind("127.0.0.1:0").unwrap();
    let check = format!("--health-check=tcp://{}", application.local_addr().unwrap());
    let flags = [check.as_str(), "--health-interval=100ms", "--health-failures=2"];
    let (_stage, a, _b) = ends_before_the_release("leases", &flags, |_, _| drop(application));
    assert_eq!(candidacy(&a), "unhealthy");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_the_stop_timeout() {
    let stage = Stage::new();
    let mut a = stage.shell("a", &["--ttl=60s --stop-timeout=300ms"], STUBBORN);
    a.wait_to_lead();
    wait_until("it runs", || !stage.lines().is_empty());
    a.signal(Signal::TERM);
    assert_eq!(a.wait_to_end().code(), Some(137), "{}", a.log());
    assert_eq!(stage.lock.holder(), "");
    let (ended, lines) = (uptime(), stage.lines());
    assert!(lines.last().unwrap().0 <= ended);
    wait_until("the clock moves", || uptime() > ended + 5);
    assert_eq!(stage.lines().len(), lines.len(), "it is gone");
}

#[test]
fn without_renewals_the_command_ends_before_the_claim() {
    let stage = Stage::new();
    let a = stage.shell("a", &["--ttl=6s"], STUBBORN);
    a.wait_to_lead();
    wait_until("it runs", || !stage.lines().is_empty());
    stage.lock.server.down();
    let last_renewal = uptime();
    a.wait_for_log("the command has ended");
    assert!(!a.log().contains("told to leave"));
    // D is 4 s; the last renewal was sent before this moment.
    assert!(stage.lines().last().unwrap().0 <= last_renewal + 400);
    let lines = stage.lines().len();
    stage.lock.server.up();
    wait_until("it runs again", || stage.lines().len() > lines);
}

#[test]
fn a_command_stopped_because_of_a_missing_renewal_runs_again_after_a_renewal() {
    let stage = Stage::new();
    let script = "trap 'echo asked >> $FILE; exit 7' TERM; echo runs >> $FILE; while :; do sleep 0.01; done";
    let mut a = stage.shell("a", &["--ttl=15s --retry-period=100ms --stop-timeout=9s"], script);
    stage.wait_for_text("runs");
    stage.lock.server.down();
    stage.wait_for_text("asked");
    stage.lock.server.up();
    wait_until("it runs again", || stage.file() == "runs\nasked\nruns\n");
    assert!(!a.log().contains("ended by itself"), "{}", a.log());
    a.signal(Signal::TERM);
    assert_eq!(a.wait_to_end().code(), Some(7), "{}", a.log());
}

#[test]
fn a_command_that_ends_by_itself_ends_the_program_with_its_exit_code() {
    for (on_exit, script, code) in [(None, "exit 3", 3), (Some("--on-exit=release"), "kill -USR1 $$", 138)] {
        let stage = Stage::new();
        let flags: Vec<&str> = [CALM].into_iter().chain(on_exit).collect();
        let mut a = stage.shell("a", &flags, script);
        assert_eq!(a.wait_to_end().code(), Some(code), "{}", a.log());
        assert_eq!(stage.lock.holder(), "");
    }
}

#[test]
fn a_command_that_ends_by_itself_is_run_again_in_the_same_term() {
    let stage = Stage::new();
    let a = stage.shell("a", &[CALM, "--on-exit=restart"], "echo $LEADER_ELECTION_FENCING_TOKEN >> $FILE; exit 3");
    wait_until("it has run twice", || stage.file().lines().count() == 2);
    let token = terms(&a)[0].to_string();
    assert_eq!(stage.file().lines().collect::<Vec<_>>(), [&token, &token]);
    assert!(a.leads());
}

#[test]
fn a_candidate_whose_command_has_ended_stands_back_for_one_lease_and_leads_again() {
    let stage = Stage::new();
    let a = stage.shell("a", &["--ttl=3s --on-exit=standby"], "echo run >> $FILE; exit 3");
    a.wait_for_log("the command has ended; not standing for one lease");
    wait_until("it stands back", || candidacy(&a) == "standing-back");
    stage.lock.wait("the lock is released", || stage.lock.holder().is_empty());
    wait_until("it leads again", || terms(&a).len() == 2 && stage.file().lines().count() == 2);
}

#[test]
fn a_candidate_whose_command_cannot_be_started_releases_the_lock() {
    for (program, code) in [("/nonexistent", 127), ("/tmp", 126)] {
        let stage = Stage::new();
        let mut a = stage.candidate("a", &[CALM], &[program]);
        a.wait_for_log("leading leases");
        let b = stage.shell("b", &[CALM], "echo $LEADER_ELECTION_ID >> $FILE; exec sleep 600");
        assert_eq!(a.wait_to_end().code(), Some(code), "{}", a.log());
        assert!(a.log().contains("cannot start the command"), "{}", a.log());
        b.wait_to_lead();
        stage.wait_for_text("b");
    }
}

#[test]
fn other_signals_are_forwarded_to_the_command() {
    let stage = Stage::new();
    let names = ["HUP", "QUIT", "USR1", "USR2", "WINCH"];
    let traps: String = names.iter().map(|name| format!("trap 'echo got {name} >> $FILE' {name}; ")).collect();
    let a = stage.shell("a", &[CALM], &format!("{traps} echo ready >> $FILE; while :; do sleep 0.01; done"));
    stage.wait_for_text("ready");
    let signals = [Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::WINCH];
    for (name, signal) in names.iter().zip(signals) {
        a.signal(signal);
        stage.wait_for_text(&format!("got {name}"));
    }
    assert!(a.leads());
}

#[test]
fn sigint_reaches_the_command_and_ends_the_leadership() {
    let stage = Stage::new();
    let script = "trap 'echo got INT >> $FILE; exit 5' INT; echo ready >> $FILE; while :; do sleep 0.01; done";
    let mut a = stage.shell("a", &[CALM], script);
    stage.wait_for_text("ready");
    a.signal(Signal::INT);
    assert_eq!(a.wait_to_end().code(), Some(5), "{}", a.log());
    stage.wait_for_text("got INT");
    assert_eq!(stage.lock.holder(), "");
}

#[test]
fn a_second_signal_ends_the_program_and_the_wardens_end_the_command() {
    let stage = Stage::new();
    let mut a = stage.shell("a", &[CALM], SLOW);
    stage.wait_for_text("a runs");
    a.signal(Signal::TERM);
    stage.wait_for_text("asked");
    wait_until("it is gone", || {
        a.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(20));
        !a.is_running()
    });
    assert_eq!(a.wait_to_end().code(), Some(143), "{}", a.log());
    assert_eq!(stage.lock.holder(), "a", "the command may still run");
    stage.go();
}

#[test]
fn a_restart_under_the_same_name_waits_for_remaining_processes_of_the_command() {
    let stage = Stage::new();
    let flags = "--ttl=6s --stop-timeout=2s --retry-period=100ms";
    // A name that no other test on this machine uses, because each name has a socket in the network namespace.
    let id = format!("restarted-{}", std::process::id());
    let mut a = stage.shell(&id, &[flags], STUBBORN);
    a.wait_to_lead();
    wait_until("it runs", || !stage.lines().is_empty());
    a.signal(Signal::KILL);
    wait_until("it is dead", || !a.is_running());
    let _again = stage.shell(&id, &[flags], STUBBORN);
    let first = stage.lines()[0].1;
    // Long enough for another command to write something too.
    wait_until("it runs again", || stage.lines().iter().filter(|(_, token)| *token != first).count() > 10);
    let lines = stage.lines();
    let last_of_first = lines.iter().rposition(|(_, token)| *token == first).unwrap();
    assert!(lines[..=last_of_first].iter().all(|(_, token)| *token == first), "two commands at a time: {lines:?}");
}
