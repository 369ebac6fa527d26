//! Cache keys: framed SHA-256.
//!
//! Every part is preceded by its length, every list by its count, and every kind of step by its name, so that no two
//! different inputs feed the same bytes (kaniko.md 5.4: ambiguous concatenation).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bump this when the meaning of any step's key or result changes.
const VERSION: &[u8] = b"lifecycle executor 2";

/// What the names of our records in the store begin with.
const PREFIX: &str = "executor ";

/// A key in the making.
#[derive(Debug, Clone)]
pub(crate) struct KeyMaker(Sha256);

/// What a step's result is remembered under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key with this hash.
    pub(crate) fn of_hex(hex: &str) -> Self {
        Self(format!("{PREFIX}{hex}"))
    }

    /// The hash alone.
    pub(crate) fn hex(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or(&self.0)
    }
}

impl KeyMaker {
    /// A key of this kind.
    pub(crate) fn new(kind: &str) -> Self {
        let mut maker = Self(Sha256::new());
        maker.add(VERSION);
        maker.add(kind.as_bytes());
        maker
    }

    pub(crate) fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.number(part.len() as u64);
        self.0.update(part);
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(number.to_le_bytes());
        self
    }

    pub(crate) fn optional(&mut self, part: Option<impl AsRef<[u8]>>) -> &mut Self {
        match part {
            None => self.number(0),
            Some(part) => self.number(1).add(part),
        }
    }

    pub(crate) fn list<P: AsRef<[u8]>>(&mut self, parts: impl ExactSizeIterator<Item = P>) -> &mut Self {
        self.number(parts.len() as u64);
        for part in parts {
            self.add(part);
        }
        self
    }

    pub(crate) fn finish(self) -> Key {
        Key(format!("{PREFIX}{}", hex(&self.0.finalize())))
    }
}

/// A hash in hexadecimal digits.
pub(crate) fn hex(hash: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    hash.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

/// The hash that these digits stand for.
pub(crate) fn unhex<const LENGTH: usize>(digits: &[u8]) -> Option<[u8; LENGTH]> {
    let mut hash = [0; LENGTH];
    if digits.len() != 2 * LENGTH {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_for_a_hash() {
        let hash = [0x00, 0x1f, 0xa0, 0xff];
        assert_eq!(hex(&hash), "001fa0ff");
        assert_eq!(unhex(hex(&hash).as_bytes()), Some(hash));
        for wrong in ["001fa0f", "001fa0fff", "001fa0fg"] {
            assert_eq!(unhex::<4>(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn parts_do_not_run_together_k1() {
        let key = |parts: &[&str]| {
            let mut maker = KeyMaker::new("test");
            maker.list(parts.iter());
            maker.finish()
        };
        let keys = [
            key(&["ab", "c"]),
            key(&["a", "bc"]),
            key(&["abc"]),
            key(&["abc", ""]),
            key(&[]),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| one != other));
        }
        let mut absent = KeyMaker::new("test");
        absent.optional(None::<&str>);
        let mut empty = KeyMaker::new("test");
        empty.optional(Some(""));
        assert_ne!(absent.finish(), empty.finish());
    }
}
