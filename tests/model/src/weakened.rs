//! Deliberate holes in the rules, each of which the checker must find.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weakened {
    /// S1: F counts from the answer instead of from the sending.
    DeadlineFromAnswer,
    /// S3: a lock is taken after D instead of after L.
    TakenAfterDeadline,
    /// S3: an object that is gone is made anew at once, also by who has seen a holder.
    AbsentTakenAtOnce,
    /// S3: an object without a record is written at once, also by who has seen a holder.
    StrippedTakenAtOnce,
    /// S3: a holder whose record was taken away is forgotten when another record stands there.
    RemovedHolderForgotten,
    /// S3: who finds its own record taken away does not wait, though its term is over.
    OwnOldRecordTrusted,
    /// S10: what cannot be read counts as a holder only until it is gone.
    UnreadableUntilGone,
    /// S2: writes name no resourceVersion.
    NoResourceVersion,
    /// S4: a release is written over whatever is there.
    ReleaseOverAnything,
    /// S6: what the watch shows late is believed.
    OldNewsBelieved,
    /// S6: the claim goes on after a record was seen that is not the own one.
    ClaimDespiteForeignRecord,
    /// S7: a write without a clear answer counts as done.
    DoubtTakenAsDone,
    /// S9: the own name is taken at once, wherever its writer was.
    OwnNameTakenAtOnce,
    /// A lock taken from a dead process of its own is released without regard to that one's claim.
    PredecessorForgotten,
    /// The other of two locks is released at once when a claim has ended.
    LockReleasedAtOnce,
    /// Of two locks, a claim begins with a new term of one of them.
    OneNewTermIsEnough,
}

impl Weakened {
    pub const ALL: [Weakened; 16] = [
        Weakened::DeadlineFromAnswer,
        Weakened::TakenAfterDeadline,
        Weakened::AbsentTakenAtOnce,
        Weakened::StrippedTakenAtOnce,
        Weakened::RemovedHolderForgotten,
        Weakened::OwnOldRecordTrusted,
        Weakened::UnreadableUntilGone,
        Weakened::NoResourceVersion,
        Weakened::ReleaseOverAnything,
        Weakened::OldNewsBelieved,
        Weakened::ClaimDespiteForeignRecord,
        Weakened::DoubtTakenAsDone,
        Weakened::OwnNameTakenAtOnce,
        Weakened::PredecessorForgotten,
        Weakened::LockReleasedAtOnce,
        Weakened::OneNewTermIsEnough,
    ];
}
