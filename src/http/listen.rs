//! The value of `--http`, and its listening sockets.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

/// The number of connections that the kernel queues until they are accepted. Linux caps it at its own limit.
const BACKLOG: i32 = 1024;
/// The kernel's buffer for one connection in each direction. Linux doubles it and charges it to the container's memory.
/// With the default, hostile clients could fill hundreds of MB. Replies are small and request bodies are discarded, so
/// more brings nothing.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024;
/// How often a free port is tried until it is free on every address of the name.
const FREE_PORT_ATTEMPTS: u32 = 16;

/// Where to listen: `host:port`, or `:port` for every interface.
///
/// As in 0.5, `0.0.0.0` and `[::]` both mean every interface, IPv4 and IPv6. A name, such as `localhost`, means all its
/// addresses; it is resolved at bind. Port 0 means any free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    EveryInterface,
    Address(IpAddr),
    Name(String),
}

impl ListenAddress {
    /// Opens the listening sockets, at least one.
    pub(super) fn bind(&self) -> Result<Vec<TcpListener>, BindError> {
        let bound = match &self.host {
            Host::EveryInterface => bind_every_interface(self.port).map(|listener| vec![listener]),
            Host::Address(ip) => listen(SocketAddr::new(*ip, self.port)).map(|listener| vec![listener]),
            Host::Name(name) => addresses(name).and_then(|ips| bind_all(&ips, self.port)),
        };
        bound.map_err(|reason| BindError { address: self.clone(), reason })
    }

    /// `host:port` for a URL of a client in the same pod; `None` if the port is any free one.
    pub fn local_address(&self) -> Option<String> {
        let beside = match &self.host {
            Host::EveryInterface => ListenAddress { host: Host::Name("localhost".to_owned()), port: self.port },
            Host::Address(_) | Host::Name(_) => self.clone(),
        };
        (self.port != 0).then(|| beside.to_string())
    }
}

/// One socket for IPv4 and IPv6 if there is IPv6, else one for IPv4.
fn bind_every_interface(port: u16) -> io::Result<TcpListener> {
    match listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
        Err(error) if is_missing(&error) => listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        bound => bound,
    }
}

/// The addresses of `name`. `localhost` is not looked up, since an image may have no `/etc/hosts`.
fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    if name.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let mut ips: Vec<IpAddr> = Vec::new();
    for address in (name, 0).to_socket_addrs()? {
        if !ips.contains(&address.ip()) {
            ips.push(address.ip());
        }
    }
    Ok(ips)
}

/// Listens on each of `ips` that this machine has, all on the same port. Port 0 means any free port.
fn bind_all(ips: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut attempts = if port == 0 { FREE_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match try_bind_all(ips, port) {
            // The port was free on the first address but is in use on another one.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => continue,
            bound => return bound,
        }
    }
}

fn try_bind_all(ips: &[IpAddr], mut port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for ip in ips {
        match listen(SocketAddr::new(*ip, port)) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if is_missing(&error) => missing = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

/// Whether the machine lacks the address or its family, as opposed to refusing it.
fn is_missing(error: &io::Error) -> bool {
    let missing = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT];
    missing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        // Independent of the system's default: every interface means both families, one address means itself only.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    // Without it a restart fails while connections of the previous process are in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Accepted connections inherit these three options on Linux.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(value: &str) -> Result<ListenAddress, ListenAddressError> {
        parse(value).ok_or_else(|| ListenAddressError { value: value.to_owned() })
    }
}

fn parse(value: &str) -> Option<ListenAddress> {
    let (host, port) = value.rsplit_once(':')?;
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(ListenAddress { host: parse_host(host)?, port: port.parse().ok()? })
}

fn parse_host(host: &str) -> Option<Host> {
    let ip = match host.strip_prefix('[') {
        Some(rest) => Some(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?)),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    match ip {
        Some(ip) if ip.is_unspecified() => Some(Host::EveryInterface),
        Some(ip) => Some(Host::Address(ip)),
        None if host.is_empty() => Some(Host::EveryInterface),
        None => is_name(host).then(|| Host::Name(host.to_owned())),
    }
}

fn is_name(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.host {
            Host::EveryInterface => write!(f, ":{}", self.port),
            Host::Address(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The value is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddressError {
    value: String,
}

impl fmt::Display for ListenAddressError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{:?} is not an address to listen on: give host:port, for example localhost:4040, 127.0.0.1:4040 or \
             [::1]:4040, or :4040 for every interface; the port is a number from 0 to 65535",
            self.value
        )
    }
}

impl std::error::Error for ListenAddressError {}

/// Listening failed.
#[derive(Debug)]
pub struct BindError {
    address: ListenAddress,
    reason: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.reason)?;
        match self.reason.kind() {
            io::ErrorKind::AddrInUse => write!(f, "; choose a port that nothing else in this pod listens on"),
            io::ErrorKind::PermissionDenied => write!(f, "; choose a port of 1024 or more"),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "; choose an address of this pod, or omit it to listen on all")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_valid_form_is_taken_and_shown_again() {
        let cases = [
            (":4040", ":4040"),
            ("0.0.0.0:4040", ":4040"),
            ("[::]:4040", ":4040"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:65535", "[::1]:65535"),
            ("localhost:4040", "localhost:4040"),
            ("my-pod.my_ns.svc:1", "my-pod.my_ns.svc:1"),
            ("localhost:04040", "localhost:4040"),
        ];
        for (value, shown) in cases {
            assert_eq!(value.parse::<ListenAddress>().map(|a| a.to_string()), Ok(shown.to_owned()), "{value}");
        }
    }

    #[test]
    fn from_beside_every_interface_is_localhost() {
        let cases = [
            (":4040", Some("localhost:4040")),
            ("0.0.0.0:4040", Some("localhost:4040")),
            ("[::1]:1", Some("[::1]:1")),
            ("10.0.0.1:4040", Some("10.0.0.1:4040")),
            ("my-pod:4040", Some("my-pod:4040")),
            (":0", None),
        ];
        for (value, beside) in cases {
            assert_eq!(value.parse::<ListenAddress>().unwrap().local_address().as_deref(), beside, "{value}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_valid_forms() {
        let values = [
            "",
            "4040",
            ":",
            "localhost",
            "localhost:",
            ":http",
            ":65536",
            ":-1",
            ":+1",
            "::1:4040",
            "[::1]",
            "[::1:4040",
            "[127.0.0.1]:1",
            "[]:1",
            "http://localhost:4040",
            "a b:1",
            "localhost:4040 ",
        ];
        for value in values {
            let error = value.parse::<ListenAddress>().expect_err(value).to_string();
            assert!(error.contains(&format!("{value:?}")) && error.contains("localhost:4040, "), "{error}");
        }
    }
}
