//! The value of `--http`, and the listening sockets that it stands for.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

/// How many connections the kernel keeps until they are accepted. Linux lowers it to its own limit.
const BACKLOG: i32 = 1024;
/// What the kernel may hold for one connection, each way; Linux doubles it, and counts it as the container's
/// memory. By default hostile clients could fill some hundred MB. Answers are small and bodies are thrown
/// away, so that more would serve nobody.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024;
/// How many free ports are tried until one is free on every address of the name.
const FREE_PORT_ATTEMPTS: u32 = 16;

/// Where to listen: `host:port`, or `:port` for every interface.
///
/// As with 0.5, `0.0.0.0` and `[::]` mean every interface of IPv4 and IPv6 alike. A name, `localhost` among
/// them, stands for all its addresses, and is looked up at bind. Port 0 is any free port.
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

    /// `host:port` as a client in the same pod puts it into a URL; `None` where the port is any free one.
    pub fn from_beside(&self) -> Option<String> {
        let beside = match &self.host {
            Host::EveryInterface => ListenAddress { host: Host::Name("localhost".to_owned()), port: self.port },
            Host::Address(_) | Host::Name(_) => self.clone(),
        };
        (self.port != 0).then(|| beside.to_string())
    }
}

/// One socket for both families where there is IPv6, else one for IPv4.
fn bind_every_interface(port: u16) -> io::Result<TcpListener> {
    match listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
        Err(error) if is_missing(&error) => listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        bound => bound,
    }
}

/// The addresses of `name`. Those of `localhost` are known, also where the image has no `/etc/hosts`.
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

/// Listens on every one of `ips` that this machine has, on the same port, which is a free one if `port` is 0.
fn bind_all(ips: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut attempts = if port == 0 { FREE_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match try_bind_all(ips, port) {
            // The port that was free on the first address is taken on another one.
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

/// Whether the machine lacks the address or its whole family, as opposed to not letting us have it.
fn is_missing(error: &io::Error) -> bool {
    let missing = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT];
    missing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        // Whatever the system's default is: every interface means both families, an address means itself.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    // Without it a restart fails while connections of the process before are still in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Linux hands these three on to every accepted connection.
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

/// The value is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddressError {
    value: String,
}

impl fmt::Display for ListenAddressError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{:?} is no address to listen on: give host:port, like localhost:4040, 127.0.0.1:4040 or [::1]:4040, \
             or :4040 for every interface; the port is a number from 0 to 65535",
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
            io::ErrorKind::PermissionDenied => write!(f, "; choose a port from 1024 on"),
            io::ErrorKind::AddrNotAvailable => write!(f, "; choose an address of this pod, or none for all"),
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
            assert_eq!(value.parse::<ListenAddress>().unwrap().from_beside().as_deref(), beside, "{value}");
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
