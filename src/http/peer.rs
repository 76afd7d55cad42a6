//! One client: its socket, and the connection that says what to do with it.

use super::Limits;
use super::bodies::{HEARTBEAT, Told};
use super::connection::{Connection, Need};
use super::routes::{self, Route};
use crate::metrics::{Metrics, Presence};
use crate::status::Snapshot;
use crate::time::Time;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrAny, getpeername};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How often a turn reads from a client whose bytes are thrown away, so that a long body does not cost a wake-up
/// for each bufferful.
const DRAINING_READS: u32 = 4;

#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
    pub connection: Connection,
    need: Need,
    watched: Option<epoll::EventFlags>,
    /// What makes it one that is told events.
    pub subscription: Option<Subscription>,
    _open: Presence,
}

/// A client of `/events`.
#[derive(Debug)]
pub struct Subscription {
    /// Where it comes from, as far as the system knows.
    pub address: Option<IpAddr>,
    pub since: Time,
    told: Told,
    _open: Presence,
}

/// What a turn needs besides its client.
pub struct Context<'a, Ask> {
    /// Gives the latest snapshot, and a reading of the clock that is not older.
    pub ask: &'a Ask,
    pub metrics: &'a Metrics,
}

impl Peer {
    pub fn new(socket: OwnedFd, limits: Limits, open: Presence, now: Time) -> Peer {
        let connection = Connection::new(limits, now);
        Peer { socket, connection, need: Need::Read, watched: None, subscription: None, _open: open }
    }

    /// Does what can be done without waiting: at most one read of requests, and one write of their answers. A client
    /// that is told events is told what it does not know yet, unless it has still to take what it was told before.
    ///
    /// The context is asked for each request once its head is here whole. `buffer` holds nothing between calls.
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
        if self.tell(context, now) {
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
                self.subscribe(Told::at(&snapshot, at), context.metrics, now);
            }
        }
        if let Some(status) = self.connection.take_refusal() {
            context.metrics.http_request("none", status.code());
        }
    }

    fn subscribe(&mut self, told: Told, metrics: &Metrics, now: Time) {
        let address = getpeername(&self.socket).ok().flatten().and_then(ip);
        self.subscription = Some(Subscription { address, since: now, told, _open: metrics.subscriber() });
    }

    /// Whether there was something to tell that can be written now.
    fn tell<Ask: Fn() -> (Arc<Snapshot>, Time)>(&mut self, context: &Context<'_, Ask>, now: Time) -> bool {
        let Some(subscription) = &mut self.subscription else { return false };
        if !self.connection.output().is_empty() {
            return false; // the newest state is told once that is taken, and what was between is not
        }
        let (snapshot, at) = (context.ask)();
        let news = Told::at(&snapshot, at);
        if news == subscription.told {
            return false;
        }
        self.connection.push(news.event(at).as_bytes(), now);
        subscription.told = news;
        true
    }

    /// Has the next turn of a client that is told events show it that the connection is alive.
    pub fn beat(&mut self, now: Time) {
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

    /// Has `epoll` report, as `token`, when the next turn can do something.
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
