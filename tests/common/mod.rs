//! Starts electors as processes, as users do, and queries them.

#![allow(dead_code)] // each test binary uses only a part

pub mod api_client;
pub mod claim_checker;
pub mod cluster;
pub mod deploy;
pub mod http;
pub mod kubeconfig;
pub mod kubectl;
pub mod lock;
pub mod scenarios;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for a condition before the test fails. Generous, because machines may be slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a leader named a, and a follower b.
pub fn leader_and_follower(start: impl Fn(&str) -> Elector) -> (Elector, Elector) {
    let a = start("a");
    a.wait_to_lead();
    let b = start("b");
    b.wait_to_name("a");
    (a, b)
}

/// The names of a process's threads; none if it has ended.
pub fn thread_names(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    tasks.flatten().filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

/// Waits until `condition` holds; panics with `what` if it does not within [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// An elector process; killed when dropped.
pub struct Elector {
    pub id: String,
    child: Child,
    stderr: Lines,
    stdout: Lines,
    address: Option<SocketAddr>,
}

impl Elector {
    /// The program under test, or the build of it that `LEADER_ELECTOR` names, without the environment variables that
    /// it reads.
    pub fn program() -> Command {
        let built = || env!("CARGO_BIN_EXE_leader-elector").into();
        let mut command = Command::new(std::env::var_os("LEADER_ELECTOR").unwrap_or_else(built));
        for name in ["RUST_LOG", "KUBECONFIG", "SSL_CERT_FILE", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            command.env_remove(name);
        }
        command.env("HOME", "/nonexistent");
        command
    }

    /// Starts an elector with `--id=ID`, a free port and these arguments, and waits until the port is served.
    pub fn start(id: &str, args: &[impl AsRef<OsStr>]) -> Elector {
        Elector::start_as(Elector::program(), id, args)
    }

    /// The same with another command, to which the elector's arguments are added.
    pub fn start_as(command: Command, id: &str, args: &[impl AsRef<OsStr>]) -> Elector {
        let mut elector = Elector::spawn(command, id, args);
        elector.wait_to_serve();
        elector
    }

    /// Waits until its port is served.
    pub fn wait_to_serve(&mut self) {
        if !eventually(|| self.stderr.find("serving http://").is_some()) {
            panic!("{} never served its port; it logged:\n{}", self.id, self.log());
        }
        let line = self.stderr.find("serving http://").unwrap_or_default();
        let address = line.split("http://").nth(1).unwrap_or_default().trim_end_matches('/');
        self.address = Some(address.parse().unwrap_or_else(|_| panic!("no address in {line:?}")));
    }

    /// Starts it without waiting.
    pub fn spawn(mut command: Command, id: &str, args: &[impl AsRef<OsStr>]) -> Elector {
        command.arg(format!("--id={id}")).arg("--http=127.0.0.1:0").arg("--election=example").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (stdout, stderr) = (Lines::of(child.stdout.take()), Lines::of(child.stderr.take()));
        Elector { id: id.to_owned(), child, stderr, stdout, address: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A field of /proc/PID/status, such as `VmRSS`; 0 if it is missing.
    pub fn memory_kb(&self, field: &str) -> u64 {
        memory_kb(self.pid(), field)
    }

    /// The address of its port.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the port is served")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// What it printed on stdout so far.
    pub fn printed(&self) -> String {
        self.stdout.text()
    }

    /// Waits for a line of the log that contains this text.
    pub fn wait_for_log(&self, text: &str) {
        let found = || self.stderr.find(text).is_some();
        if !eventually(found) {
            panic!("{} never logged {text:?}; it logged:\n{}", self.id, self.log());
        }
    }

    /// The fencing tokens of the terms in its log. The port names a new leader before the log does, so this waits for the
    /// log.
    pub fn fencing_tokens(&self) -> Vec<u64> {
        let is_logged = |log: &str| log.rfind("with the fencing token ") > log.rfind("no longer leading");
        wait_until("the log has the term", || is_logged(&self.log()) || !self.leads());
        let token = |line: &str| line.split("with the fencing token ").nth(1).and_then(|rest| rest.trim().parse().ok());
        self.log().lines().filter_map(token).collect()
    }

    /// GET: status and body. An error if the port cannot be reached or does not answer with HTTP.
    pub fn ask(&self, path: &str) -> std::io::Result<(u16, String)> {
        ask(self.address(), path)
    }

    /// The body of `/`.
    pub fn body(&self) -> String {
        self.ask("/").map(|(_, body)| body).unwrap_or_default()
    }

    /// Whether it names itself.
    pub fn leads(&self) -> bool {
        self.body() == format!("{{\"name\":\"{}\"}}", self.id)
    }

    /// Waits until it names itself.
    pub fn wait_to_lead(&self) {
        if !eventually(|| self.leads()) {
            panic!("{} never led; it logged:\n{}", self.id, self.log());
        }
    }

    /// Waits until `/` names this leader.
    pub fn wait_to_name(&self, leader: &str) {
        let body = format!("{{\"name\":\"{leader}\"}}");
        if !eventually(|| self.body() == body) {
            panic!("{} never named {leader:?} but {}; it logged:\n{}", self.id, self.body(), self.log());
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process has a number above 0");
        kill_process(pid, signal).expect("the process is ours, and was not waited for");
        if signal == Signal::STOP {
            // Until its threads have stopped it may still answer. This fails if the process has ended in the meantime.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT);
        }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The name and the state of each thread, and the function of the kernel in which it waits.
    fn threads(&self) -> String {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let line = |task: fs::DirEntry| {
            let status = read(task.path().join("status"));
            let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
            format!("{} {state} {}\n", read(task.path().join("comm")).trim_end(), read(task.path().join("wchan")))
        };
        tasks.map(line).collect()
    }

    /// Waits until it has ended.
    pub fn wait_to_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.stderr.wait_for_end();
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} never ended; its threads, their states and where they wait:\n{}it logged:\n{}",
                self.id,
                self.threads(),
                self.log()
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Elector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same for any process.
pub fn memory_kb(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// One GET on a new connection.
pub fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| std::io::Error::other(format!("no HTTP answer: {answer:?}")))
}

/// Collects the lines that a process prints.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Lines {
    fn of(stream: Option<impl Read + Send + 'static>) -> Lines {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&lines);
        let reader = stream.map(|stream| {
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    collected.lock().unwrap().push(line);
                }
            })
        });
        Lines { lines, reader }
    }

    fn find(&self, text: &str) -> Option<String> {
        self.lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until the process has closed the stream.
    fn wait_for_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
