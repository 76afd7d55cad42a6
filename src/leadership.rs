//! What everything that is bound to the leadership is told: the command, and the Service that leads to the leader.

use crate::time::Time;

/// How the leadership of this candidate stands. What is told later replaces what was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This candidate leads, at least until then. Told again at each renewal.
    Leading { fencing_token: u64, until: Time },
    /// The term of this token is over. What was started for it has until then to end; told again when the lock is renewed
    /// meanwhile. Where that moment has passed, another candidate may lead already.
    Ended { fencing_token: u64, until: Time },
}

impl Leadership {
    /// When everything that was started has to be over, unless it is told again.
    pub fn until(self) -> Time {
        match self {
            Leadership::Leading { until, .. } | Leadership::Ended { until, .. } => until,
        }
    }
}
