//! Shows an election without Kubernetes: `cargo run --example demo`.
//!
//! Starts an in-memory API server and three candidates, each in a process of its own, and makes the leadership change
//! three times: by SIGTERM, by SIGKILL and by a pause. Then it runs until Ctrl-C, or exits if `--exit` is given.

use apiserver::{Options, Server};
use leader_elector::cli::{self, Environment, Invocation};
use leader_elector::logging::{self, output};
use leader_elector::run;
use leader_elector::signals::Signals;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A short lease, so that the demo takes only seconds.
const TTL: &str = "--ttl=2s";
const LEASE_RAN_OUT: &str = "the lease of 2 s had to run out";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("candidate") => candidate(args),
        Some("--exit") => demo(false),
        None => demo(true),
        Some(other) => {
            Err(format!("unknown argument {other:?}; --exit ends the demo after its three handovers").into())
        }
    }
}

/// Runs one candidate: the same as `leader-elector`, except that the process is killed when its parent ends.
fn candidate(mut args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let parent = args.next();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|pid| pid.to_string()) != parent {
        return Ok(()); // the parent ended before the line above took effect
    }
    let signals = Signals::register()?;
    let Invocation::Run(config) = cli::parse(args.map(Into::into), &Environment::read())? else { return Ok(()) };
    logging::start(&config.log);
    let outcome = run::run(config, signals);
    output::flush();
    outcome?;
    Ok(())
}

fn demo(keep_running: bool) -> Result<(), Box<dyn Error>> {
    let server = Server::start(Options::default())?;
    println!("In-memory API server:  {}", server.url());
    println!("Show the lock with:    kubectl --server={} get endpoints example -o yaml\n", server.url());
    let mut candidates = Vec::new();
    for n in 1..=3 {
        candidates.push(Candidate::start(&server.url(), &format!("candidate-{n}"))?);
    }
    for candidate in &candidates {
        println!("{} (process {}) is served at http://{}/", candidate.id, candidate.child.id(), candidate.address);
    }
    let leader = leader_of(&candidates, None)?;
    println!("\n{} leads: {}\n", candidates[leader].id, candidates[leader].ask()?);

    let leader = end_leader(&mut candidates, &server, leader, ("SIGTERM", Signal::TERM), "the lock was released")?;
    // The others cannot know that the leader is dead until its lease has run out.
    let leader = end_leader(&mut candidates, &server, leader, ("SIGKILL", Signal::KILL), LEASE_RAN_OUT)?;
    pause_leader(&candidates, leader)?;

    if keep_running {
        println!("\nThe three candidates keep running: query them, or kill one. Ctrl-C ends the demo.");
        loop {
            thread::park();
        }
    }
    Ok(())
}

/// Ends the leader by a signal, waits for the next one, and starts the old one again.
fn end_leader(
    candidates: &mut [Candidate],
    server: &Server,
    leader: usize,
    (how, signal): (&str, Signal),
    why: &str,
) -> Result<usize, Box<dyn Error>> {
    let since = Instant::now();
    candidates[leader].signal(signal)?;
    let next = leader_of(candidates, Some(leader))?;
    print_handover(how, candidates, leader, next, since, why);
    candidates[leader].restart(&server.url())?;
    Ok(next)
}

/// Pauses the leader until another one leads. When it runs again it cannot know that it was paused, but it must not say
/// that it leads.
fn pause_leader(candidates: &[Candidate], leader: usize) -> Result<(), Box<dyn Error>> {
    let since = Instant::now();
    candidates[leader].signal(Signal::STOP)?;
    let next = leader_of(candidates, Some(leader))?;
    print_handover("SIGSTOP", candidates, leader, next, since, LEASE_RAN_OUT);
    candidates[leader].signal(Signal::CONT)?;
    let (mut asked, resumed) = (0, Instant::now());
    while resumed.elapsed() < Duration::from_secs(1) {
        asked += 1;
        if candidates[leader].leads() {
            return Err(format!("{} names itself after its pause: there are two leaders", candidates[leader].id).into());
        }
    }
    println!("SIGCONT to {}: asked {asked} times in one second, it never named itself", candidates[leader].id);
    Ok(())
}

fn print_handover(how: &str, candidates: &[Candidate], old: usize, new: usize, since: Instant, why: &str) {
    let took = since.elapsed().as_secs_f64() * 1000.0;
    println!("{how} to {}: {} leads after {took:.1} ms; {why}", candidates[old].id, candidates[new].id);
}

/// The candidate that names itself, other than this one.
fn leader_of(candidates: &[Candidate], except: Option<usize>) -> Result<usize, Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let leads = |n: &usize| Some(*n) != except && candidates[*n].leads();
        if let Some(leader) = (0..candidates.len()).find(leads) {
            return Ok(leader);
        }
    }
    Err("nobody leads after 30 s".into())
}

struct Candidate {
    id: String,
    address: SocketAddr,
    child: Child,
}

impl Candidate {
    fn start(server: &str, id: &str) -> Result<Candidate, Box<dyn Error>> {
        // The port is free now; the candidate binds it a moment later.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Candidate::spawn(server, id, address)?;
        let candidate = Candidate { id: id.to_owned(), address, child };
        candidate.wait_until_served()?;
        Ok(candidate)
    }

    fn spawn(server: &str, id: &str, address: SocketAddr) -> Result<Child, Box<dyn Error>> {
        let args = [format!("--server={server}"), format!("--id={id}"), format!("--http={address}")];
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.arg("candidate").arg(std::process::id().to_string());
        command.args(["--election=example", TTL, "--log-level=error"]).args(args);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
    }

    fn restart(&mut self, server: &str) -> Result<(), Box<dyn Error>> {
        self.child.wait()?;
        self.child = Candidate::spawn(server, &self.id, self.address)?;
        self.wait_until_served()
    }

    fn wait_until_served(&self) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.ask().is_err() {
            if Instant::now() > deadline {
                return Err(format!("{} does not answer at {}", self.id, self.address).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("the process has no usable pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The body of `/`.
    fn ask(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        // The kernel accepts connections for a paused process too, but nothing answers them.
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    fn leads(&self) -> bool {
        self.ask().is_ok_and(|body| body == format!("{{\"name\":\"{}\"}}", self.id))
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
