//! Escapes text from other programs for use in messages.

use super::secrets::without_secrets;

/// The maximum length of quoted text, in characters.
const MAX_QUOTED: usize = 300;

/// Text from another program, escaped for one line of a log. Characters that break lines, move the cursor or reorder
/// text are escaped; long text is cut at the end.
pub fn escaped(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown: Vec<String> = text.chars().take(MAX_QUOTED + 1).map(show).collect();
    match fitting(shown.iter()) {
        all if all == shown.len() => shown.concat(),
        some => shown[..some].concat() + "…",
    }
}

/// The same, but long text is cut at the start, since a program says at the end why it failed. Secrets are recognised by
/// their beginnings, so they are replaced before.
pub fn escaped_end(text: &[u8]) -> String {
    let text = without_secrets(String::from_utf8_lossy(text).into_owned());
    let mut shown: Vec<String> = text.chars().rev().take(MAX_QUOTED + 1).map(show).collect();
    shown.reverse();
    match fitting(shown.iter().rev()) {
        all if all == shown.len() => shown.concat(),
        some => "…".to_owned() + &shown[shown.len() - some..].concat(),
    }
}

fn show(c: char) -> String {
    match c {
        '\n' | '\r' | '\t' => c.escape_default().collect(),
        _ if c.is_control() || is_invisible(c) => c.escape_unicode().collect(),
        _ => c.into(),
    }
}

/// How many of `shown` fit into [`MAX_QUOTED`].
fn fitting<'a>(shown: impl Iterator<Item = &'a String>) -> usize {
    let mut left = MAX_QUOTED;
    let mut fits = |shown: &&String| left.checked_sub(shown.chars().count()).inspect(|rest| left = *rest).is_some();
    shown.take_while(|it| fits(it)).count()
}

/// Line and paragraph separators, zero-width characters, and marks that reorder text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_stays_on_one_line_and_within_bounds() {
        assert_eq!(escaped(b"a\r\nb\x1b[31m\xff"), "a\\r\\nb\\u{1b}[31m\u{fffd}");
        assert_eq!(escaped("a\u{202e}b\u{2028}c".as_bytes()), "a\\u{202e}b\\u{2028}c");
        let long = format!("first{}last", "ä".repeat(5000));
        let [start, end] = [escaped(long.as_bytes()), escaped_end(long.as_bytes())];
        assert_eq!([&start, &end].map(|it| it.chars().count()), [MAX_QUOTED + 1; 2]);
        assert!(start.starts_with("first") && start.ends_with("ä…"), "{start}");
        assert!(end.starts_with("…ä") && end.ends_with("last"), "{end}");
        assert_eq!(escaped_end(b"all\n"), "all\\n");
        let just = "ä".repeat(MAX_QUOTED);
        assert_eq!([escaped(just.as_bytes()), escaped_end(just.as_bytes())], [just.clone(), just]);
    }
}
