//! The address of the API server.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::ServerName;
use ureq::http::Uri;

use super::CredentialsError;

/// The address of an API server: scheme, host, port, and optionally a path before `/api`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(super) https: bool,
    /// A name or an IP address, without brackets.
    host: String,
    port: u16,
    /// Empty, or a path that begins with a slash and does not end with one.
    prefix: String,
}

impl ServerAddress {
    /// The server in the environment of a pod.
    pub(super) fn in_cluster(host: &str, port: &str) -> Result<ServerAddress, CredentialsError> {
        let port = parse_port(port).ok_or_else(|| {
            CredentialsError::new(format!("KUBERNETES_SERVICE_PORT is {port:?}, which is not a port number"))
        })?;
        let server = ServerAddress { https: true, host: host.to_owned(), port, prefix: String::new() };
        server.check(|| format!("KUBERNETES_SERVICE_HOST is {host:?}"))
    }

    /// Parses the address from `origin`, such as `--server`. The error does not repeat possible secrets.
    pub(super) fn parse(url: &str, origin: &str) -> Result<ServerAddress, CredentialsError> {
        let refuse = |why: String| CredentialsError::new(format!("cannot use the address of {origin}: {why}"));
        for (mark, what) in [('@', "a user name"), ('?', "a query"), ('#', "a fragment")] {
            if url.contains(mark) {
                return Err(refuse(format!("it has {what} ({mark:?}), which is never sent; leave it out")));
            }
        }
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| refuse(format!("{url:?} begins with neither https:// nor http://")))?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(refuse(format!("{url:?} begins with neither https:// nor http://"))),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(refuse("it names no host".into()));
        }
        let (host, port) =
            split_authority(authority).ok_or_else(|| refuse(format!("{authority:?} is not a host or host:port")))?;
        let port = match port {
            Some(port) => parse_port(port).ok_or_else(|| refuse(format!("{port:?} is not a port number")))?,
            None if https => 443,
            None => 80,
        };
        let prefix = path.trim_end_matches('/').to_owned();
        ServerAddress { https, host: host.to_owned(), port, prefix }
            .check(|| format!("the address of {origin} is {url:?}"))
    }

    fn check(self, what: impl Fn() -> String) -> Result<ServerAddress, CredentialsError> {
        let refuse = |why: &str| CredentialsError::new(format!("{}, which is {why}", what()));
        if self.host.is_empty() {
            return Err(refuse("without a host"));
        }
        if self.name().is_none() {
            return Err(refuse("neither an IP address nor a DNS name"));
        }
        self.base().parse::<Uri>().map_err(|_| refuse("not a URL"))?;
        Ok(self)
    }

    /// The prefix of every request URL.
    pub(crate) fn base(&self) -> String {
        format!("{}://{self}{}", if self.https { "https" } else { "http" }, self.prefix)
    }

    /// The name that the server's certificate must have.
    pub(crate) fn name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host.clone()).ok()
    }

    /// Whether requests never leave this machine.
    pub(super) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            // Not looked up: the client uses 127.0.0.1 and ::1 for it.
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// `10.0.0.1:443`, `[fd00::1]:443`, as it stands in a URL.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The host and the port of `host`, `host:port`, `[v6]` or `[v6]:port`. An IPv6 address needs brackets.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
    }
}

fn parse_port(port: &str) -> Option<u16> {
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together_again() {
        for (url, base) in [
            ("https://10.0.0.1", "https://10.0.0.1:443"),
            ("http://localhost:8001/", "http://localhost:8001"),
            ("HTTPS://api.example.com:6443/k8s/clusters/c-1//", "https://api.example.com:6443/k8s/clusters/c-1"),
            ("https://[fd00::1]", "https://[fd00::1]:443"),
            ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ] {
            assert_eq!(
                ServerAddress::parse(url, "--server").map(|s| s.base()).map_err(|e| e.to_string()),
                Ok(base.to_owned())
            );
        }
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused() {
        for url in [
            "",
            "10.0.0.1:6443",
            "ftp://a",
            "https://",
            "https://:443",
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "https://a:1:2",
            "https://fd00::1",
            "https://[fd00::1",
            "https://[a]:1",
            "https://a b",
            "https://a/b c",
            "https://a/\u{1}",
            "https://exämple",
        ] {
            assert!(ServerAddress::parse(url, "--server").is_err(), "{url}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        for url in ["https://user:hunter2@a", "https://a/?token=hunter2", "https://a/#hunter2", "hunter2@"] {
            let error = ServerAddress::parse(url, "--server").map(|s| s.base()).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("leave it out"), "{error}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.255.3.4", true),
            ("[::1]", true),
            ("localhost", true),
            ("LOCALHOST", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("[::ffff:10.0.0.1]", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
        ] {
            assert_eq!(
                ServerAddress::parse(&format!("http://{host}"), "--server").map(|s| s.is_loopback()).ok(),
                Some(expected),
                "{host}"
            );
        }
    }
}
