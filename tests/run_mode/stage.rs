//! One elector process with its wardens and its command, and the file that the command writes.

use crate::common::{PATIENCE, wait_until};
use crate::parts::{self, ARGV, BEHAVIOUR, CONTROL, FILE, IDENTITY, STOP_TIMEOUT};
use leader_elector::clock;
use leader_elector::time::Time;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A process that enforces the deadline of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Elector,
    OuterWarden,
    Warden,
}

pub struct Stage {
    pub dir: PathBuf,
    identity: String,
    elector: Child,
    control: BufReader<UnixStream>,
}

impl Stage {
    /// An elector with a command that writes the time, with this behaviour (see [`parts::command`]).
    pub fn writer(behaviour: &str, stop_timeout: Duration) -> Stage {
        Stage::with(&parts::argv("command"), stop_timeout, |command| {
            command.env(BEHAVIOUR, behaviour).stdin(Stdio::null());
        })
    }

    /// An elector with a shell script; `$RUN_MODE_FILE` is a file to write to.
    pub fn shell(script: &str, stop_timeout: Duration) -> Stage {
        Stage::with(&["/bin/sh", "-c", script].map(str::to_owned), stop_timeout, |command| {
            command.stdin(Stdio::null());
        })
    }

    /// An elector with a command that keeps forking, besides a first process that ends on SIGTERM. Each process writes
    /// the time, starts the next one with `again`, and ends.
    pub fn forking(again: &str, stop_timeout: Duration) -> Stage {
        let hop = format!("read up idle < /proc/uptime; echo $up >> $RUN_MODE_FILE; {again} -c \"$0\" \"$0\" &");
        let argv = ["/bin/sh", "-c", "setsid sh -c \"$0\" \"$0\" & exec sleep 600", &hop].map(str::to_owned);
        Stage::with(&argv, stop_timeout, |_| {})
    }

    pub fn with(argv: &[String], stop_timeout: Duration, adapt: impl FnOnce(&mut Command)) -> Stage {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let identity = format!("run-mode-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&identity);
        fs::create_dir_all(&dir).unwrap();
        let socket = dir.join("control");
        let listener = UnixListener::bind(&socket).unwrap();
        let part = parts::argv("elector");
        let mut command = Command::new(&part[0]);
        command.args(&part[1..]).stdout(Stdio::null());
        command.env(CONTROL, &socket).env(ARGV, argv.join("\n")).env(IDENTITY, &identity);
        command.env(STOP_TIMEOUT, stop_timeout.as_millis().to_string()).env(FILE, dir.join("file"));
        adapt(&mut command);
        let elector = command.spawn().unwrap();
        let control = listener.accept().unwrap().0;
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        Stage { dir, identity, elector, control: BufReader::new(control) }
    }

    fn tell(&self, line: &str) {
        writeln!(self.control.get_ref(), "{line}").unwrap();
    }

    /// Tells the elector that it leads for this time from now on, and returns until when.
    pub fn lead(&self, token: u64, time: Duration) -> Time {
        let until = clock::now().saturating_add(time);
        self.tell(&format!("lead {token} {}", until.uptime().as_nanos()));
        until
    }

    /// Tells the elector that its claim has ended, and that the command must end within this time.
    pub fn end(&self, time: Duration, graceful: bool) -> Time {
        let until = clock::now().saturating_add(time);
        self.tell(&format!("end {} {}", until.uptime().as_nanos(), u8::from(graceful)));
        until
    }

    pub fn forward(&self, signal: Signal) {
        self.tell(&format!("signal {}", signal.as_raw()));
    }

    pub fn restart(&self) {
        self.tell("restart");
    }

    pub fn is_idle(&mut self) -> bool {
        self.tell("idle?");
        self.report() == "yes"
    }

    /// Makes the elector start `count` children and wait for them. Returns how many exit codes were right.
    pub fn children(&mut self, count: usize) -> usize {
        self.tell(&format!("children {count}"));
        self.report().strip_prefix("statuses ").unwrap().parse().unwrap()
    }

    /// The next report.
    pub fn report(&mut self) -> String {
        let mut line = String::new();
        if let Err(error) = self.control.read_line(&mut line) {
            let left = self.processes().into_iter().map(|process| proc(process.pid, "stat"));
            panic!("no report in time: {error}; these processes are left:\n{}", left.collect::<String>());
        }
        line.trim_end().to_owned()
    }

    /// Waits for the report that the command of this term runs, and returns its pid.
    pub fn started(&mut self, token: u64) -> Pid {
        let report = self.report();
        let pid = report.strip_prefix(&format!("started {token} ")).unwrap_or_else(|| panic!("it says {report:?}"));
        Pid::from_raw(pid.parse().unwrap()).unwrap()
    }

    pub fn has(&self, part: Part) -> bool {
        self.find(part).is_some()
    }

    pub fn pid(&self, part: Part) -> Pid {
        self.find(part).unwrap_or_else(|| panic!("there is no {part:?}"))
    }

    fn find(&self, part: Part) -> Option<Pid> {
        let find = |part: &str| {
            self.processes()
                .into_iter()
                .find(|process| process.part.as_deref() == Some(part))
                .map(|process| process.pid)
        };
        match part {
            Part::Elector => Pid::from_raw(self.elector.id().cast_signed()),
            Part::OuterWarden => find("--outer-warden"),
            Part::Warden => find("--warden"),
        }
    }

    /// Sends a signal to all of these parts at almost the same time.
    pub fn signal(&self, parts: &[Part], signal: Signal) {
        let pids: Vec<Pid> = parts.iter().map(|part| self.pid(*part)).collect();
        for pid in pids {
            match kill_process(pid, signal) {
                Ok(()) | Err(Errno::SRCH) => {} // it may have ended because another part was killed
                Err(error) => panic!("{signal:?} to {pid:?}: {error}"),
            }
        }
    }

    /// The wardens, the command, and everything that the command has started.
    fn processes(&self) -> Vec<Process> {
        let mark = format!("LEADER_ELECTION_ID={}", self.identity);
        let of_this = |pid| {
            // In this order: a process that ends in between has no environment any more.
            let part = proc(pid, "cmdline").split('\0').nth(1).map(str::to_owned);
            proc(pid, "environ").split('\0').any(|variable| variable == mark).then_some(Process { pid, part })
        };
        all_processes().into_iter().filter_map(of_this).collect()
    }

    /// The same without the wardens.
    pub fn command_processes(&self) -> Vec<Pid> {
        let is_warden = |process: &Process| process.part.as_ref().is_some_and(|part| part.ends_with("-warden"));
        self.processes().into_iter().filter(|process| !is_warden(process)).map(|process| process.pid).collect()
    }

    pub fn wait_for_end_of_command(&self) {
        wait_until("nothing is left of the command", || self.command_processes().is_empty());
    }

    /// Waits until nothing of it is left, wardens included.
    pub fn wait_for_end_of_all(&self) {
        wait_until("nothing is left", || self.processes().is_empty());
    }

    pub fn file(&self) -> String {
        fs::read_to_string(self.dir.join("file")).unwrap_or_default()
    }

    pub fn wait_for_text(&self, text: &str) {
        wait_until(text, || self.file().contains(text));
    }

    /// The last time that the command has written.
    pub fn last_write(&self) -> Time {
        let file = self.file();
        let line = file.lines().last().expect("it has written something");
        Time::after_boot(Duration::from_nanos(line.split(' ').next().unwrap().parse().unwrap()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.elector.kill();
        let _ = self.elector.wait();
        // Repeat: without wardens nobody else ends processes that have just been started.
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            for process in processes {
                let _ = kill_process(process.pid, Signal::KILL);
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Process {
    pid: Pid,
    /// Its first argument, which says which part of run mode it is.
    part: Option<String>,
}

pub fn all_processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter_map(|name| name.to_str()?.parse().ok()).filter_map(Pid::from_raw).collect()
}

/// A file of a process in /proc; empty if the process has ended.
pub fn proc(pid: Pid, file: &str) -> String {
    let path = Path::new("/proc").join(pid.as_raw_pid().to_string()).join(file);
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
