//! The bearer token.

use std::fmt;
use std::path::Path;

use ureq::http::HeaderValue;

use super::CredentialsError;
use crate::logging::secrets;

/// A header line must fit into the client's output buffer of 16 KiB. Service account tokens are about 1 KiB.
const MAX_TOKEN_BYTES: usize = 12 * 1024;

/// A bearer token. It is never shown: `Debug` is redacted, the header is marked as sensitive, and the log hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(HeaderValue);

impl Token {
    /// Parses the content of a token file. White space around the token is ignored.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Token, CredentialsError> {
        let refuse = |why: &str| CredentialsError::new(format!("cannot use the token in {}: {why}", path.display()));
        let token = bytes.trim_ascii();
        if token.is_empty() {
            return Err(refuse("the file is empty"));
        }
        Token::of(token).map_err(|why| refuse(&why))
    }

    /// A token from bytes; the error says why it cannot be sent.
    pub(super) fn of(token: &[u8]) -> Result<Token, String> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(format!("it is longer than {MAX_TOKEN_BYTES} bytes"));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err("it contains white space or bytes that are not allowed in an HTTP header".into());
        }
        let mut header = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
            .map_err(|_| "it contains bytes that are not allowed in an HTTP header")?;
        header.set_sensitive(true);
        secrets::hide(&String::from_utf8_lossy(token));
        Ok(Token(header))
    }

    /// The value of the `Authorization` header.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Token, CredentialsError> {
        Token::parse(Path::new("token"), bytes)
    }

    #[test]
    fn white_space_around_a_token_is_removed() {
        assert_eq!(parse(b" abc.def-_~+/=\r\n").unwrap().header(), "Bearer abc.def-_~+/=");
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        for bytes in
            [&b""[..], b"\n \n", b"one\ntwo", b"one two", b"a\0b", b"caf\xc3\xa9", &[b'a'; MAX_TOKEN_BYTES + 1]]
        {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.starts_with("cannot use the token in token: "), "{error}");
        }
    }

    #[test]
    fn neither_debug_output_nor_an_error_shows_a_token() {
        assert_eq!(format!("{:?}", parse(b"secret").unwrap()), "Token(redacted)");
        assert!(!format!("{:?}", parse(b"secret").unwrap().header()).contains("secret"));
        assert!(!parse(b"sec\0ret").unwrap_err().to_string().contains("sec\0"));
    }
}
