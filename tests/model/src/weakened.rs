//! Weakened rules. The checker must find a violation for each.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weakened {
    /// S1: F counts from the answer instead of from sending.
    DeadlineFromAnswer,
    /// S3: a lock is taken after D instead of after L.
    TakenAfterDeadline,
    /// S3: a missing object is created at once, also by a candidate that has seen a holder.
    AbsentTakenAtOnce,
    /// S3: an object without a record is written at once, also by a candidate that has seen a holder.
    RecordRemovedTakenAtOnce,
    /// S3: a holder whose record was removed is forgotten when another record appears.
    RemovedHolderForgotten,
    /// S3: a candidate whose own record was removed does not wait, although its term is over.
    OwnOldRecordTrusted,
    /// S10: an unreadable record counts as a holder only until it is gone.
    UnreadableUntilGone,
    /// S2: writes name no resourceVersion.
    NoResourceVersion,
    /// S4: a release overwrites any record.
    ReleaseOverAnything,
    /// S6: stale watch events are accepted.
    StaleEventAccepted,
    /// S6: the claim continues after another record was seen.
    ClaimDespiteForeignRecord,
    /// S7: a write without a clear answer counts as carried out.
    DoubtTakenAsDone,
    /// S9: a lock with the own name is taken at once, wherever its writer ran.
    OwnNameTakenAtOnce,
    /// A lock that was taken from the own dead predecessor is released without regard to that one's claim.
    PredecessorForgotten,
    /// With two locks, one is released at once when the claim has ended because of the other.
    LockReleasedAtOnce,
    /// With two locks, a claim begins with a new term of only one.
    OneNewTermIsEnough,
}

impl Weakened {
    pub const ALL: [Weakened; 16] = [
        Weakened::DeadlineFromAnswer,
        Weakened::TakenAfterDeadline,
        Weakened::AbsentTakenAtOnce,
        Weakened::RecordRemovedTakenAtOnce,
        Weakened::RemovedHolderForgotten,
        Weakened::OwnOldRecordTrusted,
        Weakened::UnreadableUntilGone,
        Weakened::NoResourceVersion,
        Weakened::ReleaseOverAnything,
        Weakened::StaleEventAccepted,
        Weakened::ClaimDespiteForeignRecord,
        Weakened::DoubtTakenAsDone,
        Weakened::OwnNameTakenAtOnce,
        Weakened::PredecessorForgotten,
        Weakened::LockReleasedAtOnce,
        Weakened::OneNewTermIsEnough,
    ];
}
