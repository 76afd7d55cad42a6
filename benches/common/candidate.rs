//! A candidate: its process, its HTTP port, and the kernel's counters of the process.

use super::program::Program;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A running candidate; killed when dropped.
pub struct Candidate {
    pub id: String,
    child: Child,
    port: HttpPort,
}

impl Candidate {
    /// Starts a candidate without waiting for it. `flags` name the API server and the election. If the variable `BENCH_LOGS`
    /// names a directory, the candidate's log is written to a file there.
    pub fn spawn(program: &Program, id: &str, flags: &[String]) -> Candidate {
        let address = unused_address();
        let mut command = program.command();
        command.arg(format!("--id={id}")).arg(format!("--http={address}")).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file(&program.name, id));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Candidate { id: id.to_owned(), child, port: HttpPort { address, connection: None } }
    }

    /// The leader that `/` names; empty if it names none, `None` without an answer.
    pub fn named_leader(&mut self) -> Option<String> {
        self.port.leader()
    }

    pub fn leads(&mut self) -> bool {
        self.named_leader().is_some_and(|name| name == self.id)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is a child that was not reaped");
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn wait_to_end(mut self) {
        let _ = self.child.wait();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32).expect("a process ID is greater than 0")
    }

    /// What the candidate's threads have used so far.
    pub fn usage(&self) -> ThreadUsage {
        ThreadUsage::of(self.child.id())
    }

    pub fn status_kb(&self, field: &str) -> u64 {
        proc_field(&format!("/proc/{}/status", self.child.id()), field).unwrap_or_default()
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel's counters of the threads of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadUsage {
    /// CPU time.
    pub cpu: Duration,
    /// Voluntary context switches: how often a thread blocked.
    pub waits: u64,
    pub threads: u64,
}

impl ThreadUsage {
    pub fn of(pid: u32) -> ThreadUsage {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.fold(ThreadUsage::default(), |sum, task| {
            let path = task.path();
            let times = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let nanos = times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default();
            let waits =
                proc_field(&path.join("status").display().to_string(), "voluntary_ctxt_switches").unwrap_or_default();
            ThreadUsage {
                cpu: sum.cpu + Duration::from_nanos(nanos),
                waits: sum.waits + waits,
                threads: sum.threads + 1,
            }
        })
    }

    pub fn since(self, earlier: ThreadUsage) -> ThreadUsage {
        ThreadUsage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waits: self.waits.saturating_sub(earlier.waits),
            threads: self.threads,
        }
    }
}

/// The CPU time of all threads of a process, including ended ones, in units of 10 ms (the kernel's ticks).
pub fn cpu_with_ended_threads(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name in parentheses, which may contain spaces. The third field follows it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A number in a file such as `/proc/…/status`, without its unit; none if the field is missing.
pub fn proc_field(path: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The HTTP port of a candidate, with a connection that is reused.
struct HttpPort {
    address: SocketAddr,
    connection: Option<TcpStream>,
}

impl HttpPort {
    fn leader(&mut self) -> Option<String> {
        // The server may have closed a reused connection, so try a new one then.
        for _ in 0..2 {
            let kept = self.connection.take();
            let was_kept = kept.is_some();
            let mut stream = kept.or_else(|| TcpStream::connect(self.address).ok())?;
            if let Some(leader) = get_leader(&mut stream) {
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

fn get_leader(stream: &mut TcpStream) -> Option<String> {
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: candidate\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    // The body is one JSON object without nested objects.
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

/// A loopback address that no other candidate has. Each has its own IP address, so its port is free.
fn unused_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let [_, a, b, c] = number.to_be_bytes();
    // The process ID tells benchmarks apart that run at the same time.
    let port = 20_000 + (std::process::id() % 10_000) as u16;
    (Ipv4Addr::new(127, 1 + a, b, c), port).into()
}

fn log_file(program: &str, id: &str) -> Stdio {
    let Some(dir) = std::env::var_os("BENCH_LOGS") else { return Stdio::null() };
    let path = std::path::Path::new(&dir).join(format!("{program}-{id}.log"));
    let file = fs::File::options().create(true).append(true).open(&path);
    file.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display())).into()
}
