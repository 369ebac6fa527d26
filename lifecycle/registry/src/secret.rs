//! Text that must not be shown.

use std::fmt;

/// A password or token. It prints as `***`, and nothing but the request it belongs to reads it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

/// Secrets shorter than this are not searched for in texts: they would be found in every other word.
const SHORTEST: usize = 4;

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to be sent and not to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    #[must_use]
    /// `text` without this secret, for texts that came from somebody who knew it.
    pub fn scrub(&self, text: String) -> String {
        if self.0.len() < SHORTEST || !text.contains(&self.0) {
            return text;
        }
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.scrub("bad password hunter22!".into()), "bad password ***!");
        assert_eq!(Secret::new("a").scrub("a banana".into()), "a banana");
    }
}
