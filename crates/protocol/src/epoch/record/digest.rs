//! The digest of a record, by which the next one names it.

use core::fmt;

use crate::ids::SessionId;

/// A hash of a record's stored bytes (xxh3, 128 bits), independent of the checksum inside them. Each record holds the
/// digest of the previous one, so `scrub` can verify the chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordDigest(u128);

impl RecordDigest {
    /// Of a stored record.
    #[must_use]
    pub fn of(object: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(object))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        SessionId::parse(text).map(|hex| Self(hex.get()))
    }
}

impl fmt::Display for RecordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RecordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
