//! The processes under test, and the actions of a plan.

use crate::common::claim_checker::{Answer, ClaimChecker};
use crate::common::cluster::ServiceAccount;
use crate::common::lock::Lock;
use crate::common::{Elector, wait_until};
use crate::plan::{Action, CutMode, LEASE, MEMBERS, Plan};
use apiserver::{Fault, Options, Rule, Server};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

/// More processes than a run has. Each has a token of its own, by which the server recognises its requests.
const MOST_PROCESSES: usize = 1000;
/// The user that changes other fields of the lock.
const OTHER_CLIENT: &str = "other-client";
/// How many requests are sent to a paused process, so that it answers them as soon as it is resumed.
const QUESTIONS: usize = 6;

const NAMES: [&str; MEMBERS] = ["a", "b", "c"];

/// One process of one member. A member that is restarted is another process.
pub struct Process {
    pub member: usize,
    /// Just before it was killed, after the last request to it; or when it had ended.
    pub died: Option<Instant>,
    /// Its answers on `/`.
    pub answers: Vec<Answer>,
    elector: Elector,
    checker: Option<ClaimChecker>,
    /// When SIGTERM was sent to it.
    pub terminated: Option<Instant>,
    is_paused: bool,
    _account: ServiceAccount,
}

impl Process {
    pub fn name(member: usize) -> &'static str {
        NAMES[member]
    }

    pub fn log(&self) -> String {
        self.elector.log()
    }
}

/// The user name by which the server knows the process.
fn user(process: usize) -> String {
    format!("process-{process}")
}

/// The process of a user.
pub fn process_of(user: &str) -> Option<usize> {
    user.strip_prefix("process-")?.parse().ok()
}

pub struct Fleet {
    pub lock: Lock,
    pub start: Instant,
    pub processes: Vec<Process>,
    flags: Vec<String>,
    /// The current process of each member, and an older one that it has replaced.
    current: [usize; MEMBERS],
    old: [Option<usize>; MEMBERS],
}

impl Fleet {
    pub fn new(plan: &Plan) -> Fleet {
        let users: Vec<String> = (0..MOST_PROCESSES).map(user).chain([OTHER_CLIENT.to_owned()]).collect();
        let tokens = users.into_iter().map(|user| (user.clone(), user)).collect();
        let rules = vec![Rule::new("*", &["*"], "*")];
        let server = Server::start(Options { tokens, rules, ..Options::default() }).expect("a port is free");
        let lock = Lock { server, kind: plan.kind };
        let timing = [("ttl", LEASE), ("renew-deadline", plan.renew_deadline), ("retry-period", plan.retry_period)];
        let flags = timing.map(|(name, time)| format!("--{name}={}ms", time.as_millis()));
        let start = Instant::now();
        let mut fleet = Fleet {
            lock,
            start,
            processes: Vec::new(),
            flags: flags.to_vec(),
            current: [0; MEMBERS],
            old: [None; MEMBERS],
        };
        (0..MEMBERS).for_each(|member| fleet.begin(member));
        fleet
    }

    /// Carries out the actions at their times, or as soon after as this machine can.
    pub fn run(&mut self, plan: &Plan) {
        for (at, action) in &plan.actions {
            thread::sleep((self.start + *at).saturating_duration_since(Instant::now()));
            println!("{:8.3} s {action:?}", self.start.elapsed().as_secs_f64());
            self.perform(action);
        }
        self.lock.server.clear_faults();
    }

    /// Waits until one leads and all name it.
    pub fn wait_for_agreement(&self) {
        let bodies = || self.current.map(|process| self.processes[process].elector.body());
        let agree = || {
            let bodies = bodies();
            let names_one = |member: usize| bodies[member] == format!("{{\"name\":\"{}\"}}", NAMES[member]);
            bodies.iter().all(|body| *body == bodies[0]) && (0..MEMBERS).any(names_one)
        };
        wait_until("somebody leads, and all agree on who", agree);
    }

    /// Stops all members, and waits until they have ended.
    pub fn stop_all(&mut self) {
        for member in 0..MEMBERS {
            self.terminate(member);
        }
        self.wait_for_stopped();
    }

    fn perform(&mut self, action: &Action) {
        let server = &self.lock.server;
        match *action {
            Action::Stop(member) => self.stop(member),
            Action::Continue(member) => self.resume(self.current[member]),
            Action::Kill(member) => self.kill(self.current[member]),
            Action::Terminate(member) => self.terminate(member),
            Action::Start(member) => self.begin(member),
            Action::Replace(member) => {
                self.old[member] = Some(self.current[member]);
                self.begin(member);
            }
            Action::ContinueOld(member) => self.old[member].into_iter().for_each(|process| self.resume(process)),
            Action::KillOld(member) => self.old[member].take().into_iter().for_each(|process| self.kill(process)),
            Action::Freeze => server.freeze(),
            Action::Thaw => server.thaw(),
            Action::Down => server.down(),
            Action::Up => server.up(),
            Action::Cut(CutMode::Plainly) => drop(server.cut_watches()),
            Action::Cut(CutMode::MidLine) => drop(server.cut_watches_mid_line()),
            Action::Cut(CutMode::Reset) => drop(server.reset_watches()),
            Action::Cut(CutMode::Everything) => server.cut_connections(),
            Action::Compact => server.compact(),
            Action::Bump(by) => server.bump_resource_version(by),
            Action::Touch(value) => self.touch(value),
            Action::Fault(member, verbs, ref fault, times) => self.inject(member, verbs, fault.clone(), times),
        }
    }

    fn begin(&mut self, member: usize) {
        self.wait_for_stopped();
        let number = self.processes.len();
        assert!(number < MOST_PROCESSES);
        let account = ServiceAccount::new(&user(number), "");
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let flag = account.flag();
        let elector = self.lock.start(NAMES[member], &[&flags[..], &[&flag]].concat());
        let checker = Some(ClaimChecker::start(&[&elector]));
        self.processes.push(Process {
            member,
            died: None,
            answers: Vec::new(),
            elector,
            checker,
            terminated: None,
            is_paused: false,
            _account: account,
        });
        self.current[member] = number;
    }

    fn stop(&mut self, member: usize) {
        let process = &mut self.processes[self.current[member]];
        process.elector.signal(Signal::STOP);
        process.is_paused = true;
    }

    /// Sends requests to the paused process, and resumes it.
    fn resume(&mut self, process: usize) {
        let process = &mut self.processes[process];
        let ask = |_| {
            let asked = Instant::now();
            let mut stream = TcpStream::connect_timeout(&process.elector.address(), Duration::from_secs(5)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
            Some((asked, stream))
        };
        let questions: Vec<_> = (0..QUESTIONS).filter_map(ask).collect();
        process.elector.signal(Signal::CONT);
        process.is_paused = false;
        for (asked, mut stream) in questions {
            let mut text = String::new();
            // It may be about to exit.
            if let (Ok(_), Some((_, body))) = (stream.read_to_string(&mut text), text.split_once("\r\n\r\n")) {
                let (id, body) = (process.elector.id.clone(), body.to_owned());
                process.answers.push(Answer { id, asked, answered: Instant::now(), body });
            }
        }
    }

    fn kill(&mut self, process: usize) {
        self.stop_asking(process);
        let process = &mut self.processes[process];
        process.died = Some(Instant::now());
        process.elector.signal(Signal::KILL);
        let status = process.elector.wait_to_end();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it ended by itself:\n{}", process.log());
    }

    fn terminate(&mut self, member: usize) {
        let process = &mut self.processes[self.current[member]];
        process.terminated.get_or_insert_with(Instant::now);
        process.elector.signal(Signal::TERM);
    }

    /// Waits for all processes that are stopping. No process may start before: it could get the port of one of them,
    /// and its answers would be taken for the other's.
    fn wait_for_stopped(&mut self) {
        for number in 0..self.processes.len() {
            let process = &mut self.processes[number];
            if process.terminated.is_some() && !process.is_paused && process.died.is_none() {
                let status = process.elector.wait_to_end();
                assert!(status.success(), "{status}:\n{}", process.log());
                process.died = Some(Instant::now());
                self.stop_asking(number);
            }
        }
    }

    fn stop_asking(&mut self, process: usize) {
        let process = &mut self.processes[process];
        if let Some(checker) = process.checker.take() {
            process.answers.extend(checker.check(&self.lock.server));
        }
    }

    /// By one PATCH, so that a write of a candidate at the same time is kept.
    fn touch(&self, value: u64) {
        let group = if self.lock.kind == "leases" { "/apis/coordination.k8s.io/v1" } else { "/api/v1" };
        let body = format!("{{\"metadata\":{{\"labels\":{{\"touched\":\"{value:x}\"}}}}}}");
        let request = format!(
            "PATCH {group}/namespaces/default/{}/example HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {OTHER_CLIENT}\r\nContent-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            self.lock.kind,
            body.len(),
        );
        let mut answer = String::new();
        let patched = TcpStream::connect(self.lock.server.addr()).and_then(|mut stream| {
            stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer))
        });
        patched.expect("the server is there");
        // 404 before a candidate has created it.
        assert!(["HTTP/1.1 200", "HTTP/1.1 404"].iter().any(|head| answer.starts_with(head)), "{answer}");
    }

    fn inject(&self, member: usize, verbs: &'static [&'static str], fault: Fault, times: u32) {
        let victim = user(self.current[member]);
        let matches = move |request: &apiserver::RequestSeen| {
            verbs.contains(&request.verb) && request.user.as_deref() == Some(&victim)
        };
        self.lock.server.fault(matches, Some(times), fault);
    }
}
