//! Runs a command only while this candidate leads: begun late rather than early, and gone by F rather than after.
//!
//! This module knows nothing of the election. It is told of each term, each renewal and each end by [`Command::tell`].
//!
//! # Who stops the command
//!
//! A process cannot stop a command while it is itself stopped. So three processes hold the deadline, each by its own
//! timer on the boot-time clock, and each kills all of the command when it passes:
//!
//! ```text
//!   elector ──── outer warden ──── warden ──── command ──── what that starts
//!      │  └─ deadlines ─┘             │
//!      └───────── deadlines ──────────┘
//! ```
//!
//! Both wardens are this program executed again; each has one thread, and is the child subreaper of whatever is below it:
//! a process that the command leaves behind, in whatever session or group, becomes its child, and is found and killed.
//! The elector tells each warden of each renewal on a socket of its own, so neither waits for the other.
//!
//! With a claim until F, and S for the stop timeout:
//!
//! | when | who | what |
//! |---|---|---|
//! | F − S | warden | SIGTERM to the command's process group |
//! | F − 400 ms | warden | SIGKILL to everything below it, until nothing is left |
//! | F − 300 ms | outer warden | the same, its warden included |
//! | F − 200 ms | elector | the same, below the outer warden |
//!
//! On a voluntary end ([`Leadership::Ended`] with time left) the SIGTERM goes out at once, and the SIGKILL follows S later, but not later
//! than above. When the command ends and leaves processes behind, those get a SIGTERM, and the SIGKILL in the same way.
//!
//! # What each death and each stop leads to
//!
//! | what happens | what follows |
//! |---|---|
//! | elector killed | both wardens see the end of their sockets: SIGTERM at once, SIGKILL after S or at F − 400 ms |
//! | elector stopped, hung, or cut off | no renewal comes: the table above |
//! | outer warden killed | the warden becomes a child of the elector, which has it end the command as on a voluntary end |
//! | outer warden stopped | nothing: the others do the work |
//! | warden killed | the kernel kills the command with it (parent-death signal); what the command started becomes the child of the outer warden, which kills it at once |
//! | warden killed, outer warden stopped | the kernel kills the command; the elector kills the rest 200 ms later |
//! | warden stopped | the outer warden kills everything at F − 300 ms; so a voluntary end takes S |
//! | elector and outer warden killed | the warden sees the end of its socket |
//! | elector and outer warden stopped | the warden holds the deadline |
//! | elector stopped, warden killed | the outer warden kills at once what is left |
//! | elector killed, a warden stopped | the kernel resumes a stopped outer warden (its parent-death signal is SIGCONT); that one, or the other, acts |
//! | both wardens killed | the kernel kills the command; the elector kills what it left behind, and with it every child of its own that nobody waits for: they cannot be told apart |
//! | elector killed, both wardens stopped | the same SIGCONT; the outer warden acts |
//! | both wardens stopped | the elector kills everything at F − 200 ms |
//! | all three killed | the kernel kills the command itself, and everything else if the elector was the first process of its container. Otherwise **what the command started goes on** |
//! | elector stopped, both wardens killed | the kernel kills the command itself; **what it started goes on** until the elector does |
//! | all three stopped | **the command goes on**, unless it is stopped too (a frozen container, a paused machine): then it runs after F from when it is resumed to when the wardens are, a moment later |
//!
//! For the last three there is the fencing token.
//!
//! # What it cannot do
//!
//! - Kill what it has no right to: a descendant that has changed its user, through a setuid program. The command counts as
//!   running until that ends.
//! - Bind a program to its warden's life that gains rights or changes its user (setuid, `su-exec`): the kernel takes the
//!   parent-death signal away. It is killed as what the command starts.
//! - Kill what is outside its reach: a container or a service that the command asked somebody else to run.
//! - Be sure of a process that waits in the kernel for a device (state D): it dies when the device answers.
//! - Hand over a terminal: the command is in a background group, and stops when it reads from one.

mod begin;
mod line;
mod schedule;
mod supervisor;
mod warden;

use crate::leadership::Leadership;
use rustix::event::{EventfdFlags, eventfd};
use schedule::Layer;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use supervisor::Supervisor;

pub use schedule::KILL_MARGIN;

/// The first argument of this program where it is the outer warden, the warden, or becomes the command. Not for people.
const OUTER_WARDEN: &str = "--outer-warden";
const WARDEN: &str = "--warden";
const BEGIN: &str = "--begin";

/// What the wardens are: this program, also when its file has been replaced.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program, looked for in `PATH` as a shell does, and its arguments; not empty.
    pub argv: Vec<OsString>,
    /// The program that has the wardens in it: [`THIS_PROGRAM`].
    pub program: PathBuf,
    /// `LEADER_ELECTION_NAME` of the command.
    pub election: String,
    /// `LEADER_ELECTION_NAMESPACE`.
    pub namespace: String,
    /// `LEADER_ELECTION_ID`.
    pub identity: String,
    /// How long it has between SIGTERM and SIGKILL. Where nobody renews, these are the last moments of the claim, the
    /// [`KILL_MARGIN`] included.
    pub stop_timeout: Duration,
}

/// Run mode, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMode {
    /// The program, looked for in `PATH` as a shell does, and its arguments; not empty.
    pub argv: Vec<String>,
    /// See [`Spec::stop_timeout`].
    pub stop_timeout: Duration,
    pub on_exit: OnExit,
}

/// What follows when the command ends by itself while this candidate leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExit {
    /// The lock is released, and the program ends with the exit code of the command.
    #[default]
    Release,
    /// The command is run again.
    Restart,
    /// The lock is released and left to others for one lease; then this candidate stands again.
    Standby,
}

/// What becomes of the command.
#[derive(Debug)]
pub enum Report {
    /// It runs. `LEADER_ELECTION_FENCING_TOKEN` is this token; `pid` is also the number of its process group.
    Started { fencing_token: u64, pid: u32 },
    /// It has ended, and everything that it started is gone. A command whose end was not seen counts as killed.
    Ended { fencing_token: u64, status: ExitStatus },
    /// There is none: the exit code that a shell gives for that, and why. 127: not found; 126: any other reason.
    CannotStart { fencing_token: u64, status: u8, error: io::Error },
    /// [`Command::is_idle`] has become true.
    Idle,
}

/// The command, while there is one. Belongs to the process for as long as that lives.
#[derive(Clone, Debug)]
pub struct Command(Arc<Mailbox>);

impl Command {
    /// Starts the thread that looks after the command; the command itself runs once this candidate leads.
    ///
    /// `report` is called on that thread, and must not block. From here on this process inherits the orphans among its
    /// descendants: its other children are to be started by [`crate::processes::own::spawn`].
    pub fn start(spec: Spec, report: impl Fn(Report) + Send + 'static) -> io::Result<Command> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mailbox = Arc::new(Mailbox { mail: Mutex::default(), bell });
        let supervisor = Supervisor::new(spec, Arc::clone(&mailbox), report)?;
        thread::Builder::new().name("command".into()).spawn(move || supervisor.run())?;
        Ok(Command(mailbox))
    }

    /// Tells of a term, of its renewal, of its end. Never blocks.
    ///
    /// A term whose command has ended gets no other, unless [`Command::restart`] asks for it; a new term does. Another token
    /// ends what the term before has started, on the claim that this had last.
    pub fn tell(&self, leadership: Leadership) {
        self.0.put(|mail| {
            mail.leadership = Some(leadership);
            mail.is_busy |= matches!(leadership, Leadership::Leading { .. });
        });
    }

    /// Whether nothing of a command is left, and none is begun before another term is told: so from the last
    /// [`Leadership::Ended`] on, once what was running then has ended. Then a release may be sent.
    pub fn is_idle(&self) -> bool {
        !self.0.lock().is_busy
    }

    /// Runs the command again whose end was reported, if this candidate still leads.
    pub fn restart(&self) {
        self.0.put(|mail| mail.restart = true);
    }

    /// Passes a signal on to the process group of the command, if it runs. After a SIGINT the SIGTERM of an end comes half
    /// the stop timeout later: many programs take a second signal as the order to give up at once.
    pub fn forward(&self, signal: i32) {
        self.0.put(|mail| mail.signals.push(signal));
    }
}

/// The exit code that a shell gives for a command that has ended so.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Plays the part in run mode that the first argument names, to its end. `None` if it names none.
///
/// To be called first of all: a warden has no use for anything else, and is to stay small.
pub fn play_part(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let first = args.next()?;
    let outcome = match first.to_str()? {
        OUTER_WARDEN => warden::run(Layer::Outer, &args.collect::<Vec<_>>()),
        WARDEN => warden::run(Layer::Inner, &args.collect::<Vec<_>>()),
        BEGIN => Err(begin::run(args)),
        _ => return None,
    };
    // The elector has been told, or is told by the end of the socket. There is nobody else to tell.
    Some(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(126) })
}

/// From the candidate to the thread.
#[derive(Debug)]
struct Mailbox {
    mail: Mutex<Mail>,
    /// Readable when there is mail.
    bell: OwnedFd,
}

#[derive(Debug, Default)]
struct Mail {
    leadership: Option<Leadership>,
    /// A term was told, and nobody has seen to it yet that nothing of it is left.
    is_busy: bool,
    restart: bool,
    signals: Vec<i32>,
}

impl Mailbox {
    fn put(&self, write: impl FnOnce(&mut Mail)) {
        write(&mut self.lock());
        // Fails only when it has rung 2^64 times unheard.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn take(&self) -> Mail {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]); // silent already
        let mut mail = self.lock();
        let is_busy = mail.is_busy;
        std::mem::replace(&mut *mail, Mail { is_busy, ..Mail::default() })
    }

    /// Notes that nothing runs after the end of a term; `true` if that is new. No other term may have been told meanwhile.
    fn rest(&self) -> bool {
        let mut mail = self.lock();
        mail.leadership.is_none() && std::mem::take(&mut mail.is_busy)
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
