//! The bytes of one request head to what it asks for, and what becomes of the connection after it.
//!
//! Bodies are never used, so that all that matters of one is whether it was announced: the bytes behind such a
//! head are never taken for a request, and the connection ends with its answer. That leaves nothing to smuggle.

use super::reply::{Persistence, StatusCode};
use super::routes::{Route, route};
use httparse::{EMPTY_HEADER, Error, Header};

/// More headers than any client or proxy sends, few enough to be parsed on the stack.
const MAX_HEADERS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub route: Route,
    /// A HEAD is answered without the body.
    pub without_body: bool,
    pub persistence: Persistence,
    /// More than this head is on its way: the answer has to survive it.
    pub body_announced: bool,
}

/// The request whose head `input` begins with and the length of that head, or `None` while it is not whole.
///
/// Empty lines before a head are skipped and a lone LF ends a line, as RFC 9112, section 2.2 allows. A missing
/// `Host` is no error: 0.5 took it, and there is one host here. The error is the status to refuse with.
pub fn parse(input: &[u8]) -> Result<Option<(Request, usize)>, StatusCode> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(input) {
        Ok(httparse::Status::Complete(length)) => Ok(Some((request(&head)?, length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => Err(StatusCode::HeadTooLarge),
        // Found at the first byte of the version, when the rest of it may not be here yet.
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

/// What the header fields say that matters here.
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

    /// RFC 9112, section 6.3: a length that is no number, or two that differ, is an error. How large it is does
    /// not matter here, so it is never made a number of: 2^64 is as good as 1.
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

/// The first line that is not empty, once its end is here.
fn request_line(input: &[u8]) -> Option<&[u8]> {
    let input = input.trim_ascii_start();
    let end = input.iter().position(|byte| *byte == b'\n')?;
    Some(input[..end].trim_ascii_end())
}

/// Whether a request line ends in a version of HTTP that is well formed, but not 1.0 or 1.1: the HTTP/2
/// preface does, `GET /two words HTTP/1.1` does not.
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
