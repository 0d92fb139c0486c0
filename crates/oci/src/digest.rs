//! Digests: content named by its hash (OCI image spec 1.1, `descriptor.md`, "Digests").
//!
//! Only `sha256` is spoken: it is the one algorithm that every implementation must support.
//! Three types keep apart what the same 32 bytes can mean: [`Digest`] names a blob as it is
//! stored, [`DiffId`] the uncompressed tar of one layer, [`ChainId`] a stack of layers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// The hash of a blob's bytes, `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The digest of a layer's uncompressed tar stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(Digest);

/// The name of a stack of layers (OCI image spec, `config.md`, "Layer ChainID").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(Digest);

/// Hashes a stream piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

/// Why a string is not a digest.
#[derive(Debug, thiserror::Error)]
pub enum ParseDigestError {
    /// The algorithm is missing or is not `sha256`.
    #[error("digest {value:?} does not begin with sha256:")]
    Algorithm {
        /// What was given.
        value: String,
    },
    /// What follows the algorithm is not 64 lower-case hexadecimal digits.
    #[error("digest {value:?} does not have 64 lower-case hexadecimal digits")]
    Encoding {
        /// What was given.
        value: String,
    },
}

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl DiffId {
    /// Declares `digest` to be that of an uncompressed layer.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest of the uncompressed tar.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl ChainId {
    /// Names the stack that `diff_id` makes on `below`.
    pub fn new(below: Option<&Self>, diff_id: &DiffId) -> Self {
        match below {
            None => Self(diff_id.0),
            Some(below) => Self(Digest::of(format!("{below} {diff_id}").as_bytes())),
        }
    }

    /// Names each stack that `diff_ids` make, from the lowest layer upwards.
    pub fn chain(diff_ids: &[DiffId]) -> Vec<Self> {
        let mut chain: Vec<Self> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            chain.push(Self::new(chain.last(), diff_id));
        }
        chain
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// Reads the 64 hexadecimal digits that [`ChainId::hex`] writes.
    pub fn from_hex(hex: &str) -> Result<Self, ParseDigestError> {
        format!("{PREFIX}{hex}").parse().map(Self)
    }
}

impl Hasher {
    /// Adds `bytes` to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let digits = value
            .strip_prefix(PREFIX)
            .ok_or_else(|| ParseDigestError::Algorithm { value: value.into() })?;
        let encoding = || ParseDigestError::Encoding { value: value.into() };
        if digits.bytes().any(|it| it.is_ascii_uppercase()) {
            return Err(encoding());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| encoding())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiffId({})", self.0)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainId({})", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        value.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_it_was_read() {
        let empty = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), empty);
    }

    #[test]
    fn a_digest_that_is_not_exactly_that_is_refused() {
        let upper = format!("sha256:{}", "A".repeat(64));
        let long = format!("sha256:{}", "a".repeat(66));
        for value in ["", "sha256:", "sha512:00", "sha256:../../etc/passwd", &upper, &long] {
            let error = value.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(value), "{error} does not name {value}");
        }
    }

    #[test]
    fn a_chain_starts_with_its_first_diff_id() {
        let first = DiffId::new(Digest::of(b"1"));
        let second = DiffId::new(Digest::of(b"2"));
        let chain = ChainId::chain(&[first, second]);
        assert_eq!(chain[0].to_string(), first.to_string());
        let both = Digest::of(format!("{first} {second}").as_bytes());
        assert_eq!(chain[1].to_string(), both.to_string());
    }
}
