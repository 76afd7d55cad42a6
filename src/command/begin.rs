//! The process that becomes the command: it first makes sure that the command dies with its warden.
//!
//! A parent-death signal is not inherited by a child, but it is kept across exec (unless the new program gains rights,
//! see prctl(2)). A hook between fork and exec would do the same, but is `unsafe`.

use super::socket::{Message, WardenSocket};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes the command. If that fails, it informs the warden, and returns the error.
pub(super) fn run(mut argv: impl Iterator<Item = OsString>) -> io::Error {
    let socket = match WardenSocket::of_stdin() {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    let error = match prepare(&socket) {
        // exec closes the socket, which tells the warden that it succeeded.
        Ok(()) => Command::new(argv.next().unwrap_or_default()).args(argv).exec(),
        Err(error) => error,
    };
    let _ = socket.send(Message::cannot_start(&error), None); // a dead warden needs no answer
    error
}

fn prepare(socket: &WardenSocket) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (Message::Parent(parent), Some(stdin)) = socket.wait()? else { return Err(io::ErrorKind::InvalidData.into()) };
    // The parent may have died before the signal was set.
    if getppid().is_none_or(|pid| pid.as_raw_pid() != parent) {
        return Err(rustix::io::Errno::SRCH.into());
    }
    rustix::stdio::dup2_stdin(stdin)?;
    Ok(())
}
