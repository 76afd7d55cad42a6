//! The byte stream of one connection, with or without TLS, behind the gate.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::gate::Gate;

/// A TCP stream that is paused while the server is frozen.
pub(crate) struct Gated {
    stream: Arc<TcpStream>,
    gate: Arc<Gate>,
}

impl Read for Gated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.gate.pass()?;
        let count = (&*self.stream).read(buffer)?;
        self.gate.pass()?;
        Ok(count)
    }
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gate.pass()?;
        (&*self.stream).write(bytes)
    }

    /// TLS passes its records in pieces: this writes all of them at once.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.gate.pass()?;
        (&*self.stream).write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stream from which requests are read, and to which answers are written.
pub(crate) enum Wire {
    Plain(Gated),
    Tls(Box<StreamOwned<ServerConnection, Gated>>),
}

impl Wire {
    /// The TLS handshake happens with the first read.
    pub(crate) fn new(stream: Arc<TcpStream>, gate: Arc<Gate>, tls: Option<Arc<ServerConfig>>) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        let gated = Gated { stream, gate };
        Ok(match tls {
            None => Wire::Plain(gated),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                Wire::Tls(Box::new(StreamOwned::new(session, gated)))
            }
        })
    }

    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        match self {
            Wire::Plain(gated) => &gated.stream,
            Wire::Tls(tls) => &tls.sock.stream,
        }
    }

    /// The client's certificate chain, its own certificate first; none if it sent none.
    pub(crate) fn client_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Wire::Plain(_) => None,
            Wire::Tls(tls) => tls.conn.peer_certificates(),
        }
    }

    /// Sends all bytes, in as few packets as possible.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(gated) => gated.write_all(bytes),
            Wire::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// Makes the connection end with a reset when it is dropped.
    pub(crate) fn reset_on_close(&self) {
        // Fails only if the client is already gone.
        let _ = rustix::net::sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO));
    }

    /// Closes the connection so that a client that is still sending can read the answer: closing with unread bytes
    /// would reset the connection.
    pub(crate) fn close_gently(&mut self) {
        const ENOUGH: usize = 64 << 20;
        if let Wire::Tls(tls) = self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
        let mut waste = [0; 4096];
        let mut drained = 0;
        while let Ok(count @ 1..) = (&**self.socket()).read(&mut waste) {
            drained += count;
            if drained > ENOUGH {
                break;
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(gated) => gated.read(buffer),
            Wire::Tls(tls) => tls.read(buffer),
        }
    }
}
