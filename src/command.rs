//! Runs a command only while this candidate leads: it starts after the claim has begun, and has ended by F.
//!
//! This module knows nothing about the election. [`CommandRunner::tell`] informs it of each term, each renewal and each
//! end.
//!
//! # Who stops the command
//!
//! A process cannot end a command while it is itself stopped. So three processes enforce the deadline. Each has its own
//! timer on the boot-time clock, and kills the whole command when the deadline passes:
//!
//! ```text
//!   elector ──── outer warden ──── warden ──── command ──── what that starts
//!      │  └─ deadlines ─┘             │
//!      └───────── deadlines ──────────┘
//! ```
//!
//! Both wardens run this program's binary. Each has one thread, and is the child subreaper of its descendants: a
//! process that the command leaves behind, in whatever session or group, becomes its child, so the warden finds and
//! kills it. The elector informs each warden of each renewal on a separate socket, so neither waits for the other.
//!
//! With a claim until F, and S for the stop timeout:
//!
//! | when | who | what |
//! |---|---|---|
//! | F − S | warden | SIGTERM to the command's process group |
//! | F − 400 ms | warden | SIGKILL to everything below it, until nothing is left |
//! | F − 300 ms | outer warden | the same, its warden included |
//! | F − 200 ms | elector | the same, the outer warden included |
//!
//! On a voluntary end ([`Leadership::Ended`] with time left) the command gets SIGTERM at once, and SIGKILL S later, but
//! not later than in the table. If the command exits and leaves processes behind, those get SIGTERM and SIGKILL in the
//! same way.
//!
//! # What happens if one of them is killed or stopped
//!
//! | what happens | what follows |
//! |---|---|
//! | elector killed, or ended by a second signal | if it is the first process of a container, the kernel kills all others; otherwise both wardens see the end of their sockets: SIGTERM at once, SIGKILL after S or at F − 400 ms |
//! | elector stopped, hung, or cut off | there is no renewal: see the table above |
//! | outer warden killed | the warden becomes a child of the elector, which makes it end the command as on a voluntary end |
//! | outer warden stopped | the others act; before it has started the warden, there is no command |
//! | warden killed | the kernel kills the command too (parent-death signal); what the command started becomes a child of the outer warden, which kills it at once |
//! | warden killed, outer warden stopped | the kernel kills the command; the elector kills the rest 200 ms later |
//! | warden stopped | the outer warden kills everything S after a voluntary end, at F − 300 ms at the latest |
//! | elector and outer warden killed | the warden sees the end of its socket |
//! | elector and outer warden stopped | the warden acts at the deadline |
//! | elector stopped, warden killed | the outer warden kills the rest at once |
//! | elector killed, a warden stopped | the kernel resumes a stopped outer warden (its parent-death signal is SIGCONT); one of the two acts |
//! | both wardens killed | the kernel kills the command; the elector kills the processes that it left behind. It also kills all other children of its own that no code waits for, because it cannot distinguish them |
//! | elector killed, both wardens stopped | the kernel resumes the outer warden, which acts |
//! | both wardens stopped | the elector kills everything at F − 200 ms |
//! | all three killed | the kernel kills the command itself, and everything else if the elector was the first process of its container. Otherwise **processes that the command started keep running** |
//! | elector stopped, both wardens killed | the kernel kills the command itself; **processes that it started keep running** until the elector is resumed |
//! | all three stopped | **the command keeps running**, unless it is stopped too (a frozen container, a paused machine). Then, after all are resumed, it may run after F for a moment until a warden acts |
//!
//! Use the fencing token to cover the last three cases.
//!
//! # What it cannot do
//!
//! - Kill a descendant that has changed its user by a setuid program. The command counts as running until that process
//!   ends.
//! - Make the kernel kill a command with its warden if the command gains rights or changes its user (setuid,
//!   `su-exec`), because the kernel then clears the parent-death signal. The command is then killed like the processes
//!   that it starts.
//! - End work of other programs, such as a container or a service that the command asked for.
//! - Kill a process that waits in the kernel for a device (state D) at once: it dies when the device answers.
//! - Pass on a terminal: the command is in a background process group, and is stopped when it reads from the terminal.

mod begin;
mod running_command;
mod schedule;
mod socket;
mod supervisor;
mod warden;

use crate::leadership::Leadership;
use crate::threads;
use rustix::event::{EventfdFlags, eventfd};
use schedule::Layer;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use supervisor::Supervisor;

pub use schedule::KILL_MARGIN;

/// The first argument of this program when it is the outer warden or the warden, or becomes the command. Not for users.
const OUTER_WARDEN: &str = "--outer-warden";
const WARDEN: &str = "--warden";
const BEGIN: &str = "--begin";

/// How soon to look again for remaining processes after a kill, or for orphans if that was not possible.
const AGAIN: Duration = Duration::from_millis(2);

/// The program of the wardens: the running binary, even if its file has been replaced.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct CommandSpec {
    /// The program, looked up in `PATH` as in a shell, and its arguments; not empty.
    pub argv: Vec<OsString>,
    /// The program of the wardens: [`THIS_PROGRAM`].
    pub program: PathBuf,
    /// `LEADER_ELECTION_NAME` of the command.
    pub election: String,
    /// `LEADER_ELECTION_NAMESPACE`.
    pub namespace: String,
    /// `LEADER_ELECTION_ID`.
    pub identity: String,
    /// How long it has between SIGTERM and SIGKILL. Without renewals this is the last part of the claim, including the
    /// [`KILL_MARGIN`].
    pub stop_timeout: Duration,
}

/// The settings of run mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMode {
    /// The program, looked up in `PATH` as in a shell, and its arguments; not empty.
    pub argv: Vec<String>,
    /// See [`CommandSpec::stop_timeout`].
    pub stop_timeout: Duration,
    pub on_exit: OnExit,
}

/// What to do when the command exits by itself while this candidate leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExit {
    /// Release the lock, and exit with the exit code of the command.
    #[default]
    Release,
    /// Run the command again.
    Restart,
    /// Release the lock and leave it to others for one lease; then this candidate stands again.
    Standby,
}

/// A report about the command.
#[derive(Debug)]
pub enum CommandReport {
    /// It runs. `LEADER_ELECTION_FENCING_TOKEN` is this token; `pid` is also the number of its process group.
    Started { fencing_token: u64, pid: u32 },
    /// It has ended, and everything that it started has ended. A command whose end was not seen counts as killed.
    /// `asked`: it had been asked to end, or was not started because it was too late.
    Ended { fencing_token: u64, status: ExitStatus, asked: bool },
    /// It could not be started: the exit code that a shell has in this case, and the reason. 127: not found; 126: any
    /// other reason.
    CannotStart { fencing_token: u64, status: u8, error: io::Error },
    /// [`CommandRunner::is_idle`] has become true.
    Idle,
}

/// The handle of the thread that runs the command. It lives as long as the process.
#[derive(Clone, Debug)]
pub struct CommandRunner(Arc<Mailbox>);

impl CommandRunner {
    /// Starts the thread that manages the command; the command itself runs when this candidate leads.
    ///
    /// `report` is called on that thread, and must not block. From now on this process inherits the orphans among its
    /// descendants, so its other children must be started by [`crate::processes::own::spawn`].
    pub fn start(spec: CommandSpec, report: impl Fn(CommandReport) + Send + 'static) -> io::Result<CommandRunner> {
        let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mailbox = Arc::new(Mailbox { messages: Mutex::default(), wakeup });
        let supervisor = Supervisor::new(spec, Arc::clone(&mailbox), report)?;
        threads::spawn("command", move || supervisor.run())?;
        Ok(CommandRunner(mailbox))
    }

    /// Informs the thread of a term, a renewal or an end. Never blocks.
    ///
    /// A command that has ended is not started again in the same term, unless [`CommandRunner::restart`] is called; a
    /// new term starts it. A new token ends the command of the term before, by that term's last deadline.
    pub fn tell(&self, leadership: Leadership) {
        self.0.put(|messages| {
            messages.leadership = Some(leadership);
            messages.is_busy |= matches!(leadership, Leadership::Leading { .. });
        });
    }

    /// Whether no process of a command is left, and none is started before the next term. This is true after
    /// [`Leadership::Ended`], when everything that was running has ended. Then a release may be sent.
    pub fn is_idle(&self) -> bool {
        !self.0.lock().is_busy
    }

    /// Runs the command again after its end was reported, if this candidate still leads.
    pub fn restart(&self) {
        self.0.put(|messages| messages.restart = true);
    }

    /// Forwards a signal to the process group of the command, if it runs. After SIGINT the command gets SIGTERM only
    /// half the stop timeout later, because many programs exit at once on a second signal.
    pub fn forward(&self, signal: i32) {
        self.0.put(|messages| messages.signals.push(signal));
    }
}

/// The exit code that a shell has for a command with this wait status.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Runs as the part of run mode that the first argument names. `None` if it names none.
///
/// Call this first: a warden needs nothing else, and should stay small.
pub fn play_part(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let first = args.next()?;
    let outcome = match first.to_str()? {
        OUTER_WARDEN => warden::run(Layer::Outer, &args.collect::<Vec<_>>()),
        WARDEN => warden::run(Layer::Inner, &args.collect::<Vec<_>>()),
        BEGIN => Err(begin::run(args)),
        _ => return None,
    };
    // The elector was informed, or notices the end of the socket. There is nobody else to inform.
    Some(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(126) })
}

/// The messages from the candidate to the thread.
#[derive(Debug)]
struct Mailbox {
    messages: Mutex<Mail>,
    /// Readable if there are messages.
    wakeup: OwnedFd,
}

#[derive(Debug, Default)]
struct Mail {
    leadership: Option<Leadership>,
    /// There was a term, and its command may still have processes.
    is_busy: bool,
    restart: bool,
    signals: Vec<i32>,
}

impl Mailbox {
    fn put(&self, write: impl FnOnce(&mut Mail)) {
        write(&mut self.lock());
        // Fails only if the counter is full; then the thread wakes up anyway.
        let _ = rustix::io::write(&self.wakeup, &1u64.to_ne_bytes());
    }

    fn take(&self) -> Mail {
        let _ = rustix::io::read(&self.wakeup, &mut [0; 8]); // it may be empty already
        let mut messages = self.lock();
        let is_busy = messages.is_busy;
        std::mem::replace(&mut *messages, Mail { is_busy, ..Mail::default() })
    }

    /// Notes that nothing runs after the end of a term, unless there is a new term. Returns `true` if that is new.
    fn rest(&self) -> bool {
        let mut messages = self.lock();
        messages.leadership.is_none() && std::mem::take(&mut messages.is_busy)
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
