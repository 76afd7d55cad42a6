//! Keeps tokens out of the log, also if a server repeats what it was sent.

use std::sync::{Mutex, PoisonError};

/// A shorter secret cannot be told from other text.
const SHORTEST: usize = 8;

/// The beginning of a secret is hidden from this length on: quoted text is cut at the end.
const SHORTEST_PART: usize = 16;

/// The number of secrets that are remembered. Tokens are renewed every hour or so.
const MOST: usize = 16;

const INSTEAD: &str = "[token]";

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on this text is not logged.
pub fn hide(secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() < SHORTEST || secrets.iter().any(|other| other == secret) {
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
        let first = secret.get(..SHORTEST_PART).unwrap_or(secret);
        let mut from = 0;
        while let Some(found) = text[from..].find(first) {
            let start = from + found;
            let shown = text[start..].bytes().zip(secret.bytes()).take_while(|(a, b)| a == b).count();
            text.replace_range(start..start + shown, INSTEAD);
            from = start + INSTEAD.len();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_their_beginnings_are_hidden() {
        hide("0123456789abcdefghij");
        hide("an-old-token");
        hide("short");
        for (text, expected) in [
            ("Bearer 0123456789abcdefghij, 0123456789abcdefghij", "Bearer [token], [token]"),
            ("cut: 0123456789abcdefg…", "cut: [token]…"),
            ("too short a part: 0123456789abcde", "too short a part: 0123456789abcde"),
            ("an-old-token\u{e4}", "[token]\u{e4}"),
            ("a short word", "a short word"),
        ] {
            assert_eq!(without_secrets(text.into()), expected);
        }
    }
}
