//! A warden: a process that ensures that the whole command has ended before the claim ends, whatever happens to the
//! elector. There are two, one the child of the other, and the command is the child of the inner one.

use super::schedule::{Layer, Schedule, Step, end_of_work};
use super::socket::{Heard, Message, WardenSocket};
use super::{AGAIN, BEGIN, THIS_PROGRAM, WARDEN};
use crate::clock::{self, Timer};
use crate::processes::{Process, each_descendant};
use crate::time::Time;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// If all processes get a signal (from a service manager, for example), the wardens must survive until their work is
/// done. These signals are handled instead of ignored, because children inherit ignored signals.
const SURVIVED: [i32; 7] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM];

/// Runs a warden until no process of the command is left.
pub(super) fn run(layer: Layer, argv: &[OsString]) -> io::Result<()> {
    let name = if layer == Layer::Outer { c"outer-warden" } else { c"warden" };
    let _ = rustix::thread::set_name(name); // what ps shows; without it, "exe"
    for signal in SURVIVED {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    // When its parent dies, a warden must act, even if it was stopped. The end of the socket tells it so.
    set_parent_process_death_signal(Some(Signal::CONT))?;
    set_child_subreaper(Some(getpid()))?;
    let child_ended = child_ended()?;
    let socket = WardenSocket::of_stdin()?;
    let (Message::Begin { until, stop_timeout }, Some(file)) = socket.wait()? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let schedule = Schedule::new(layer, until, stop_timeout);
    let started = match layer {
        Layer::Outer => start_inner(argv, file).map(|child| (child, None)),
        // This process may have been paused since it was started.
        _ if clock::now() >= end_of_work(until, stop_timeout) => {
            return socket.send(Message::Ended { status: Signal::TERM.as_raw(), asked: true }, None);
        }
        _ => start_command(argv, file).map(|(child, socket)| (child, Some(socket))),
    };
    let (child, begin) = match started {
        Ok(started) => started,
        Err(error) => {
            socket.send(Message::cannot_start(&error), None)?;
            return Err(error);
        }
    };
    if layer == Layer::Outer {
        // It has closed its copy of the inner warden's socket.
        let _ = socket.send(Message::Started { pid: child.as_raw_pid() }, None); // the elector may be dead
    }
    let group_asked = false;
    let warden =
        Warden { layer, schedule, socket: Some(socket), child, begin, started: false, status: None, group_asked };
    warden.watch(&child_ended)
}

/// A stream that is readable when a child of this process has ended or stopped.
pub(super) fn child_ended() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, writer)?;
    Ok(reader)
}

/// Empties a non-blocking stream.
pub(super) fn drain(mut stream: &UnixStream) {
    while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
}

/// Starts this program as another part, in a process group of its own, so that stopping the elector's group does not
/// stop the wardens.
pub(super) fn in_part(program: &Path, role: &str, argv: &[OsString], stdin: OwnedFd) -> Command {
    let mut command = Command::new(program);
    command.arg0("leader-elector").arg(role).args(argv).stdin(Stdio::from(stdin)).process_group(0);
    command
}

fn start_inner(argv: &[OsString], socket: OwnedFd) -> io::Result<Pid> {
    pid(in_part(Path::new(THIS_PROGRAM), WARDEN, argv, socket).spawn()?.id())
}

fn start_command(argv: &[OsString], stdin: OwnedFd) -> io::Result<(Pid, WardenSocket)> {
    let (socket, theirs) = WardenSocket::pair()?;
    let child = pid(in_part(Path::new(THIS_PROGRAM), BEGIN, argv, theirs).spawn()?.id())?;
    socket.send(Message::Parent(getpid().as_raw_pid()), Some(stdin.as_fd()))?;
    Ok((child, socket))
}

fn pid(number: u32) -> io::Result<Pid> {
    Pid::from_raw(number.cast_signed()).ok_or(io::ErrorKind::InvalidData.into())
}

struct Warden {
    layer: Layer,
    schedule: Schedule,
    /// The socket to the elector; `None` after that has died.
    socket: Option<WardenSocket>,
    /// The inner warden, or the command. Its pid is also that of its process group.
    child: Pid,
    /// The socket to the process that becomes the command, until it has.
    begin: Option<WardenSocket>,
    started: bool,
    /// The wait status of the child, after it has ended.
    status: Option<i32>,
    /// The command's process group got SIGTERM or SIGKILL.
    group_asked: bool,
}

impl Warden {
    fn watch(mut self, child_ended: &UnixStream) -> io::Result<()> {
        let timer = Timer::new()?;
        loop {
            self.hear_elector();
            self.hear_begin();
            drain(child_ended);
            if self.reap() {
                break;
            }
            let now = clock::now();
            timer.set(self.act(now))?;
            let mut fds = vec![PollFd::new(child_ended, PollFlags::IN), PollFd::new(&timer, PollFlags::IN)];
            fds.extend(
                [&self.socket, &self.begin].into_iter().flatten().map(|socket| PollFd::new(socket, PollFlags::IN)),
            );
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.say(Message::Ended { status: self.status.unwrap_or_default(), asked: self.group_asked });
        Ok(())
    }

    /// Does everything that is due, and returns when to call this again.
    fn act(&mut self, now: Time) -> Time {
        let step = self.schedule.step(now);
        if step == Step::Ask {
            self.ask();
        }
        match self.schedule.step(now) {
            Step::Wait(at) => at,
            Step::Ask | Step::Kill => {
                self.kill();
                now.saturating_add(AGAIN)
            }
        }
    }

    /// Sends SIGTERM to the command, or to the processes that it left behind. No process gets it twice, because many
    /// programs exit at once on a second signal.
    fn ask(&mut self) {
        if self.layer == Layer::Outer {
            return; // the inner warden does this
        }
        let signals = [Signal::TERM, Signal::CONT]; // SIGCONT, because a stopped process handles no other signal
        if self.status.is_none() {
            for signal in signals {
                let _ = kill_process_group(self.child, signal);
            }
            self.group_asked = true;
            return;
        }
        let asked = self.group_asked.then_some(self.child.as_raw_pid());
        each(|process| {
            for signal in signals.into_iter().filter(|_| Some(process.group) != asked) {
                let _ = kill_process(process.pid, signal);
            }
        });
    }

    fn kill(&mut self) {
        if self.status.is_none() {
            self.group_asked = true;
            // All at once, so that none has the time to start another process.
            let _ = kill_process_group(self.child, Signal::KILL);
        }
        each(|process| {
            let _ = kill_process(process.pid, Signal::KILL); // it has ended, or may not be killed
        });
    }

    /// Processes the messages of the elector, and its death.
    fn hear_elector(&mut self) {
        let now = clock::now();
        while let Some(socket) = &self.socket {
            match socket.hear() {
                Ok(Heard::Nothing) => return,
                Ok(Heard::Message(Message::Leading { until }, _)) => self.schedule.renew(until),
                Ok(Heard::Message(Message::End { until, graceful }, _)) => self.schedule.end(until, graceful, now),
                Ok(Heard::Message(Message::Signal(signal), _)) => self.pass_on(signal),
                Ok(Heard::Message(..)) => {}
                Ok(Heard::End) | Err(_) => {
                    self.socket = None;
                    self.schedule.end_unrenewed(now);
                }
            }
        }
    }

    fn pass_on(&mut self, signal: i32) {
        self.hear_begin(); // the command may be running already
        if let Some(signal) = Signal::from_named_raw(signal).filter(|_| self.started && self.status.is_none()) {
            if signal == Signal::INT {
                self.schedule.interrupted();
            }
            let _ = kill_process_group(self.child, signal);
        }
    }

    /// Notes whether the command has been started.
    fn hear_begin(&mut self) {
        let Some(begin) = &self.begin else { return };
        let said = match begin.hear() {
            Ok(Heard::Nothing) => return,
            Ok(Heard::Message(message, _)) => message,
            Ok(Heard::End) | Err(_) => Message::Started { pid: self.child.as_raw_pid() },
        };
        self.begin = None;
        self.started = true;
        self.say(said);
    }

    fn say(&self, message: Message) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(message, None); // the elector may be dead
        }
    }

    /// Reaps children that have ended; `true` if there are none left, and so no descendants.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.child => self.child_has_ended(status.as_raw()),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn child_has_ended(&mut self, status: i32) {
        self.hear_begin();
        self.status = Some(status);
        let now = clock::now();
        match self.layer {
            Layer::Outer => self.schedule.take_over(now), // it leaves no process behind, unless it was killed
            _ => self.schedule.ask_anew(now),
        }
    }
}

/// Calls `visit` with each descendant of this process.
fn each(act: impl FnMut(Process)) {
    // A process that is missed now is found the next time.
    let _ = each_descendant(getpid(), &BTreeSet::new(), act);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    #[test]
    fn a_signal_reaches_a_command_that_has_just_been_started() {
        let (elector, socket) = WardenSocket::both();
        let (begin, command_end) = WardenSocket::pair().unwrap();
        let mut command = Command::new("sleep").arg("30").process_group(0).spawn().unwrap();
        let mut warden = Warden {
            layer: Layer::Inner,
            schedule: Schedule::new(Layer::Inner, Time::MAX, Duration::ZERO),
            socket: Some(socket),
            child: pid(command.id()).unwrap(),
            begin: Some(begin),
            started: false,
            status: None,
            group_asked: false,
        };
        drop(command_end); // the command runs, and this warden has not noticed it yet
        // Another test may be starting a process, which has a copy of that end for a moment.
        poll(&mut [PollFd::new(warden.begin.as_ref().unwrap(), PollFlags::IN)], None).unwrap();
        elector.send(Message::Signal(SIGUSR1), None).unwrap();
        warden.hear_elector();
        assert_eq!(command.wait().unwrap().signal(), Some(SIGUSR1));
    }
}
