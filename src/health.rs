//! The health check: asks the application repeatedly whether it is healthy.
//!
//! The rules are those of kubelet probes. Over HTTP, a status from 200 to 399 is healthy, and redirects are not
//! followed. Over TCP, an open connection is healthy. Certificates are not verified. Each check looks the host name up and
//! opens a new connection. The election decides what the results mean.

use crate::api::{self, Names};
use crate::credentials::Tls;
use crate::threads;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};
use ureq::http::Uri;
use ureq::http::header::{ACCEPT, CONNECTION};
use ureq::{Agent, Error};

/// The target of the check, and its intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub target: Target,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// The timeout of a whole check.
    pub timeout: Duration,
    /// The number of consecutive failures that end the leadership; at least 1.
    pub failures: u32,
}

/// The target: `http://host:port/path`, the same with `https`, or `tcp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Includes the query.
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Tcp,
}

impl HealthCheck {
    /// Starts a thread that checks, first at once. `report` gets each result (an error says what is wrong), may block,
    /// and returns whether to continue.
    pub fn start(self, report: impl Fn(Result<(), String>) -> bool + Send + 'static) -> io::Result<()> {
        let probe = Probe::new(&self.target, Names::new()).map_err(io::Error::other)?;
        let check = move || catch_unwind(AssertUnwindSafe(|| probe.check(self.timeout)));
        let run = move || loop {
            let began = Instant::now();
            let result =
                check().unwrap_or_else(|_| Err("the check failed because of a bug: see the panic above".to_owned()));
            if !report(result) {
                return;
            }
            thread::sleep(self.interval.saturating_sub(began.elapsed()));
        };
        threads::spawn("health", run)
    }
}

/// The client of a check.
struct Probe {
    names: Names,
    client: Client,
}

enum Client {
    Http { agent: Agent, url: String },
    Tcp { host: String, port: u16 },
}

impl Probe {
    fn new(target: &Target, names: Names) -> Result<Probe, String> {
        let Target { scheme, host, port, path } = target;
        let http = |scheme: &str, tls| {
            let agent = api::agent(format!("{host}:{port}"), tls, names.clone());
            Client::Http { agent, url: format!("{scheme}://{host}:{port}{path}") }
        };
        let client = match scheme {
            Scheme::Tcp => Client::Tcp { host: host.clone(), port: *port },
            Scheme::Http => http("http", None),
            Scheme::Https => http("https", Some(Tls::unverified(host)?)),
        };
        Ok(Probe { names, client })
    }

    fn check(&self, timeout: Duration) -> Result<(), String> {
        self.names.invalidate();
        match &self.client {
            Client::Tcp { host, port } => self.names.connect(host, *port, timeout),
            Client::Http { agent, url } => {
                let request = agent.get(url).header(ACCEPT, "*/*").header(CONNECTION, "close");
                let answer =
                    request.config().timeout_global(Some(timeout)).build().call().map_err(|error| match error {
                        Error::Timeout(_) => format!("no answer within {timeout:?}"),
                        other => api::explain(other, timeout),
                    })?;
                match answer.status() {
                    status if status.is_success() || status.is_redirection() => Ok(()),
                    status => Err(format!("the answer is {status}")),
                }
            }
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Target, TargetError> {
        let refuse = |why| Err(TargetError { url: url.to_owned(), why });
        let Ok(uri) = url.parse::<Uri>() else { return refuse("not a URL") };
        let (scheme, usual_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, Some(80)),
            Some("https") => (Scheme::Https, Some(443)),
            Some("tcp") => (Scheme::Tcp, None),
            _ => return refuse("not a URL that begins with http://, https:// or tcp://"),
        };
        let no_user = "a URL with a user name, which is not sent";
        let (host, port) =
            api::host_and_port(&uri, usual_port, no_user).map_err(|why| TargetError { url: url.to_owned(), why })?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if scheme == Scheme::Tcp && !matches!(path, "" | "/") {
            return refuse("a tcp:// URL with a path");
        }
        Ok(Target { scheme, host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// For messages: without the query, which may contain a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { scheme, host, port, path } = self;
        let path = path.split('?').next().unwrap_or_default();
        match scheme {
            Scheme::Http => write!(f, "http://{host}:{port}{path}"),
            Scheme::Https => write!(f, "https://{host}:{port}{path}"),
            Scheme::Tcp => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// A URL that is not a valid target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    url: String,
    why: &'static str,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is {}; write it like http://127.0.0.1:8080/healthz or tcp://127.0.0.1:5432", self.url, self.why)
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::atomic::{AtomicU16, Ordering};

    const LONG: Duration = Duration::from_secs(60);

    fn target(url: &str) -> Result<String, String> {
        url.parse::<Target>().map(|target| target.to_string()).map_err(|error| error.to_string())
    }

    /// The result of checking a server that sends `answer` on each connection.
    fn check(url: impl Fn(u16) -> String, answer: &'static str) -> Result<(), String> {
        let port = server(answer);
        Probe::new(&url(port).parse().unwrap(), Names::new()).unwrap().check(LONG)
    }

    /// The port of a server that sends `answer` on each connection.
    fn server(answer: &'static str) -> u16 {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        thread::spawn(move || {
            for connection in server.incoming() {
                let mut connection = connection.unwrap();
                let _ = connection.read(&mut [0; 1000]);
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        port
    }

    #[test]
    fn each_check_looks_the_name_up() {
        static PORT: AtomicU16 = AtomicU16::new(0);
        let lookup = |_: &str, _| Ok(vec![(Ipv4Addr::LOCALHOST, PORT.load(Ordering::SeqCst)).into()]);
        for (scheme, answer) in [("http", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ("tcp", "")] {
            let [before, after] = [server(answer), server(answer)];
            let target = format!("{scheme}://db.example:1").parse().unwrap();
            let probe = Probe::new(&target, Names::with_lookup(lookup)).unwrap();
            for (port, healthy) in [(before, true), (0, false), (after, true)] {
                PORT.store(port, Ordering::SeqCst);
                assert_eq!(probe.check(LONG).is_ok(), healthy, "{scheme}");
            }
        }
    }

    fn http(port: u16) -> String {
        format!("http://127.0.0.1:{port}/healthz?key=secret")
    }

    #[test]
    fn a_target_has_a_scheme_a_host_and_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:8080/healthz", "http://127.0.0.1:8080/healthz"),
            ("http://localhost", "http://localhost:80/"),
            ("https://[::1]/live?key=secret", "https://[::1]:443/live"),
            ("tcp://db:5432", "tcp://db:5432"),
            ("tcp://db:5432/", "tcp://db:5432"),
        ] {
            assert_eq!(target(url).as_deref(), Ok(expected));
        }
        for (url, why) in [
            ("", "not a URL;"),
            ("/healthz", "not a URL that begins with"),
            ("ftp://localhost", "not a URL that begins with"),
            ("tcp://db", "a URL without a usable port"),
            ("tcp://db:0", "a URL without a usable port"),
            ("http://db:99999", "a URL without a usable port"),
            ("tcp://db:5432/path", "a tcp:// URL with a path"),
            ("http://user@db/", "a URL with a user name"),
        ] {
            assert!(target(url).is_err_and(|error| error.contains(why)), "{url:?}: {:?}", target(url));
        }
    }

    #[test]
    fn what_the_kubelet_takes_for_healthy_is_healthy() {
        for (status, healthy) in [("200 OK", true), ("302 Found", true), ("404 Not Found", false), ("503 No", false)] {
            let answer: &'static str =
                format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n").leak();
            assert_eq!(check(http, answer).is_ok(), healthy, "{status}");
        }
        assert!(check(http, "hello").is_err());
        assert!(check(|port| format!("https://127.0.0.1:{port}/"), "HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert_eq!(check(|port| format!("tcp://127.0.0.1:{port}"), ""), Ok(()));
    }

    #[test]
    fn a_port_that_nobody_serves_is_unhealthy() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for url in [http(port), format!("tcp://127.0.0.1:{port}")] {
            let result = Probe::new(&url.parse().unwrap(), Names::new()).unwrap().check(LONG);
            assert!(result.as_ref().is_err_and(|error| error.contains("refused")), "{result:?}");
        }
    }

    #[test]
    fn an_application_that_hangs_or_dribbles_is_unhealthy_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let dribbling = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let ports = [port(&silent), port(&dribbling)];
        thread::spawn(move || {
            for connection in dribbling.incoming() {
                let mut connection = connection.unwrap();
                while connection.write_all(b"H").is_ok() {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        for port in ports {
            let probe = Probe::new(&http(port).parse().unwrap(), Names::new()).unwrap();
            assert!(probe.check(Duration::from_millis(200)).is_err());
        }
    }
}
