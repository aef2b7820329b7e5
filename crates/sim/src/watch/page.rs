//! A batch as the checkers keep it: its records, by slot. Envelopes stay slices of the stored object.

use bytes::Bytes;
use holocron_protocol::{
    format::codec::Malformed,
    ids::{CommitNumber, Epoch, Slot, Tenure, VnodeHash, VnodeName},
    journal::batch::{Batch, BatchHeader, Record},
    state::{
        checkpoint::Checkpoint,
        place::{FileNumber, Origin, Place},
    },
};

/// A batch that landed.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) header: BatchHeader,
    pub(super) entries: Vec<Entry>,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// A record of a batch.
#[derive(Debug)]
pub(super) enum Entry {
    /// A vnode's state.
    State(Written),
    /// An Adopt of the slot.
    Adopt { slot: Slot, epoch: Epoch, sources: Vec<Tenure> },
    /// A Release of the slot.
    Release { slot: Slot, epoch: Epoch },
}

/// A vnode's record.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) name: VnodeName,
    pub(super) hash: VnodeHash,
    pub(super) version: Version,
    pub(super) envelope: Bytes,
}

/// Identifies a record of a vnode: its commit number, and the checksum of its bytes, which is the same in every copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) commit: CommitNumber,
    pub(super) checksum: u32,
}

impl Page {
    pub(super) fn read(batch: &Batch) -> Result<Self, Malformed> {
        let (mut entries, mut checkpoint) = (Vec::new(), None);
        for record in batch.records() {
            let (range, record) = record?;
            match record {
                Record::State(state) => {
                    let bytes = batch.bytes_at(range);
                    let (hash, place) =
                        Place::of_record(FileNumber::default(), 0, &bytes, Origin::Own)?;
                    let (name, envelope) = (state.name, state.envelope);
                    let version = Version::of(&place);
                    entries.push(Entry::State(Written { name, hash, version, envelope }));
                }
                Record::Adopt { slot, epoch, sources } => {
                    entries.push(Entry::Adopt { slot, epoch, sources });
                }
                Record::Release { slot, epoch } => entries.push(Entry::Release { slot, epoch }),
                Record::Checkpoint(content) => checkpoint = Some(Checkpoint::decode(&content)?),
            }
        }
        Ok(Self { header: batch.header, entries, checkpoint })
    }
}

impl Version {
    pub(super) const fn of(place: &Place) -> Self {
        Self { commit: place.commit, checksum: place.checksum }
    }
}
