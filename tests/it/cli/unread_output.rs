//! If nobody reads the output, or it is closed, only lines of output are lost.

use crate::common::kubeconfig::{Dir, config};
use crate::common::lock::{Lock, NEVER, transitions_of};
use crate::common::{Elector, PATIENCE, thread_names, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

/// A process, killed when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Process {
        Process(command.stdin(Stdio::null()).spawn().expect("the program is there"))
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it runs");
    }

    /// The exit code when it has ended.
    fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("it ends", || {
            status = self.0.try_wait().expect("it is ours");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pipe whose buffer is full, and its other end, which nobody reads.
fn full() -> (Stdio, UnixStream) {
    let (mut write, read) = UnixStream::pair().expect("sockets");
    write.set_nonblocking(true).expect("a socket");
    while write.write(&[b' '; 4096]).is_ok() {}
    while write.write(b" ").is_ok() {}
    write.set_nonblocking(false).expect("a socket");
    (OwnedFd::from(write).into(), read)
}

/// A pipe whose other end is closed.
fn broken() -> Stdio {
    let (_, write) = std::io::pipe().expect("a pipe");
    write.into()
}

/// With 50 renewals a second, the log at debug level soon fills the queue of lines too.
const BUSY: [&str; 4] = ["--ttl=30s", "--renew-deadline=20s", "--retry-period=20ms", "--log-level=debug"];

#[test]
fn an_unread_log_does_not_block_the_election() {
    let lock = Lock::new("endpoints");
    let ((stdout, _out), (stderr, _err)) = (full(), full());
    let mut leader = Process::start(lock.command("a", &BUSY).stdout(stdout).stderr(stderr));
    lock.wait("it leads", || lock.holder() == "a");
    lock.wait_for_changes(200);
    assert_eq!((lock.holder().as_str(), transitions_of(&lock.record())), ("a", 0));
    assert_eq!(terminated(&lock, &mut leader), Some(0));
}

/// The last lines are waited for. Meanwhile nothing may begin.
#[test]
fn after_sigterm_during_the_start_nothing_is_sent_although_the_log_is_unread() {
    let (lock, dir) = (Lock::new("leases"), Dir::new());
    lock.put_record(&lock.peer("", 1, "2026-01-01T00:00:00.000000Z"));
    let pipe = dir.pipe("config");
    let (stderr, _err) = full();
    let mut program = Elector::program();
    program.args(["--election=example", "--lock=leases", "--http=", &format!("--kubeconfig={pipe}")]);
    let mut process = Process::start(program.stdout(Stdio::null()).stderr(stderr));
    let has_thread = |name: &str| thread_names(process.0.id()).iter().any(|it| it == name);
    wait_until("it waits for signals", || has_thread("signals"));
    process.terminate();
    wait_until("it logs the signal", || has_thread("output"));
    let config = config(json!({"server": lock.server.url()}), json!({"token": "secret"}));
    // Opened like this, it does not wait for the program, which may have ended.
    let mut pipe = File::options().read(true).write(true).open(pipe).expect("the pipe is there");
    pipe.write_all(config.to_string().as_bytes()).expect("there is room");
    drop(pipe);
    assert_eq!(process.ends(), Some(0));
    assert_eq!(lock.server.requests().len(), 0);
}

#[test]
fn closed_output_does_not_stop_the_election() {
    let lock = Lock::new("leases");
    let mut leader = Process::start(lock.command("a", &BUSY).stdout(broken()).stderr(broken()));
    lock.wait("it leads", || lock.holder() == "a");
    lock.wait_for_changes(50);
    assert_eq!(terminated(&lock, &mut leader), Some(0));
}

/// The exit code after SIGTERM, when the lock has been released.
fn terminated(lock: &Lock, process: &mut Process) -> Option<i32> {
    process.terminate();
    let code = process.ends();
    assert_eq!(lock.holder(), "", "it was not released");
    code
}

#[test]
fn output_that_was_never_open_does_not_stop_the_election() {
    let lock = Lock::new("configmaps");
    let elector = lock.command("a", &[NEVER]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"]).arg(elector.get_program()).args(elector.get_args());
    let mut leader = Process::start(&mut shell);
    lock.wait("it leads", || lock.holder() == "a");
    assert_eq!(terminated(&lock, &mut leader), Some(0));
}

#[test]
fn the_leader_is_printed_although_nobody_reads_the_log() {
    let lock = Lock::new("endpoints");
    let (stderr, _err) = full();
    let mut process = lock.command("a", &[NEVER]).stdout(Stdio::piped()).stderr(stderr).spawn().expect("it starts");
    let stdout = process.stdout.take().expect("piped");
    let _leader = Process(process);
    let (line, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut first = String::new();
        let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut first);
        let _ = line.send(first);
    });
    assert_eq!(lines.recv_timeout(PATIENCE).as_deref(), Ok("a is the leader\n"));
}

#[test]
fn usage_errors_help_and_version_have_the_same_exit_codes_with_closed_output() {
    for (args, code) in [(["--bogus"].as_slice(), 2), (&["--help"], 0), (&["--version"], 0)] {
        let program = Elector::program;
        for closed in [true, false] {
            let ((full_out, _out), (full_err, _err)) = (full(), full());
            let (stdout, stderr) = if closed { (broken(), broken()) } else { (full_out, full_err) };
            let mut process = Process::start(program().args(args).stdout(stdout).stderr(stderr));
            assert_eq!(process.ends(), Some(code), "{args:?}");
        }
    }
}
