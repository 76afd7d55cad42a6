//! The applications in `deploy/`, each with an elector as in a pod: only one works at a time.

use crate::common::cluster::{STEADY, elector};
use crate::common::deploy::{DEPLOY, is_there};
use crate::common::{Elector, wait_until};
use apiserver::{Options, Server};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

#[test]
fn the_node_application_works_in_one_pod_at_a_time() {
    if is_there("node", "--version") {
        hand_over_three_times("node", "app.js");
    }
}

#[test]
fn the_python_application_works_in_one_pod_at_a_time() {
    if is_there("python3", "--version") {
        hand_over_three_times("python3", "app.py");
    }
}

fn hand_over_three_times(program: &str, file: &str) {
    let server = Server::start(Options::default()).unwrap();
    let diary = Diary::new(file);
    let pod = |name: &str, more: &[&str]| Pod::start(&server, name, more, program, file, &diary);
    let mut a = pod("a", &[]);
    diary.wait_for("a", 2);
    let mut b = pod("b", &[]);
    b.elector.wait_to_name("a");

    // A native sidecar gets SIGTERM after the application has ended.
    a.signal_application(Signal::TERM);
    assert!(a.wait_for_application().success(), "{}", diary.text());
    assert!(diary.text().ends_with("a ends\n"), "{}", diary.text());
    a.elector.signal(Signal::TERM);
    diary.wait_for("b", 2);

    // Without an answer it does not work, and still ends on SIGTERM.
    let mut c = pod("c", &["--release-delay=2s"]);
    c.elector.wait_to_name("b");
    b.elector.signal(Signal::STOP);
    diary.wait_for("c", 20); // meanwhile the application of b asks several times
    b.signal_application(Signal::TERM);
    assert!(b.wait_for_application().success(), "{}", diary.text());

    // A plain sidecar gets SIGTERM at the same time.
    drop(b);
    let d = pod("d", &[]);
    d.elector.wait_to_name("c");
    c.elector.signal(Signal::TERM);
    c.signal_application(Signal::TERM);
    assert!(c.wait_for_application().success(), "{}", diary.text());
    diary.wait_for("d", 2);
    diary.judge(&["a", "b", "c", "d"]);
}

/// An elector and an application that asks it.
struct Pod {
    elector: Elector,
    application: Child,
}

impl Pod {
    fn start(server: &Server, name: &str, more: &[&str], program: &str, file: &str, diary: &Diary) -> Pod {
        let elector = elector(server, name, &[&[STEADY], more].concat());
        let mut command = Command::new(program);
        command.arg(format!("{DEPLOY}/{file}")).env("ELECTOR", format!("http://{}", elector.address()));
        command.env("HOSTNAME", name).stdin(Stdio::null()).stdout(diary.file.try_clone().unwrap());
        Pod { elector, application: command.spawn().unwrap() }
    }

    fn signal_application(&self, signal: Signal) {
        let pid = Pid::from_raw(self.application.id() as i32).expect("a process has a number above 0");
        kill_process(pid, signal).expect("the process is ours, and was not waited for");
    }

    fn wait_for_application(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the application ends", || {
            status = self.application.try_wait().unwrap();
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.application.kill();
        let _ = self.application.wait();
    }
}

/// The output of all applications in order: all append to one file.
struct Diary {
    path: PathBuf,
    file: File,
}

impl Diary {
    fn new(name: &str) -> Diary {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("diary-{}-{name}", std::process::id()));
        let file = File::options().append(true).create(true).open(&path).unwrap();
        Diary { path, file }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// Waits until this application has done a number of pieces of work.
    fn wait_for(&self, name: &str, pieces: usize) {
        let line = format!("{name} ends");
        wait_until(&line, || self.text().lines().filter(|it| *it == line).count() >= pieces);
    }

    /// Checks that each piece of work ended before the next began, and that these applications worked, each for one
    /// period.
    fn judge(&self, names: &[&str]) {
        let text = self.text();
        let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_once(' ').expect(line)).collect();
        for piece in lines.chunks(2) {
            let is_sound = match piece {
                [begin, end] => begin.1 == "begins" && *end == (begin.0, "ends"),
                [begin] => begin.1 == "begins",
                _ => false,
            };
            assert!(is_sound, "{piece:?} in\n{text}");
        }
        let mut workers: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        workers.dedup();
        assert_eq!(workers, names, "{text}");
    }
}

impl Drop for Diary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
