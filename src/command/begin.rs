//! The last program before the command: it makes sure that the command dies with its warden, and becomes it.
//!
//! A parent-death signal is not inherited, but a program keeps it when it executes another one (unless that one gains
//! rights by it, see prctl(2)). A hook between fork and exec would do the same, and is `unsafe`.

use super::line::{Line, Message};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes the command. Returns the error that it cannot do it for, after the warden was told.
pub(super) fn run(mut argv: impl Iterator<Item = OsString>) -> io::Error {
    let line = match Line::of_stdin() {
        Ok(line) => line,
        Err(error) => return error,
    };
    let error = match prepare(&line) {
        // The line is closed by the execution, which tells the warden that it succeeded.
        Ok(()) => Command::new(argv.next().unwrap_or_default()).args(argv).exec(),
        Err(error) => error,
    };
    let _ = line.send(Message::cannot_start(&error), None); // a warden that is dead needs no answer
    error
}

fn prepare(line: &Line) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (Message::Parent(parent), Some(stdin)) = line.wait()? else { return Err(io::ErrorKind::InvalidData.into()) };
    // It may have died before the signal was ordered.
    if getppid().is_none_or(|pid| pid.as_raw_pid() != parent) {
        return Err(rustix::io::Errno::SRCH.into());
    }
    rustix::stdio::dup2_stdin(stdin)?;
    Ok(())
}
