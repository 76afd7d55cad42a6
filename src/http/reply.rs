//! A reply, and its serialization (RFC 9112).
//!
//! There are few headers. `Cache-Control: no-store`, because a reply is true only at one moment: a cached reply could
//! claim leadership after the lease expired. No `Date`: RFC 9110, section 6.6.1 requires it only of servers with a
//! reliable clock, replies do not depend on the time of day, and proxies add it.

use std::io::Write;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    pub status: StatusCode,
    pub body: Body<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusCode {
    Ok,
    BadRequest,
    HeadTooLarge,
    InternalServerError,
    ServiceUnavailable,
    VersionNotSupported,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// `{"name":"<holder>"}`, byte for byte as in 0.5.
    Name(&'a str),
    /// `{"isLeader": true}` or `{"isLeader": false}`, with this space.
    IsLeader(bool),
    Text(&'static str),
    Json(String),
    /// Prometheus text format 0.0.4.
    Metrics(String),
    /// The first event of a stream that lasts as long as the connection.
    Events(String),
}

/// The value of the `Connection` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// No header. In HTTP/1.1 the connection then stays open.
    Implied,
    /// `keep-alive`, for an HTTP/1.0 client that asked for it.
    KeepAlive,
    Close,
}

impl Reply<'_> {
    /// The refusal of an invalid request. The status line is the body, as in Go.
    pub fn refusal(status: StatusCode) -> Reply<'static> {
        Reply { status, body: Body::Text(status.line()) }
    }

    /// Appends this reply to `out`. The reply to a HEAD has the length of the body but not the body.
    pub fn write(&self, out: &mut Vec<u8>, without_body: bool, persistence: Persistence) {
        let start = out.len();
        self.body.write(out);
        let length = out.len() - start;
        if without_body {
            out.truncate(start);
        }
        let sent = out.len() - start;
        let _ = write!(out, "HTTP/1.1 {}\r\nContent-Type: {}\r\n", self.status.line(), self.body.content_type());
        let _ = match self.body {
            // Its end is the end of the connection. nginx and similar proxies buffer a response without this header.
            Body::Events(_) => write!(out, "X-Accel-Buffering: no\r\n"),
            _ => write!(out, "Content-Length: {length}\r\n"),
        };
        let _ = write!(out, "Cache-Control: no-store\r\n{}\r\n", persistence.header());
        // The length precedes the body, but is known only after the body is written as JSON.
        out[start..].rotate_left(sent);
    }
}

impl StatusCode {
    /// The number, as a label.
    pub fn code(self) -> &'static str {
        &self.line()[..3]
    }

    fn line(self) -> &'static str {
        match self {
            StatusCode::Ok => "200 OK",
            StatusCode::BadRequest => "400 Bad Request",
            StatusCode::HeadTooLarge => "431 Request Header Fields Too Large",
            StatusCode::InternalServerError => "500 Internal Server Error",
            StatusCode::ServiceUnavailable => "503 Service Unavailable",
            StatusCode::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

impl Body<'_> {
    fn content_type(&self) -> &'static str {
        match self {
            Body::Name(_) | Body::IsLeader(_) | Body::Json(_) => "application/json",
            Body::Metrics(_) => "text/plain; version=0.0.4; charset=utf-8",
            Body::Events(_) => "text/event-stream",
            Body::Text(_) => "text/plain; charset=utf-8",
        }
    }

    // Writing to a Vec cannot fail, so the results below are ignored.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Body::Name(name) => {
                out.extend_from_slice(b"{\"name\":");
                let _ = serde_json::to_writer(&mut *out, name);
                out.push(b'}');
            }
            Body::IsLeader(leads) => {
                let _ = write!(out, "{{\"isLeader\": {leads}}}");
            }
            Body::Text(text) => out.extend_from_slice(text.as_bytes()),
            Body::Json(text) | Body::Metrics(text) | Body::Events(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

impl Persistence {
    fn header(self) -> &'static str {
        match self {
            Persistence::Implied => "",
            Persistence::KeepAlive => "Connection: keep-alive\r\n",
            Persistence::Close => "Connection: close\r\n",
        }
    }
}
