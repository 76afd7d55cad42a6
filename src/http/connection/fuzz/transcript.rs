//! Checks what a client received: the replies are well formed and within the limits.

use crate::http::bodies::HEARTBEAT;
use crate::http::head::Request;
use crate::http::routes::Route;

/// The maximum length of a reply with its head; identities are short here.
const MOST_ANSWER_BYTES: usize = 512;
/// The same for `/metrics`.
pub(super) const MOST_PAGE_BYTES: usize = 16 * 1024;

/// What a client received.
pub(super) struct Transcript<'a> {
    /// The part that does not depend on timing: replies, and the first event of a stream.
    pub(super) answers: &'a [u8],
    /// The status of a refusal.
    pub(super) refusal: Option<u16>,
    /// The later events of a stream.
    pub(super) changes: Vec<usize>,
}

impl Transcript<'_> {
    /// Checks that `received` is one reply for each request, followed by nothing, by a refusal, or by events if the
    /// last request was for them.
    pub(super) fn of<'a>(received: &'a [u8], requests: &[Request]) -> Transcript<'a> {
        let mut rest = received;
        let (mut closes, mut streams) = (false, false);
        for request in requests {
            assert!(!closes, "an answer behind the last one");
            let answer = Answer::read(rest, request.without_body);
            assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
            assert!(!request.body_announced || answer.closes, "a body was announced, and the connection goes on");
            assert_eq!(answer.is_stream, request.route == Route::Events, "{request:?}");
            assert!(answer.length <= MOST_ANSWER_BYTES || request.route == Route::Metrics, "{}", answer.length);
            closes = answer.closes;
            streams = answer.is_stream && !request.without_body;
            rest = &rest[answer.length..];
        }
        if streams {
            return Transcript {
                answers: &received[..received.len() - rest.len()],
                refusal: None,
                changes: leaders_in(rest),
            };
        }
        if rest.is_empty() {
            return Transcript { answers: received, refusal: None, changes: Vec::new() };
        }
        assert!(!closes, "a refusal behind the last answer");
        let refusal = Answer::read(rest, false);
        assert_eq!(refusal.length, rest.len(), "something follows the refusal");
        assert!(refusal.closes && [400, 431, 505].contains(&refusal.status), "{}", refusal.status);
        Transcript { answers: received, refusal: Some(refusal.status), changes: Vec::new() }
    }
}

/// The leaders named in a stream. The stream consists of complete events and heartbeats.
fn leaders_in(stream: &[u8]) -> Vec<usize> {
    let stream = std::str::from_utf8(stream).unwrap();
    let blocks = stream.split_inclusive("\n\n").filter(|block| block.as_bytes() != HEARTBEAT);
    let name = |block: &str| {
        let data = block.strip_prefix("data: ")?.strip_suffix("\n\n")?;
        serde_json::from_str::<serde_json::Value>(data).ok()?["name"].as_str()?.parse().ok()
    };
    blocks.map(|block| name(block).unwrap_or_else(|| panic!("no event: {block:?}"))).collect()
}

/// A reply as a client parses it.
struct Answer {
    status: u16,
    closes: bool,
    is_stream: bool,
    /// Includes the body; of a stream only the first event.
    length: usize,
}

impl Answer {
    fn read(received: &[u8], without_body: bool) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut head = httparse::Response::new(&mut headers);
        let head_length = match head.parse(received) {
            Ok(httparse::Status::Complete(length)) => length,
            other => panic!("{other:?}: {}", received.escape_ascii()),
        };
        assert_eq!(head.version, Some(1));
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name == name);
            found.map(|header| std::str::from_utf8(header.value).unwrap())
        };
        assert_eq!(header("Cache-Control"), Some("no-store"));
        let content_type = header("Content-Type").unwrap();
        let is_stream = content_type == "text/event-stream";
        let closes = header("Connection") == Some("close");
        assert!(header("Content-Length").is_some() != is_stream && (closes || !is_stream), "where does it end?");
        let body_length = match header("Content-Length") {
            _ if without_body => 0,
            Some(length) => length.parse().unwrap(),
            None => received[head_length..].windows(2).position(|two| two == b"\n\n").expect("a first event") + 2,
        };
        let length = head_length + body_length;
        assert!(length <= MOST_PAGE_BYTES && length <= received.len(), "{length} of {}", received.len());
        if content_type == "application/json" && !without_body {
            serde_json::from_slice::<serde_json::Value>(&received[head_length..length]).expect("JSON");
        }
        Answer { status: head.code.unwrap(), closes, is_stream, length }
    }
}
