//! The leader Service: EndpointSlices that contain the address of the leader's pod, and no other address.
//!
//! A Service without a selector routes to the EndpointSlices that have its name in a label. The leader writes one slice
//! for each IP family, `NAME-leader` and `NAME-leader-ipv6`. It writes them once at the beginning of a term, and once
//! more, without an address, before it releases the lock. In between it sends nothing. So if somebody else deletes or
//! edits a slice, only the next leader repairs it. If a leader is killed or cut off, its address remains until the next
//! leader's write.
//!
//! # Why an older term's address never replaces a newer one's
//!
//! Each slice has the fencing token of the term that wrote it last. A leader reads the slice. If its token is greater
//! than that of the leader's term, the slice is not written. Otherwise the leader replaces exactly what it has read:
//! the update names the uid and the resourceVersion. Nothing is sent once the term may be over (`until`, a reading of
//! the boot-time clock).
//!
//! Let A be an older term and B a newer one. So B has the greater token, and begins after A's `until`. Take any update
//! that contains A's address. The network may delay or repeat it, and A may be paused between reading the clock and
//! sending:
//!
//! - The update names a version that A read before A's `until`, so before B began. If it arrives after B's first write,
//!   that version no longer exists, because B's write has changed the resourceVersion: it changed at least the token.
//!   The answer is 409.
//! - If somebody deletes B's slice and it is created again, the new one has another uid: the answer is 409, or 404
//!   while there is none. (An API server does not create an EndpointSlice on an update.) A cannot have read the new one
//!   before B began.
//! - A create contains no address and has the token 0. If it arrives late, the slice exists (409), or was deleted and
//!   is created empty. That is why a missing slice is written in two steps.
//! - If B's pod has no address of a family that A's pod has, B writes that slice too, without an address, if it exists.
//!   If it does not exist when B reads it, no update of A can be in flight: A sends one only after it has seen the
//!   slice.
//!
//! This depends on the same assumption as the election: B begins after A's F. If that fails, because a clock stopped,
//! the token still protects the slice: A cannot overwrite what B has written, unless somebody deletes the slice.
//!
//! A withdrawal is complete only if no write of the address can still be carried out. So if such a write is in doubt,
//! the slice is written without an address even if it does not contain the address. After that the version that the
//! delayed write names no longer exists.
//!
//! # What it does not check
//!
//! - Whether the Service has a selector. If it has, Kubernetes creates slices of its own, and traffic goes to both.
//! - Whether other slices have the label of the Service.
//! - Whether the ports of the Service have the same names as those given here.

mod orders;
pub mod reconciler;
mod slice;
mod spec;

use self::orders::{Order, Orders};
use self::reconciler::{Goal, Next, SliceProblem, SliceReconciler, SliceRequest};
pub use self::spec::{Addresses, Family, Pod, Port, ServiceSpec, SliceName};
use crate::api::{Api, Class, Failure, Verb};
use crate::clock;
use crate::leadership::Leadership;
use crate::random;
use crate::report::log_once::LogOnce;
use crate::threads;
use crate::time::Time;
use log::{debug, info, warn};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What the thread reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceReport {
    /// The Service routes to this pod.
    Routed { fencing_token: u64 },
    /// The Service does not route to this pod, and no write in flight can change that.
    Withdrawn { fencing_token: u64 },
    /// The address could not be withdrawn in time. There are no more attempts.
    GaveUp { fencing_token: u64 },
    /// The class of the current problem; `None` when it is over.
    Problem(Option<&'static str>),
}

/// The thread that writes the slices. It ends when this is dropped.
pub struct LeaderService {
    orders: Arc<Orders>,
    api: Arc<Api>,
}

impl LeaderService {
    /// Starts the thread. `timeout` is for each request. The thread calls `report`, and for each request `count` with its
    /// failure.
    pub fn start(
        spec: ServiceSpec,
        api: Api,
        timeout: Duration,
        report: impl FnMut(ServiceReport) + Send + 'static,
        count: impl Fn(Verb, Option<Class>) + Send + 'static,
    ) -> io::Result<LeaderService> {
        let service = LeaderService { orders: Arc::default(), api: Arc::new(api) };
        let spec = Arc::new(spec);
        let slice = |family| ManagedSlice {
            reconciler: SliceReconciler::new(Arc::clone(&spec), family),
            log_once: LogOnce::default(),
            wrong: None,
        };
        let mut slices = Family::ALL.map(slice);
        // The slices with an address come first, because traffic depends on them.
        slices.sort_by_key(|slice| slice.reconciler.address().is_none());
        let mut worker = Worker {
            spec: Arc::clone(&spec),
            api: Arc::clone(&service.api),
            orders: Arc::clone(&service.orders),
            timeout,
            slices,
            goal: None,
            reported: false,
            wrong: None,
            report,
            count,
        };
        threads::spawn("leader-service", move || worker.run())?;
        Ok(service)
    }

    /// Tells the thread the state of the leadership. This replaces what it was told before. Never blocks.
    pub fn tell(&self, leadership: Leadership) {
        self.orders.tell(leadership, || self.api.abandon());
    }

    /// A term may begin soon: the slices are read now, so that the first request of the term can be the write. Never
    /// blocks. Calling it is optional.
    pub fn look_ahead(&self) {
        self.orders.look_ahead();
    }
}

impl Drop for LeaderService {
    fn drop(&mut self) {
        self.orders.close();
        self.api.abandon();
    }
}

struct Worker<R, C> {
    spec: Arc<ServiceSpec>,
    api: Arc<Api>,
    orders: Arc<Orders>,
    timeout: Duration,
    slices: [ManagedSlice; 2],
    goal: Option<Goal>,
    /// The outcome for the current goal has been reported.
    reported: bool,
    wrong: Option<&'static str>,
    report: R,
    count: C,
}

/// A slice, and what was reported about it.
struct ManagedSlice {
    reconciler: SliceReconciler,
    log_once: LogOnce,
    wrong: Option<&'static str>,
}

impl<R: FnMut(ServiceReport), C: Fn(Verb, Option<Class>)> Worker<R, C> {
    fn run(&mut self) {
        let mut due = None;
        while let Some(Order { latest, look_ahead }) = self.orders.next(due) {
            if look_ahead && !matches!(latest, Some((Goal::Lead { .. }, _))) {
                self.look_ahead();
            }
            due = latest.and_then(|(goal, until)| self.pursue(goal, until));
        }
    }

    fn look_ahead(&mut self) {
        for slice in &mut self.slices {
            if let Some(request) = slice.reconciler.look_ahead()
                && self.orders.begin_look_ahead()
            {
                let reply = send(&self.api, slice.reconciler.name(), &request, self.timeout);
                (self.count)(request.verb, reply.as_ref().err().map(Failure::class));
                slice.reconciler.looked_ahead(reply);
            }
        }
    }

    /// Sends what can be sent for the goal now. Returns when to continue.
    fn pursue(&mut self, goal: Goal, until: Time) -> Option<Time> {
        if self.goal.replace(goal) != Some(goal) {
            self.reported = false;
        }
        for slice in &mut self.slices {
            slice.reconciler.pursue(goal, until);
        }
        let mut due: Option<Time> = None;
        let (mut is_reached, mut is_over) = (true, false);
        for index in 0..self.slices.len() {
            // Without an address the slice only has to be emptied if an earlier leader wrote it; nothing depends on
            // that.
            let counts = self.slices[index].reconciler.address().is_some();
            let next = self.work_on(index, goal);
            is_reached &= !counts || matches!(next, Some(Next::Rest));
            match next {
                Some(Next::At(at)) => due = Some(due.map_or(at, |due| due.min(at))),
                Some(Next::Over) => is_over |= counts,
                Some(Next::Rest) => {}
                Some(Next::Send(_)) | None => return None, // there is a new goal
            }
        }
        self.report_problem();
        self.report_outcome(goal, is_reached, is_over);
        match goal {
            Goal::Withdraw { .. } if due.is_some() => due.map(|due| due.min(until)),
            _ => due,
        }
    }

    /// Works on one slice until there is nothing to do for it now. `None` if there is a new goal.
    fn work_on(&mut self, index: usize, goal: Goal) -> Option<Next> {
        let slice = &mut self.slices[index];
        loop {
            let now = clock::now();
            let request = match slice.reconciler.next(now) {
                Next::Send(request) => request,
                next => return Some(next),
            };
            let until = self.orders.begin_request(goal)?;
            let timeout = until.since(clock::now()).min(self.timeout);
            if timeout.is_zero() {
                return Some(Next::Over);
            }
            let reply = send(&self.api, slice.reconciler.name(), &request, timeout);
            (self.count)(request.verb, reply.as_ref().err().map(Failure::class));
            let problem = slice.reconciler.answered(&request, reply, clock::now(), random::fraction());
            slice.tell(&request, problem);
        }
    }

    fn report_outcome(&mut self, goal: Goal, is_reached: bool, is_over: bool) {
        if self.reported || !is_reached && !is_over {
            return;
        }
        let ServiceSpec { namespace, service, .. } = &*self.spec;
        let report = match goal {
            Goal::Lead { fencing_token } if is_reached => {
                let addresses: Vec<String> =
                    self.slices.iter().filter_map(|it| it.reconciler.address()).map(|it| it.to_string()).collect();
                info!("the Service {namespace}/{service} routes to this pod, {}", addresses.join(" and "));
                ServiceReport::Routed { fencing_token }
            }
            Goal::Withdraw { fencing_token } if is_reached => {
                debug!("the Service {namespace}/{service} no longer routes to this pod");
                ServiceReport::Withdrawn { fencing_token }
            }
            Goal::Withdraw { fencing_token } => {
                warn!(
                    "the Service {namespace}/{service} could not be withdrawn in time: it routes to this pod until \
                     another candidate leads"
                );
                ServiceReport::GaveUp { fencing_token }
            }
            Goal::Lead { .. } => return, // the next renewal extends the time
        };
        self.reported = true;
        (self.report)(report);
    }

    fn report_problem(&mut self) {
        for slice in self.slices.iter_mut().filter(|slice| slice.reconciler.is_settled()) {
            slice.wrong = None;
        }
        let wrong = self.slices.iter().find_map(|slice| slice.wrong);
        if std::mem::replace(&mut self.wrong, wrong) != wrong {
            (self.report)(ServiceReport::Problem(wrong));
        }
    }
}

/// Sends a request about the slice with this name.
pub fn send(
    api: &Api,
    name: &SliceName,
    SliceRequest { verb, body }: &SliceRequest,
    timeout: Duration,
) -> Result<Vec<u8>, Failure> {
    match verb {
        Verb::Get | Verb::Watch => api.get(name, timeout),
        Verb::Create => api.create(name, body, timeout),
        Verb::Update => api.update(name, body, timeout),
    }
}

/// The topic of problems in the log.
const REQUESTS: &str = "requests";

impl ManagedSlice {
    fn tell(&mut self, request: &SliceRequest, problem: Option<SliceProblem>) {
        let Some(SliceProblem { message, class, expected }) = problem else {
            // A slice that can be read again may still not be writable.
            let is_over = request.verb == Verb::Update || self.reconciler.is_settled();
            if is_over && self.log_once.over(REQUESTS) {
                info!("{} can be written again", self.reconciler.name());
            }
            return;
        };
        if !expected {
            self.wrong = Some(class);
        }
        if !expected && self.log_once.should_log(REQUESTS, &message, clock::now()) {
            warn!("{message}");
        } else {
            debug!("{message}");
        }
    }
}
