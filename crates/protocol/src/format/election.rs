//! The `election` object: what never changes of an election used alone.
//!
//! It lies at the root of the election, where a cluster has its `cluster` object: so neither is taken for the other.
//!
//! Invariants:
//!
//! * A segment has at least 2 members: a mark always covers something.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    format::{
        codec::{self, Malformed},
        segment::EpochSegments,
    },
    ids::{ElectionId, Nonce},
};

const NOUN: &str = "election";

/// What every member of an election must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectionObject {
    /// Drawn at creation, so that a replaced store is noticed.
    pub election: ElectionId,
    /// Epochs that are deleted as one.
    pub epoch_segment_len: u32,
}

impl ElectionObject {
    /// How the epoch log is cut into segments.
    #[must_use]
    pub const fn epoch_segments(&self) -> EpochSegments {
        EpochSegments::new(self.epoch_segment_len as u64)
    }

    /// The object to create at [`crate::format::keys::ELECTION`].
    ///
    /// # Panics
    ///
    /// When a segment is too short.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        assert!(self.is_sound(), "{self:?}: a segment is too short");
        codec::to_json(NOUN, nonce, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key; of a newer format version, saying to use the release that wrote it.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        let (_, election): (Nonce, Self) = codec::from_json(key, NOUN, object)?;
        if election.is_sound() {
            return Ok(election);
        }
        Err(Malformed::new(key, "has segments of less than 2 epochs"))
    }

    const fn is_sound(&self) -> bool {
        self.epoch_segment_len >= 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{cluster::Cluster, keys},
        ids::ClusterId,
    };

    fn election(epoch_segment_len: u32) -> ElectionObject {
        ElectionObject { election: ElectionId::new(7), epoch_segment_len }
    }

    #[test]
    fn it_reads_back() {
        let object = election(3).encode(Nonce::new(1));
        assert_eq!(ElectionObject::decode(keys::ELECTION, &object), Ok(election(3)));
    }

    #[test]
    fn a_segment_that_covers_nothing_is_refused_on_reading() {
        let object = codec::to_json(NOUN, Nonce::new(1), &election(1));
        assert!(ElectionObject::decode(keys::ELECTION, &object).is_err());
    }

    #[test]
    fn neither_an_election_nor_a_cluster_is_read_as_the_other() {
        let cluster = Cluster::new(ClusterId::new(7)).encode(Nonce::new(1));
        assert!(ElectionObject::decode(keys::ELECTION, &cluster).is_err());
        assert!(Cluster::decode(keys::CLUSTER, &election(3).encode(Nonce::new(1))).is_err());
    }
}
