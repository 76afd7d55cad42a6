//! The command of one term, as the elector sees it: its wardens, what they are told and what they report, and the kill if
//! they do not act.

use super::schedule::{Layer, Schedule, Step};
use super::socket::{Heard, Message, WardenSocket};
use super::warden::in_part;
use super::{AGAIN, CommandReport, CommandSpec, OUTER_WARDEN};
use crate::clock;
use crate::leadership::Leadership;
use crate::processes::own::{self, OwnChild};
use crate::processes::{Process, each_descendant};
use crate::time::Time;
use log::warn;
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// The command of one term, with its wardens.
pub(super) struct RunningCommand {
    pub(super) fencing_token: u64,
    leadership: Leadership,
    schedule: Schedule,
    outer: OwnChild,
    /// The outer warden has ended although processes of the command may be left.
    outer_is_lost: bool,
    outer_socket: WardenSocket,
    /// `None` after the inner warden has died.
    inner: Option<WardenSocket>,
    /// The inner warden got its first message. It gets that only when the outer one has closed its own copy of the inner
    /// one's socket: as long as a stopped outer warden has it open, the end of the inner one does not show.
    begun: bool,
    /// The last message could not be delivered to both wardens.
    undelivered: bool,
    cannot_start: Option<io::Error>,
    started: bool,
    /// The candidate has ended the term.
    term_is_over: bool,
    /// A warden died, so the command was ended.
    warden_died: bool,
    /// The wait status of the command, and whether it had got SIGTERM or SIGKILL.
    outcome: Option<(i32, bool)>,
    /// The whole command has ended.
    pub(super) is_over: bool,
}

impl RunningCommand {
    pub(super) fn start(spec: &CommandSpec, fencing_token: u64, until: Time) -> io::Result<RunningCommand> {
        let (outer_socket, outer_end) = WardenSocket::pair()?;
        let (inner, inner_end) = WardenSocket::pair()?;
        let begin = Message::Begin { until, stop_timeout: spec.stop_timeout };
        outer_socket.send(begin, Some(inner_end.as_fd()))?;
        let mut command = in_part(&spec.program, OUTER_WARDEN, &spec.argv, outer_end);
        command
            .env("LEADER_ELECTION_NAME", &spec.election)
            .env("LEADER_ELECTION_NAMESPACE", &spec.namespace)
            .env("LEADER_ELECTION_ID", &spec.identity)
            .env("LEADER_ELECTION_FENCING_TOKEN", fencing_token.to_string());
        let outer = own::spawn(&mut command)?;
        Ok(RunningCommand::new(fencing_token, until, spec.stop_timeout, outer, outer_socket, inner))
    }

    fn new(
        fencing_token: u64,
        until: Time,
        stop_timeout: Duration,
        outer: OwnChild,
        outer_socket: WardenSocket,
        inner: WardenSocket,
    ) -> RunningCommand {
        RunningCommand {
            fencing_token,
            leadership: Leadership::Leading { fencing_token, until },
            schedule: Schedule::new(Layer::Elector, until, stop_timeout),
            outer,
            outer_is_lost: false,
            outer_socket,
            inner: Some(inner),
            begun: false,
            undelivered: false,
            cannot_start: None,
            started: false,
            term_is_over: false,
            warden_died: false,
            outcome: None,
            is_over: false,
        }
    }

    /// Signals come first: the command must not get SIGTERM right after the SIGINT that ends the term.
    pub(super) fn take_mail(&mut self, leadership: Option<Leadership>, signals: Vec<i32>) {
        for signal in signals {
            self.pass_on(signal);
        }
        if let Some(leadership) = leadership {
            self.tell(leadership);
            self.term_is_over |= matches!(self.leadership, Leadership::Ended { .. });
        }
    }

    /// An order for another term means the end of this one, whose claim is no longer renewed.
    fn tell(&mut self, leadership: Leadership) {
        let now = clock::now();
        let told = match leadership {
            Leadership::Leading { fencing_token, .. } if fencing_token != self.fencing_token => {
                Leadership::Ended { fencing_token: self.fencing_token, until: self.leadership.until() }
            }
            other => other,
        };
        self.leadership = told;
        match told {
            Leadership::Leading { until, .. } => self.schedule.renew(until),
            Leadership::Ended { until, .. } => self.schedule.end(until, now < until, now),
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        let message = match self.leadership {
            Leadership::Leading { until, .. } => Message::Leading { until },
            Leadership::Ended { until, .. } => Message::End { until, graceful: clock::now() < until },
        };
        let sockets = self.inner_at_work().into_iter().chain([&self.outer_socket]);
        let sent = sockets.map(|socket| socket.send(message, None)); // a dead warden needs no message
        let full = sent.filter(|sent| matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock));
        self.undelivered = full.count() > 0;
    }

    fn pass_on(&mut self, signal: i32) {
        if let Some(inner) = self.inner_at_work() {
            let _ = inner.send(Message::Signal(signal), None); // a warden that is stopped or dead forwards nothing
        }
    }

    fn inner_at_work(&self) -> Option<&WardenSocket> {
        self.inner.as_ref().filter(|_| self.begun)
    }

    /// The sockets on which something is awaited.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &WardenSocket> {
        let waits_for_outer = !self.begun && !self.outer_is_lost;
        self.inner.iter().chain(waits_for_outer.then_some(&self.outer_socket))
    }

    /// Processes the first message of the outer warden: whether it has started the inner one.
    fn hear_outer(&mut self) {
        match self.outer_socket.hear() {
            Ok(Heard::Message(Message::Started { .. }, _)) => self.begin(),
            Ok(Heard::Message(Message::CannotStart { errno }, _)) => {
                self.cannot_start = Some(io::Error::from_raw_os_error(errno));
            }
            _ => {}
        }
    }

    /// Makes the inner warden start the command, unless the term has ended.
    fn begin(&mut self) {
        self.begun = true;
        let until = match self.leadership {
            Leadership::Leading { until, .. } => until,
            Leadership::Ended { .. } => Time::ZERO,
        };
        let begin = Message::Begin { until, stop_timeout: self.schedule.stop_timeout() };
        let sent = self.inner.as_ref().map_or(Ok(()), |inner| inner.send(begin, Some(io::stdin().as_fd())));
        // A dead warden shows as one.
        if let Err(error) = sent
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.inner = None;
            self.cannot_start = Some(error);
        }
    }

    /// Processes the messages of the wardens, and their deaths.
    pub(super) fn hear(&mut self, report: &impl Fn(CommandReport)) {
        // Check this before reading the socket: the inner warden sends its last message before the outer warden ends.
        let outer = if self.outer_is_lost { Ok(None) } else { self.outer.try_wait() };
        if !self.begun {
            self.hear_outer();
        }
        while let Some(inner) = &self.inner {
            match inner.hear() {
                Ok(Heard::Nothing) => break,
                Ok(Heard::Message(Message::Started { pid }, _)) => {
                    self.started = true;
                    report(CommandReport::Started { fencing_token: self.fencing_token, pid: pid.cast_unsigned() });
                }
                Ok(Heard::Message(Message::CannotStart { errno }, _)) => {
                    self.cannot_start = Some(io::Error::from_raw_os_error(errno));
                }
                Ok(Heard::Message(Message::Ended { status, asked }, _)) => {
                    self.outcome = Some((status, asked));
                    self.is_over = true;
                }
                Ok(Heard::Message(..)) => {}
                Ok(Heard::End) | Err(_) => self.inner = None,
            }
        }
        if self.inner.is_none() && !self.is_over {
            self.schedule.kill(clock::now()); // the outer warden does, unless it is stopped
        }
        match outer {
            Ok(None) => {}
            // It ends by itself when it has no more descendants.
            Ok(Some(status)) if status.success() => self.is_over = true,
            _ => self.end_without_warden(),
        }
    }

    /// With only one warden the command is ended.
    fn end_without_warden(&mut self) {
        self.outer_is_lost = true;
        if !self.begun {
            self.inner = None; // it ends when its socket does
        }
        if self.is_over {
            return;
        }
        warn!("a warden of the command died: ending the command");
        if !self.schedule.is_ending() {
            self.warden_died = true;
            self.tell(Leadership::Ended { fencing_token: self.fencing_token, until: self.leadership.until() });
        }
    }

    /// Does everything that is due, and returns when to call this again.
    pub(super) fn act(&mut self, now: Time) -> Time {
        if self.undelivered {
            self.deliver();
        }
        if self.outer_is_lost && self.inner.is_none() {
            self.kill();
            return now.saturating_add(AGAIN);
        }
        let mut step = self.schedule.step(now);
        if step == Step::Ask {
            step = self.schedule.step(now); // the inner warden sends SIGTERM
        }
        match step {
            Step::Wait(at) => at,
            Step::Ask | Step::Kill => {
                self.kill();
                now.saturating_add(AGAIN)
            }
        }
    }

    /// Kills all processes below the outer warden, and then that too. Without an outer warden it kills all children of
    /// this process that no code waits for, because those of the command are among them and cannot be distinguished.
    fn kill(&mut self) {
        match Pid::from_raw(self.outer.id().cast_signed()) {
            Some(outer) if !self.outer_is_lost => {
                // A process that was missed becomes a child of this process.
                if !kill_below(outer, &BTreeSet::new(), |process| !process.has_ended) {
                    let _ = self.outer.kill();
                    let _ = self.outer.wait();
                    self.outer_is_lost = true;
                }
            }
            // While nobody reaps them, all children of this process are found, alive or not. A descendant has one of
            // them as an ancestor, or is one.
            _ => {
                let _unreaped = own::keep_orphans();
                self.is_over = !kill_below(getpid(), &own::known(), |_| true);
            }
        }
    }

    /// Ends the wardens, and returns the outcome of the command; `None` if the term was over before it was started.
    pub(super) fn finish(mut self) -> Option<CommandReport> {
        // They have nothing left to do, and a stopped one would never end.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        if self.term_is_over && !self.started && self.cannot_start.is_none() {
            return None;
        }
        let fencing_token = self.fencing_token;
        let was_lost = !self.started && self.outcome.is_none();
        let lost = || io::Error::other("its warden was killed before it had started it");
        let error = self.cannot_start.or_else(|| was_lost.then(lost));
        Some(match error {
            Some(error) => {
                let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                CommandReport::CannotStart { fencing_token, status, error }
            }
            // Its warden was killed before it could report, and the command with it.
            None => {
                let killed = || (Signal::KILL.as_raw(), self.schedule.is_ending() && !self.warden_died);
                let (status, asked) = self.outcome.unwrap_or_else(killed);
                CommandReport::Ended { fencing_token, status: ExitStatus::from_raw(status), asked }
            }
        })
    }
}

/// Kills the descendants of a process. Returns whether there were any that count.
fn kill_below(root: Pid, spare: &BTreeSet<i32>, counts: impl Fn(&Process) -> bool) -> bool {
    let mut any = false;
    let kill = |process: Process| {
        any |= counts(&process);
        let _ = kill_process(process.pid, Signal::KILL); // it has ended, or may not be killed
    };
    each_descendant(root, spare, kill).is_err() || any
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use signal_hook::consts::SIGINT;
    use std::process::Command;

    const LATE: Time = Time::after_boot(Duration::from_secs(1 << 32));
    const ENDED: Leadership = Leadership::Ended { fencing_token: 1, until: LATE };

    /// A command whose outer warden has just been started, with the ends of the outer and the inner warden.
    fn just_started() -> (RunningCommand, WardenSocket, WardenSocket) {
        let (outer_socket, outer_warden) = WardenSocket::both();
        let (inner, warden) = WardenSocket::both();
        let outer = own::spawn(Command::new("sleep").arg("30")).unwrap();
        let running = RunningCommand::new(1, LATE, Duration::ZERO, outer, outer_socket, inner);
        (running, outer_warden, warden)
    }

    fn hears_nothing(warden: &WardenSocket) -> bool {
        matches!(warden.hear().unwrap(), Heard::Nothing)
    }

    #[test]
    fn a_signal_is_forwarded_before_the_end_of_the_term() {
        let (mut running, _outer_warden, warden) = just_started();
        running.begun = true;
        running.take_mail(Some(ENDED), vec![SIGINT]);
        assert_eq!(warden.wait().unwrap().0, Message::Signal(SIGINT));
        assert_eq!(warden.wait().unwrap().0, Message::End { until: LATE, graceful: true });
        running.finish();
    }

    #[test]
    fn the_inner_warden_begins_when_the_outer_one_has_closed_its_socket() {
        let (mut running, outer_warden, warden) = just_started();
        let until = clock::now().saturating_add(Duration::from_secs(60));
        running.hear(&|_| ());
        running.take_mail(Some(Leadership::Leading { fencing_token: 1, until }), vec![SIGINT]);
        assert!(hears_nothing(&warden));
        outer_warden.send(Message::Started { pid: 1 }, None).unwrap();
        running.hear(&|_| ());
        assert_eq!(warden.wait().unwrap().0, Message::Begin { until, stop_timeout: Duration::ZERO });
        assert!(hears_nothing(&warden));
        running.finish();
    }

    #[test]
    fn a_term_that_ends_before_the_inner_warden_begins_starts_no_command() {
        let (mut running, outer_warden, warden) = just_started();
        running.take_mail(Some(ENDED), vec![]);
        outer_warden.send(Message::Started { pid: 1 }, None).unwrap();
        running.hear(&|_| ());
        assert_eq!(warden.wait().unwrap().0, Message::Begin { until: Time::ZERO, stop_timeout: Duration::ZERO });
        assert!(running.finish().is_none());
    }

    #[test]
    fn a_term_that_is_over_before_the_command_is_started_has_no_outcome() {
        for (killed_with_the_term, has_outcome) in [(true, false), (false, true)] {
            let (mut running, _outer_warden, _warden) = just_started();
            if killed_with_the_term {
                running.take_mail(Some(Leadership::Ended { fencing_token: 1, until: Time::ZERO }), vec![]);
            }
            running.outer.kill().unwrap();
            running.outer.wait().unwrap();
            running.hear(&|_| ());
            assert_eq!(running.finish().is_some(), has_outcome);
        }
    }

    #[test]
    fn the_reason_why_there_is_no_inner_warden_is_reported() {
        let (mut running, outer_warden, _warden) = just_started();
        outer_warden.send(Message::CannotStart { errno: Errno::AGAIN.raw_os_error() }, None).unwrap();
        running.hear(&|_| ());
        let Some(CommandReport::CannotStart { status: 126, error, .. }) = running.finish() else {
            panic!("another report")
        };
        assert_eq!(error.raw_os_error(), Some(Errno::AGAIN.raw_os_error()));
    }

    #[test]
    fn an_inner_warden_that_has_not_begun_ends_with_the_outer_one() {
        let (mut running, _outer_warden, warden) = just_started();
        running.outer.kill().unwrap();
        running.outer.wait().unwrap();
        running.hear(&|_| ());
        assert_eq!(warden.wait().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        running.finish();
    }
}
