//! Accepts new clients. A full server evicts a client for each new one; a lack of descriptors pauses accepting.

use super::{EventLoop, FIRST_LISTENER};
use crate::clock;
use crate::http::peer::Peer;
use crate::metrics::Eviction;
use crate::status::Snapshot;
use crate::time::Time;
use log::warn;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The number of connections accepted before existing clients get their next turn.
const ACCEPTS_PER_TURN: u32 = 64;

impl<Ask: Fn() -> (Arc<Snapshot>, Time)> EventLoop<'_, Ask> {
    pub(super) fn accept(&mut self, listener: usize, now: Time) {
        for _ in 0..ACCEPTS_PER_TURN {
            match accept_with(&self.listeners[listener], SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                // Read the clock for each, so that the oldest connection is known even in a flood.
                Ok(socket) => self.admit(socket, clock::now()),
                Err(Errno::AGAIN) => return,
                // The client or its network is gone already; Linux reports that here.
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

    /// Adds a new client and gives it a turn at once: its request has often arrived already.
    fn admit(&mut self, socket: OwnedFd, now: Time) {
        self.failure_logged = false;
        let index = self.free_slot();
        self.peers[index] = Some(Peer::new(socket, self.limits, self.metrics.connection(), now));
        self.turn(index, now);
    }

    fn free_slot(&mut self) -> usize {
        if let Some(index) = self.peers.iter().position(Option::is_none) {
            return index;
        }
        if self.peers.len() >= self.limits.connections
            && let Some(index) = self.most_stalled(|_| true)
        {
            self.evict(index, Eviction::Connections);
            return index;
        }
        self.peers.push(None);
        self.peers.len() - 1
    }

    /// No descriptors or memory. Stop polling the listeners for a while, since epoll would report them again and again.
    fn pause_accepting(&mut self, errno: Errno, now: Time) {
        if !self.failure_logged {
            self.failure_logged = true;
            warn!("cannot accept HTTP connections: {errno}; trying again, each time closing the one idle for longest");
        }
        self.metrics.accept_failures.add();
        if let Some(index) = self.most_stalled(|_| true) {
            self.evict(index, Eviction::Descriptors);
        }
        self.accept_again = Some(now.saturating_add(self.limits.accept_pause));
        if let Err(errno) = self.watch_listeners(epoll::EventFlags::empty()) {
            warn!("cannot pause accepting HTTP connections: {errno}");
        }
    }

    pub(super) fn resume_accepting(&mut self, now: Time) -> Result<(), Errno> {
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
}
