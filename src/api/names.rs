//! Resolves the host of the server's address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::dial::ConnectError;
use crate::threads;

/// The time for connecting is divided among the addresses of a name. With more addresses, each would get too little.
const MAX_ADDRESSES: usize = 4;

/// The host and the port of a URL from the user. `usual_port` is the port of a URL that has none. The error says what the
/// URL is; `user_name` is the error for a URL with a user name.
pub(crate) fn host_and_port<'a>(
    uri: &'a Uri,
    usual_port: Option<u16>,
    user_name: &'static str,
) -> Result<(&'a str, u16), &'static str> {
    let (Some(host), Some(authority)) = (uri.host().filter(|host| !host.is_empty()), uri.authority()) else {
        return Err("a URL without a host");
    };
    let port = match authority.as_str().strip_prefix(host) {
        Some("") => usual_port,
        Some(_) => uri.port_u16(),
        None => return Err(user_name),
    };
    let port = port.filter(|port| *port > 0).ok_or("a URL without a usable port")?;
    Ok((host, port))
}

/// A resolver for one server.
///
/// ureq's own resolver starts a thread for each request, even for an IP address or a pooled connection. This one needs
/// no thread for IP addresses and `localhost`, and caches a name until [`Names::invalidate`].
#[derive(Clone)]
pub(crate) struct Names {
    shared: Arc<Shared>,
    lookup: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
}

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    answered: Condvar,
}

#[derive(Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// No request has failed since the lookup.
    proven: bool,
    /// A lookup is in progress. There is at most one, however long it takes.
    looking: bool,
    error: String,
}

impl Names {
    pub(crate) fn new() -> Names {
        Names::with_lookup(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    pub(crate) fn with_lookup(lookup: fn(&str, u16) -> io::Result<Vec<SocketAddr>>) -> Names {
        Names { shared: Arc::default(), lookup }
    }

    /// The next request looks the name up again, because a request has failed, for example. Until that succeeds, the old
    /// addresses are used.
    pub(crate) fn invalidate(&self) {
        self.shared.lock().proven = false;
    }

    /// Opens a TCP connection and closes it, within `timeout`. The error says what failed.
    pub(crate) fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        let mut addresses = self.addresses(host, port, timeout).map_err(|error| error.to_string())?;
        addresses.truncate(MAX_ADDRESSES);
        let mut problem = String::new();
        for (index, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now()) / (addresses.len() - index) as u32;
            // A timeout of zero would be an error.
            match TcpStream::connect_timeout(address, left.max(Duration::from_millis(1))) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    problem = format!("no connection to {address}")
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    problem = format!("connection refused by {address}");
                }
                Err(error) => problem = format!("cannot connect to {address}: {error}"),
            }
        }
        self.invalidate();
        Err(problem)
    }

    fn addresses(&self, host: &str, port: u16, budget: Duration) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Some(addresses) = without_lookup(host, port) {
            return Ok(addresses);
        }
        let mut known = self.shared.lock();
        if known.proven {
            return Ok(known.addresses.clone());
        }
        if !known.looking {
            match self.look_up(host, port) {
                Ok(()) => known.looking = true,
                Err(error) => known.error = format!("cannot start a thread: {error}"),
            }
        }
        // The rest of the time is for connecting.
        let limit = if known.addresses.is_empty() { budget } else { budget / 2 };
        let waited = self.shared.answered.wait_timeout_while(known, limit, |known| known.looking);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (known.addresses.is_empty(), known.looking) {
            (false, _) => Ok(known.addresses.clone()),
            (true, true) => Err(ConnectError::timed_out(format!("no address found for {host}"))),
            (true, false) => Err(ConnectError::new(format!("no address found for {host}: {}", known.error))),
        }
    }

    fn look_up(&self, host: &str, port: u16) -> io::Result<()> {
        let (shared, lookup, host) = (Arc::clone(&self.shared), self.lookup, host.to_owned());
        let look = move || {
            let found = lookup(&host, port);
            let mut known = shared.lock();
            known.looking = false;
            match found {
                Ok(addresses) if !addresses.is_empty() => {
                    known.addresses = addresses;
                    known.proven = true;
                }
                Ok(_) => known.error = "the name has none".into(),
                Err(error) => known.error = error.to_string(),
            }
            shared.answered.notify_all();
        };
        threads::spawn("resolver", look)
    }
}

/// Addresses that need no lookup. `localhost` is one of them, so that local traffic does not depend on a name service.
fn without_lookup(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Some(both.map(|address| SocketAddr::new(address, port)).into());
    }
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    literal.parse().ok().map(|address| vec![SocketAddr::new(address, port)])
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
            return Err(Error::HostNotFound);
        };
        let mut resolved = self.empty();
        for address in self.addresses(host, port, *timeout.after)?.into_iter().take(MAX_ADDRESSES) {
            resolved.push(address);
        }
        Ok(resolved)
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use rustix::process::{Resource, Rlimit, setrlimit};

    const LONG: Duration = Duration::from_secs(60);

    fn never(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        unreachable!("nobody is to be asked")
    }

    #[test]
    fn ip_addresses_and_localhost_need_no_lookup() {
        let names = Names::with_lookup(never);
        for (host, expected) in [
            ("10.0.0.1", vec!["10.0.0.1:443"]),
            ("[fd00::1]", vec!["[fd00::1]:443"]),
            ("LocalHost", vec!["127.0.0.1:443", "[::1]:443"]),
        ] {
            let expected: Vec<SocketAddr> = expected.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(names.addresses(host, 443, LONG).unwrap(), expected);
        }
    }

    #[test]
    fn a_name_is_cached_until_a_request_fails() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let names = Names::with_lookup(|_, port| match ASKED.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]),
            1 => Err(io::Error::other("the name service is down")),
            _ => Ok(vec![SocketAddr::from(([10, 0, 0, 2], port))]),
        });
        let first = |names: &Names| names.addresses("api.example.com", 443, LONG).unwrap()[0].to_string();
        assert_eq!(first(&names), "10.0.0.1:443");
        assert_eq!(first(&names), "10.0.0.1:443");
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        names.invalidate();
        assert_eq!(first(&names), "10.0.0.1:443", "the old address is better than none");
        assert_eq!(first(&names), "10.0.0.2:443");
        assert_eq!(ASKED.load(Ordering::SeqCst), 3);
    }

    /// Set in the process that cannot start a thread.
    const INSIDE: &str = "LEADER_ELECTOR_TEST_NO_THREAD";

    #[test]
    fn without_a_thread_for_the_lookup_the_old_addresses_are_used() {
        if std::env::var_os(INSIDE).is_none() {
            let mut this = std::process::Command::new(std::env::current_exe().unwrap());
            let test = "api::names::tests::without_a_thread_for_the_lookup_the_old_addresses_are_used";
            let output = this.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            return assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        }
        let (known, unknown) = (Names::with_lookup(never), Names::with_lookup(never));
        known.shared.lock().addresses = vec![SocketAddr::from(([10, 0, 0, 1], 443))];
        // There is no room for the stack of a thread any more.
        let limit = |current| setrlimit(Resource::As, Rlimit { current, maximum: None }).unwrap();
        limit(Some(0));
        let (known, unknown) = [known, unknown].map(|it| it.addresses("api.example.com", 443, LONG)).into();
        limit(None);
        assert_eq!(known.unwrap().len(), 1);
        assert!(unknown.unwrap_err().to_string().contains("cannot start a thread"));
    }

    #[test]
    fn a_hanging_name_service_blocks_one_thread_and_respects_the_timeout() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let names = Names::with_lookup(|_, _| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            loop {
                std::thread::park();
            }
        });
        for _ in 0..3 {
            assert!(names.addresses("api.example.com", 443, Duration::from_millis(1)).is_err());
        }
        assert!(ASKED.load(Ordering::SeqCst) <= 1);
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let error = Names::with_lookup(|_, _| Ok(Vec::new())).addresses("a.example.com", 1, LONG).unwrap_err();
        assert_eq!(error.to_string(), "no address found for a.example.com: the name has none");
    }
}
