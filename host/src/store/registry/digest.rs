//! A component's name for good: the SHA-256 of its bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// How many hexadecimal digits a digest has.
const DIGITS: usize = 64;

/// The SHA-256 of a component's bytes, in lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is a SHA-256 in {DIGITS} hexadecimal digits")]
pub struct NoDigest;

impl Digest {
    /// That of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_hash(&sha2::Sha256::digest(bytes))
    }

    pub(super) fn of_hash(hash: &[u8]) -> Self {
        /// The digits.
        const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let digit = |at: u8| HEX.get(usize::from(at)).copied().unwrap_or_default();
        Self(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    /// Reads one; `sha256:` may stand before it, and capitals are as good.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, NoDigest> {
        let text = text.strip_prefix("sha256:").unwrap_or(text);
        match text.len() == DIGITS && is_hex(text) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(NoDigest),
        }
    }

    /// Its 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As many digits as people need.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// Whether there are but hexadecimal digits.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.short())
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}
