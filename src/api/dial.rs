//! Opens connections: TCP, and TLS on top of it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Instant;

use rustls::{AlertDescription, CertificateError, ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, TcpConnector, Transport, TransportAdapter,
};

use crate::credentials::Tls;

/// Opens the connections of an agent.
///
/// ureq's own connector builds a new TLS configuration for each connection of a request with its own settings, so TLS
/// sessions never resume. It also panics if a configuration cannot be built, and does not say whose certificate is
/// invalid. This connector uses a given configuration.
pub(super) struct TlsConnector {
    tcp: TcpConnector,
    /// `None` for plain HTTP.
    tls: Option<Tls>,
    /// The address of the server, for messages.
    server: String,
}

impl TlsConnector {
    pub(super) fn new(server: String, tls: Option<Tls>) -> TlsConnector {
        TlsConnector { tcp: TcpConnector::default(), tls, server }
    }

    fn open_tcp(&self, details: &ConnectionDetails) -> Result<Box<dyn Transport>, Error> {
        let server = &self.server;
        match Connector::<()>::connect(&self.tcp, details, None) {
            Ok(Some(transport)) => Ok(Box::new(transport)),
            Ok(None) => Err(Error::ConnectionFailed),
            Err(Error::Timeout(_)) => Err(ConnectError::timed_out(format!("no connection to {server}")).into()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(ConnectError::new(format!("connection refused by {server}")).into())
            }
            Err(Error::Io(error)) => Err(ConnectError::new(format!("cannot connect to {server}: {error}")).into()),
            Err(other) => Err(other),
        }
    }

    fn open_tls(
        &self,
        tls: &Tls,
        tcp: Box<dyn Transport>,
        details: &ConnectionDetails,
        timeout: NextTimeout,
    ) -> Result<Box<dyn Transport>, Error> {
        let server = &self.server;
        let mut connection = ClientConnection::new(tls.config.clone(), tls.server_name.clone())?;
        let mut socket = TransportAdapter::new(tcp, details.current_time.clone());
        socket.set_timeout(timeout);
        if let Err(error) = connection.complete_io(&mut socket) {
            let problem = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => describe(error, tls, server),
                None => match Error::from(error) {
                    Error::Timeout(_) => {
                        return Err(ConnectError::timed_out(format!("no TLS handshake with {server}")).into());
                    }
                    Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        format!("{server} closed the connection in the TLS handshake")
                    }
                    other => format!("the TLS handshake with {server} failed: {other}"),
                },
            };
            return Err(ConnectError::new(problem).into());
        }
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Box::new(TlsTransport { buffers, head: Vec::new(), stream: StreamOwned::new(connection, socket) }))
    }
}

impl Connector<()> for TlsConnector {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Box<dyn Transport>>, Error> {
        let started = Instant::now();
        let tcp = self.open_tcp(details)?;
        let Some(tls) = &self.tls else {
            return Ok(Some(tcp));
        };
        // The timeout covers TCP and TLS, so subtract the time that TCP took.
        let left = match details.timeout.after {
            Duration::Exact(given) => Duration::Exact(given.saturating_sub(started.elapsed())),
            Duration::NotHappening => Duration::NotHappening,
        };
        self.open_tls(tls, tcp, details, NextTimeout { after: left, ..details.timeout }).map(Some)
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsConnector({})", self.server)
    }
}

/// Describes a TLS error of the server, and what to do about it.
fn describe(error: &rustls::Error, tls: &Tls, server: &str) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return match error {
            rustls::Error::InvalidMessage(_) => format!("{server} does not speak TLS; is it an http:// address?"),
            rustls::Error::AlertReceived(alert) => {
                format!("the TLS handshake with {server} failed: {error}{}", what_to_do(*alert))
            }
            _ => format!("the TLS handshake with {server} failed: {error}"),
        };
    };
    let trusted = &tls.trusted;
    match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {server} is not signed by a CA in {trusted}; use the CA certificate of this cluster"
        ),
        // rustls has no variant for this error, so match its text.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "{server} uses a CA certificate as its own, which is not accepted even if it is the one in {trusted}; give \
             the server a certificate that is signed by the CA"
        ),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {server} is not valid now: {problem}; renew it, or set the clock right")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate of {server} is for another server: {problem}")
        }
        _ => format!("the certificate of {server} cannot be trusted: {problem}"),
    }
}

/// What to do about an alert of the server, as the end of a sentence. Most are about the client certificate.
pub(super) fn what_to_do(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "; it requires a client certificate, but none is configured"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => "; it does not accept the client certificate",
        AlertDescription::DecryptError => "; the client certificate may not belong to the client key",
        _ => "",
    }
}

/// Why connecting failed, phrased so that `within 2s` can follow.
#[derive(Debug)]
pub(super) struct ConnectError {
    what: String,
    pub(super) timed_out: bool,
}

impl ConnectError {
    pub(super) fn new(what: String) -> ConnectError {
        ConnectError { what, timed_out: false }
    }

    pub(super) fn timed_out(what: String) -> ConnectError {
        ConnectError { what, timed_out: true }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for ConnectError {}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Error {
        Error::Other(Box::new(error))
    }
}

/// TLS over another transport.
///
/// The head of a request with a body is held back until the body comes: both go out as one TLS record in one packet, if
/// they fit, and the server reads them at once.
struct TlsTransport {
    buffers: LazyBuffers,
    /// A head that was not sent yet.
    head: Vec<u8>,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut unsent = std::mem::take(&mut self.head);
        let is_first = unsent.is_empty();
        unsent.extend_from_slice(&self.buffers.output()[..amount]);
        if is_first && is_head_before_a_body(&unsent) {
            self.head = unsent;
            return Ok(());
        }
        self.stream.sock.set_timeout(timeout);
        io::Write::write_all(&mut self.stream, &unsent)?;
        // A write hides errors of the layers below TLS; a flush returns them.
        io::Write::flush(&mut self.stream)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = io::Read::read(&mut self.stream, self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// A connection with unread bytes is not used again: they would be taken for the answer to the next request.
    fn is_open(&mut self) -> bool {
        let below = self.stream.sock.get_mut();
        let is_empty = below.buffers().input().is_empty() && below.is_open();
        let state = self.stream.conn.process_new_packets();
        is_empty && state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed())
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// ureq sends the head of a request on its own. Those with a body are never without one here.
fn is_head_before_a_body(output: &[u8]) -> bool {
    let has_body = output.starts_with(b"PUT ") || output.starts_with(b"POST ");
    has_body && output.ends_with(b"\r\n\r\n")
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS over {:?}", self.stream.sock.inner())
    }
}
