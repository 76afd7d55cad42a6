//! The listening socket and the connections accepted on it.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::lock;

/// Enough for a thousand clients that connect at the same time.
const BACKLOG: i32 = 4096;
/// Small, because there may be thousands of connections, each with its own thread.
const STACK: usize = 256 * 1024;

/// A port on which listening can be stopped and started again.
pub(crate) struct Listener {
    addr: SocketAddr,
    /// A socket that is bound and never listens: it reserves the port while the server does not listen.
    _claim: OwnedFd,
    running: Mutex<Option<Running>>,
}

struct Running {
    thread: JoinHandle<()>,
    wakeup: Arc<OwnedFd>,
}

impl Listener {
    /// Binds the port; `start` listens on it.
    pub(crate) fn new(listen: &str) -> io::Result<Listener> {
        let addr = listen.to_socket_addrs()?.next();
        let addr = addr.ok_or_else(|| io::Error::other(format!("no address: {listen}")))?;
        let claim = TcpListener::from(bound(addr)?);
        let addr = claim.local_addr()?;
        Ok(Listener { addr, _claim: claim.into(), running: Mutex::new(None) })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens, unless it already does, and passes every connection to `serve`.
    pub(crate) fn start(&self, serve: impl Fn(TcpStream) + Send + 'static) -> io::Result<()> {
        let mut running = lock(&self.running);
        if running.is_some() {
            return Ok(());
        }
        let socket = bound(self.addr)?;
        listen(&socket, BACKLOG)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        let wakeup = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let heard = Arc::clone(&wakeup);
        let name = Builder::new().name("apiserver-accept".to_owned());
        let thread = name.spawn(move || accept(&listener, &heard, &serve))?;
        *running = Some(Running { thread, wakeup });
        Ok(())
    }

    /// Stops listening: connections are refused.
    pub(crate) fn stop(&self) {
        if let Some(running) = lock(&self.running).take() {
            let _ = rustix::io::write(&running.wakeup, &1_u64.to_ne_bytes());
            let _ = running.thread.join();
        }
    }
}

fn bound(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &addr)?;
    Ok(socket)
}

fn accept(listener: &TcpListener, wakeup: &OwnedFd, serve: &impl Fn(TcpStream)) {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(wakeup, PollFlags::IN)];
        let polled = poll(&mut fds, None);
        if polled.is_ok() && !fds[1].revents().is_empty() {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) if stream.set_nonblocking(false).is_ok() => serve(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Probably out of descriptors: wait until some connections end.
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The open connections, each with its thread.
#[derive(Default)]
pub(crate) struct Connections {
    inner: Mutex<Open>,
    fewer: Condvar,
}

#[derive(Default)]
struct Open {
    streams: HashMap<u64, Arc<TcpStream>>,
    accepted: u64,
}

/// Removes a connection from the list when its thread ends, also by a panic.
struct Entry {
    connections: Arc<Connections>,
    number: u64,
}

impl Connections {
    /// Serves a connection on a thread of its own, with its number: 1 for the first.
    pub(crate) fn spawn(self: &Arc<Self>, stream: TcpStream, serve: impl FnOnce(u64, Arc<TcpStream>) + Send + 'static) {
        let stream = Arc::new(stream);
        let number = {
            let mut open = lock(&self.inner);
            open.accepted += 1;
            let number = open.accepted;
            open.streams.insert(number, Arc::clone(&stream));
            number
        };
        let entry = Entry { connections: Arc::clone(self), number };
        let thread = Builder::new().name(format!("apiserver-{number}")).stack_size(STACK);
        // Without a thread the connection is closed, because dropping the closure drops both.
        let _ = thread.spawn(move || {
            let _entry = entry;
            serve(number, stream);
        });
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.inner).streams.len()
    }

    pub(crate) fn cut_all(&self) {
        for stream in lock(&self.inner).streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits until all have ended, at most for `patience`.
    pub(crate) fn wait_for_end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut open = lock(&self.inner);
        while !open.streams.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            open = self.fewer.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.connections.inner).streams.remove(&self.number);
        self.connections.fewer.notify_all();
    }
}
