//! The state machine of one EndpointSlice: goals and answers in, requests out. It does no I/O and reads no clock.

use super::slice::{Owner, Slice};
use super::spec::{Family, ServiceSpec, SliceName};
use crate::api::{Failure, FailureKind, Verb};
use crate::time::Time;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The first and the longest pause after a failed request. After the very first failure there is no pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// The same after a refusal that only people can resolve. The first pause is short because an API server that has just
/// started refuses everything until it has read the roles.
const REFUSED_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(180));

/// What the slice should contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The address of this pod; no address if the pod has none of this family.
    Lead { fencing_token: u64 },
    /// Not the address of this pod.
    Withdraw { fencing_token: u64 },
}

impl Goal {
    pub fn fencing_token(self) -> u64 {
        match self {
            Goal::Lead { fencing_token } | Goal::Withdraw { fencing_token } => fencing_token,
        }
    }
}

/// What to do now.
#[derive(Debug)]
pub enum Next {
    /// Send this request, and pass its answer to [`SliceReconciler::answered`].
    Send(SliceRequest),
    /// Call again at this moment.
    At(Time),
    /// The time for this goal is over.
    Over,
    /// Nothing: the goal is reached, or there is none.
    Rest,
}

/// A request about the slice.
#[derive(Debug, PartialEq, Eq)]
pub struct SliceRequest {
    /// Get, create or update.
    pub verb: Verb,
    /// Empty for a get.
    pub body: Vec<u8>,
}

/// Why the goal has not been reached yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceProblem {
    pub message: String,
    /// The class of the problem, as in `lastError` of `/status`.
    pub class: &'static str,
    /// It is normal, such as a lost race.
    pub expected: bool,
}

/// One slice of the leader Service.
pub struct SliceReconciler {
    spec: Arc<ServiceSpec>,
    family: Family,
    name: SliceName,
    /// The goal, and the moment after which nothing is sent for it.
    goal: Option<(Goal, Time)>,
    known: Known,
    /// The slice may contain the address of this pod: it was seen there, or a write of it may have been carried out.
    may_show: bool,
    reached: bool,
    retry: RetryState,
}

/// The slice as it was last seen; it may have changed since.
enum Known {
    Nothing,
    Absent,
    Slice(Slice),
}

/// The failures since the goal was set.
#[derive(Clone, Copy, Default)]
struct RetryState {
    failures: u32,
    refusals: u32,
    after: Option<Time>,
}

/// What is missing for the goal, by what is known of the slice.
enum Assessment {
    Reached,
    Missing(Verb),
    /// The slice must not be written.
    Refused(SliceProblem),
}

impl SliceReconciler {
    pub fn new(spec: Arc<ServiceSpec>, family: Family) -> SliceReconciler {
        SliceReconciler {
            name: spec.slice_name(family),
            spec,
            family,
            goal: None,
            known: Known::Nothing,
            may_show: false,
            reached: true,
            retry: RetryState::default(),
        }
    }

    pub fn name(&self) -> &SliceName {
        &self.name
    }

    /// The address of this pod in this slice.
    pub fn address(&self) -> Option<IpAddr> {
        self.spec.address(self.family)
    }

    /// Sets the goal and until when requests may be sent for it.
    pub fn pursue(&mut self, goal: Goal, until: Time) {
        let before = self.goal.replace((goal, until));
        if before.map(|(goal, _)| goal) != Some(goal) {
            self.retry = RetryState::default();
            self.reached = false;
            if matches!(self.known, Known::Absent) {
                self.known = Known::Nothing; // somebody may have created it since
            }
            if matches!(goal, Goal::Withdraw { .. }) && !self.may_show {
                self.settle();
            }
        }
    }

    /// Reads the slice ahead of a term, so that the first request of the term can be the write.
    pub fn look_ahead(&self) -> Option<SliceRequest> {
        self.address().is_some().then(|| self.request(Verb::Get))
    }

    /// Processes the answer to that request. A failure is not reported: it will be when the slice is needed.
    pub fn looked_ahead(&mut self, reply: Result<Vec<u8>, Failure>) {
        if let Ok(slice) = reply.and_then(|body| self.read(Verb::Get, &body, None)) {
            self.see(slice);
        }
    }

    /// Whether there is nothing left to do for the goal.
    pub fn is_settled(&self) -> bool {
        self.reached
    }

    pub fn next(&mut self, now: Time) -> Next {
        let Some((_, until)) = self.goal.filter(|_| !self.reached) else { return Next::Rest };
        if now >= until {
            return Next::Over;
        }
        if let Some(after) = self.retry.after.filter(|after| now < *after) {
            return Next::At(after);
        }
        match self.assess() {
            Assessment::Reached => {
                self.settle();
                Next::Rest
            }
            Assessment::Missing(verb) => Next::Send(self.request(verb)),
            Assessment::Refused(_) => Next::Send(self.request(Verb::Get)), // it may have changed since
        }
    }

    /// Processes the answer to a request. `jitter` is a number in [0, 1).
    pub fn answered(
        &mut self,
        request: &SliceRequest,
        reply: Result<Vec<u8>, Failure>,
        now: Time,
        jitter: f64,
    ) -> Option<SliceProblem> {
        let replaced = match &self.known {
            Known::Slice(slice) if request.verb == Verb::Update => Some(slice.resource_version),
            _ => None,
        };
        let shows_pod = request.verb == Verb::Update && self.target().is_some();
        let seen = reply.and_then(|body| self.read(request.verb, &body, replaced));
        let in_doubt = matches!(&seen, Err(failure) if is_in_doubt(failure.kind));
        self.may_show |= shows_pod && (seen.is_ok() || in_doubt);
        match seen {
            Ok(slice) => self.see(slice),
            Err(failure) if request.verb == Verb::Get && failure.kind == FailureKind::Absent => {
                self.known = Known::Absent;
            }
            Err(failure) => {
                self.known = Known::Nothing;
                let pause = self.retry.pause(&failure, jitter);
                self.retry.after = Some(now.saturating_add(pause));
                return Some(SliceProblem {
                    expected: failure.kind == FailureKind::Conflict
                        || failure.kind == FailureKind::Absent && request.verb == Verb::Update,
                    class: failure.class().name(),
                    message: failure.message,
                });
            }
        }
        match self.assess() {
            Assessment::Reached => self.settle(),
            Assessment::Missing(_) => {}
            Assessment::Refused(problem) => {
                self.retry.after = Some(now.saturating_add(self.retry.refused(jitter)));
                return Some(problem);
            }
        }
        None
    }

    fn read(&self, verb: Verb, body: &[u8], replaced: Option<u64>) -> Result<Slice, Failure> {
        let unreadable = |why: &str| Failure::unreadable(verb, &self.name, body, why);
        let slice = Slice::parse(&self.spec, &self.name, body).map_err(|why| unreadable(&why))?;
        match replaced {
            Some(version) if version == slice.resource_version => Err(unreadable("its resourceVersion is the old one")),
            _ => Ok(slice),
        }
    }

    fn see(&mut self, slice: Slice) {
        self.may_show |= self.address().is_some_and(|address| slice.contains(address));
        self.known = Known::Slice(slice);
    }

    fn settle(&mut self) {
        self.reached = true;
        self.retry = RetryState::default();
        if let Some((Goal::Withdraw { .. }, _)) = self.goal {
            self.may_show = false;
            self.known = Known::Nothing; // the next leader writes it
        }
    }

    /// The address that the slice should contain; none if the pod has no address of this family.
    fn target(&self) -> Option<IpAddr> {
        self.goal.filter(|(goal, _)| matches!(goal, Goal::Lead { .. })).and(self.address())
    }

    fn assess(&self) -> Assessment {
        let (Some((goal, _)), target) = (self.goal, self.target()) else { return Assessment::Reached };
        let own_token = goal.fencing_token();
        match &self.known {
            Known::Nothing => Assessment::Missing(Verb::Get),
            Known::Absent if target.is_none() => Assessment::Reached,
            Known::Absent => Assessment::Missing(Verb::Create),
            Known::Slice(slice) => match &slice.owner {
                Owner::Ours { fencing_token } if *fencing_token <= own_token => {
                    let shown = slice.shows(own_token, target);
                    if shown { Assessment::Reached } else { Assessment::Missing(Verb::Update) }
                }
                // It is not ours any more. The write that changed this also changed the version that our writes in
                // flight name.
                _ if target.is_none() => Assessment::Reached,
                Owner::Ours { fencing_token } => Assessment::Refused(self.newer(*fencing_token, own_token)),
                Owner::Other(why) => Assessment::Refused(self.foreign(why)),
            },
        }
    }

    fn request(&self, verb: Verb) -> SliceRequest {
        let body = match (verb, &self.known, self.goal) {
            (Verb::Create, ..) => Slice::created(&self.spec, self.family),
            (Verb::Update, Known::Slice(slice), Some((goal, _))) => {
                slice.replaced(&self.spec, self.family, goal.fencing_token(), self.target())
            }
            _ => Vec::new(),
        };
        SliceRequest { verb, body }
    }

    fn newer(&self, found: u64, own: u64) -> SliceProblem {
        let message = format!(
            "cannot update {}: it carries the fencing token {found}, this term has {own}; either there is a newer leader \
             already, or it was restored from a backup: then delete it",
            self.name
        );
        SliceProblem { message, class: "outdated", expected: false }
    }

    fn foreign(&self, why: &str) -> SliceProblem {
        let message = format!(
            "cannot update {}: it {why}, so it belongs to somebody else; delete it, or use another Service",
            self.name
        );
        SliceProblem { message, class: "foreign", expected: false }
    }
}

/// Whether a write that failed like this may have been carried out, or may still be. After a 409 too: a proxy may have
/// sent it twice.
fn is_in_doubt(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Unknown | FailureKind::Aborted | FailureKind::Expired | FailureKind::Conflict => true,
        FailureKind::Absent | FailureKind::Denied | FailureKind::Invalid | FailureKind::Busy => false,
    }
}

impl RetryState {
    /// How long to wait after this failure.
    fn pause(&mut self, failure: &Failure, jitter: f64) -> Duration {
        match failure.kind {
            FailureKind::Denied | FailureKind::Invalid => self.refused(jitter),
            // Absent means: for an update that the slice is gone, for a create that the namespace is.
            _ => {
                let pause = if self.failures == 0 { Duration::ZERO } else { grown(PAUSES, self.failures, jitter) };
                self.failures = self.failures.saturating_add(1);
                failure.retry_after.map_or(pause, |asked| asked.min(REFUSED_PAUSES.1).max(pause))
            }
        }
    }

    fn refused(&mut self, jitter: f64) -> Duration {
        self.refusals = self.refusals.saturating_add(1);
        grown(REFUSED_PAUSES, self.refusals, jitter)
    }
}

/// The pause with this number, counted from 1. Each is twice as long as the previous one; jitter shortens it by up to a
/// half.
fn grown((first, longest): (Duration, Duration), number: u32, jitter: f64) -> Duration {
    first.saturating_mul(1 << (number - 1).min(12)).min(longest).mul_f64(1.0 - jitter / 2.0)
}
