//! The epoll loop: sockets, limits and deadlines. What is said to whom is decided elsewhere.
//!
//! Three things wake it: a socket, a snapshot that was published, and a moment at which what clients of `/events` were
//! told ceases to be true, or they are due a sign of life.
//!
//! It is level-triggered: what a turn leaves undone, because turns are bounded, is reported again by itself. In
//! the usual case a request costs three system calls: wait, receive, send.

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

/// Descriptors that clients never get, because the election cannot do without.
const RESERVED_DESCRIPTORS: u64 = 64;
/// How many clients have their bytes thrown away before those that wait for an answer have their turn again.
const DRAINS_PER_TURN: usize = 16;
/// A connection that holds no more than this is not worth closing for its memory.
const LITTLE_BYTES: usize = 2048;
/// The events of the first listener carry this token, those of a client its place in the table.
const FIRST_LISTENER: u64 = 1 << 32;
/// A snapshot was published.
const BELL: u64 = u64::MAX;
/// A moment that was waited for has come.
const TIMER: u64 = u64::MAX - 1;

/// Listening sockets, not served yet: [`Server::run`] does that.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    limits: Limits,
}

impl Server {
    /// Listens on `listen`. Clients that connect from now on are answered once [`Server::run`] is called.
    pub fn bind(listen: &ListenAddress, mut limits: Limits) -> Result<Server, BindError> {
        let descriptors = getrlimit(Resource::Nofile).current;
        limits.connections = affordable_connections(limits.connections, descriptors);
        limits.subscribers = limits.subscribers.min(limits.connections / 4).max(1);
        Ok(Server { listeners: listen.bind()?, limits })
    }

    /// How many connections it has at a time: fewer than it was told to where the process may not have the descriptors.
    pub fn max_connections(&self) -> usize {
        self.limits.connections
    }

    /// Where it listens: one address, or one for each address of a name.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Answers from `status` until that is closed; an error is what made it impossible to go on. Call it in a thread.
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

/// How many connections there may be where the process may have so many descriptors; `None` is no limit.
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
    /// Readable when a snapshot was published since it was last read.
    bell: Arc<OwnedFd>,
    /// Set to when those who are told events have to be told something though nothing was published.
    timer: Timer,
    next_heartbeat: Time,
    peers: Vec<Option<Peer>>,
    buffer: Vec<u8>,
    /// The place from which on clients have their bytes thrown away next.
    next_drain: usize,
    /// No connection's deadline is before this. They may all be later, which costs one look in vain.
    next_deadline: Option<Time>,
    /// When accepting goes on, after the system had nothing to accept with.
    accept_again: Option<Time>,
    /// Whether that has been said. It is, once, until a connection is accepted again.
    trouble_said: bool,
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
            bell: Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?),
            timer: Timer::new()?,
            next_heartbeat: Time::ZERO,
            peers: Vec::new(),
            buffer: vec![0; server.limits.head_bytes],
            next_drain: 0,
            next_deadline: None,
            accept_again: None,
            trouble_said: false,
        };
        let EventLoop { epoll, listeners, bell, timer, .. } = &event_loop;
        for (listener, token) in listeners.iter().zip(FIRST_LISTENER..) {
            epoll::add(epoll, listener, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        }
        epoll::add(epoll, bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        epoll::add(epoll, timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let bell = Arc::clone(bell);
        // All that the election's thread does for this one. It fails only where it has been done 2^64 - 2 times since
        // this one last looked.
        status.on_publish(move || {
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        });
        Ok(event_loop)
    }

    fn run(&mut self) -> io::Result<()> {
        // Room for everybody: after a stop of the whole process, whoever has sent something is answered before
        // deadlines are looked at. So none are when the wait was interrupted, as it is by such a stop.
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
                self.tell_subscribers(now);
                return Ok(());
            }
            self.take_news(&events, now)?;
            self.take_turns(&events, now);
            self.close_overdue(now);
            self.resume_accepting(now)?;
        }
    }

    /// News goes before everything else: it may be that this candidate no longer leads.
    fn take_news(&mut self, events: &[epoll::Event], now: Time) -> io::Result<()> {
        let happened = |token| events.iter().any(|event| event.data.u64() == token);
        if happened(BELL) {
            let _ = rustix::io::read(&*self.bell, &mut [0; 8]); // before the snapshot is fetched, not after it
        }
        if happened(BELL) || happened(TIMER) {
            self.tell_subscribers(now);
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

    /// Clients that are here already first, so that nobody is evicted whose request has come; those that were
    /// answered last, and only some of them, or a crowd with long bodies would keep the others waiting.
    fn take_turns(&mut self, events: &[epoll::Event], now: Time) {
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

    /// A turn of some of these, round robin.
    fn drain(&mut self, mut indices: Vec<usize>, now: Time) {
        indices.sort_unstable();
        let first = indices.partition_point(|index| *index < self.next_drain);
        indices.rotate_left(first);
        for index in indices.into_iter().take(DRAINS_PER_TURN) {
            self.turn(index, now);
            self.next_drain = index + 1;
        }
    }

    /// A turn of the client at `index`. What it does, and be it a panic, costs nobody but that client.
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
                self.keep(index);
            }
            Err(_) => {
                error!("a connection was closed because of a bug in serving it: see the panic above");
                self.peers[index] = None;
            }
        }
    }

    fn keep(&mut self, index: usize) {
        let Some(peer) = &self.peers[index] else { return };
        let deadline = peer.connection.deadline();
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
        if peer.connection.held_bytes() > LITTLE_BYTES {
            self.limit_held_bytes();
        }
    }

    fn limit_held_bytes(&mut self) {
        while self.held_bytes() > self.limits.held_bytes {
            let Some(index) = self.most_stalled(|peer| peer.connection.held_bytes() > LITTLE_BYTES) else { return };
            self.evict(index, Eviction::Memory);
        }
    }

    fn held_bytes(&self) -> usize {
        self.peers.iter().flatten().map(|peer| peer.connection.held_bytes()).sum()
    }

    /// The client, among some, that has made no progress for longest.
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
    fn a_panic_costs_one_connection() {
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
