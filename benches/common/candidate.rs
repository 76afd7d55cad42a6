//! One candidate: a process, its port, and what the kernel says of it.

use super::program::Program;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Killed when dropped.
pub struct Candidate {
    pub id: String,
    child: Child,
    port: Port,
}

impl Candidate {
    /// Starts it, and waits for nothing. `flags` are those of the API server and of the election. Its log goes into a file
    /// in the folder `BENCH_LOGS`, if there is one.
    pub fn spawn(program: &Program, id: &str, flags: &[String]) -> Candidate {
        let address = unused_address();
        let mut command = program.command();
        command.arg(format!("--id={id}")).arg(format!("--http={address}")).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file(&program.name, id));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Candidate { id: id.to_owned(), child, port: Port { address, connection: None } }
    }

    /// Whom `/` names as the leader; empty for nobody, and none if there is no answer.
    pub fn names(&mut self) -> Option<String> {
        self.port.leader()
    }

    pub fn leads(&mut self) -> bool {
        self.names().is_some_and(|name| name == self.id)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process has a number above 0");
        kill_process(pid, signal).expect("the process is ours, and was not waited for");
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn wait_to_end(mut self) {
        let _ = self.child.wait();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it used so far.
    pub fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }

    pub fn status_kb(&self, field: &str) -> u64 {
        status_field(&format!("/proc/{}/status", self.child.id()), field)
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the threads of a process used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// On a processor.
    pub cpu: Duration,
    /// How often a thread gave the processor up to wait for something.
    pub waits: u64,
    pub threads: u64,
}

impl Usage {
    pub fn of(pid: u32) -> Usage {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.fold(Usage::default(), |sum, task| {
            let path = task.path();
            let times = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let nanos = times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default();
            let waits = status_field(&path.join("status").display().to_string(), "voluntary_ctxt_switches");
            Usage { cpu: sum.cpu + Duration::from_nanos(nanos), waits: sum.waits + waits, threads: sum.threads + 1 }
        })
    }

    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waits: self.waits.saturating_sub(earlier.waits),
            threads: self.threads,
        }
    }
}

/// The time on a processor of all threads that a process has or had, in the kernel's ticks of 10 ms.
pub fn cpu_with_ended_threads(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in brackets, may have spaces in it. After it come the fields from the third on.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A number in `/proc/…/status`, without its unit; 0 where there is none.
fn status_field(path: &str, field: &str) -> u64 {
    let status = fs::read_to_string(path).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The port of a candidate, asked on one connection.
struct Port {
    address: SocketAddr,
    connection: Option<TcpStream>,
}

impl Port {
    fn leader(&mut self) -> Option<String> {
        // A kept connection may have been closed.
        for _ in 0..2 {
            let kept = self.connection.take();
            let was_kept = kept.is_some();
            let mut stream = kept.or_else(|| TcpStream::connect(self.address).ok())?;
            if let Some(leader) = ask(&mut stream) {
                self.connection = Some(stream);
                return Some(leader);
            }
            if !was_kept {
                return None;
            }
        }
        None
    }
}

fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: candidate\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    // The body is one JSON object without another one in it.
    while !answer.ends_with(b"}") {
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => answer.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    }
    let text = String::from_utf8(answer).ok()?;
    let (_, body) = text.split_once("{\"name\":\"")?;
    body.strip_suffix("\"}").map(str::to_owned)
}

/// An address of this machine that no other candidate has: each has an IP address of its own, so no port is taken.
fn unused_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let [_, a, b, c] = number.to_be_bytes();
    // Benchmarks that run at the same time differ in their process number.
    let port = 20_000 + (std::process::id() % 10_000) as u16;
    (Ipv4Addr::new(127, 1 + a, b, c), port).into()
}

fn log_file(program: &str, id: &str) -> Stdio {
    let Some(folder) = std::env::var_os("BENCH_LOGS") else { return Stdio::null() };
    let path = std::path::Path::new(&folder).join(format!("{program}-{id}.log"));
    let file = fs::File::options().create(true).append(true).open(&path);
    file.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display())).into()
}
