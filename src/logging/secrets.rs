//! Keeps tokens out of the log, also if a server repeats what it was sent.

use std::sync::{Mutex, PoisonError};

/// This many characters identify a secret: quoted text is cut at the end. A shorter secret cannot be told from other
/// text.
const PART: usize = 16;

/// The number of secrets that are remembered. Tokens are renewed every hour or so.
const MOST: usize = 16;

const INSTEAD: &str = "[token]";

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on this text is not logged.
pub fn hide(secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() < PART || secrets.iter().any(|other| other == secret) {
        return;
    }
    if secrets.len() == MOST {
        secrets.remove(0);
    }
    secrets.push(secret.to_owned());
}

/// The text without secrets and without beginnings of them.
pub(super) fn without_secrets(mut text: String) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    for secret in secrets.iter() {
        let Some(part) = secret.get(..PART) else { continue };
        let mut from = 0;
        while let Some(found) = text[from..].find(part) {
            let start = from + found;
            // As far as the text is the secret, and to the end of the word: another secret may begin like this one.
            let rest = &text[start..];
            let same =
                rest.chars().zip(secret.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum::<usize>();
            let word = rest[same..].find(|c: char| !is_of_a_token(c)).unwrap_or(rest.len() - same);
            text.replace_range(start..start + same + word, INSTEAD);
            from = start + INSTEAD.len();
        }
    }
    text
}

fn is_of_a_token(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | ',' | ';' | '(' | ')' | '[' | ']' | '{' | '}' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_their_beginnings_are_hidden() {
        hide("0123456789abcdefghij");
        hide("0123456789abcdefGHIJ");
        hide("0123456789+0,1,2;3");
        hide("fifteen-letters");
        for (text, expected) in [
            ("Bearer 0123456789abcdefghij, 0123456789abcdefghij", "Bearer [token], [token]"),
            ("\"0123456789abcdefGHIJ\"", "\"[token]\""),
            ("cut: 0123456789abcdefg\u{2026}", "cut: [token]\u{2026}"),
            ("all of 0123456789+0,1,2;3, not a part", "all of [token], not a part"),
            ("too short a part: 0123456789abcde", "too short a part: 0123456789abcde"),
            ("fifteen-letters", "fifteen-letters"),
        ] {
            assert_eq!(without_secrets(text.into()), expected);
        }
    }
}
