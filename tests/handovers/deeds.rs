//! What ends a term.

/// Who watches over a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Elector,
    OuterWarden,
    Warden,
}

/// What is done to the leader. Where wardens are named, these are stopped before (SIGSTOP).
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// SIGTERM to the elector.
    Terminate(&'static [Who]),
    /// SIGKILL to the elector.
    Kill(&'static [Who]),
    /// SIGKILL to the elector, and another one of the same name is started at once.
    Restart,
    /// SIGSTOP to these.
    Stop(&'static [Who]),
    /// SIGKILL to these, and then SIGTERM to the elector.
    KillWardens(&'static [Who]),
    /// The API server answers it no more.
    CutOff(&'static [Who]),
    /// The API server is gone for longer than a lease.
    ServerDown,
    /// Its application is not well.
    Sick,
    /// The annotation on the lock.
    StepDown,
}

use Who::{Elector, OuterWarden, Warden};

pub const KINDS: [(&str, Deed); 19] = [
    ("SIGTERM", Deed::Terminate(&[])),
    ("SIGTERM, outer warden stopped", Deed::Terminate(&[OuterWarden])),
    ("SIGTERM, warden stopped", Deed::Terminate(&[Warden])),
    ("SIGTERM, both wardens stopped", Deed::Terminate(&[OuterWarden, Warden])),
    ("SIGKILL of the elector", Deed::Kill(&[])),
    ("SIGKILL of the elector, a warden stopped", Deed::Kill(&[Warden])),
    ("SIGKILL and restart under the same name", Deed::Restart),
    ("SIGKILL of the outer warden, SIGTERM", Deed::KillWardens(&[OuterWarden])),
    ("SIGKILL of the warden, SIGTERM", Deed::KillWardens(&[Warden])),
    ("SIGKILL of both wardens, SIGTERM", Deed::KillWardens(&[OuterWarden, Warden])),
    ("SIGSTOP of the elector", Deed::Stop(&[Elector])),
    ("SIGSTOP of the elector and outer warden", Deed::Stop(&[Elector, OuterWarden])),
    ("SIGSTOP of the elector and warden", Deed::Stop(&[Elector, Warden])),
    ("cut off from the API server", Deed::CutOff(&[])),
    ("cut off, warden stopped", Deed::CutOff(&[Warden])),
    ("cut off, both wardens stopped", Deed::CutOff(&[OuterWarden, Warden])),
    ("API server down", Deed::ServerDown),
    ("health lost", Deed::Sick),
    ("step-down", Deed::StepDown),
];
