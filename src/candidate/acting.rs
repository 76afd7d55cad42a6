//! The tasks of a term, the command and the leader Service: the candidate informs them of the term, and handles their
//! reports.

use super::Candidate;
use super::tasks::TaskReport;
use crate::api::Api;
use crate::clock;
use crate::command::{CommandReport, CommandRunner, CommandSpec, OnExit, RunMode, THIS_PROGRAM, exit_code};
use crate::election::{Candidacy, CandidateEvent, Event};
use crate::leader_service::{LeaderService, ServiceReport, ServiceSpec};
use crate::time::{Time, backoff};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The shortest and the longest pause before the command is restarted.
const RESTART_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The state of the command.
#[derive(Default)]
pub(super) struct CommandState {
    on_exit: OnExit,
    /// The exit code of the last command, if it ended because of a stop or caused one.
    pub(super) exit_code: Option<u8>,
    began: Time,
    /// The number of short runs in a row.
    short_runs: u32,
    /// When to restart it.
    pub(super) restart_at: Option<Time>,
}

impl Candidate {
    /// Starts the leader Service: it routes to this pod while this candidate leads.
    pub fn lead_service(&mut self, spec: ServiceSpec, api: Api) -> io::Result<()> {
        let outbox = self.inbox.outbox();
        let report = move |report| outbox.task(TaskReport::Service(report));
        let metrics = Arc::clone(&self.metrics);
        let count = move |verb, failure| metrics.api_request(verb, failure);
        self.tasks.set_service(LeaderService::start(spec, api, self.settings.request_timeout, report, count)?);
        Ok(())
    }

    /// Runs the command while this candidate leads. The handle forwards signals to it.
    pub fn run_command(&mut self, run_mode: RunMode) -> io::Result<CommandRunner> {
        let spec = CommandSpec {
            argv: run_mode.argv.into_iter().map(Into::into).collect(),
            program: THIS_PROGRAM.into(),
            election: self.locks.name.clone(),
            namespace: self.locks.namespace.clone(),
            identity: self.settings.identity.to_string(),
            stop_timeout: run_mode.stop_timeout,
        };
        self.command.on_exit = run_mode.on_exit;
        let outbox = self.inbox.outbox();
        self.report.runs_command();
        let command = CommandRunner::start(spec, move |report| outbox.task(TaskReport::Command(report)))?;
        self.tasks.set_command(command.clone());
        Ok(command)
    }

    /// Informs the tasks of the current term. Call it after the snapshot is published.
    pub(super) fn tell_tasks(&mut self, now: Time) {
        let claim = self.lock_set.claim().filter(|claim| now < claim.until);
        if self.tasks.tell(claim, self.lock_set.work_until()) {
            self.lock_set.begin_work();
        }
        if self.command.restart_at.take_if(|at| *at <= now).is_some() {
            self.tasks.restart_command();
        }
    }

    /// Handles a report of a task. Returns `true` when nothing is left to do.
    pub(super) fn task_reported(&mut self, report: TaskReport) -> io::Result<bool> {
        match report {
            TaskReport::Service(report) => self.service_reported(report),
            TaskReport::Command(report) => {
                if self.command_reported(report) && self.step_candidate(CandidateEvent::StandBack)? {
                    return Ok(true);
                }
            }
        }
        self.tasks_changed()
    }

    /// Does what is due. Returns `true` when nothing is left to do.
    pub(super) fn alarm_rang(&mut self) -> io::Result<bool> {
        if self.tasks.give_service_up(clock::now()) {
            log::warn!("the leader Service did not react in time: the lock is released all the same");
            return self.tasks_changed();
        }
        self.step(0, Event::Tick, None)
    }

    fn tasks_changed(&mut self) -> io::Result<bool> {
        match self.tasks.are_over() {
            true => self.step_candidate(CandidateEvent::WorkEnded),
            false => self.step(0, Event::Tick, None),
        }
    }

    fn service_reported(&mut self, report: ServiceReport) {
        match report {
            ServiceReport::Routed { .. } => {}
            ServiceReport::Withdrawn { fencing_token } | ServiceReport::GaveUp { fencing_token } => {
                self.tasks.withdrawn(fencing_token);
            }
            ServiceReport::Problem(class) => self.report.service_problem(class),
        }
    }

    /// Returns whether this candidate must stand back.
    fn command_reported(&mut self, report: CommandReport) -> bool {
        let now = clock::now();
        match report {
            CommandReport::Started { fencing_token, pid } => {
                self.command.began = now;
                self.report.command_started(fencing_token, pid);
            }
            CommandReport::Ended { status, asked, .. } => {
                let leads = self.lock_set.claim().is_some_and(|claim| now < claim.until);
                let by_itself = leads && !asked;
                let is_last = match self.command.on_exit {
                    OnExit::Release if by_itself => true,
                    _ => self.lock_set.candidacy(now) == Candidacy::Leaving,
                };
                self.command.exit_code = is_last.then(|| exit_code(status));
                self.report.command_ended(status, by_itself);
                if by_itself {
                    return self.command_left(now);
                }
                if leads {
                    // It got SIGTERM because there was no renewal. If there is one now, it is started again.
                    self.tasks.restart_command();
                }
            }
            CommandReport::CannotStart { status, error, .. } => {
                self.command.exit_code = Some(status);
                self.report.command_cannot_start(&error);
                self.inbox.outbox().stop();
            }
            CommandReport::Idle => self.tasks.command_is_idle(now),
        }
        false
    }

    /// The command exited by itself. Returns whether this candidate must stand back.
    fn command_left(&mut self, now: Time) -> bool {
        match self.command.on_exit {
            OnExit::Release => self.inbox.outbox().stop(),
            OnExit::Restart => {
                let (first, longest) = RESTART_PAUSES;
                let ran_long = longest <= now.since(self.command.began);
                self.command.short_runs = if ran_long { 1 } else { self.command.short_runs.saturating_add(1) };
                self.command.restart_at = Some(now.saturating_add(backoff(first, self.command.short_runs, longest)));
            }
            OnExit::Standby => return true,
        }
        false
    }
}
