//! `--check`: asks a running elector whether it leads. For probes and scripts in images without a shell or an HTTP
//! client. It does not take part in the election and uses neither credentials nor the API server.

use crate::api::{self, Names};
use crate::http::ListenAddress;
use crate::logging::escape::escaped;
use serde::Deserialize;
use std::fmt;
use std::io::Read;
use std::str::FromStr;
use std::time::Duration;
use ureq::http::header::CONTENT_TYPE;
use ureq::http::{StatusCode, Uri};
use ureq::{Body, Error};

/// From the name lookup to the last byte of the answer. Electors answer in a millisecond.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than any answer of an elector: the longest escaped identity is a tenth of it.
const MOST_BYTES: u64 = 64 * 1024;

/// An elector to ask: `host:port` of its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elector(String);

/// The answer of an elector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectorAnswer {
    pub leads: bool,
    /// The body as received: `{"name":"<holder>"}`.
    pub body: String,
}

impl Default for Elector {
    /// The default address of an elector.
    fn default() -> Elector {
        Elector("localhost:4040".to_owned())
    }
}

impl Elector {
    /// The elector that serves `listen` in the same pod; `None` if the port is any free one.
    pub fn serving(listen: &ListenAddress) -> Option<Elector> {
        listen.local_address().map(Elector)
    }

    /// Asks it. The error says why it cannot be asked, or that the answer is not that of an elector.
    ///
    /// It uses no proxy and follows no redirect, so the answer comes from this elector.
    pub fn ask(&self) -> Result<ElectorAnswer, String> {
        let agent = api::agent(self.0.clone(), None, Names::new());
        let timed = agent.get(format!("http://{}/leader", self.0)).config().timeout_global(Some(TIMEOUT)).build();
        let response = timed.call().map_err(|error| self.explain(error))?;
        let status = response.status();
        let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
        let body = read(response.into_body()).map_err(|error| self.explain(error))?;
        match parse_answer(status, is_json, &body) {
            Some(leads) => Ok(ElectorAnswer { leads, body }),
            None => Err(format!(
                "the answer of {} is not that of a leader-elector 0.6 or later: {status}, \"{}\"",
                self.0,
                escaped(body.as_bytes())
            )),
        }
    }

    fn explain(&self, error: Error) -> String {
        let what = match error {
            Error::Timeout(_) => format!("no answer within {TIMEOUT:?}"),
            other => api::explain(other, TIMEOUT),
        };
        format!("cannot ask the elector at {}: {what}", self.0)
    }
}

fn read(body: Body) -> Result<String, Error> {
    let mut bytes = Vec::new();
    body.into_reader().take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the elector with this answer to `/leader` leads; `None` if the answer is not that of an elector.
///
/// 0.5 answers every path with 200 and the name of the holder, but as text.
fn parse_answer(status: StatusCode, is_json: bool, body: &str) -> Option<bool> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        name: String,
    }
    let named: Named = serde_json::from_str(body).ok().filter(|_| is_json)?;
    match status {
        StatusCode::OK if !named.name.is_empty() => Some(true),
        StatusCode::SERVICE_UNAVAILABLE => Some(false),
        _ => None,
    }
}

impl FromStr for Elector {
    type Err = ElectorError;

    /// `http://host:port`, optionally with the path `/` or `/leader`. The answers of other paths do not say enough.
    fn from_str(url: &str) -> Result<Elector, ElectorError> {
        let refuse = |why| Err(ElectorError { url: url.to_owned(), why });
        let Ok(uri) = url.parse::<Uri>() else { return refuse("not a URL") };
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return refuse("an https URL, but electors serve plain HTTP"),
            _ => return refuse("not a URL that begins with http://"),
        }
        let no_user = "a URL with a user name, which electors do not support";
        let (host, port) =
            api::host_and_port(&uri, Some(80), no_user).map_err(|why| ElectorError { url: url.to_owned(), why })?;
        if !matches!(uri.path(), "" | "/" | "/leader") || uri.query().is_some() {
            return refuse("a URL with another path than /leader");
        }
        Ok(Elector(format!("{host}:{port}")))
    }
}

/// A URL that cannot be one of an elector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectorError {
    url: String,
    why: &'static str,
}

impl fmt::Display for ElectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is {}; write it like http://localhost:4040", self.url, self.why)
    }
}

impl std::error::Error for ElectorError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_elector_says_counts() {
        let me = r#"{"name":"me"}"#;
        for (status, is_json, body, leads) in [
            (200, true, me, Some(true)),
            (503, true, me, Some(false)),
            (503, true, r#"{"name":""}"#, Some(false)),
            (200, true, r#"{"name":""}"#, None),
            (200, false, me, None),
            (503, false, me, None),
            (404, true, me, None),
            (302, true, me, None),
            (500, true, me, None),
            (200, true, r#"{"isLeader": true}"#, None),
            (200, true, r#"{"name":"me","version":1}"#, None),
            (200, true, r#"{"name":null}"#, None),
            (200, true, "me", None),
            (200, true, "", None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(parse_answer(status, is_json, body), leads, "{status} {is_json} {body}");
        }
    }

    #[test]
    fn a_url_names_an_elector() {
        for (url, elector) in [
            ("http://localhost:4040", "localhost:4040"),
            ("http://localhost:4040/", "localhost:4040"),
            ("http://10.0.0.1:4040/leader", "10.0.0.1:4040"),
            ("HTTP://[::1]:4040", "[::1]:4040"),
            ("http://web-0", "web-0:80"),
        ] {
            assert_eq!(url.parse(), Ok(Elector(elector.to_owned())), "{url}");
        }
    }

    #[test]
    fn any_other_url_is_refused_with_the_reason() {
        for (url, why) in [
            ("", "not a URL"),
            ("localhost:4040", "not a URL that begins with http://"),
            (":4040", "not a URL that begins with http://"),
            ("4040", "not a URL that begins with http://"),
            ("false", "not a URL that begins with http://"),
            ("ftp://localhost", "not a URL that begins with http://"),
            ("https://localhost:4040", "an https URL, but electors serve plain HTTP"),
            ("http://", "not a URL"),
            ("http://localhost:", "a URL without a usable port"),
            ("http://localhost:0", "a URL without a usable port"),
            ("http://localhost:70000", "a URL without a usable port"),
            ("http://me@localhost:4040", "a URL with a user name, which electors do not support"),
            ("http://localhost:4040/isLeader", "a URL with another path than /leader"),
            ("http://localhost:4040/leader/", "a URL with another path than /leader"),
            ("http://localhost:4040/leader?x", "a URL with another path than /leader"),
        ] {
            let error = url.parse::<Elector>().unwrap_err().to_string();
            assert_eq!(error, format!("{url:?} is {why}; write it like http://localhost:4040"));
        }
    }
}
