//! A server program that does not outlive the tests, however they end.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Runs the program until its own standard input is closed, which the death of the tests does too.
const KEEPER: &str = r#"log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!; read -r line; kill -KILL $!; wait $!"#;

/// How long a server may take until it answers: minutes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(180);

/// As much of a log as goes into an error.
const LAST_LINES: usize = 15;

/// A program that is started, killed and started again.
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    running: Mutex<Option<Process>>,
}

impl Program {
    pub(crate) fn new(path: &Path, arguments: &[String], log: &Path) -> Program {
        let running = Mutex::default();
        Program { path: path.to_owned(), arguments: arguments.to_owned(), log: log.to_owned(), running }
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(&self, is_ready: impl Fn() -> bool) -> io::Result<()> {
        *self.running() = Some(Process::start(&self.path, &self.arguments, &self.log)?);
        self.wait_until_ready(is_ready)
    }

    /// Waits until it is ready; an error if it has ended, or does not get ready.
    pub(crate) fn wait_until_ready(&self, is_ready: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready() {
            let is_running = self.running().as_ref().is_some_and(Process::is_running);
            if !is_running || Instant::now() > deadline {
                let what = if is_running { "is not ready in time" } else { "has ended" };
                return Err(io::Error::other(format!("it {what}; it logged:\n{}", self.last_lines())));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        drop(self.running().take());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = self.running().as_ref() {
            let _ = kill_process(process.pid, signal);
        }
    }

    /// Its number; none while it does not run.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running().as_ref().and_then(|process| process.pid.as_raw_nonzero().get().try_into().ok())
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_lines(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

/// A program that runs; killed when dropped.
struct Process {
    keeper: Child,
    pid: Pid,
}

impl Process {
    fn start(path: &Path, arguments: &[String], log: &Path) -> io::Result<Process> {
        if !path.is_file() {
            return Err(io::Error::other(format!("there is no program {}", path.display())));
        }
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(log)
            .arg(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // the shell tells how the program ended
            .spawn()?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other(format!("cannot start {}", path.display())))?;
        Ok(Process { keeper, pid })
    }

    /// What has ended has no program any more, even while it has a number.
    fn is_running(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid.as_raw_nonzero())).is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
