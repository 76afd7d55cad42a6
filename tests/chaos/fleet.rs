//! The processes under test, one run of one of them a life, and what a plan does to them.

use crate::common::cluster::ServiceAccount;
use crate::common::lock::Lock;
use crate::common::referee::{Answer, Referee};
use crate::common::{Elector, wait_until};
use crate::plan::{Cutting, Deed, LEASE, MEMBERS, Plan};
use apiserver::{Fault, Options, Rule, Server};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

/// More lives than a game has; each has a token of its own, by which the server knows its requests.
const MOST_PROCESSES: usize = 1000;
/// Whoever touches what is not the record.
const PERSON: &str = "person";
/// Asked of a process that stands still, to be answered at the first instant at which it can answer anything.
const QUESTIONS: usize = 6;

const NAMES: [&str; MEMBERS] = ["a", "b", "c"];

/// One run of one process.
pub struct Process {
    pub member: usize,
    /// Just before it was killed, no longer asked; or when it had ended.
    pub died: Option<Instant>,
    /// What it said of who leads.
    pub answers: Vec<Answer>,
    elector: Elector,
    referee: Option<Referee>,
    told_to_leave: bool,
    stands_still: bool,
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

/// As the server knows it.
fn user(process: usize) -> String {
    format!("process-{process}")
}

/// Which life a user is.
pub fn process_of(user: &str) -> Option<usize> {
    user.strip_prefix("process-")?.parse().ok()
}

pub struct Fleet {
    pub lock: Lock,
    pub start: Instant,
    pub processes: Vec<Process>,
    flags: Vec<String>,
    /// The life of each member, and an older one that another has taken the place of.
    current: [usize; MEMBERS],
    old: [Option<usize>; MEMBERS],
}

impl Fleet {
    pub fn new(plan: &Plan) -> Fleet {
        let users: Vec<String> = (0..MOST_PROCESSES).map(user).chain([PERSON.to_owned()]).collect();
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

    /// Does what is planned at its time, or as soon after as this machine can.
    pub fn play(&mut self, plan: &Plan) {
        for (at, deed) in &plan.deeds {
            thread::sleep((self.start + *at).saturating_duration_since(Instant::now()));
            println!("{:8.3} s {deed:?}", self.start.elapsed().as_secs_f64());
            self.perform(deed);
        }
        self.lock.server.clear_faults();
    }

    /// Waits until somebody leads and all agree on who.
    pub fn settle(&self) {
        let bodies = || self.current.map(|process| self.processes[process].elector.body());
        let agree = || {
            let bodies = bodies();
            let names_one = |member: usize| bodies[member] == format!("{{\"name\":\"{}\"}}", NAMES[member]);
            bodies.iter().all(|body| *body == bodies[0]) && (0..MEMBERS).any(names_one)
        };
        wait_until("somebody leads, and all agree on who", agree);
    }

    /// Tells all to leave, and waits until they have.
    pub fn leave(&mut self) {
        for member in 0..MEMBERS {
            self.terminate(member);
        }
        self.bury();
    }

    fn perform(&mut self, deed: &Deed) {
        let server = &self.lock.server;
        match *deed {
            Deed::Stop(member) => self.stop(member),
            Deed::Continue(member) => self.go_on(self.current[member]),
            Deed::Kill(member) => self.kill(self.current[member]),
            Deed::Terminate(member) => self.terminate(member),
            Deed::Start(member) => self.begin(member),
            Deed::Replace(member) => {
                self.old[member] = Some(self.current[member]);
                self.begin(member);
            }
            Deed::ContinueOld(member) => self.old[member].into_iter().for_each(|process| self.go_on(process)),
            Deed::KillOld(member) => self.old[member].take().into_iter().for_each(|process| self.kill(process)),
            Deed::Freeze => server.freeze(),
            Deed::Thaw => server.thaw(),
            Deed::Down => server.down(),
            Deed::Up => server.up(),
            Deed::Cut(Cutting::Plainly) => drop(server.cut_watches()),
            Deed::Cut(Cutting::MidLine) => drop(server.cut_watches_mid_line()),
            Deed::Cut(Cutting::Reset) => drop(server.reset_watches()),
            Deed::Cut(Cutting::Everything) => server.cut_connections(),
            Deed::Compact => server.compact(),
            Deed::Bump(by) => server.bump_resource_version(by),
            Deed::Touch(value) => self.touch(value),
            Deed::Fault(member, verbs, ref fault, times) => self.befall(member, verbs, fault.clone(), times),
        }
    }

    fn begin(&mut self, member: usize) {
        self.bury();
        let number = self.processes.len();
        assert!(number < MOST_PROCESSES);
        let account = ServiceAccount::new(&user(number), "");
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let flag = account.flag();
        let elector = self.lock.start(NAMES[member], &[&flags[..], &[&flag]].concat());
        let referee = Some(Referee::watch(&[&elector]));
        self.processes.push(Process {
            member,
            died: None,
            answers: Vec::new(),
            elector,
            referee,
            told_to_leave: false,
            stands_still: false,
            _account: account,
        });
        self.current[member] = number;
    }

    fn stop(&mut self, member: usize) {
        let process = &mut self.processes[self.current[member]];
        process.elector.signal(Signal::STOP);
        process.stands_still = true;
    }

    /// Asks it while it still stands still.
    fn go_on(&mut self, process: usize) {
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
        process.stands_still = false;
        for (asked, mut stream) in questions {
            let mut text = String::new();
            // It may be on its way out.
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
        process.elector.signal(Signal::TERM);
        process.told_to_leave = true;
    }

    /// Waits for all who are on their way out. Nobody may start before: their ports could be given to another, whose
    /// answers would be taken for theirs.
    fn bury(&mut self) {
        for number in 0..self.processes.len() {
            let process = &mut self.processes[number];
            if process.told_to_leave && !process.stands_still && process.died.is_none() {
                let status = process.elector.wait_to_end();
                assert!(status.success(), "{status}:\n{}", process.log());
                process.died = Some(Instant::now());
                self.stop_asking(number);
            }
        }
    }

    fn stop_asking(&mut self, process: usize) {
        let process = &mut self.processes[process];
        if let Some(referee) = process.referee.take() {
            process.answers.extend(referee.judge(&self.lock.server));
        }
    }

    /// In one step on the server: what a candidate writes meanwhile stays.
    fn touch(&self, value: u64) {
        let group = if self.lock.kind == "leases" { "/apis/coordination.k8s.io/v1" } else { "/api/v1" };
        let body = format!("{{\"metadata\":{{\"labels\":{{\"touched\":\"{value:x}\"}}}}}}");
        let request = format!(
            "PATCH {group}/namespaces/default/{}/example HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {PERSON}\r\nContent-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            self.lock.kind,
            body.len(),
        );
        let mut answer = String::new();
        let patched = TcpStream::connect(self.lock.server.addr()).and_then(|mut stream| {
            stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer))
        });
        patched.expect("the server is there");
        // Not found before anybody has created it.
        assert!(["HTTP/1.1 200", "HTTP/1.1 404"].iter().any(|head| answer.starts_with(head)), "{answer}");
    }

    fn befall(&self, member: usize, verbs: &'static [&'static str], fault: Fault, times: u32) {
        let victim = user(self.current[member]);
        let matches = move |request: &apiserver::RequestSeen| {
            verbs.contains(&request.verb) && request.user.as_deref() == Some(&victim)
        };
        self.lock.server.fault(matches, Some(times), fault);
    }
}
