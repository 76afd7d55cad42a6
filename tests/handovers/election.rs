//! Two candidates in run mode at an API server of their own, and what is done to the one that leads.

use crate::common::cluster::ServiceAccount;
use crate::common::lock::Lock;
use crate::common::{Elector, PATIENCE};
use crate::deeds::{Deed, Who};
use crate::terms::terms;
use crate::writer::{FILE, MANNER, MANNERS, argv};
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

/// More candidates than a game has; each has a token of its own, by which the server knows its requests.
const MOST_LIVES: usize = 10_000;
const PERSON: &str = "person";

/// One run of one elector.
struct Life {
    user: String,
    elector: Elector,
    healthy: Arc<AtomicBool>,
    _account: ServiceAccount,
}

pub struct Election {
    lock: Lock,
    folder: PathBuf,
    /// The first leads, as far as is known.
    lives: Vec<Life>,
    begun: usize,
    /// Up to where the file was read, and the token of the newest term in that.
    read: u64,
    newest: u64,
}

impl Election {
    pub fn new() -> Election {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("handovers-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        fs::create_dir_all(&folder).unwrap();
        let users = (0..MOST_LIVES).map(|life| format!("life-{life}")).chain([PERSON.to_owned()]);
        let tokens = users.map(|user| (user.clone(), user)).collect();
        let rules = vec![Rule::new("*", &["*"], "*")];
        // The harness looks at none of them.
        let few = Options { keep_changes: 1000, keep_requests: 10, watch_window: 1000, ..Options::default() };
        let server = Server::start(Options { tokens, rules, ..few }).expect("a port is free");
        let lock = Lock { server, kind: "leases" };
        // Names that no other election on this machine has: a name is known by a socket in the network namespace.
        let ids = ["a", "b"].map(|id| format!("{id}-{name}"));
        let mut election = Election { lock, folder, lives: Vec::new(), begun: 0, read: 0, newest: 0 };
        for id in &ids {
            let life = election.begin(id);
            election.lives.push(life);
        }
        election
    }

    /// Does this to the leader, waits for the command of the next term, and makes everything as it was before.
    pub fn hand_over(&mut self, deed: Deed) {
        self.wait_for_calm();
        let before = self.newest;
        let leader = self.lives.remove(0);
        match deed {
            Deed::Terminate(stopped) => self.replace(leader, before, Signal::TERM, stopped),
            Deed::Kill(stopped) => self.replace(leader, before, Signal::KILL, stopped),
            Deed::Restart => {
                let id = leader.elector.id.clone();
                leader.elector.signal(Signal::KILL);
                let restarted = self.begin(&id);
                self.wait_for_term_after(before);
                self.lives.push(restarted);
            }
            Deed::Stop(whom) => {
                let stopped = stop(&leader, whom);
                self.wait_for_term_after(before);
                go_on(&stopped);
                self.lives.push(leader);
            }
            Deed::KillWardens(whom) => {
                for pid in pids(&leader, whom) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                self.replace(leader, before, Signal::TERM, &[]);
            }
            Deed::CutOff(whom) => {
                let stopped = stop(&leader, whom);
                let user = leader.user.clone();
                let is_its = move |request: &apiserver::RequestSeen| request.user.as_deref() == Some(&user);
                let fault = self.lock.server.fault(is_its, None, Fault::HangRequest);
                self.wait_for_term_after(before);
                fault.remove();
                go_on(&stopped);
                self.lives.push(leader);
            }
            Deed::ServerDown => {
                self.lock.server.down();
                thread::sleep(LEASE);
                self.lock.server.up();
                self.wait_for_term_after(before);
                self.lives.push(leader);
            }
            Deed::Sick => {
                leader.healthy.store(false, Ordering::SeqCst);
                self.wait_for_term_after(before);
                leader.healthy.store(true, Ordering::SeqCst);
                self.lives.push(leader);
            }
            Deed::StepDown => {
                self.ask_to_step_down(&leader.elector.id);
                self.wait_for_term_after(before);
                self.lives.push(leader);
            }
        }
    }

    /// Ends the elector, and starts another one in its place.
    fn replace(&mut self, mut leader: Life, term: u64, signal: Signal, whom: &[Who]) {
        let stopped = stop(&leader, whom);
        leader.elector.signal(signal);
        self.wait_for_term_after(term);
        go_on(&stopped);
        leader.elector.wait_to_end();
        let life = self.begin(&leader.elector.id);
        self.lives.push(life);
    }

    /// Ends everything, and returns what was written.
    pub fn end(mut self) -> String {
        self.lives.iter().for_each(|life| life.elector.signal(Signal::TERM));
        for life in &mut self.lives {
            life.elector.wait_to_end();
        }
        fs::read_to_string(self.file()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.join("file")
    }

    fn begin(&mut self, id: &str) -> Life {
        let user = format!("life-{}", self.begun);
        let manner = MANNERS[self.begun % MANNERS.len()];
        self.begun += 1;
        assert!(self.begun <= MOST_LIVES);
        let account = ServiceAccount::new(&user, "");
        let healthy = Arc::new(AtomicBool::new(true));
        let check = format!("--health-check=http://{}/", application(&healthy));
        let (ttl, account_flag) = (format!("--ttl={}s", LEASE.as_secs()), account.flag());
        let health = ["--health-interval=100ms", "--health-timeout=5s", "--health-failures=2"];
        let more = [&[ttl.as_str(), &account_flag, &check], &health[..], &["--"]].concat();
        let mut args = self.lock.flags(&more);
        args.extend(argv());
        let mut command = Elector::program();
        command.env(FILE, self.file()).env(MANNER, manner);
        Life { user, elector: Elector::start_as(command, id, &args), healthy, _account: account }
    }

    /// Waits until one leads whose command runs, and the other stands behind it. The first leads then.
    fn wait_for_calm(&mut self) {
        let is_calm = |election: &mut Election| {
            let Some(leader) = election.lives.iter().position(|life| life.elector.leads()) else { return false };
            election.lives.swap(0, leader);
            let name = election.lives[0].elector.body();
            let token = election.lives[0].elector.fencing_tokens().last().copied();
            let stands = |life: &Life| {
                let status = life.elector.ask("/status").map(|(_, body)| body).unwrap_or_default();
                status.contains("\"candidacy\":\"standing\"") && life.elector.body() == name
            };
            token.is_some_and(|token| token == election.newest_term()) && election.lives.iter().all(stands)
        };
        let deadline = Instant::now() + PATIENCE;
        while !is_calm(self) {
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

    /// The token of the newest term that something was written in.
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

    /// As `kubectl annotate` does.
    fn ask_to_step_down(&self, holder: &str) {
        let body = format!("{{\"metadata\":{{\"annotations\":{{\"leader-elector/step-down\":\"{holder}\"}}}}}}");
        let request = format!(
            "PATCH /apis/coordination.k8s.io/v1/namespaces/default/leases/example HTTP/1.1\r\nHost: x\r\n\
             Connection: close\r\nAuthorization: Bearer {PERSON}\r\n\
             Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        let mut answer = String::new();
        let mut stream = TcpStream::connect(self.lock.server.addr()).unwrap();
        stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn logs(&self) -> String {
        self.lives.iter().map(|life| format!("--- {}\n{}\n", life.user, life.elector.log())).collect()
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An application with a health endpoint; its address.
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

/// Stops these of a leader, and returns who they are.
fn stop(leader: &Life, whom: &[Who]) -> Vec<Pid> {
    let pids = pids(leader, whom);
    for pid in &pids {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    pids
}

fn go_on(pids: &[Pid]) {
    for pid in pids {
        let _ = kill_process(*pid, Signal::CONT); // it may be gone by now
    }
}

/// The processes of a leader, whose command runs.
fn pids(leader: &Life, whom: &[Who]) -> Vec<Pid> {
    let elector = Pid::from_raw(leader.elector.pid().cast_signed()).unwrap();
    let mut found = vec![(Who::Elector, elector)];
    let part = |pid: Pid| fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
    let note = |process: leader_elector::processes::Process| match part(process.pid).split('\0').nth(1) {
        Some("--outer-warden") => found.push((Who::OuterWarden, process.pid)),
        Some("--warden") => found.push((Who::Warden, process.pid)),
        _ => {}
    };
    each_descendant(elector, &BTreeSet::new(), note).unwrap();
    let pid = |who: &Who| found.iter().find(|(it, _)| it == who).unwrap_or_else(|| panic!("no {who:?}")).1;
    whom.iter().map(pid).collect()
}
