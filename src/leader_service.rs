//! The leader Service: an EndpointSlice that shows the address of the leader's pod, and of no other.
//!
//! A Service without a selector leads to whatever EndpointSlices carry its name in a label. The leader keeps one for each
//! IP family, `NAME-leader` and `NAME-leader-ipv6`. It writes them once at the beginning of a term, and again, empty,
//! before it gives the lock up. In between it sends nothing. So a slice that others delete or edit is mended by the next
//! leader only; and a leader that is killed, or cut off, leaves its address there until the next leader's write.
//!
//! # Never an older term's address after a newer one's
//!
//! Each slice carries the fencing token of the term that wrote it last. A term reads the slice, leaves it alone if its
//! token is greater, and otherwise replaces exactly what it has read: the update names the uid and the resourceVersion.
//! Nothing is sent once the term may be over (`until`, a reading of the boot-time clock).
//!
//! Let A be an older term and B a newer one, which therefore has the greater token, and begins when A's `until` has
//! passed. Take any update that shows A's address, however long the network delays or repeats it, or A itself stands
//! still between looking at the clock and sending:
//!
//! - It names a version that A read before A's `until`, so before B began. Where it arrives after B's first write, that
//!   version is gone: B's write has changed the resourceVersion, since it changes at least the token. The answer is 409.
//! - If B's slice is deleted by somebody and made anew, the new one has another uid: 409 too, or 404 while there is none.
//!   (An API server creates no EndpointSlice on an update.) A cannot have read the new one before B began.
//! - A create shows no address and carries the token 0. Where it arrives late, the slice is there (409), or was deleted;
//!   then it comes back empty. So a slice is made in two steps, once in the life of the Service.
//! - Where B's pod lacks a family that A's had, B writes that slice too, empty, if it exists. If it does not exist when B
//!   looks, no update of A is on its way: A sends one only after it has seen the slice.
//!
//! What this rests on is what the election rests on: B begins after A's F. Where that fails, because a clock stood still,
//! the token decides: A cannot overwrite what B has written, unless A reads it after somebody has deleted it.
//!
//! Before a withdrawal counts as done, no write of the address may be on its way. So a term that is not sure of one writes
//! the empty slice even where its address is not to be seen: the version that the delayed write names is gone then.
//!
//! # What it takes no notice of
//!
//! A Service that has a selector: Kubernetes keeps slices of its own for that, and traffic goes to both. Other slices
//! that carry the label of the Service. The ports of the Service, which have to bear the same names as those given here.

mod orders;
pub mod route;
mod slice;
mod spec;

use self::orders::{Order, Orders};
use self::route::{Goal, Next, Request, Route, Trouble};
pub use self::spec::{Addresses, Family, Pod, Port, SliceName, Spec};
use crate::api::{Api, Failure, Verb};
use crate::clock;
use crate::leadership::Leadership;
use crate::random;
use crate::report::log_once::LogOnce;
use crate::time::Time;
use log::{debug, info, warn};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What the thread says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The Service leads here.
    Routed { fencing_token: u64 },
    /// The Service does not lead here, and no write that could change that is on its way.
    Withdrawn { fencing_token: u64 },
    /// It could not be withdrawn in time. It is tried no more.
    GaveUp { fencing_token: u64 },
    /// What is wrong now, in one word; `None` when it is over.
    Trouble(Option<&'static str>),
}

/// The thread that keeps the slices. It ends when this is dropped.
pub struct LeaderService {
    orders: Arc<Orders>,
    api: Arc<Api>,
}

impl LeaderService {
    /// Starts the thread. `timeout` is for each request; `report` is called by the thread.
    pub fn start(
        spec: Spec,
        api: Api,
        timeout: Duration,
        report: impl FnMut(Report) + Send + 'static,
    ) -> io::Result<LeaderService> {
        let service = LeaderService { orders: Arc::default(), api: Arc::new(api) };
        let spec = Arc::new(spec);
        let slice =
            |family| Keeper { route: Route::new(Arc::clone(&spec), family), log_once: LogOnce::default(), wrong: None };
        let mut slices = Family::ALL.map(slice);
        // What traffic waits for comes first.
        slices.sort_by_key(|slice| slice.route.address().is_none());
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
        };
        thread::Builder::new().name("leader-service".into()).spawn(move || worker.run())?;
        Ok(service)
    }

    /// Tells how the leadership stands; what was told before and is not done yet is dropped. Never waits.
    pub fn tell(&self, leadership: Leadership) {
        if self.orders.tell(leadership) {
            self.api.abandon();
        }
    }

    /// A term may begin soon: its slice is read now, so that the first request of the term can be the write. Never waits,
    /// and need not be called.
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

struct Worker<R> {
    spec: Arc<Spec>,
    api: Arc<Api>,
    orders: Arc<Orders>,
    timeout: Duration,
    slices: [Keeper; 2],
    goal: Option<Goal>,
    /// The outcome for the goal was reported.
    reported: bool,
    wrong: Option<&'static str>,
    report: R,
}

/// A slice and what was told of it.
struct Keeper {
    route: Route,
    log_once: LogOnce,
    wrong: Option<&'static str>,
}

impl<R: FnMut(Report)> Worker<R> {
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
            if let Some(request) = slice.route.look_ahead() {
                slice.route.looked_ahead(send(&self.api, slice.route.name(), &request, self.timeout));
            }
        }
    }

    /// Does what can be done for the goal now, and returns when there is more to do.
    fn pursue(&mut self, goal: Goal, until: Time) -> Option<Time> {
        if self.goal.replace(goal) != Some(goal) {
            self.reported = false;
        }
        for slice in &mut self.slices {
            slice.route.pursue(goal, until);
        }
        let mut due: Option<Time> = None;
        let (mut is_reached, mut is_over) = (true, false);
        for index in 0..self.slices.len() {
            // Without an address it only clears away what a leader before has left: nobody waits for that.
            let counts = self.slices[index].route.address().is_some();
            let next = self.work_on(index, goal);
            is_reached &= !counts || matches!(next, Some(Next::Rest));
            match next {
                Some(Next::At(at)) => due = Some(due.map_or(at, |due| due.min(at))),
                Some(Next::Over) => is_over |= counts,
                Some(Next::Rest) => {}
                Some(Next::Send(_)) | None => return None, // told anew
            }
        }
        self.tell_trouble();
        self.tell_outcome(goal, is_reached, is_over);
        match goal {
            Goal::Withdraw { .. } if due.is_some() => due.map(|due| due.min(until)),
            _ => due,
        }
    }

    /// Goes on with one slice until there is nothing to do for it now; `None` if there is another goal by now.
    fn work_on(&mut self, index: usize, goal: Goal) -> Option<Next> {
        let slice = &mut self.slices[index];
        loop {
            let now = clock::now();
            let request = match slice.route.next(now) {
                Next::Send(request) => request,
                next => return Some(next),
            };
            let until = self.orders.begin_request(goal)?;
            let timeout = until.since(clock::now()).min(self.timeout);
            if timeout.is_zero() {
                return Some(Next::Over);
            }
            let reply = send(&self.api, slice.route.name(), &request, timeout);
            let trouble = slice.route.answered(&request, reply, clock::now(), random::fraction());
            slice.tell(&request, trouble);
        }
    }

    fn tell_outcome(&mut self, goal: Goal, is_reached: bool, is_over: bool) {
        if self.reported || !is_reached && !is_over {
            return;
        }
        let Spec { namespace, service, .. } = &*self.spec;
        let report = match goal {
            Goal::Lead { fencing_token } if is_reached => {
                let addresses: Vec<String> =
                    self.slices.iter().filter_map(|it| it.route.address()).map(|it| it.to_string()).collect();
                info!("the Service {namespace}/{service} leads here, to {}", addresses.join(" and "));
                Report::Routed { fencing_token }
            }
            Goal::Withdraw { fencing_token } if is_reached => {
                debug!("the Service {namespace}/{service} does not lead here any longer");
                Report::Withdrawn { fencing_token }
            }
            Goal::Withdraw { fencing_token } => {
                warn!(
                    "the Service {namespace}/{service} could not be withdrawn in time: it leads here until another leader \
                     is elected"
                );
                Report::GaveUp { fencing_token }
            }
            Goal::Lead { .. } => return, // until it is renewed
        };
        self.reported = true;
        (self.report)(report);
        self.api.abandon(); // nobody needs the connection for the rest of the term
    }

    fn tell_trouble(&mut self) {
        for slice in self.slices.iter_mut().filter(|slice| slice.route.is_settled()) {
            slice.wrong = None;
        }
        let wrong = self.slices.iter().find_map(|slice| slice.wrong);
        if std::mem::replace(&mut self.wrong, wrong) != wrong {
            (self.report)(Report::Trouble(wrong));
        }
    }
}

fn send(api: &Api, name: &SliceName, Request { verb, body }: &Request, timeout: Duration) -> Result<Vec<u8>, Failure> {
    match verb {
        Verb::Get | Verb::Watch => api.get(name, timeout),
        Verb::Create => api.create(name, body, timeout),
        Verb::Update => api.update(name, body, timeout),
    }
}

/// The topics of troubles.
const REQUESTS: &str = "requests";

impl Keeper {
    fn tell(&mut self, request: &Request, trouble: Option<Trouble>) {
        let Some(Trouble { message, class, expected }) = trouble else {
            // A slice that can be read may still be one that cannot be written.
            let is_over = request.verb == Verb::Update || self.route.is_settled();
            if is_over && self.log_once.over(REQUESTS) {
                info!("{} can be written again", self.route.name());
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
