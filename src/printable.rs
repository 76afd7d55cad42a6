//! Text from elsewhere, as a message may repeat it.

/// As much of somebody else's text as a message repeats, in characters.
const MAX_QUOTED: usize = 300;

/// Text from elsewhere, made fit for one line of a log: nothing that moves the cursor, breaks the
/// line or turns the writing round, and not without end.
pub fn printable(text: &[u8]) -> String {
    let mut out = String::new();
    let mut left = MAX_QUOTED;
    for c in String::from_utf8_lossy(text).chars() {
        let shown: String = match c {
            '\n' | '\r' | '\t' => c.escape_default().collect(),
            _ if c.is_control() || is_invisible(c) => c.escape_unicode().collect(),
            _ => c.into(),
        };
        let length = shown.chars().count();
        if length > left {
            out.push('…');
            break;
        }
        left -= length;
        out.push_str(&shown);
    }
    out
}

/// Line and paragraph separators, zero-width characters, and marks that reorder what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_stays_on_one_line_and_within_bounds() {
        assert_eq!(printable(b"a\r\nb\x1b[31m\xff"), "a\\r\\nb\\u{1b}[31m\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{2028}c".as_bytes()), "a\\u{202e}b\\u{2028}c");
        assert_eq!(printable("ä".repeat(5000).as_bytes()).chars().count(), MAX_QUOTED + 1);
    }
}
