//! HTTP/1.1 for the server: reads requests and writes answers.

use std::io::{self, Read};

use crate::status::Refusal;
use crate::wire::Wire;

const HEAD_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
pub(crate) const BODY_MAX: usize = 8 << 20;

/// A complete request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the client allows keep-alive.
    pub(crate) keep_alive: bool,
}

impl Request {
    /// The first header of this name, which must be in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    /// Removes a parameter from the query.
    pub(crate) fn drop_parameter(&mut self, name: &str) {
        if let Some((path, query)) = self.target.split_once('?') {
            let others = query.split('&').filter(|pair| pair.split('=').next() != Some(name));
            self.target = format!("{path}?{}", others.collect::<Vec<_>>().join("&"));
        }
    }
}

/// The result of reading from a connection.
pub(crate) enum Received {
    Request(Request),
    /// The client has closed the connection.
    Closed,
    /// A malformed request; the connection cannot be used after the answer.
    Unreadable(Refusal),
}

/// Reads one request after another.
#[derive(Default)]
pub(crate) struct Reader {
    /// Bytes that were received and not consumed.
    buffer: Vec<u8>,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Reader {
    pub(crate) fn receive(&mut self, wire: &mut Wire) -> io::Result<Received> {
        let (mut request, framing) = loop {
            match parse_head(&self.buffer) {
                Ok(Some((request, framing, used))) => {
                    self.buffer.drain(..used);
                    break (request, framing);
                }
                Ok(None) if self.buffer.len() > HEAD_MAX => {
                    return Ok(Received::Unreadable(Refusal::bad_request("the head is too long")));
                }
                Ok(None) => {}
                Err(refusal) => return Ok(Received::Unreadable(refusal)),
            }
            if self.fill(wire)? == 0 {
                return Ok(Received::Closed);
            }
        };
        let expects = request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue"));
        if expects && self.buffer.is_empty() {
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = match framing {
            Framing::Length(length) => self.body_of_length(wire, length)?,
            Framing::Chunked => self.chunked_body(wire)?,
        };
        Ok(match body {
            Ok(body) => {
                request.body = body;
                Received::Request(request)
            }
            Err(refusal) => Received::Unreadable(refusal),
        })
    }

    fn body_of_length(&mut self, wire: &mut Wire, length: usize) -> io::Result<Result<Vec<u8>, Refusal>> {
        if length > BODY_MAX {
            return Ok(Err(Refusal::body_too_large(BODY_MAX)));
        }
        self.fill_to(wire, length)?;
        Ok(Ok(self.buffer.drain(..length).collect()))
    }

    fn chunked_body(&mut self, wire: &mut Wire) -> io::Result<Result<Vec<u8>, Refusal>> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line(wire)? else {
                return Ok(Err(Refusal::bad_request("a chunk's length is too long")));
            };
            let digits = line.split(';').next().unwrap_or_default().trim();
            let Ok(length) = usize::from_str_radix(digits, 16) else {
                return Ok(Err(Refusal::bad_request("a chunk's length is no number")));
            };
            if length == 0 {
                break;
            }
            if length > BODY_MAX || body.len() + length > BODY_MAX {
                return Ok(Err(Refusal::body_too_large(BODY_MAX)));
            }
            self.fill_to(wire, length + 2)?;
            body.extend(self.buffer.drain(..length));
            self.buffer.drain(..2);
        }
        // Trailers, up to the empty line.
        loop {
            match self.line(wire)? {
                Some(line) if line.is_empty() => return Ok(Ok(body)),
                Some(_) => {}
                None => return Ok(Err(Refusal::bad_request("a trailer is too long"))),
            }
        }
    }

    /// The next line without its end; none if it is too long.
    fn line(&mut self, wire: &mut Wire) -> io::Result<Option<String>> {
        const LINE_MAX: usize = 4096;
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(Some(line));
            }
            if self.buffer.len() > LINE_MAX {
                return Ok(None);
            }
            self.fill_some(wire)?;
        }
    }

    fn fill_to(&mut self, wire: &mut Wire, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            self.fill_some(wire)?;
        }
        Ok(())
    }

    fn fill_some(&mut self, wire: &mut Wire) -> io::Result<()> {
        if self.fill(wire)? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn fill(&mut self, wire: &mut Wire) -> io::Result<usize> {
        let mut piece = [0; 8192];
        let count = wire.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }
}

/// Parses the head at the start of `bytes`. Returns the request, the framing of its body and the head's length; none if
/// more bytes are needed.
fn parse_head(bytes: &[u8]) -> Result<Option<(Request, Framing, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let unreadable = |error: httparse::Error| Refusal::bad_request(format!("cannot read the head: {error}"));
    let httparse::Status::Complete(used) = head.parse(bytes).map_err(unreadable)? else {
        return Ok(None);
    };
    let owned = |header: &httparse::Header<'_>| {
        (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
    };
    let mut request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        keep_alive: head.version == Some(1),
        headers: head.headers.iter().map(owned).collect(),
        body: Vec::new(),
    };
    if let Some(connection) = request.header("connection") {
        request.keep_alive = match connection.to_ascii_lowercase().as_str() {
            "close" => false,
            "keep-alive" => true,
            _ => request.keep_alive,
        };
    }
    let framing = framing(&request)?;
    Ok(Some((request, framing, used)))
}

fn framing(request: &Request) -> Result<Framing, Refusal> {
    match (request.header("transfer-encoding"), request.header("content-length")) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(_), _) => Err(Refusal::bad_request("cannot read this Transfer-Encoding")),
        (None, None) => Ok(Framing::Length(0)),
        (None, Some(length)) => match length.parse() {
            Ok(length) => Ok(Framing::Length(length)),
            Err(_) => Err(Refusal::bad_request("the Content-Length is no number")),
        },
    }
}

/// An answer, ready to be written.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(code: u16, value: &serde_json::Value) -> Answer {
        let body = value.to_string().into_bytes();
        Answer { code, content_type: "application/json", headers: Vec::new(), body }
    }

    pub(crate) fn text(body: &str) -> Answer {
        let content_type = "text/plain; charset=utf-8";
        Answer { code: 200, content_type, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn refusal(refusal: &Refusal) -> Answer {
        let answer = Answer::json(refusal.code, &refusal.to_status());
        match refusal.retry_after {
            Some(seconds) => answer.with("Retry-After", seconds.to_string()),
            None => answer,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// The head with its empty line, for a body of `length` bytes, or a chunked one.
    pub(crate) fn head(&self, length: Option<u64>, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.code, phrase(self.code));
        let mut add = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        add("Cache-Control", "no-cache, private");
        add("Content-Type", self.content_type);
        match length {
            Some(length) => add("Content-Length", &length.to_string()),
            None => add("Transfer-Encoding", "chunked"),
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        if !keep_alive {
            add("Connection", "close");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Head and body together, for one write.
    pub(crate) fn to_bytes(&self, keep_alive: bool) -> Vec<u8> {
        let mut bytes = self.head(Some(self.body.len() as u64), keep_alive);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// One chunk of a chunked body; an empty one ends it.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

fn phrase(code: u16) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        409 => "Conflict",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unknown",
    }
}
