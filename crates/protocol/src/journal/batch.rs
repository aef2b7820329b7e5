//! The objects of a journal: opening, batches of records, and the seal.
//!
//! A batch is written by appending records to its bytes and read by slicing them: a vnode's state is copied once when
//! it is written and never when it is read. A record of a vnode has the same bytes in a batch and in a pack, so that
//! both are read by one ranged get of `(offset, length)`.
//!
//! Invariants:
//!
//! * A batch that carries a checkpoint names itself in its header: a seal right after it then names objects that exist.
//! * `committed < position`, `low_water < position`: a header refers only to earlier positions.

mod read;
mod single;

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::{
    read::{Batch, JournalObject, StateFacts, decode, decode_state, state_facts},
    single::{Mark, Opening, Seal},
};
use crate::{
    format::codec::{self, ObjectKind},
    ids::{CommitNumber, Epoch, Nonce, Position, SessionId, Slot, Tenure, VnodeHash, VnodeName},
    planted,
};

/// Largest batch that is written, in bytes; records that don't fit go into the next.
pub const BATCH_LEN_MAX: usize = 64 << 20;

/// Bytes of a batch's own header within the body.
const BATCH_HEADER_LEN: usize = 52;
/// Bytes before a record's payload: its tag and its length.
const RECORD_HEADER_LEN: usize = 5;
/// Bytes of a state record's fixed fields.
const STATE_HEADER_LEN: usize = 35;

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// The journal's session.
    pub session: SessionId,
    /// The batch's own number.
    pub position: Position,
    /// The highest position that was committed when this batch was submitted.
    pub committed: Position,
    /// Everything at or below is in the checkpoint and may be trimmed.
    pub low_water: Position,
    /// The position of the newest checkpoint record (this batch, if it carries one); 0 when there is none.
    pub checkpoint_at: Position,
}

/// What a record does to its vnode's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StateKind {
    /// The whole envelope.
    Put = 1,
    /// Events to apply to the previous state; for kinds that opt in (reserved: no kind does yet).
    Delta = 2,
    /// A tombstone: an envelope without state that keeps window, mark and outbox.
    Delete = 3,
}

/// One record of one vnode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    /// What it does to the state.
    pub kind: StateKind,
    /// The vnode's short name.
    pub hash: VnodeHash,
    /// Counts the vnode's records over all its owners.
    pub commit: CommitNumber,
    /// When the vnode wants to be woken: 0 never, 1 for an undelivered outbox, else a wall time in milliseconds.
    pub wake_at: u64,
    /// The vnode's kind and key.
    pub name: VnodeName,
    /// The envelope.
    pub envelope: Bytes,
}

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A vnode changed.
    State(StateRecord),
    /// The session started to serve the slot, under the tenure of that epoch.
    Adopt {
        /// Which slot.
        slot: Slot,
        /// The epoch that assigned the slot.
        epoch: Epoch,
        /// The tenures it was recovered from, newest first.
        sources: Vec<Tenure>,
    },
    /// The session commits nothing more for the slot under any tenure older than that epoch.
    Release {
        /// Which slot.
        slot: Slot,
        /// The epoch that assigned the slot to another session.
        epoch: Epoch,
    },
    /// A checkpoint's commit point; its content is `checkpoint::Checkpoint`, still encoded.
    Checkpoint(Bytes),
}

#[derive(Serialize, Deserialize)]
struct AdoptBody {
    slot: Slot,
    epoch: Epoch,
    sources: Vec<Tenure>,
}

const TAG_ADOPT: u8 = 4;
const TAG_RELEASE: u8 = 5;
const TAG_CHECKPOINT: u8 = 6;

/// The fields of a state record to append; borrowed, because they are copied into the batch at once.
#[derive(Clone, Copy, Debug)]
pub struct StateFields<'a> {
    /// What it does to the state.
    pub kind: StateKind,
    /// The vnode's hash; must be the hash of `name`.
    pub hash: VnodeHash,
    /// Counts the vnode's records over all its owners.
    pub commit: CommitNumber,
    /// See [`StateRecord::wake_at`].
    pub wake_at: u64,
    /// The vnode's kind and key.
    pub name: &'a VnodeName,
    /// The envelope.
    pub envelope: &'a [u8],
}

/// Appends a state record to a buffer (a batch or a pack) and returns its range there.
///
/// # Panics
///
/// When the record is longer than 4 GiB; the limit of envelopes is far below.
pub fn append_state(out: &mut Vec<u8>, fields: StateFields<'_>) -> Range<usize> {
    let begin = out.len();
    let (kind, key) = (fields.name.kind().as_bytes(), fields.name.key().as_bytes());
    let payload_len = STATE_HEADER_LEN + kind.len() + key.len() + fields.envelope.len();
    out.reserve(RECORD_HEADER_LEN + payload_len);
    out.push(fields.kind as u8);
    out.extend_from_slice(
        &u32::try_from(payload_len).expect("envelopes are bounded").to_le_bytes(),
    );
    out.extend_from_slice(&fields.hash.get().to_le_bytes());
    out.extend_from_slice(&fields.commit.get().to_le_bytes());
    out.extend_from_slice(&fields.wake_at.to_le_bytes());
    out.push(u8::try_from(kind.len()).expect("a kind's name is at most 64 bytes"));
    out.extend_from_slice(
        &u16::try_from(key.len()).expect("a key is at most 1,024 bytes").to_le_bytes(),
    );
    out.extend_from_slice(kind);
    out.extend_from_slice(key);
    out.extend_from_slice(fields.envelope);
    begin..out.len()
}

/// A batch being filled. The header is written last, because it says what is committed by then.
#[derive(Debug)]
pub struct BatchBuilder {
    object: Vec<u8>,
    records: u32,
    carries_checkpoint: bool,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl BatchBuilder {
    /// An empty batch with room for that many bytes of records.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut object = codec::start(BATCH_HEADER_LEN + capacity);
        object.resize(codec::HEADER_LEN + BATCH_HEADER_LEN, 0);
        Self { object, records: 0, carries_checkpoint: false }
    }

    /// Whether it has no records yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the object so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.object.len()
    }

    /// Appends a vnode's record; returns its range in the stored object.
    pub fn state(&mut self, fields: StateFields<'_>) -> Range<usize> {
        self.records += 1;
        append_state(&mut self.object, fields)
    }

    /// Appends an Adopt.
    pub fn adopt(&mut self, slot: Slot, epoch: Epoch, sources: &[Tenure]) {
        let body = AdoptBody { slot, epoch, sources: sources.to_vec() };
        self.control(TAG_ADOPT, |out| codec::to_bincode(&body, out));
    }

    /// Appends a Release.
    pub fn release(&mut self, slot: Slot, epoch: Epoch) {
        self.control(TAG_RELEASE, |out| codec::to_bincode(&(slot, epoch), out));
    }

    /// Appends a checkpoint record.
    ///
    /// # Panics
    ///
    /// When the batch carries one already.
    pub fn checkpoint(&mut self, content: &[u8]) {
        assert!(!self.carries_checkpoint, "a batch carries at most one checkpoint");
        self.carries_checkpoint = true;
        self.control(TAG_CHECKPOINT, |out| out.extend_from_slice(content));
    }

    fn control(&mut self, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
        self.records += 1;
        let begin = self.object.len();
        self.object.push(tag);
        self.object.extend_from_slice(&[0; 4]);
        body(&mut self.object);
        let length = self.object.len() - begin - RECORD_HEADER_LEN;
        let length = u32::try_from(length).expect("a batch is far below 4 GiB");
        self.object[begin + 1..begin + RECORD_HEADER_LEN].copy_from_slice(&length.to_le_bytes());
    }

    /// The object to create at `header.position`.
    ///
    /// # Panics
    ///
    /// When the header refers to a position that isn't earlier, or a batch with a checkpoint doesn't name itself.
    #[must_use]
    pub fn finish(mut self, header: BatchHeader, nonce: Nonce) -> Bytes {
        assert!(header.position > Position::ZERO, "position 0 holds the opening");
        assert!(header.committed < header.position, "{header:?} calls its own position committed");
        assert!(header.low_water < header.position, "{header:?} allows trimming its own position");
        if planted::names_itself(self.carries_checkpoint) {
            assert_eq!(
                header.checkpoint_at, header.position,
                "a batch with a checkpoint names itself"
            );
        } else {
            assert!(
                header.checkpoint_at < header.position,
                "{header:?} names a checkpoint that isn't there"
            );
        }
        let at = codec::HEADER_LEN;
        let out = &mut self.object[at..at + BATCH_HEADER_LEN];
        out[0..16].copy_from_slice(&header.session.get().to_le_bytes());
        out[16..24].copy_from_slice(&header.position.get().to_le_bytes());
        out[24..32].copy_from_slice(&header.committed.get().to_le_bytes());
        out[32..40].copy_from_slice(&header.low_water.get().to_le_bytes());
        out[40..48].copy_from_slice(&header.checkpoint_at.get().to_le_bytes());
        out[48..52].copy_from_slice(&self.records.to_le_bytes());
        codec::finish(&mut self.object, ObjectKind::Batch, nonce);
        self.object.into()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        format::keys,
        ids::{ClusterId, DomainId, HostName},
    };

    const SESSION: SessionId = SessionId::new(0xabc);

    fn header(position: u64) -> BatchHeader {
        BatchHeader {
            session: SESSION,
            position: Position::new(position),
            committed: Position::new(position - 1),
            low_water: Position::ZERO,
            checkpoint_at: Position::ZERO,
        }
    }

    fn key(position: u64) -> String {
        keys::journal_position(SESSION, Position::new(position))
    }

    fn state<'a>(name: &'a VnodeName, envelope: &'a [u8]) -> StateFields<'a> {
        StateFields {
            kind: StateKind::Put,
            hash: name.hash(),
            commit: CommitNumber::new(3),
            wake_at: 9,
            name,
            envelope,
        }
    }

    fn as_batch(key: &str, object: &Bytes) -> Batch {
        match decode(key, object).unwrap() {
            JournalObject::Batch(batch) => batch,
            other @ (JournalObject::Seal(_) | JournalObject::Opening(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_reads_back_and_each_state_can_be_read_by_its_place_alone() {
        let name = VnodeName::new("counter", "a").unwrap();
        let mut builder = BatchBuilder::default();
        builder.adopt(Slot(4), Epoch::new(3), &[Tenure { epoch: Epoch::new(1), session: SESSION }]);
        let place = builder.state(state(&name, b"envelope"));
        builder.release(Slot(5), Epoch::new(7));
        let object = builder.finish(header(2), Nonce::new(1));

        let batch = as_batch(&key(2), &object);
        let records: Vec<_> = batch.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 3);
        assert_eq!(records[1].0, place);
        assert_eq!(batch.bytes_at(place.clone()), object.slice(place.clone()));
        assert_eq!(records[2].1, Record::Release { slot: Slot(5), epoch: Epoch::new(7) });
        let facts = state_facts("place", &object.slice(place.clone())).unwrap();
        let alone = decode_state("place", &object.slice(place)).unwrap();
        assert_eq!(
            (facts.kind, facts.hash, facts.commit, facts.wake_at),
            (alone.kind, alone.hash, alone.commit, alone.wake_at)
        );
        assert_eq!(Record::State(alone), records[1].1);
    }

    #[test]
    #[should_panic(expected = "names itself")]
    fn a_checkpoint_batch_that_names_the_previous_checkpoint_is_never_written() {
        let mut builder = BatchBuilder::default();
        builder.checkpoint(b"content");
        drop(builder.finish(header(2), Nonce::new(1)));
    }

    #[test]
    fn a_batch_under_another_position_is_refused() {
        let object = BatchBuilder::default().finish(header(2), Nonce::new(1));
        assert!(decode(&key(3), &object).is_err());
    }

    #[test]
    fn a_seal_and_an_opening_read_back() {
        let seal = Seal {
            by: HostName::new("h").unwrap(),
            epoch: Epoch::new(4),
            low_water: Position::new(2),
            checkpoint_at: Position::new(3),
        };
        assert!(
            matches!(decode("k", &seal.encode(Nonce::new(1))), Ok(JournalObject::Seal(read)) if read == seal)
        );
        let opening = Opening {
            session: SESSION,
            host: HostName::new("h").unwrap(),
            domain: DomainId::HOME,
            cluster: ClusterId::new(5),
        };
        assert_eq!(Opening::decode("k", &opening.encode(Nonce::new(1))).unwrap(), opening);
    }

    proptest! {
        #[test]
        fn appended_records_read_back(envelopes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10)) {
            let mut builder = BatchBuilder::default();
            let names: Vec<_> = (0..envelopes.len()).map(|i| VnodeName::new("k", &format!("{i}")).unwrap()).collect();
            for (name, envelope) in names.iter().zip(&envelopes) {
                builder.state(state(name, envelope));
            }
            let object = builder.finish(header(1), Nonce::new(1));
            let batch = as_batch(&key(1), &object);
            let read: Vec<_> = batch.records().map(|record| match record.unwrap().1 {
                Record::State(record) => record.envelope.to_vec(),
                other @ (Record::Adopt { .. } | Record::Release { .. } | Record::Checkpoint(_)) => panic!("{other:?}"),
            }).collect();
            prop_assert_eq!(read, envelopes);
        }

        #[test]
        fn arbitrary_records_under_a_valid_checksum_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut body = vec![0u8; BATCH_HEADER_LEN];
            body[0..16].copy_from_slice(&SESSION.get().to_le_bytes());
            body[16] = 1;
            body[48] = 3;
            body.extend_from_slice(&bytes);
            let object = codec::object(ObjectKind::Batch, Nonce::new(1), &body);
            let batch = as_batch(&key(1), &object);
            prop_assert!(batch.records().count() <= 4);
            drop(state_facts("s", &bytes));
            drop(decode_state("s", &bytes.into()));
        }
    }
}
