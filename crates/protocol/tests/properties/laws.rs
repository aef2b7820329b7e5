//! Laws for every decoder and any input. Shared by these tests and the fuzz targets.
//!
//! Each law decodes the bytes of one object, and panics unless
//!
//! * decoding took no more memory than its [`Bound`];
//! * a decoded value encodes to exactly the bytes it was decoded from. For JSON objects, which people may reformat and
//!   to which later releases may add fields: the value encodes to an object that decodes to an equal value.

use bytes::Bytes;
use holocron_protocol::{
    control::hints::{HostHint, LeaderHint},
    epoch::record::{DOMAINS_MAX, EpochRecord},
    format::{
        cluster::Cluster,
        codec::{self, HEADER_LEN, Malformed},
        keys,
    },
    ids::{Epoch, Nonce, Position, SessionId},
    journal::batch::{self, Batch, BatchBuilder, JournalObject, Record, StateFields},
    request::envelope::{self, Envelope},
    state::{
        checkpoint::{Checkpoint, TENURES_MAX, TenureEntry},
        pack::{PackBuilder, PackIndex},
        place::FileNumber,
    },
};

use crate::memory::{Bound, within};

/// The result of decoding an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Reading {
    /// It was decoded, and the law holds.
    Valid,
    /// It was refused.
    Refused,
}

const NONCE: Nonce = Nonce::new(1);
const MIB: usize = 1 << 20;

/// What a forged length in bincode makes it and `serde` allocate.
const BINCODE: Bound = Bound { flat: 2 * MIB, per_byte: 300 };
/// A few bytes may describe all 65,536 slots.
const CHECKPOINT: Bound =
    Bound { flat: 65_536 * (128 + TENURES_MAX * size_of::<TenureEntry>()), ..BINCODE };
/// The same for each domain of a record.
const EPOCH: Bound = Bound { flat: 4 * MIB + DOMAINS_MAX * 65_536 * 3, per_byte: 100 };
const SMALL: Bound = Bound { flat: 4096, per_byte: 100 };

/// A batch with all its records, checkpoints and envelopes, or a seal, or an opening.
pub(crate) fn journal(object: &Bytes) -> Reading {
    let key = journal_key(object);
    let Ok(decoded) = within(BINCODE, object.len(), || batch::decode(&key, object)) else {
        return Reading::Refused;
    };
    let nonce = codec::open(&key, object).expect("it decoded").nonce;
    let again = match decoded {
        JournalObject::Batch(batch) => return records(&batch, nonce, object),
        JournalObject::Seal(seal) => seal.encode(nonce),
        JournalObject::Opening(opening) => opening.encode(nonce),
    };
    assert_eq!(again, object);
    Reading::Valid
}

/// The key in the header of a batch: a batch is refused under any other key.
fn journal_key(object: &[u8]) -> String {
    let Some(place) = object.get(HEADER_LEN..HEADER_LEN + 24) else { return "short".into() };
    let session = u128::from_le_bytes(place[..16].try_into().expect("sixteen bytes"));
    let position = u64::from_le_bytes(place[16..].try_into().expect("eight bytes"));
    keys::journal_position(SessionId::new(session), Position::new(position))
}

fn records(batch: &Batch, nonce: Nonce, object: &Bytes) -> Reading {
    let read = || batch.records().collect::<Result<Vec<_>, Malformed>>();
    let Ok(records) = within(BINCODE, object.len(), read) else { return Reading::Refused };
    let mut builder = BatchBuilder::default();
    let mut checkpoints = 0;
    for (place, record) in records {
        let bytes = batch.bytes_at(place.clone());
        assert_eq!(bytes, object.slice(place.clone()));
        match record {
            Record::State(record) => {
                assert_eq!(batch::decode_state("record", &bytes).as_ref(), Ok(&record));
                let facts = batch::state_facts("record", &bytes).expect("it decodes");
                assert_eq!(
                    (facts.kind, facts.hash, facts.commit, facts.wake_at),
                    (record.kind, record.hash, record.commit, record.wake_at)
                );
                let _either = envelope(&record.envelope);
                let again = builder.state(StateFields {
                    kind: record.kind,
                    hash: record.hash,
                    commit: record.commit,
                    wake_at: record.wake_at,
                    name: &record.name,
                    envelope: &record.envelope,
                });
                assert_eq!(again, place);
            }
            Record::Adopt { slot, epoch, sources } => builder.adopt(slot, epoch, &sources),
            Record::Release { slot, epoch } => builder.release(slot, epoch),
            Record::Checkpoint(content) => {
                let _either = checkpoint(&content);
                checkpoints += 1;
                if checkpoints == 1 {
                    builder.checkpoint(&content);
                }
            }
        }
    }
    // Readers accept some headers that no writer writes; the builder would refuse them.
    let names_itself = batch.header.checkpoint_at == batch.header.position;
    if checkpoints == usize::from(names_itself) {
        assert_eq!(builder.finish(batch.header, nonce), object);
    }
    Reading::Valid
}

/// The content of a checkpoint record.
pub(crate) fn checkpoint(content: &[u8]) -> Reading {
    let Ok(checkpoint) = within(CHECKPOINT, content.len(), || Checkpoint::decode(content)) else {
        return Reading::Refused;
    };
    assert_eq!(checkpoint.encode(), content);
    Reading::Valid
}

/// A vnode's envelope and the window in it.
pub(crate) fn envelope(bytes: &Bytes) -> Reading {
    let Ok(envelope) = within(SMALL, bytes.len(), || Envelope::decode("envelope", bytes)) else {
        return Reading::Refused;
    };
    let mut again = Vec::new();
    match &envelope.state {
        None => envelope::encode_tombstone(&mut again, &envelope.window, Some(&envelope.deferred)),
        Some(state) => {
            let append = |out: &mut Vec<u8>| {
                out.extend_from_slice(state);
                Ok(())
            };
            let Envelope { schema, window, deferred, .. } = &envelope;
            let head = envelope::Head { schema: *schema, window, deferred: Some(deferred) };
            envelope::encode(&mut again, head, append, state.len())
                .expect("its length is the limit");
        }
    }
    assert_eq!(again, bytes[..]);
    Reading::Valid
}

/// A pack: its trailer, its index, and the records at the places of the index.
pub(crate) fn pack(object: &Bytes) -> Reading {
    let read = || PackIndex::of_object("pack", object);
    let Ok((named, index)) = within(SMALL, object.len(), read) else { return Reading::Refused };
    let nonce = codec::open("pack", object).expect("it decoded").nonce;
    let inner = object.slice(named.index_offset as usize..object.len() - 8);
    let inner_nonce = codec::open("index", &inner).expect("it decoded").nonce;
    let mut builder = PackBuilder::new(index.session, index.number, FileNumber::default());
    let mut sound = nonce == inner_nonce;
    for group in index.groups() {
        let mut count = 0;
        for (hash, place) in index.entries(group, FileNumber::default()) {
            count += 1;
            let record =
                object.slice(place.offset as usize..(place.offset + place.length) as usize);
            // A record is verified when it is read; a valid index proves nothing about it.
            match place.open("pack", hash, &record) {
                Ok(_) if sound => {
                    let added = builder.add(group.slot, group.epoch, &record).expect("it opened");
                    sound = added == (hash, place);
                }
                Ok(_) | Err(_) => sound = false,
            }
        }
        assert_eq!(count, group.count);
    }
    if sound {
        assert_eq!(builder.finish(nonce), (object.clone(), named));
    }
    Reading::Valid
}

/// An epoch record.
pub(crate) fn epoch(object: &Bytes) -> Reading {
    let said = serde_json::from_slice::<serde_json::Value>(object).unwrap_or_default();
    let key = keys::epoch(Epoch::new(said["epoch"].as_u64().unwrap_or_default()));
    let decode = |bytes: &Bytes| EpochRecord::decode(&key, bytes);
    json(EPOCH, object, decode, |record| record.encode(NONCE))
}

/// The leader's hint.
pub(crate) fn leader_hint(object: &Bytes) -> Reading {
    json(SMALL, object, |bytes| LeaderHint::decode("hint", bytes), |hint| hint.encode(NONCE))
}

/// A host's hint.
pub(crate) fn host_hint(object: &Bytes) -> Reading {
    json(SMALL, object, |bytes| HostHint::decode("hint", bytes), |hint| hint.encode(NONCE))
}

/// The `cluster` object.
pub(crate) fn cluster(object: &Bytes) -> Reading {
    json(SMALL, object, |bytes| Cluster::decode("cluster", bytes), |cluster| cluster.encode(NONCE))
}

fn json<T: PartialEq + std::fmt::Debug>(
    bound: Bound,
    object: &Bytes,
    decode: impl Fn(&Bytes) -> Result<T, Malformed>,
    encode: impl Fn(&T) -> Bytes,
) -> Reading {
    let Ok(value) = within(bound, object.len(), || decode(object)) else {
        return Reading::Refused;
    };
    assert_eq!(decode(&encode(&value)), Ok(value));
    Reading::Valid
}
