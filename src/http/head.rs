//! Parses a request head, and decides whether the connection persists.
//!
//! Bodies are not used. If a head announces a body, the bytes after it are never parsed as a request, and the
//! connection ends with the reply. Request smuggling is therefore impossible.

use super::reply::{Persistence, StatusCode};
use super::routes::{Route, route};
use httparse::{EMPTY_HEADER, Error, Header};

/// More headers than any client or proxy sends, and few enough to parse on the stack.
const MAX_HEADERS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub route: Route,
    /// The reply to HEAD has no body.
    pub without_body: bool,
    pub persistence: Persistence,
    /// The client may still be sending, so the reply must survive unread input.
    pub body_announced: bool,
}

/// The request at the start of `input` and the length of its head; `None` if the head is incomplete.
///
/// Empty lines before a head are skipped, and a bare LF ends a line (RFC 9112, section 2.2). A missing `Host` is
/// accepted, as in 0.5, because there is only one host. The error is the status of the refusal.
pub fn parse(input: &[u8]) -> Result<Option<(Request, usize)>, StatusCode> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(input) {
        Ok(httparse::Status::Complete(length)) => Ok(Some((request(&head)?, length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => Err(StatusCode::HeadTooLarge),
        // httparse reports this at the first byte of the version, when the line may still be incomplete.
        Err(Error::Version) => match request_line(input) {
            None => Ok(None),
            Some(line) if names_other_version(line) => Err(StatusCode::VersionNotSupported),
            Some(_) => Err(StatusCode::BadRequest),
        },
        Err(_) => Err(StatusCode::BadRequest),
    }
}

fn request(head: &httparse::Request) -> Result<Request, StatusCode> {
    let fields = Fields::read(head.headers)?;
    let route = route(head.path.unwrap_or_default());
    let persistence = match head.version {
        // A stream ends with its connection.
        _ if fields.close || fields.body_announced || route == Route::Events => Persistence::Close,
        Some(1) => Persistence::Implied,
        _ if fields.keep_alive => Persistence::KeepAlive,
        _ => Persistence::Close,
    };
    Ok(Request { route, without_body: head.method == Some("HEAD"), persistence, body_announced: fields.body_announced })
}

/// The header fields that matter here.
#[derive(Default)]
struct Fields<'a> {
    close: bool,
    keep_alive: bool,
    body_announced: bool,
    content_length: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(headers: &[Header<'a>]) -> Result<Fields<'a>, StatusCode> {
        let mut fields = Fields::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("connection") {
                fields.connection(header.value);
            } else if is("content-length") {
                fields.content_length(header.value)?;
            } else if is("transfer-encoding") || is("expect") {
                fields.body_announced = true;
            }
        }
        Ok(fields)
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// A length that is not a number, or two different lengths, is an error (RFC 9112, section 6.3). The value is not
    /// converted to an integer, so it cannot overflow.
    fn content_length(&mut self, value: &'a [u8]) -> Result<(), StatusCode> {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if !is_number || self.content_length.is_some_and(|earlier| earlier != value) {
            return Err(StatusCode::BadRequest);
        }
        self.content_length = Some(value);
        self.body_announced |= value.iter().any(|digit| *digit != b'0');
        Ok(())
    }
}

/// The first non-empty line, if it is complete.
fn request_line(input: &[u8]) -> Option<&[u8]> {
    let input = input.trim_ascii_start();
    let end = input.iter().position(|byte| *byte == b'\n')?;
    Some(input[..end].trim_ascii_end())
}

/// Whether a request line ends in a well-formed HTTP version other than 1.0 and 1.1. The HTTP/2 preface does; `GET /two
/// words HTTP/1.1` does not.
fn names_other_version(line: &[u8]) -> bool {
    let last_word = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match last_word.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor]) => {
            major.is_ascii_digit() && minor.is_ascii_digit() && !(*major == b'1' && *minor <= b'1')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(head: &str) -> Request {
        match parse(head.as_bytes()) {
            Ok(Some((request, length))) => {
                assert_eq!(length, head.len(), "{head}");
                request
            }
            other => panic!("{head}: {other:?}"),
        }
    }

    #[test]
    fn persistence_follows_the_version_and_the_connection_header() {
        use Persistence::*;
        let cases = [
            ("HTTP/1.1\r\n\r\n", Implied),
            ("HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", Implied),
            ("HTTP/1.1\r\nCONNECTION: Close\r\n\r\n", Close),
            ("HTTP/1.1\r\nConnection: upgrade , close\r\n\r\n", Close),
            ("HTTP/1.1\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", Close),
            ("HTTP/1.1\r\nConnection: closed\r\n\r\n", Implied),
            ("HTTP/1.0\r\n\r\n", Close),
            ("HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", KeepAlive),
            ("HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", Close),
            ("HTTP/1.1\nHost: x\n\n", Implied),
        ];
        for (rest, expected) in cases {
            assert_eq!(whole(&format!("GET / {rest}")).persistence, expected, "{rest}");
        }
    }

    #[test]
    fn a_body_is_announced_by_a_length_an_encoding_or_an_expectation() {
        let cases = [
            ("Content-Length: 0", false),
            ("Content-Length: 000", false),
            ("Content-Length: 0\r\nContent-Length: 0", false),
            ("Content-Length: 1", true),
            ("Content-Length: 10000000000000000", true),
            ("Content-Length: 18446744073709551615", true),
            ("Content-Length: 99999999999999999999999999999999", true),
            ("Content-Length: 0\r\nTransfer-Encoding: chunked", true),
            ("Transfer-Encoding: identity", true),
            ("Expect: 100-continue", true),
        ];
        for (fields, expected) in cases {
            let request = whole(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n"));
            assert_eq!(request.body_announced, expected, "{fields}");
            assert_eq!(request.persistence == Persistence::Close, expected, "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let cases = [
            ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", StatusCode::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", StatusCode::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", StatusCode::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", StatusCode::BadRequest),
            ("GET / HTTP/1.1\r\nA\0: b\r\n\r\n", StatusCode::BadRequest),
            ("GET /a b HTTP/1.1\r\n\r\n", StatusCode::BadRequest),
            ("GET / HTTP\r\n\r\n", StatusCode::BadRequest),
            ("GET /\r\n\r\n", StatusCode::BadRequest),
            ("\u{16}\u{3}\u{1}", StatusCode::BadRequest),
            ("\0", StatusCode::BadRequest),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", StatusCode::VersionNotSupported),
            ("GET / HTTP/9.9\r\n\r\n", StatusCode::VersionNotSupported),
        ];
        for (head, expected) in cases {
            assert_eq!(parse(head.as_bytes()), Err(expected), "{head}");
        }
        for end in 0.."GET / HTTP/9.9\r".len() {
            assert_eq!(parse(&b"GET / HTTP/9.9\r\n"[..end]), Ok(None), "{end}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(parse(many.as_bytes()), Err(StatusCode::HeadTooLarge));
    }

    #[test]
    fn a_head_is_whole_at_its_last_byte_and_not_before() {
        let head = "\r\nHEAD http://host/isLeader?x HTTP/1.1\r\nHost: host\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(parse(&head.as_bytes()[..end]), Ok(None), "{:?}", &head[..end]);
        }
        let request = whole(head);
        assert_eq!(request.route, Route::IsLeader);
        assert!(request.without_body);
    }
}
