//! Digests of content, as the image specification writes them: `sha256:<64 hex>` or `sha512:<128 hex>`.

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256, SHA512};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// A registered algorithm that every implementation must (sha256) or may (sha512) know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `sha256`
    Sha256,
    /// `sha512`
    Sha512,
}

impl Algorithm {
    /// Its name in digests and in the store's `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// A digest that is well-formed: safe as a file name, comparable as text.
///
/// ```
/// use creel_image::digest::Digest;
/// assert!("sha256:ABC".parse::<Digest>().is_err());
/// let empty = Digest::of(b"");
/// assert_eq!(empty.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// The sha256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut verifier = Verifier::new(Algorithm::Sha256);
        verifier.update(bytes);
        verifier.finish()
    }

    /// The algorithm that made it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its value, in lower-case hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The twelve digits that people compare.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// Whether `bytes` are what this digest names.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        let mut verifier = Verifier::new(self.algorithm);
        verifier.update(bytes);
        verifier.verify(self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown = || format!("digest {:?}", text.chars().take(160).collect::<String>());
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(Error::invalid(shown(), "is not of the form sha256:<64 hexadecimal digits>"));
        };
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => {
                let known = "the algorithm is not one of those known here, sha256 and sha512";
                return Err(Error::invalid(shown(), known).of_kind(Kind::Unsupported));
            }
        };
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != algorithm.hex_length() || !hex.bytes().all(lower_hex) {
            let expected = format!("must have {} lower-case hexadecimal digits", algorithm.hex_length());
            return Err(Error::invalid(shown(), expected));
        }
        Ok(Digest { algorithm, hex: hex.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Computes a digest over bytes that pass by.
#[derive(Clone)]
pub struct Verifier {
    algorithm: Algorithm,
    context: Context,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.algorithm.name())
    }
}

impl Verifier {
    /// Begins with no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        let context = match algorithm {
            Algorithm::Sha256 => Context::new(&SHA256),
            Algorithm::Sha512 => Context::new(&SHA512),
        };
        Verifier { algorithm, context }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        let mut hex = String::with_capacity(self.algorithm.hex_length());
        for byte in self.context.finish().as_ref() {
            for digit in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(digit.into(), 16).unwrap_or_default());
            }
        }
        Digest { algorithm: self.algorithm, hex }
    }

    /// Fails unless the digest of all bytes is `expected`.
    pub fn verify(self, expected: &Digest) -> Result<()> {
        let found = self.finish();
        if found == *expected {
            return Ok(());
        }
        Err(Error::corrupt(expected, format!("the content's digest is {found}"))
            .cause("it was changed or damaged on its way"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_digest_is_refused() {
        let long = format!("sha256:{}", "a".repeat(65));
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in ["", "sha256", "sha256:", "sha256:../../../../etc/passwd", "md5:00", &long, &upper, "sha256:é"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_checked_with_the_digest_s_own_algorithm() {
        let mut verifier = Verifier::new(Algorithm::Sha512);
        verifier.update(b"ab");
        verifier.update(b"c");
        let digest = verifier.finish();
        assert!(digest.to_string().starts_with("sha512:ddaf35a193617aba"));
        assert_eq!(digest.check(b"abc"), Ok(()));
        assert_eq!(digest.check(b"abd").map_err(|error| error.kind()), Err(Kind::Corrupt));
    }
}
