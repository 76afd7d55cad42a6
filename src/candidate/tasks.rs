//! What is bound to the leadership: the command, and the Service that leads to the leader. Each is told of every term, and
//! while one of them goes on the lock is not released (S5).

use crate::command::{self, Command};
use crate::election::Claim;
use crate::leader_service::{self, LeaderService};
use crate::leadership::Leadership;
use crate::time::Time;
use std::time::Duration;

/// After a stop: how long the address may take to be withdrawn. It shares the two seconds of an exit with the release.
const WITHDRAWAL_LIMIT: Duration = Duration::from_secs(1);

/// What one of them says.
#[derive(Debug)]
pub(super) enum TaskReport {
    Service(leader_service::Report),
    Command(command::Report),
}

#[derive(Default)]
pub(super) struct Tasks {
    service: Option<LeaderService>,
    command: Option<Command>,
    told: Option<Leadership>,
    /// The Service leads here, or may, for the term of this token.
    routed: Option<u64>,
    /// After a stop: until when the address may be withdrawn.
    withdrawn_by: Option<Time>,
}

impl Tasks {
    pub(super) fn set_service(&mut self, service: LeaderService) {
        self.service = Some(service);
    }

    pub(super) fn set_command(&mut self, command: Command) {
        self.command = Some(command);
    }

    /// The candidate was told to leave.
    pub(super) fn stop(&mut self, now: Time) {
        self.withdrawn_by.get_or_insert(now.saturating_add(WITHDRAWAL_LIMIT));
    }

    /// Tells how the leadership stands, if that is news: the claim, and until when what was started for the last one may go
    /// on. Returns whether a term is told of: then something is started.
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

    /// The Service has said that it does not lead here any more, or that it cannot be helped.
    pub(super) fn withdrawn(&mut self, fencing_token: u64) {
        self.routed.take_if(|routed| *routed == fencing_token);
    }

    /// Runs the command again that has ended, if this candidate still leads.
    pub(super) fn restart_command(&self) {
        if let Some(command) = &self.command {
            command.restart();
        }
    }

    /// Whether nothing goes on of what was started for a term that has ended.
    pub(super) fn are_over(&self) -> bool {
        let ended = !matches!(self.told, Some(Leadership::Leading { .. }));
        ended && self.routed.is_none() && self.command.as_ref().is_none_or(Command::is_idle)
    }
}
