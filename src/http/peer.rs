//! One client: its socket, and the connection that says what to do with it.

use super::Limits;
use super::connection::{Connection, Need};
use super::routes;
use crate::clock::Time;
use crate::status::Snapshot;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How often a turn reads from a client whose bytes are thrown away, so that a long body does not cost a wake-up
/// for each bufferful.
const DRAINING_READS: u32 = 16;

#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
    pub connection: Connection,
    need: Need,
    watched: Option<epoll::EventFlags>,
}

impl Peer {
    pub fn new(socket: OwnedFd, limits: Limits, now: Time) -> Peer {
        Peer { socket, connection: Connection::new(limits, now), need: Need::Read, watched: None }
    }

    /// Does what can be done without waiting: at most one read of requests, and one write of their answers.
    ///
    /// `ask` is called for each request once its head is here whole. `buffer` holds nothing between calls.
    pub fn turn(
        &mut self,
        buffer: &mut [u8],
        ask: &impl Fn() -> (Arc<Snapshot>, Time),
        now: Time,
    ) -> Result<Need, Errno> {
        if self.need == Need::Read {
            self.read(buffer, now)?;
        }
        while let Some(request) = self.connection.next_request(now) {
            let (snapshot, at) = ask();
            self.connection.reply(request, &routes::reply(request.route, &snapshot, at), now);
        }
        self.write(now)?;
        self.need = self.connection.need(now);
        if self.need == Need::EndWriting {
            rustix::net::shutdown(&self.socket, Shutdown::Write)?;
            self.connection.writing_ended(now);
            self.need = self.connection.need(now);
        }
        Ok(self.need)
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
