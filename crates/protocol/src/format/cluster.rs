//! The `cluster` object: what never changes once a cluster is founded.
//!
//! Slot count and segment lengths turn names into keys, so two hosts that disagreed about them would look for the
//! same thing in different places. That is why they live in the store, created once, and not in a configuration file.
//!
//! Invariants:
//!
//! * There is at least 1 slot, and a segment has at least 2 members: a name always has a slot, and a mark always
//!   covers something.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    format::{
        codec::{self, Malformed},
        segment::{EpochSegments, SegmentLen},
    },
    ids::{ClusterId, Nonce, SLOTS_DEFAULT},
};

/// Positions that are trimmed as one, unless the creator says otherwise.
pub const JOURNAL_SEGMENT_LEN_DEFAULT: u32 = 256;
/// Epochs that are deleted as one, unless the creator says otherwise.
pub const EPOCH_SEGMENT_LEN_DEFAULT: u32 = 1000;

const NOUN: &str = "cluster";

/// What every host of a cluster must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Drawn at creation, so that a wrong prefix is noticed.
    pub cluster: ClusterId,
    /// Into how many slots the vnode name space is cut, in each domain.
    pub slots: u16,
    /// Positions of a journal that are trimmed as one.
    pub journal_segment_len: u32,
    /// Epochs that are deleted as one.
    pub epoch_segment_len: u32,
}

impl Cluster {
    /// A cluster with the usual numbers.
    #[must_use]
    pub const fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            slots: SLOTS_DEFAULT,
            journal_segment_len: JOURNAL_SEGMENT_LEN_DEFAULT,
            epoch_segment_len: EPOCH_SEGMENT_LEN_DEFAULT,
        }
    }

    /// How journals are cut into segments.
    #[must_use]
    pub const fn journal_segments(&self) -> SegmentLen {
        SegmentLen::new(self.journal_segment_len as u64)
    }

    /// How the epoch log is cut into segments.
    #[must_use]
    pub const fn epoch_segments(&self) -> EpochSegments {
        EpochSegments::new(self.epoch_segment_len as u64)
    }

    /// The object to create.
    ///
    /// # Panics
    ///
    /// When one of the numbers is too small.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        assert!(self.is_sound(), "{self:?}: a number is too small");
        codec::to_json(NOUN, nonce, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key; of a newer format version, saying to use the release that wrote it.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        let (_, cluster): (Nonce, Self) = codec::from_json(key, NOUN, object)?;
        if cluster.is_sound() {
            return Ok(cluster);
        }
        Err(Malformed::new(key, "has no slots, or segments of less than 2"))
    }

    const fn is_sound(&self) -> bool {
        self.slots >= 1 && self.journal_segment_len >= 2 && self.epoch_segment_len >= 2
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;
    use crate::{
        format::keys,
        ids::{Epoch, Position, Segment},
    };

    fn tiny() -> Cluster {
        Cluster {
            slots: 4,
            journal_segment_len: 2,
            epoch_segment_len: 3,
            ..Cluster::new(ClusterId::new(7))
        }
    }

    #[test]
    fn it_reads_back_with_the_numbers_of_its_creator() {
        let object = tiny().encode(Nonce::new(1));
        assert_eq!(Cluster::decode(keys::CLUSTER, &object), Ok(tiny()));
    }

    #[test]
    fn a_newer_format_is_refused_with_what_to_do() {
        let text = String::from_utf8(tiny().encode(Nonce::new(1)).to_vec()).unwrap();
        let newer = text.replace("\"format\":1", "\"format\":2");
        let error = Cluster::decode(keys::CLUSTER, newer.as_bytes()).unwrap_err();
        assert!(format!("{error}").contains("use the release that wrote it"), "{error}");
    }

    #[test]
    fn a_cluster_without_slots_is_refused_on_reading() {
        let object = codec::to_json(NOUN, Nonce::new(1), &Cluster { slots: 0, ..tiny() });
        assert!(Cluster::decode(keys::CLUSTER, &object).is_err());
    }

    #[test]
    fn segments_are_whole_blocks_counted_from_number_0() {
        let cluster = tiny();
        assert_eq!(cluster.epoch_segments().segment(Epoch::new(2)), Segment::new(0));
        assert_eq!(cluster.epoch_segments().segment(Epoch::new(3)), Segment::new(1));
        assert_eq!(cluster.journal_segments().segment(Position::new(5)), Segment::new(2));
    }
}
