//! The first signal asks, the second one stops the process.

use leader_elector::signals::Signals;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Set in the environment of a child.
const CHILD: &str = "CLI_SIGNALS_CHILD";

/// Not a test of its own: the process that the tests below send signals to.
#[test]
#[ignore = "run as a child by the other tests"]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // A test that never sends its second signal fails then, instead of waiting for ever.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(20));
        std::process::exit(99);
    });
    let signals = Signals::register().expect("register");
    say("registered");
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).expect("read");
    signals.run(|first| say(&format!("asked by {first}")));
}

fn say(what: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n> {what}").and_then(|()| stdout.flush()).expect("write");
}

struct Run {
    process: Child,
    said: std::io::Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start() -> Run {
        let mut process = Command::new(std::env::current_exe().expect("path"))
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut run = Run { process, said };
        run.wait_for("registered");
        run
    }

    fn wait_for(&mut self, what: &str) {
        let found = self.said.by_ref().any(|line| line.expect("read") == format!("> {what}"));
        assert!(found, "the child ended without saying {what:?}");
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("kill");
    }

    fn let_it_run(&mut self) {
        self.process.stdin.take().expect("piped").write_all(b"go\n").expect("write");
    }

    fn exit_code(mut self) -> Option<i32> {
        self.process.wait().expect("wait").code()
    }
}

#[test]
fn the_first_signal_asks_and_the_second_exits_with_its_code() {
    for (first, name, second, code) in [
        (Signal::TERM, "SIGTERM", Signal::TERM, 143),
        (Signal::TERM, "SIGTERM", Signal::INT, 130),
        (Signal::INT, "SIGINT", Signal::TERM, 143),
    ] {
        let mut run = Run::start();
        run.let_it_run();
        run.send(first);
        run.wait_for(&format!("asked by {name}"));
        run.send(second);
        assert_eq!(run.exit_code(), Some(code), "{first:?} then {second:?}");
    }
}

#[test]
fn a_signal_that_comes_before_anybody_waits_is_not_lost() {
    let mut run = Run::start();
    run.send(Signal::TERM);
    run.let_it_run();
    run.wait_for("asked by SIGTERM");
    run.send(Signal::INT);
    assert_eq!(run.exit_code(), Some(130));
}
