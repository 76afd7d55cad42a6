//! The tasks of a term: the command and the leader Service. Both are informed of each term. The lock is not released
//! while one of them is active (S5).

use crate::command::{CommandReport, CommandRunner};
use crate::election::Claim;
use crate::leader_service::{LeaderService, ServiceReport};
use crate::leadership::Leadership;
use crate::time::Time;
use std::time::Duration;

/// How long the Service may take to withdraw the address after a stop, when nothing else keeps the lock.
const WITHDRAWAL_LIMIT: Duration = Duration::from_millis(400);

/// How long the candidate then waits for the Service, also if its thread cannot report: it may be connecting or waiting
/// for a credential plugin, which nothing interrupts. Together with the release this must fit into two seconds.
const SERVICE_LIMIT: Duration = Duration::from_millis(500);

/// A report of a task.
#[derive(Debug)]
pub(super) enum TaskReport {
    Service(ServiceReport),
    Command(CommandReport),
}

#[derive(Default)]
pub(super) struct Tasks {
    service: Option<LeaderService>,
    command: Option<CommandRunner>,
    /// The last report of the command has not been handled yet.
    command_active: bool,
    told: Option<Leadership>,
    service_told: Option<Leadership>,
    /// The token of the term for which the Service routes to this pod, or may.
    routed: Option<u64>,
    /// After a stop: from when on only the tasks keep the lock.
    release_due: Option<Time>,
}

impl Tasks {
    pub(super) fn set_service(&mut self, service: LeaderService) {
        self.service = Some(service);
    }

    pub(super) fn set_command(&mut self, command: CommandRunner) {
        self.command = Some(command);
    }

    /// The candidate is stopping. At `release_due` its release delay is over.
    pub(super) fn stop(&mut self, release_due: Time) {
        self.release_due.get_or_insert(release_due);
    }

    /// Informs the tasks of a change: the claim, or until when tasks of the last term may continue. Returns whether a
    /// term is active, so that tasks start.
    pub(super) fn tell(&mut self, claim: Option<Claim>, work_until: Option<Time>) -> bool {
        if self.service.is_none() && self.command.is_none() {
            return false;
        }
        let leadership = match (claim, self.told) {
            (Some(Claim { fencing_token, until }), _) => Leadership::Leading { fencing_token, until },
            (None, Some(Leadership::Leading { fencing_token, .. } | Leadership::Ended { fencing_token, .. })) => {
                Leadership::Ended { fencing_token, until: work_until.unwrap_or(Time::ZERO) }
            }
            (None, None) => return false,
        };
        let for_service = self.for_service(leadership);
        if let Some(service) = &self.service
            && self.service_told.replace(for_service) != Some(for_service)
        {
            service.tell(for_service);
        }
        if self.told.replace(leadership) == Some(leadership) {
            return false;
        }
        if let Some(command) = &self.command {
            command.tell(leadership);
        }
        let Leadership::Leading { fencing_token, .. } = leadership else { return false };
        self.routed = self.service.is_some().then_some(fencing_token);
        self.command_active = self.command.is_some();
        true
    }

    fn for_service(&self, leadership: Leadership) -> Leadership {
        match leadership {
            Leadership::Ended { fencing_token, until } => {
                let until =
                    self.service_keeps_lock_from().map_or(until, |at| at.saturating_add(WITHDRAWAL_LIMIT).min(until));
                Leadership::Ended { fencing_token, until }
            }
            leading @ Leadership::Leading { .. } => leading,
        }
    }

    /// A term may begin soon.
    pub(super) fn look_ahead(&self) {
        if let Some(service) = &self.service {
            service.look_ahead();
        }
    }

    /// The Service has withdrawn the address, or has given up.
    pub(super) fn withdrawn(&mut self, fencing_token: u64) {
        self.routed.take_if(|routed| *routed == fencing_token);
    }

    /// After a stop: from when on only the Service keeps the lock.
    fn service_keeps_lock_from(&self) -> Option<Time> {
        self.release_due.filter(|_| !self.command_active)
    }

    /// After a stop: when the Service is given up.
    pub(super) fn gives_service_up_at(&self) -> Option<Time> {
        Some(self.routed.and(self.service_keeps_lock_from())?.saturating_add(SERVICE_LIMIT))
    }

    /// Gives the Service up if it is time. Returns whether it did.
    pub(super) fn give_service_up(&mut self, now: Time) -> bool {
        let due = self.gives_service_up_at().is_some_and(|at| at <= now);
        due && self.routed.take().is_some()
    }

    /// The command has made its last report for this term.
    pub(super) fn command_is_idle(&mut self, now: Time) {
        self.command_active = false;
        self.release_due = self.release_due.map(|due| due.max(now));
    }

    /// Restarts the command after it ended, if this candidate still leads.
    pub(super) fn restart_command(&self) {
        if let Some(command) = &self.command {
            command.restart();
        }
    }

    /// Whether no task of an ended term is active.
    pub(super) fn are_over(&self) -> bool {
        let ended = !matches!(self.told, Some(Leadership::Leading { .. }));
        // The command may be idle while earlier reports wait to be handled; and its last report may come from the term
        // before.
        let command_is_over = !self.command_active && self.command.as_ref().is_none_or(CommandRunner::is_idle);
        ended && self.routed.is_none() && command_is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_react_is_given_up_half_a_second_after_the_release_delay() {
        let second = Duration::from_secs(1);
        let (now, later) = (Time::after_boot(second), Time::after_boot(second + SERVICE_LIMIT));
        let told = Some(Leadership::Ended { fencing_token: 7, until: Time::MAX });
        let mut tasks = Tasks { routed: Some(7), told, ..Tasks::default() };
        assert!(tasks.gives_service_up_at().is_none() && !tasks.give_service_up(Time::MAX), "it was not stopped");
        tasks.stop(now);
        tasks.stop(later); // the time does not start again
        assert_eq!(tasks.gives_service_up_at(), Some(later));
        assert!(!tasks.give_service_up(now) && !tasks.are_over());
        assert!(tasks.give_service_up(later) && tasks.are_over());
        assert!(!tasks.give_service_up(later), "only once");
    }

    #[test]
    fn the_time_of_the_service_begins_when_nothing_else_keeps_the_lock() {
        let at = |seconds| Time::after_boot(Duration::from_secs(seconds));
        let ended = Leadership::Ended { fencing_token: 7, until: Time::MAX };
        let mut tasks = Tasks { routed: Some(7), told: Some(ended), command_active: true, ..Tasks::default() };
        let until = |tasks: &Tasks| tasks.for_service(ended).until();
        tasks.stop(at(5));
        assert_eq!((until(&tasks), tasks.gives_service_up_at()), (Time::MAX, None));
        tasks.command_is_idle(at(9));
        assert_eq!(until(&tasks), at(9).saturating_add(WITHDRAWAL_LIMIT));
        assert_eq!(tasks.gives_service_up_at(), Some(at(9).saturating_add(SERVICE_LIMIT)));
    }

    #[test]
    fn the_command_is_over_when_its_last_report_was_handled() {
        let mut tasks = Tasks { command_active: true, ..Tasks::default() };
        assert!(!tasks.are_over());
        tasks.command_is_idle(Time::ZERO);
        assert!(tasks.are_over());
    }
}
