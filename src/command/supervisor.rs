//! The elector's part of run mode: a thread that starts the command of each term, and takes what the candidate and the
//! system tell it.

use super::running_command::RunningCommand;
use super::schedule::end_of_work;
use super::warden::{child_ended, drain};
use super::{AGAIN, CommandReport, CommandSpec, Mail, Mailbox};
use crate::clock::{self, Timer};
use crate::leadership::Leadership;
use crate::processes::own;
use crate::time::Time;
use log::warn;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{getpid, set_child_subreaper};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

pub(super) struct Supervisor<R> {
    spec: CommandSpec,
    mailbox: Arc<Mailbox>,
    report: R,
    child_ended: UnixStream,
    timer: Timer,
    leadership: Leadership,
    running: Option<RunningCommand>,
    /// The term whose command has ended and must not be started again.
    done: Option<u64>,
}

impl<R: Fn(CommandReport)> Supervisor<R> {
    pub(super) fn new(spec: CommandSpec, mailbox: Arc<Mailbox>, report: R) -> io::Result<Supervisor<R>> {
        // Inherits the processes that a dead warden leaves behind.
        set_child_subreaper(Some(getpid()))?;
        Ok(Supervisor {
            spec,
            mailbox,
            report,
            child_ended: child_ended()?,
            timer: Timer::new()?,
            leadership: Leadership::Ended { fencing_token: 0, until: Time::ZERO },
            running: None,
            done: None,
        })
    }

    /// Does not return, because the wardens get a signal when the thread that started them ends.
    pub(super) fn run(mut self) {
        loop {
            self.take_mail();
            drain(&self.child_ended);
            let reaped = own::reap_orphans();
            let next = self.act();
            if let Err(error) = self.wait(next, reaped) {
                // Happens only if the system is out of memory. The command still ends in time.
                warn!("cannot wait for the command: {error}");
                std::thread::sleep(AGAIN);
            }
        }
    }

    fn take_mail(&mut self) {
        let Mail { leadership, signals, restart, .. } = self.mailbox.take();
        self.leadership = leadership.unwrap_or(self.leadership);
        if restart {
            self.done = None;
        }
        if let Some(running) = &mut self.running {
            running.take_mail(leadership, signals);
        }
    }

    /// Does everything that is due, and returns when to call this again.
    fn act(&mut self) -> Option<Time> {
        if let Some(running) = &mut self.running {
            running.hear(&self.report);
            if !running.is_over {
                let next = running.act(clock::now());
                if !running.is_over {
                    return Some(next);
                }
            }
            self.end();
        }
        self.begin();
        let may_begin = matches!(self.leadership, Leadership::Leading { .. });
        if self.running.is_none() && !may_begin && self.mailbox.rest() {
            (self.report)(CommandReport::Idle);
        }
        // The schedule of the command that has just been started.
        self.running.is_some().then(clock::now)
    }

    fn end(&mut self) {
        let Some(running) = self.running.take() else { return };
        let fencing_token = running.fencing_token;
        self.done = Some(fencing_token);
        if let Some(outcome) = running.finish() {
            (self.report)(outcome);
        }
    }

    fn begin(&mut self) {
        let Leadership::Leading { fencing_token, until } = self.leadership else { return };
        let too_late = clock::now() >= end_of_work(until, self.spec.stop_timeout);
        if too_late || self.done == Some(fencing_token) {
            return;
        }
        match RunningCommand::start(&self.spec, fencing_token, until) {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                self.done = Some(fencing_token);
                (self.report)(CommandReport::CannotStart { fencing_token, status: 126, error });
            }
        }
    }

    fn wait(&self, next: Option<Time>, reaped: bool) -> io::Result<()> {
        let soon = || clock::now().saturating_add(AGAIN);
        let next = if reaped { next } else { Some(next.map_or_else(soon, |next| next.min(soon()))) };
        let mut fds =
            vec![PollFd::new(&self.mailbox.wakeup, PollFlags::IN), PollFd::new(&self.child_ended, PollFlags::IN)];
        if let Some(next) = next {
            self.timer.set(next)?;
            fds.push(PollFd::new(&self.timer, PollFlags::IN));
        }
        let sockets = self.running.iter().flat_map(RunningCommand::sockets);
        fds.extend(sockets.map(|socket| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
