//! The epoll loop: sockets, limits and deadlines. What is said to whom is decided elsewhere.
//!
//! It is level-triggered: what a turn leaves undone, because turns are bounded, is reported again by itself. In
//! the usual case a request costs three system calls: wait, receive, send.

use super::Limits;
use super::connection::Need;
use super::listen::{BindError, ListenAddress};
use super::peer::Peer;
use crate::clock::{self, Time};
use crate::status::{Snapshot, Status};
use log::{error, warn};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Resource, getrlimit};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Descriptors that clients never get, because the election cannot do without.
const RESERVED_DESCRIPTORS: u64 = 64;
/// How many connections are accepted before those that wait for an answer have their turn again.
const ACCEPTS_PER_TURN: u32 = 64;
/// A connection that holds no more than this is not worth closing for its memory.
const LITTLE_BYTES: usize = 2048;
/// The events of the first listener carry this token, those of a client its place in the table.
const FIRST_LISTENER: u64 = 1 << 32;

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
        Ok(Server { listeners: listen.bind()?, limits })
    }

    /// Where it listens: one address, or one for each address of a name.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Answers from `status` for ever, and returns only what made that impossible. Call it in a thread.
    pub fn run(self, status: Arc<Status>) -> io::Error {
        // The snapshot first and the clock after it: the other way round, a snapshot newer than the reading
        // could make a lease that has run out look valid.
        self.run_with(|| {
            let snapshot = status.snapshot();
            (snapshot, clock::now())
        })
    }

    fn run_with(self, ask: impl Fn() -> (Arc<Snapshot>, Time)) -> io::Error {
        let served = EventLoop::new(self, ask).and_then(|mut event_loop| event_loop.run());
        match served {
            Err(error) => io::Error::from(error),
        }
    }
}

/// How many connections there may be where the process may have so many descriptors; `None` is no limit.
fn affordable_connections(wanted: usize, descriptors: Option<u64>) -> usize {
    let for_clients = descriptors.map_or(u64::MAX, |all| all.saturating_sub(RESERVED_DESCRIPTORS));
    wanted.min(usize::try_from(for_clients).unwrap_or(usize::MAX)).max(1)
}

struct EventLoop<Ask> {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    limits: Limits,
    ask: Ask,
    peers: Vec<Option<Peer>>,
    buffer: Vec<u8>,
    /// No connection's deadline is before this. They may all be later, which costs one look in vain.
    next_deadline: Option<Time>,
    /// When accepting goes on, after the system had nothing to accept with.
    accept_again: Option<Time>,
    /// Whether that has been said. It is, once, until a connection is accepted again.
    trouble_said: bool,
}

impl<Ask: Fn() -> (Arc<Snapshot>, Time)> EventLoop<Ask> {
    fn new(server: Server, ask: Ask) -> Result<EventLoop<Ask>, Errno> {
        let event_loop = EventLoop {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners: server.listeners,
            limits: server.limits,
            ask,
            peers: Vec::new(),
            buffer: vec![0; server.limits.head_bytes],
            next_deadline: None,
            accept_again: None,
            trouble_said: false,
        };
        for (listener, token) in event_loop.listeners.iter().zip(FIRST_LISTENER..) {
            epoll::add(&event_loop.epoll, listener, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        }
        Ok(event_loop)
    }

    fn run(&mut self) -> Result<Infallible, Errno> {
        // Room for everybody: after a stop of the whole process, whoever has sent something is answered before
        // deadlines are looked at. So none are when the wait was interrupted, as it is by such a stop.
        let mut events = Vec::with_capacity(self.limits.connections + self.listeners.len());
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.timeout().as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
            let now = clock::now();
            self.take_turns(&events, now);
            self.close_overdue(now);
            self.resume_accepting(now)?;
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let next = [self.next_deadline, self.accept_again].into_iter().flatten().min()?;
        Timespec::try_from(next.saturating_sub(clock::now())).ok()
    }

    /// Clients that are here already first, so that nobody is evicted whose request has come.
    fn take_turns(&mut self, events: &[epoll::Event], now: Time) {
        let tokens = || events.iter().map(|event| event.data.u64());
        for token in tokens().filter(|token| *token < FIRST_LISTENER) {
            self.turn(token as usize, now);
        }
        for token in tokens().filter(|token| *token >= FIRST_LISTENER) {
            self.accept((token - FIRST_LISTENER) as usize, now);
        }
    }

    /// A turn of the client at `index`. What it does, and be it a panic, costs nobody but that client.
    fn turn(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else { return };
        let turn = catch_unwind(AssertUnwindSafe(|| {
            let need = peer.turn(&mut self.buffer, &self.ask, now)?;
            if need != Need::Close {
                peer.watch(&self.epoll, index as u64)?;
            }
            Ok::<Need, Errno>(need)
        }));
        match turn {
            Ok(Ok(Need::Close)) | Ok(Err(_)) => self.peers[index] = None,
            Ok(Ok(_)) => self.keep(index),
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
            self.peers[index] = None;
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

    fn accept(&mut self, listener: usize, now: Time) {
        for _ in 0..ACCEPTS_PER_TURN {
            match accept_with(&self.listeners[listener], SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                // The time of each, so that in a flood the eldest is known.
                Ok(socket) => self.admit(socket, clock::now()),
                Err(Errno::AGAIN) => return,
                // The client is gone already, or its network is; Linux reports that here.
                Err(
                    Errno::CONNABORTED
                    | Errno::INTR
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH,
                ) => {}
                Err(errno) => return self.pause_accepting(errno, now),
            }
        }
    }

    /// Gives a new client a place, and a turn at once: its request is often here already.
    fn admit(&mut self, socket: OwnedFd, now: Time) {
        self.trouble_said = false;
        let index = self.free_place();
        self.peers[index] = Some(Peer::new(socket, self.limits, now));
        self.turn(index, now);
    }

    fn free_place(&mut self) -> usize {
        if let Some(index) = self.peers.iter().position(Option::is_none) {
            return index;
        }
        if self.peers.len() >= self.limits.connections
            && let Some(index) = self.most_stalled(|_| true)
        {
            return index;
        }
        self.peers.push(None);
        self.peers.len() - 1
    }

    /// Descriptors or memory have run out. The listeners would be reported again and again meanwhile.
    fn pause_accepting(&mut self, errno: Errno, now: Time) {
        if !self.trouble_said {
            self.trouble_said = true;
            warn!("cannot accept HTTP connections: {errno}; trying again, each time closing the one idle for longest");
        }
        if let Some(index) = self.most_stalled(|_| true) {
            self.peers[index] = None;
        }
        self.accept_again = Some(now.saturating_add(self.limits.accept_pause));
        if let Err(errno) = self.watch_listeners(epoll::EventFlags::empty()) {
            warn!("cannot pause accepting HTTP connections: {errno}");
        }
    }

    fn resume_accepting(&mut self, now: Time) -> Result<(), Errno> {
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            self.watch_listeners(epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    fn watch_listeners(&self, flags: epoll::EventFlags) -> Result<(), Errno> {
        for (listener, token) in self.listeners.iter().zip(FIRST_LISTENER..) {
            epoll::modify(&self.epoll, listener, epoll::EventData::new_u64(token), flags)?;
        }
        Ok(())
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
    use crate::lock::{LockKind, LockName};
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
            server.run_with(|| {
                asked.set(asked.get() + 1);
                assert!(asked.get() % 2 == 0, "every other request panics, on purpose");
                let lock = LockName { kind: LockKind::Leases, namespace: "n".into(), name: "e".into() };
                let day = Duration::from_secs(24 * 3600);
                (Arc::new(Snapshot::unknown("me".into(), lock.into(), day, day)), clock::now())
            })
        });
        for _ in 0..3 {
            assert_eq!(get(address), "");
            assert!(get(address).starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
}
