//! Decoding objects of a journal: records are sliced out of the object, not copied.

use alloc::{format, string::String};
use core::ops::Range;

use bytes::Bytes;

use super::{
    AdoptBody, BATCH_HEADER_LEN, BatchHeader, Opening, RECORD_HEADER_LEN, Record, STATE_HEADER_LEN,
    Seal, StateKind, StateRecord, TAG_ADOPT, TAG_CHECKPOINT, TAG_RELEASE,
};
use crate::{
    format::codec::{self, Malformed, ObjectKind},
    ids::{CommitNumber, Position, SessionId, VnodeHash, VnodeName},
};

/// A decoded batch; its records are sliced out of the object on iteration.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its header.
    pub header: BatchHeader,
    key: String,
    records: u32,
    body: Bytes,
}

impl Batch {
    /// The bytes of a range that [`Self::records`] returned.
    ///
    /// # Panics
    ///
    /// When the range isn't within the batch.
    #[must_use]
    pub fn bytes_at(&self, place: Range<usize>) -> Bytes {
        self.body.slice(place.start - codec::HEADER_LEN..place.end - codec::HEADER_LEN)
    }

    /// Its records in order, each with its range in the stored object.
    pub fn records(&self) -> impl Iterator<Item = Result<(Range<usize>, Record), Malformed>> + '_ {
        let mut at = BATCH_HEADER_LEN;
        let mut left = self.records;
        core::iter::from_fn(move || {
            if left == 0 {
                let rest = self.body.len() - at;
                at = self.body.len();
                return (rest > 0)
                    .then(|| Err(Malformed::new(&self.key, "extra bytes after its last record")));
            }
            left -= 1;
            let begin = at;
            match split_record(&self.key, &self.body.slice(at..)) {
                Ok((length, record)) => {
                    at += length;
                    Some(Ok((codec::HEADER_LEN + begin..codec::HEADER_LEN + at, record)))
                }
                Err(error) => {
                    left = 0;
                    at = self.body.len();
                    Some(Err(error))
                }
            }
        })
    }
}

/// The object at a position of a journal.
#[derive(Clone, Debug)]
pub enum JournalObject {
    /// A batch.
    Batch(Batch),
    /// The seal.
    Seal(Seal),
    /// The opening, at position 0.
    Opening(Opening),
}

/// Decodes the journal object at `key`.
///
/// # Errors
///
/// [`Malformed`] naming the key, also when a batch's header names another key.
pub fn decode(key: &str, object: &Bytes) -> Result<JournalObject, Malformed> {
    let opened = codec::open(key, object)?;
    match opened.kind {
        ObjectKind::Batch => decode_batch(key, opened.body).map(JournalObject::Batch),
        ObjectKind::Seal => codec::from_bincode_exact(key, &opened.body).map(JournalObject::Seal),
        ObjectKind::Opening => {
            codec::from_bincode_exact(key, &opened.body).map(JournalObject::Opening)
        }
        ObjectKind::Mark | ObjectKind::Pack | ObjectKind::PackIndex => {
            Err(Malformed::new(key, &format!("a {:?} is not an object of a journal", opened.kind)))
        }
    }
}

fn decode_batch(key: &str, body: Bytes) -> Result<Batch, Malformed> {
    if body.len() < BATCH_HEADER_LEN {
        return Err(Malformed::new(key, "cut short"));
    }
    let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"));
    let header = BatchHeader {
        session: SessionId::new(u128::from_le_bytes(
            body[0..16].try_into().expect("sixteen bytes"),
        )),
        position: Position::new(number(16)),
        committed: Position::new(number(24)),
        low_water: Position::new(number(32)),
        checkpoint_at: Position::new(number(40)),
    };
    if header.committed >= header.position
        || header.low_water >= header.position
        || header.checkpoint_at > header.position
    {
        return Err(Malformed::new(key, "its header refers to a position that isn't earlier"));
    }
    let expected = crate::format::keys::journal_position(header.session, header.position);
    if !key.ends_with(&expected) {
        return Err(Malformed::new(key, &format!("its header says it is {expected}")));
    }
    let records = u32::from_le_bytes(body[48..52].try_into().expect("four bytes"));
    Ok(Batch { header, key: key.into(), records, body })
}

/// Decodes one state record from exactly its bytes, as a ranged get returns them.
///
/// # Errors
///
/// [`Malformed`] naming `what`.
pub fn decode_state(what: &str, bytes: &Bytes) -> Result<StateRecord, Malformed> {
    match split_record(what, bytes)? {
        (length, Record::State(record)) if length == bytes.len() => Ok(record),
        _ => Err(Malformed::new(what, "not exactly one state record")),
    }
}

/// The facts about a state record that an index keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateFacts {
    /// What the record does to the state.
    pub kind: StateKind,
    /// The vnode's short name.
    pub hash: VnodeHash,
    /// Counts the vnode's records over all its owners.
    pub commit: CommitNumber,
    /// See [`StateRecord::wake_at`].
    pub wake_at: u64,
}

/// Reads the facts of one state record from exactly its bytes. Doesn't allocate and doesn't check the name.
///
/// # Errors
///
/// [`Malformed`] naming `what`.
pub fn state_facts(what: &str, bytes: &[u8]) -> Result<StateFacts, Malformed> {
    let fail = || Malformed::new(what, "not exactly one state record");
    if bytes.len() < RECORD_HEADER_LEN + STATE_HEADER_LEN {
        return Err(fail());
    }
    let length = u32::from_le_bytes(bytes[1..5].try_into().expect("four bytes"));
    if length as usize != bytes.len() - RECORD_HEADER_LEN {
        return Err(fail());
    }
    let kind = match bytes[0] {
        1 => StateKind::Put,
        2 => StateKind::Delta,
        3 => StateKind::Delete,
        _ => return Err(fail()),
    };
    let number = |at: usize| {
        let at = RECORD_HEADER_LEN + at;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    };
    let bits = bytes[RECORD_HEADER_LEN..RECORD_HEADER_LEN + 16].try_into().expect("sixteen bytes");
    Ok(StateFacts {
        kind,
        hash: VnodeHash::from_bits(u128::from_le_bytes(bits)),
        commit: CommitNumber::new(number(16)),
        wake_at: number(24),
    })
}

/// The first record of `bytes`, and its length.
fn split_record(what: &str, bytes: &Bytes) -> Result<(usize, Record), Malformed> {
    let cut = || Malformed::new(what, "a record is truncated");
    let (tag, length) = match bytes.get(..RECORD_HEADER_LEN) {
        Some(head) => {
            (head[0], u32::from_le_bytes(head[1..5].try_into().expect("four bytes")) as usize)
        }
        None => return Err(cut()),
    };
    let end =
        RECORD_HEADER_LEN.checked_add(length).filter(|&end| end <= bytes.len()).ok_or_else(cut)?;
    let payload = bytes.slice(RECORD_HEADER_LEN..end);
    let record = match tag {
        1 => Record::State(split_state(what, StateKind::Put, &payload)?),
        2 => Record::State(split_state(what, StateKind::Delta, &payload)?),
        3 => Record::State(split_state(what, StateKind::Delete, &payload)?),
        TAG_ADOPT => {
            let AdoptBody { slot, epoch, sources } = codec::from_bincode_exact(what, &payload)?;
            Record::Adopt { slot, epoch, sources }
        }
        TAG_RELEASE => {
            let (slot, epoch) = codec::from_bincode_exact(what, &payload)?;
            Record::Release { slot, epoch }
        }
        TAG_CHECKPOINT => Record::Checkpoint(payload),
        _ => return Err(Malformed::new(what, &format!("a record of unknown kind {tag}"))),
    };
    Ok((end, record))
}

fn split_state(what: &str, kind: StateKind, payload: &Bytes) -> Result<StateRecord, Malformed> {
    let cut = || Malformed::new(what, "a state record is truncated");
    if payload.len() < STATE_HEADER_LEN {
        return Err(cut());
    }
    let number =
        |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().expect("eight bytes"));
    let kind_end = STATE_HEADER_LEN + usize::from(payload[32]);
    let key_len = u16::from_le_bytes([payload[33], payload[34]]);
    let key_end = kind_end + usize::from(key_len);
    let text = |range: Range<usize>| {
        let bytes = payload.get(range).ok_or_else(cut)?;
        core::str::from_utf8(bytes)
            .map_err(|error| Malformed::new(what, &format!("a name is not UTF-8: {error}")))
    };
    let name = VnodeName::new(text(STATE_HEADER_LEN..kind_end)?, text(kind_end..key_end)?)
        .map_err(|error| Malformed::new(what, &error.0))?;
    let hash = VnodeHash::from_bits(u128::from_le_bytes(
        payload[0..16].try_into().expect("sixteen bytes"),
    ));
    if hash != name.hash() {
        return Err(Malformed::new(
            what,
            &format!("the record of {name} has another vnode's hash"),
        ));
    }
    Ok(StateRecord {
        kind,
        hash,
        commit: CommitNumber::new(number(16)),
        wake_at: number(24),
        name,
        envelope: payload.slice(key_end..),
    })
}
