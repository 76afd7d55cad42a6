//! One client: its socket and its connection.

use super::Limits;
use super::bodies::{HEARTBEAT, LeaderState};
use super::connection::{Connection, Need};
use super::routes::{self, Route};
use crate::metrics::{GaugeGuard, Metrics};
use crate::status::Snapshot;
use crate::time::Time;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrAny, getpeername};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How many reads one turn does from a client whose input is discarded, so that a long body does not cost a wake-up per
/// buffer.
const DRAINING_READS: u32 = 4;

#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
    pub connection: Connection,
    need: Need,
    watched: Option<epoll::EventFlags>,
    /// Set for a client of `/events`.
    pub subscription: Option<Subscription>,
    _open: GaugeGuard,
}

/// A client of `/events`.
#[derive(Debug)]
pub struct Subscription {
    /// The address it connected from, if the system knows it.
    pub address: Option<IpAddr>,
    pub since: Time,
    sent: LeaderState,
    _open: GaugeGuard,
}

/// What a turn needs besides its client.
pub struct Context<'a, Ask> {
    /// Returns the latest snapshot, and a later reading of the clock.
    pub ask: &'a Ask,
    pub metrics: &'a Metrics,
}

impl Peer {
    pub fn new(socket: OwnedFd, limits: Limits, open: GaugeGuard, now: Time) -> Peer {
        let connection = Connection::new(limits, now);
        Peer { socket, connection, need: Need::Read, watched: None, subscription: None, _open: open }
    }

    /// Does what does not block: at most one read of requests and one write of replies. A subscriber gets the current
    /// state if that changed, unless its previous output is not written yet.
    ///
    /// Each complete request calls `context.ask`. `buffer` is scratch space.
    pub fn turn<Ask: Fn() -> (Arc<Snapshot>, Time)>(
        &mut self,
        buffer: &mut [u8],
        context: &Context<'_, Ask>,
        now: Time,
    ) -> Result<Need, Errno> {
        if self.need == Need::Read {
            self.read(buffer, now)?;
        }
        self.answer(context, now);
        self.write(now)?;
        if self.push_event(context, now) {
            self.write(now)?;
        }
        self.need = self.connection.need(now);
        if self.need == Need::EndWriting {
            rustix::net::shutdown(&self.socket, Shutdown::Write)?;
            self.connection.writing_ended(now);
            self.need = self.connection.need(now);
        }
        Ok(self.need)
    }

    fn answer<Ask: Fn() -> (Arc<Snapshot>, Time)>(&mut self, context: &Context<'_, Ask>, now: Time) {
        while let Some(request) = self.connection.next_request(now) {
            let (snapshot, at) = (context.ask)();
            let reply = routes::reply(request.route, &snapshot, context.metrics, at);
            context.metrics.http_request(request.route.label(), reply.status.code());
            self.connection.reply(request, &reply, now);
            if request.route == Route::Events && self.connection.is_streaming() {
                self.subscribe(LeaderState::at(&snapshot, at), context.metrics, now);
            }
        }
        if let Some(status) = self.connection.take_refusal() {
            context.metrics.http_request("none", status.code());
        }
    }

    fn subscribe(&mut self, sent: LeaderState, metrics: &Metrics, now: Time) {
        let address = getpeername(&self.socket).ok().flatten().and_then(ip);
        self.subscription = Some(Subscription { address, since: now, sent, _open: metrics.subscriber() });
    }

    /// Whether an event was queued that can be written now.
    fn push_event<Ask: Fn() -> (Arc<Snapshot>, Time)>(&mut self, context: &Context<'_, Ask>, now: Time) -> bool {
        let Some(subscription) = &mut self.subscription else { return false };
        if !self.connection.output().is_empty() {
            return false; // the next event contains the newest state; states in between are skipped
        }
        let (snapshot, at) = (context.ask)();
        let current = LeaderState::at(&snapshot, at);
        if current == subscription.sent {
            return false;
        }
        self.connection.push(current.event(at).as_bytes(), now);
        subscription.sent = current;
        true
    }

    /// Queues a heartbeat if all output is written.
    pub fn push_heartbeat(&mut self, now: Time) {
        if self.subscription.is_some() && self.connection.output().is_empty() {
            self.connection.push(HEARTBEAT, now);
        }
    }

    fn read(&mut self, buffer: &mut [u8], now: Time) -> Result<(), Errno> {
        let reads = if self.connection.is_draining() { DRAINING_READS } else { 1 };
        for _ in 0..reads {
            let room = self.connection.room().min(buffer.len());
            match rustix::net::recv(&self.socket, &mut buffer[..room], RecvFlags::empty()) {
                Ok((count, _)) => {
                    self.connection.receive(&buffer[..count], now);
                    if count < room {
                        break;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, now: Time) -> Result<(), Errno> {
        if self.connection.output().is_empty() {
            return Ok(());
        }
        match rustix::net::send(&self.socket, self.connection.output(), SendFlags::NOSIGNAL) {
            Ok(count) => self.connection.wrote(count, now),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes `epoll` report `token` when the next turn can do something.
    pub fn watch(&mut self, epoll: &OwnedFd, token: u64) -> Result<(), Errno> {
        let flags = if self.need == Need::Write { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        if self.watched == Some(flags) {
            return Ok(());
        }
        let data = epoll::EventData::new_u64(token);
        match self.watched.replace(flags) {
            None => epoll::add(epoll, &self.socket, data, flags),
            Some(_) => epoll::modify(epoll, &self.socket, data, flags),
        }
    }
}

fn ip(address: SocketAddrAny) -> Option<IpAddr> {
    SocketAddr::try_from(address).ok().map(|address| address.ip().to_canonical())
}
