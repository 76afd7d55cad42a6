//! Two candidates in run mode with an API server of their own, and the actions on the leader.

use crate::actions::{Action, Part};
use crate::common::cluster::ServiceAccount;
use crate::common::lock::Lock;
use crate::common::{Elector, PATIENCE};
use crate::terms::terms;
use crate::writer::{BEHAVIOUR, BEHAVIOURS, FILE, argv};
use apiserver::{Fault, Options, Rule, Server};
use leader_elector::processes::each_descendant;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// L; D is 2 s, R 600 ms, the stop timeout 667 ms.
const LEASE: Duration = Duration::from_secs(3);

/// More candidates than a test starts. Each has a token of its own, by which the server recognises its requests.
const MOST_CANDIDATES: usize = 10_000;
const OTHER_CLIENT: &str = "person";

/// One elector process.
struct Candidate {
    user: String,
    elector: Elector,
    healthy: Arc<AtomicBool>,
    _account: ServiceAccount,
}

pub struct Election {
    lock: Lock,
    folder: PathBuf,
    /// The first one leads, as far as is known.
    candidates: Vec<Candidate>,
    started: usize,
    /// Up to where the file was read, and the token of the newest term before that.
    read: u64,
    newest: u64,
}

impl Election {
    pub fn new() -> Election {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("handovers-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        fs::create_dir_all(&folder).unwrap();
        let users =
            (0..MOST_CANDIDATES).map(|candidate| format!("candidate-{candidate}")).chain([OTHER_CLIENT.to_owned()]);
        let tokens = users.map(|user| (user.clone(), user)).collect();
        let rules = vec![Rule::new("*", &["*"], "*")];
        // The test reads none of these.
        let few = Options { keep_changes: 1000, keep_requests: 10, watch_window: 1000, ..Options::default() };
        let server = Server::start(Options { tokens, rules, ..few }).expect("a port is free");
        let lock = Lock { server, kind: "leases" };
        // Names that no other election on this machine has, because each name has a socket in the network namespace.
        let ids = ["a", "b"].map(|id| format!("{id}-{name}"));
        let mut election = Election { lock, folder, candidates: Vec::new(), started: 0, read: 0, newest: 0 };
        for id in &ids {
            let candidate = election.start(id);
            election.candidates.push(candidate);
        }
        election
    }

    /// Carries out the action, waits for the command of the next term, and restores two candidates.
    pub fn hand_over(&mut self, action: Action) {
        self.wait_for_standby();
        let before = self.newest;
        let leader = self.candidates.remove(0);
        match action {
            Action::Terminate(stopped) => self.replace(leader, before, Signal::TERM, stopped),
            Action::Kill(stopped) => self.replace(leader, before, Signal::KILL, stopped),
            Action::Restart => {
                let id = leader.elector.id.clone();
                leader.elector.signal(Signal::KILL);
                let restarted = self.start(&id);
                self.wait_for_term_after(before);
                self.candidates.push(restarted);
            }
            Action::Stop(parts) => {
                let stopped = stop(&leader, parts);
                self.wait_for_term_after(before);
                resume(&stopped);
                self.candidates.push(leader);
            }
            Action::KillWardens(parts) => {
                for pid in pids(&leader, parts) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                self.replace(leader, before, Signal::TERM, &[]);
            }
            Action::CutOff(parts) => {
                let stopped = stop(&leader, parts);
                let user = leader.user.clone();
                let is_its = move |request: &apiserver::RequestSeen| request.user.as_deref() == Some(&user);
                let fault = self.lock.server.fault(is_its, None, Fault::HangRequest);
                self.wait_for_term_after(before);
                fault.remove();
                resume(&stopped);
                self.candidates.push(leader);
            }
            Action::ServerDown => {
                self.lock.server.down();
                thread::sleep(LEASE);
                self.lock.server.up();
                self.wait_for_term_after(before);
                self.candidates.push(leader);
            }
            Action::Unhealthy => {
                leader.healthy.store(false, Ordering::SeqCst);
                self.wait_for_term_after(before);
                leader.healthy.store(true, Ordering::SeqCst);
                self.candidates.push(leader);
            }
            Action::StepDown => {
                self.ask_to_step_down(&leader.elector.id);
                self.wait_for_term_after(before);
                self.candidates.push(leader);
            }
        }
    }

    /// Ends the elector by a signal, and starts another one in its place.
    fn replace(&mut self, mut leader: Candidate, term: u64, signal: Signal, parts: &[Part]) {
        let stopped = stop(&leader, parts);
        leader.elector.signal(signal);
        self.wait_for_term_after(term);
        resume(&stopped);
        leader.elector.wait_to_end();
        let candidate = self.start(&leader.elector.id);
        self.candidates.push(candidate);
    }

    /// Ends everything, and returns what the commands wrote.
    pub fn end(mut self) -> String {
        self.candidates.iter().for_each(|candidate| candidate.elector.signal(Signal::TERM));
        for candidate in &mut self.candidates {
            candidate.elector.wait_to_end();
        }
        fs::read_to_string(self.file()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.join("file")
    }

    fn start(&mut self, id: &str) -> Candidate {
        let user = format!("candidate-{}", self.started);
        let behaviour = BEHAVIOURS[self.started % BEHAVIOURS.len()];
        self.started += 1;
        assert!(self.started <= MOST_CANDIDATES);
        let account = ServiceAccount::new(&user, "");
        let healthy = Arc::new(AtomicBool::new(true));
        let check = format!("--health-check=http://{}/", application(&healthy));
        let (ttl, account_flag) = (format!("--ttl={}s", LEASE.as_secs()), account.flag());
        let health = ["--health-interval=100ms", "--health-timeout=5s", "--health-failures=2"];
        let more = [&[ttl.as_str(), &account_flag, &check], &health[..], &["--"]].concat();
        let mut args = self.lock.flags(&more);
        args.extend(argv());
        let mut command = Elector::program();
        command.env(FILE, self.file()).env(BEHAVIOUR, behaviour);
        Candidate { user, elector: Elector::start_as(command, id, &args), healthy, _account: account }
    }

    /// Waits until one candidate leads and its command runs, and the other one is ready to take over. The first one
    /// leads then.
    fn wait_for_standby(&mut self) {
        let is_ready = |election: &mut Election| {
            let Some(leader) = election.candidates.iter().position(|candidate| candidate.elector.leads()) else {
                return false;
            };
            election.candidates.swap(0, leader);
            let name = election.candidates[0].elector.body();
            let token = election.candidates[0].elector.fencing_tokens().last().copied();
            let stands = |candidate: &Candidate| {
                let status = candidate.elector.ask("/status").map(|(_, body)| body).unwrap_or_default();
                status.contains("\"candidacy\":\"standing\"") && candidate.elector.body() == name
            };
            token.is_some_and(|token| token == election.newest_term()) && election.candidates.iter().all(stands)
        };
        let deadline = Instant::now() + PATIENCE;
        while !is_ready(self) {
            assert!(Instant::now() < deadline, "nobody leads; they logged:\n{}", self.logs());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the command of a later term has written something.
    fn wait_for_term_after(&mut self, before: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.newest_term() <= before {
            assert!(Instant::now() < deadline, "no term after {before}; they logged:\n{}", self.logs());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The token of the newest term whose command has written something.
    fn newest_term(&mut self) -> u64 {
        let mut new = String::new();
        if let Ok(mut file) = File::open(self.file()) {
            file.seek(SeekFrom::Start(self.read)).unwrap();
            file.read_to_string(&mut new).unwrap();
        }
        let whole = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        self.read += whole.len() as u64;
        let newest = terms(whole).last().map_or(0, |term| term.fencing_token);
        self.newest = self.newest.max(newest);
        self.newest
    }

    /// Sets the annotation, as `kubectl annotate` does.
    fn ask_to_step_down(&self, holder: &str) {
        let body = format!("{{\"metadata\":{{\"annotations\":{{\"leader-elector/step-down\":\"{holder}\"}}}}}}");
        let request = format!(
            "PATCH /apis/coordination.k8s.io/v1/namespaces/default/leases/example HTTP/1.1\r\nHost: x\r\n\
             Connection: close\r\nAuthorization: Bearer {OTHER_CLIENT}\r\n\
             Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        let mut answer = String::new();
        let mut stream = TcpStream::connect(self.lock.server.addr()).unwrap();
        stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn logs(&self) -> String {
        self.candidates
            .iter()
            .map(|candidate| format!("--- {}\n{}\n", candidate.user, candidate.elector.log()))
            .collect()
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts an application with a health endpoint, and returns its address.
fn application(healthy: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, healthy) = (listener.local_addr().unwrap(), Arc::clone(healthy));
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 1000]);
            let status = if healthy.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

/// Sends SIGSTOP to these parts of a leader, and returns their pids.
fn stop(leader: &Candidate, parts: &[Part]) -> Vec<Pid> {
    let pids = pids(leader, parts);
    for pid in &pids {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    pids
}

fn resume(pids: &[Pid]) {
    for pid in pids {
        let _ = kill_process(*pid, Signal::CONT); // it may have ended
    }
}

/// The pids of these parts of a leader, whose command runs.
fn pids(leader: &Candidate, parts: &[Part]) -> Vec<Pid> {
    let elector = Pid::from_raw(leader.elector.pid().cast_signed()).unwrap();
    let mut found = vec![(Part::Elector, elector)];
    let part = |pid: Pid| fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
    let note = |process: leader_elector::processes::Process| match part(process.pid).split('\0').nth(1) {
        Some("--outer-warden") => found.push((Part::OuterWarden, process.pid)),
        Some("--warden") => found.push((Part::Warden, process.pid)),
        _ => {}
    };
    each_descendant(elector, &BTreeSet::new(), note).unwrap();
    let pid = |part: &Part| found.iter().find(|(it, _)| it == part).unwrap_or_else(|| panic!("no {part:?}")).1;
    parts.iter().map(pid).collect()
}
