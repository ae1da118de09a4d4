//! Secrets that callers show.

use std::fmt;
use std::path::Path;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use crate::error::{Error, Result};

/// A bearer token. It is never printed, and compared in a time that does not depend on where a guess is wrong.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token from its text; white space around it is none of it.
    ///
    /// # Errors
    /// [`Error::Token`] when it is empty, or holds what no header can.
    pub fn new(text: &str, from: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Token { from: from.into() });
        }
        Ok(Self(text.into()))
    }

    /// A token from a file.
    ///
    /// # Errors
    /// A file that cannot be read, and [`Error::Token`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::new(&stem_core::files::read_text(path)?, &path.display().to_string())
    }

    /// Whether a request shows it: `Authorization: Bearer TOKEN`.
    pub(crate) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        shown.is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(self.0.as_bytes())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_whole_or_not_at_all_and_never_printed() {
        let token = Token::new(" s3cret\n", "a test").unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        let shown = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            token.is_shown(&headers)
        };
        assert!(shown("Bearer s3cret") && shown("bearer s3cret"));
        for value in ["Bearer s3cre", "Bearer s3cret2", "Bearer", "Basic s3cret", "s3cret", "Bearer S3cret", ""] {
            assert!(!shown(value), "{value}");
        }
        assert!(!token.is_shown(&HeaderMap::new()));
        assert!(Token::new(" \n", "the file").unwrap_err().to_string().contains("the file"));
        assert!(Token::new("two words", "x").is_err());
    }
}
