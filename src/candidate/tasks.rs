//! The tasks of a term: the command and the leader Service. Both are informed of each term. The lock is not released
//! while one of them is active (S5).

use crate::command::{CommandReport, CommandRunner};
use crate::election::Claim;
use crate::leader_service::{LeaderService, ServiceReport};
use crate::leadership::Leadership;
use crate::time::Time;
use std::time::Duration;

/// How long the Service may take to withdraw the address after a stop. Together with the release it must fit into two
/// seconds.
const WITHDRAWAL_LIMIT: Duration = Duration::from_secs(1);

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
    told: Option<Leadership>,
    /// The token of the term for which the Service routes to this pod, or may.
    routed: Option<u64>,
    /// After a stop: when the address must be withdrawn.
    withdrawn_by: Option<Time>,
}

impl Tasks {
    pub(super) fn set_service(&mut self, service: LeaderService) {
        self.service = Some(service);
    }

    pub(super) fn set_command(&mut self, command: CommandRunner) {
        self.command = Some(command);
    }

    /// The candidate is stopping.
    pub(super) fn stop(&mut self, now: Time) {
        self.withdrawn_by.get_or_insert(now.saturating_add(WITHDRAWAL_LIMIT));
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
        if self.told.replace(leadership) == Some(leadership) {
            return false;
        }
        if let Some(command) = &self.command {
            command.tell(leadership);
        }
        if let Some(service) = &self.service {
            service.tell(self.for_service(leadership));
        }
        let Leadership::Leading { fencing_token, .. } = leadership else { return false };
        self.routed = self.service.is_some().then_some(fencing_token);
        true
    }

    fn for_service(&self, leadership: Leadership) -> Leadership {
        match leadership {
            Leadership::Ended { fencing_token, until } => {
                let until = self.withdrawn_by.map_or(until, |limit| limit.min(until));
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

    /// Restarts the command after it ended, if this candidate still leads.
    pub(super) fn restart_command(&self) {
        if let Some(command) = &self.command {
            command.restart();
        }
    }

    /// Whether no task of an ended term is active.
    pub(super) fn are_over(&self) -> bool {
        let ended = !matches!(self.told, Some(Leadership::Leading { .. }));
        ended && self.routed.is_none() && self.command.as_ref().is_none_or(CommandRunner::is_idle)
    }
}
