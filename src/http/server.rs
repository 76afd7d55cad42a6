//! The epoll loop: sockets, limits and deadlines. Other modules compute the replies.
//!
//! Three things wake it: a socket; a published snapshot, while there are subscribers; and a timer. The timer is set to the
//! next heartbeat, or to the end of the lease that subscribers were told about.
//!
//! It is level-triggered: if a bounded turn leaves work, epoll reports it again. A typical request costs three system
//! calls: wait, receive, send.

mod accepting;
mod subscribers;

use super::Limits;
use super::connection::Need;
use super::listen::{BindError, ListenAddress};
use super::peer::{Context, Peer};
use crate::clock::{self, Timer};
use crate::metrics::{Eviction, Metrics};
use crate::status::{Snapshot, Status};
use crate::time::Time;
use log::error;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Descriptors reserved for the election; clients cannot use them.
const RESERVED_DESCRIPTORS: u64 = 64;
/// How many discarding clients get a turn before the others get their next one.
const DRAINS_PER_TURN: usize = 16;
/// A connection that holds no more than this is not evicted for its memory.
const SMALL_BYTES: usize = 2048;
/// The token of the first listener. The token of a client is its index in `peers`.
const FIRST_LISTENER: u64 = 1 << 32;
/// The token of the eventfd: a snapshot was published.
const PUBLISHED: u64 = u64::MAX;
/// The token of the timer.
const TIMER: u64 = u64::MAX - 1;

/// Listening sockets. [`Server::run`] serves them.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    limits: Limits,
}

impl Server {
    /// Listens on `listen`. Clients can connect from now on; [`Server::run`] answers them.
    pub fn bind(listen: &ListenAddress, mut limits: Limits) -> Result<Server, BindError> {
        let descriptors = getrlimit(Resource::Nofile).current;
        limits.connections = affordable_connections(limits.connections, descriptors);
        limits.subscribers = limits.subscribers.min(limits.connections / 4).max(1);
        Ok(Server { listeners: listen.bind()?, limits })
    }

    /// The maximum number of connections, lower than configured if the process may not open enough descriptors.
    pub fn max_connections(&self) -> usize {
        self.limits.connections
    }

    /// The addresses it listens on: one, or one for each address of a name.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves `status` until that is closed. An error ends it early. Blocks, so call it in a thread of its own.
    pub fn run(self, status: Arc<Status>, metrics: Arc<Metrics>) -> io::Result<()> {
        self.run_with(&status, metrics, || status.now())
    }

    fn run_with(
        self,
        status: &Status,
        metrics: Arc<Metrics>,
        ask: impl Fn() -> (Arc<Snapshot>, Time),
    ) -> io::Result<()> {
        EventLoop::new(self, status, metrics, ask)?.run()
    }
}

/// Wakes the thread as a publication does. The write fails only after 2^64 - 2 unread notifications.
fn wake(published: &OwnedFd) {
    let _ = rustix::io::write(published, &1u64.to_ne_bytes());
}

/// The number of connections that fit into the limit of `descriptors`; `None` means no limit.
fn affordable_connections(wanted: usize, descriptors: Option<u64>) -> usize {
    let for_clients = descriptors.map_or(u64::MAX, |all| all.saturating_sub(RESERVED_DESCRIPTORS));
    wanted.min(usize::try_from(for_clients).unwrap_or(usize::MAX)).max(1)
}

struct EventLoop<'a, Ask> {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    limits: Limits,
    status: &'a Status,
    metrics: Arc<Metrics>,
    ask: Ask,
    /// Readable if a snapshot was published since the last read.
    published: Arc<OwnedFd>,
    /// Whether publications are of interest: somebody may be subscribed.
    has_subscribers: Arc<AtomicBool>,
    /// Set to the next moment at which subscribers need an event or a heartbeat without a new snapshot.
    timer: Timer,
    next_heartbeat: Time,
    peers: Vec<Option<Peer>>,
    buffer: Vec<u8>,
    /// The index in `peers` at which the next round of discarding starts.
    next_drain: usize,
    /// No connection's deadline is earlier. All may be later, which costs one useless scan.
    next_deadline: Option<Time>,
    /// When accepting resumes, after the system had no descriptor or memory.
    accept_again: Option<Time>,
    /// Whether that was logged. It is logged once until a connection is accepted again.
    failure_logged: bool,
}

impl<'a, Ask: Fn() -> (Arc<Snapshot>, Time)> EventLoop<'a, Ask> {
    fn new(server: Server, status: &'a Status, metrics: Arc<Metrics>, ask: Ask) -> io::Result<EventLoop<'a, Ask>> {
        let event_loop = EventLoop {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners: server.listeners,
            limits: server.limits,
            status,
            metrics,
            ask,
            published: Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?),
            has_subscribers: Arc::default(),
            timer: Timer::new()?,
            next_heartbeat: Time::ZERO,
            peers: Vec::new(),
            buffer: vec![0; server.limits.head_bytes],
            next_drain: 0,
            next_deadline: None,
            accept_again: None,
            failure_logged: false,
        };
        let EventLoop { epoll, listeners, published, timer, .. } = &event_loop;
        for (listener, token) in listeners.iter().zip(FIRST_LISTENER..) {
            epoll::add(epoll, listener, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        }
        epoll::add(epoll, published, epoll::EventData::new_u64(PUBLISHED), epoll::EventFlags::IN)?;
        epoll::add(epoll, timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let (published, has_subscribers) = (Arc::clone(published), Arc::clone(&event_loop.has_subscribers));
        // This is all that the candidate thread does for the HTTP thread. Nobody is subscribed most of the time, and then
        // this thread is not woken: it would find nothing to do at each renewal.
        status.on_publish(move |status| {
            fence(Ordering::SeqCst); // see `set_timer`
            if has_subscribers.load(Ordering::SeqCst) || status.is_closed() {
                wake(&published);
            }
        });
        Ok(event_loop)
    }

    fn run(&mut self) -> io::Result<()> {
        // The capacity covers all clients: after a pause of the whole process, every client that has sent something is
        // served before deadlines are checked. An interrupted wait does not check deadlines, since such a pause
        // interrupts it.
        let mut events = Vec::with_capacity(self.limits.connections + self.listeners.len() + 2);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.timeout().as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let now = clock::now();
            if self.status.is_closed() {
                self.notify_subscribers(now);
                return Ok(());
            }
            self.handle_wake_ups(&events, now)?;
            self.serve_clients(&events, now);
            self.close_overdue(now);
            self.resume_accepting(now)?;
        }
    }

    /// Subscribers come first: this candidate may no longer lead.
    fn handle_wake_ups(&mut self, events: &[epoll::Event], now: Time) -> io::Result<()> {
        let happened = |token| events.iter().any(|event| event.data.u64() == token);
        if happened(PUBLISHED) {
            // Read it before the snapshot is fetched, so that a later publish wakes this thread again.
            let _ = rustix::io::read(&*self.published, &mut [0; 8]);
        }
        if happened(PUBLISHED) || happened(TIMER) {
            self.notify_subscribers(now);
            self.set_timer()?;
        }
        Ok(())
    }

    fn evict(&mut self, index: usize, why: Eviction) {
        self.peers[index] = None;
        self.metrics.evicted(why);
    }

    fn timeout(&self) -> Option<Timespec> {
        let next = [self.next_deadline, self.accept_again].into_iter().flatten().min()?;
        Timespec::try_from(next.since(clock::now())).ok()
    }

    /// Existing clients come first, so that none is evicted although its request has arrived. Discarding clients come
    /// last and only some of them, so that many long bodies do not delay the others.
    fn serve_clients(&mut self, events: &[epoll::Event], now: Time) {
        let tokens = || events.iter().map(|event| event.data.u64());
        let mut draining = Vec::new();
        for index in tokens().filter(|token| *token < FIRST_LISTENER).map(|token| token as usize) {
            if self.is_draining(index) {
                draining.push(index);
            } else {
                self.turn(index, now);
            }
        }
        for token in tokens().filter(|token| (FIRST_LISTENER..TIMER).contains(token)) {
            self.accept((token - FIRST_LISTENER) as usize, now);
        }
        self.drain(draining, now);
    }

    fn is_draining(&self, index: usize) -> bool {
        self.peers.get(index).and_then(Option::as_ref).is_some_and(|peer| peer.connection.is_draining())
    }

    /// Gives a turn to some of `indices`, round robin.
    fn drain(&mut self, mut indices: Vec<usize>, now: Time) {
        indices.sort_unstable();
        let first = indices.partition_point(|index| *index < self.next_drain);
        indices.rotate_left(first);
        for index in indices.into_iter().take(DRAINS_PER_TURN) {
            self.turn(index, now);
            self.next_drain = index + 1;
        }
    }

    /// One turn of the client at `index`. An error or a panic closes only this client's connection.
    fn turn(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else { return };
        let context = Context { ask: &self.ask, metrics: &self.metrics };
        let was_subscribed = peer.subscription.is_some();
        let turn = catch_unwind(AssertUnwindSafe(|| {
            let need = peer.turn(&mut self.buffer, &context, now)?;
            if need != Need::Close {
                peer.watch(&self.epoll, index as u64)?;
            }
            Ok::<Need, Errno>(need)
        }));
        let is_new_subscriber = !was_subscribed && peer.subscription.is_some();
        match turn {
            Ok(Ok(Need::Close)) | Ok(Err(_)) => self.peers[index] = None,
            Ok(Ok(_)) => {
                if is_new_subscriber {
                    self.subscribed(index, now);
                }
                self.after_turn(index);
            }
            Err(_) => {
                error!("closed an HTTP connection because of a bug: see the panic above");
                self.peers[index] = None;
            }
        }
    }

    fn after_turn(&mut self, index: usize) {
        let Some(peer) = &self.peers[index] else { return };
        let deadline = peer.connection.deadline();
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
        if peer.connection.held_bytes() > SMALL_BYTES {
            self.limit_held_bytes();
        }
    }

    fn limit_held_bytes(&mut self) {
        while self.held_bytes() > self.limits.held_bytes {
            let Some(index) = self.most_stalled(|peer| peer.connection.held_bytes() > SMALL_BYTES) else { return };
            self.evict(index, Eviction::Memory);
        }
    }

    fn held_bytes(&self) -> usize {
        self.peers.iter().flatten().map(|peer| peer.connection.held_bytes()).sum()
    }

    /// The client that has made no progress for longest, among those that `among` selects.
    fn most_stalled(&self, among: impl Fn(&Peer) -> bool) -> Option<usize> {
        let candidates = self.peers.iter().enumerate();
        candidates
            .filter_map(|(index, peer)| Some((index, peer.as_ref().filter(|peer| among(peer))?)))
            .min_by_key(|(_, peer)| peer.connection.stalled_since())
            .map(|(index, _)| index)
    }

    fn close_overdue(&mut self, now: Time) {
        if self.next_deadline.is_none_or(|next| now < next) {
            return;
        }
        for place in &mut self.peers {
            place.take_if(|peer| peer.connection.deadline() <= now);
        }
        self.next_deadline = self.peers.iter().flatten().map(|peer| peer.connection.deadline()).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{LockKind, Locks};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    fn get(address: SocketAddr) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    fn unknown() -> Snapshot {
        let lock = Locks { kinds: &[LockKind::Leases], namespace: "n".into(), name: "e".into() };
        let day = Duration::from_secs(24 * 3600);
        Snapshot::unknown("me".into(), lock.into(), day, Time::after_boot(day))
    }

    #[test]
    fn clients_leave_descriptors_to_the_election() {
        for (descriptors, connections) in [(None, 256), (Some(1024), 256), (Some(100), 36), (Some(10), 1)] {
            assert_eq!(affordable_connections(256, descriptors), connections, "{descriptors:?}");
        }
    }

    #[test]
    fn a_panic_closes_only_its_connection() {
        let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), Limits::default()).unwrap();
        let address = server.local_addrs()[0];
        let asked = std::cell::Cell::new(0);
        std::thread::spawn(move || {
            let status = Status::new(unknown());
            server.run_with(&status, Arc::default(), || {
                asked.set(asked.get() + 1);
                assert!(asked.get() % 2 == 0, "every other request panics, on purpose");
                (Arc::new(unknown()), clock::now())
            })
        });
        for _ in 0..3 {
            assert_eq!(get(address), "");
            assert!(get(address).starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
}
