//! A server process that is killed when the test process ends, even if that crashes.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A shell script that runs the program until the script's standard input is closed. The kernel closes it when the test
/// process dies.
const SUPERVISOR: &str =
    r#"log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!; read -r line; kill -KILL $!; wait $!"#;

/// How long a server may take until it answers, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// How many lines of the log an error message contains.
const LAST_LINES: usize = 15;

/// A program that can be started, killed and started again.
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

    /// Starts the program, and waits until it is ready.
    pub(crate) fn start(&self, is_ready: impl Fn() -> bool) -> io::Result<()> {
        *self.running() = Some(Process::start(&self.path, &self.arguments, &self.log)?);
        self.wait_until_ready(is_ready)
    }

    /// Waits until the program is ready. Returns an error if it ends first, or is not ready in time.
    pub(crate) fn wait_until_ready(&self, is_ready: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !is_ready() {
            let is_running = self.running().as_ref().is_some_and(Process::is_running);
            if !is_running || Instant::now() > deadline {
                let what = if is_running { "is not ready in time" } else { "has ended" };
                let message = format!("{} {what}; end of its log:\n{}", self.path.display(), self.last_lines());
                return Err(io::Error::other(message));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn kill(&self) {
        drop(self.running().take());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = self.running().as_ref() {
            let _ = kill_process(process.pid, signal);
        }
    }

    /// The process ID; `None` while it does not run.
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

/// A running program; killed when dropped.
struct Process {
    supervisor: Child,
    pid: Pid,
}

impl Process {
    fn start(path: &Path, arguments: &[String], log: &Path) -> io::Result<Process> {
        if !path.is_file() {
            return Err(io::Error::other(format!("the program {} does not exist", path.display())));
        }
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(log)
            .arg(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // the shell prints how the program ended
            .spawn()?;
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().expect("stdout is piped")).read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other(format!("cannot start {}", path.display())))?;
        Ok(Process { supervisor, pid })
    }

    /// A zombie counts as ended.
    fn is_running(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid.as_raw_nonzero())).is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}
