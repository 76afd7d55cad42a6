//! What the command and the leader Service are told about the leadership.

use crate::time::Time;

/// The state of this candidate's leadership. A later value replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This candidate leads, at least until `until`. Sent again at each renewal.
    Leading { fencing_token: u64, until: Time },
    /// The claim with this token has ended. What was started for it must end by `until`. Sent again when the lock is
    /// renewed in the meantime. If `until` has passed, another candidate may already lead.
    Ended { fencing_token: u64, until: Time },
}

impl Leadership {
    /// When everything that was started must have ended, unless a later value says otherwise.
    pub fn until(self) -> Time {
        match self {
            Leadership::Leading { until, .. } | Leadership::Ended { until, .. } => until,
        }
    }
}
