//! The kinds of handover: the action that ends a term.

/// A process that enforces the deadline of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Elector,
    OuterWarden,
    Warden,
}

/// The action. The parts named in `Terminate`, `Kill` and `CutOff` get SIGSTOP before.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// SIGTERM to the elector.
    Terminate(&'static [Part]),
    /// SIGKILL to the elector.
    Kill(&'static [Part]),
    /// SIGKILL to the elector; another one of the same name is started at once.
    Restart,
    /// SIGSTOP to these parts.
    Stop(&'static [Part]),
    /// SIGKILL to these parts, and then SIGTERM to the elector.
    KillWardens(&'static [Part]),
    /// The API server no longer answers the elector's requests.
    CutOff(&'static [Part]),
    /// The API server is down for longer than a lease.
    ServerDown,
    /// The health check of its application fails.
    Unhealthy,
    /// The step-down annotation on the lock.
    StepDown,
}

use Part::{Elector, OuterWarden, Warden};

pub const KINDS: [(&str, Action); 19] = [
    ("SIGTERM", Action::Terminate(&[])),
    ("SIGTERM, outer warden stopped", Action::Terminate(&[OuterWarden])),
    ("SIGTERM, warden stopped", Action::Terminate(&[Warden])),
    ("SIGTERM, both wardens stopped", Action::Terminate(&[OuterWarden, Warden])),
    ("SIGKILL of the elector", Action::Kill(&[])),
    ("SIGKILL of the elector, a warden stopped", Action::Kill(&[Warden])),
    ("SIGKILL and restart under the same name", Action::Restart),
    ("SIGKILL of the outer warden, SIGTERM", Action::KillWardens(&[OuterWarden])),
    ("SIGKILL of the warden, SIGTERM", Action::KillWardens(&[Warden])),
    ("SIGKILL of both wardens, SIGTERM", Action::KillWardens(&[OuterWarden, Warden])),
    ("SIGSTOP of the elector", Action::Stop(&[Elector])),
    ("SIGSTOP of the elector and outer warden", Action::Stop(&[Elector, OuterWarden])),
    ("SIGSTOP of the elector and warden", Action::Stop(&[Elector, Warden])),
    ("cut off from the API server", Action::CutOff(&[])),
    ("cut off, warden stopped", Action::CutOff(&[Warden])),
    ("cut off, both wardens stopped", Action::CutOff(&[OuterWarden, Warden])),
    ("API server down", Action::ServerDown),
    ("health lost", Action::Unhealthy),
    ("step-down", Action::StepDown),
];
