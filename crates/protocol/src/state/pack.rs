//! Packs: immutable objects of many vnode records, with an index that can be read alone.
//!
//! ```text
//! header | records by (slot, tenure epoch, vnode hash), back to back | index | trailer
//!                                                                    ^ index_offset        ^ length
//! ```
//!
//! A record has the same bytes as in a batch. The index is an object of its own (magic, version, checksum), so that one
//! ranged get of `index_offset..` can be verified. In memory it stays in its stored form until a group is requested. It
//! has no offsets of records, because the records are back to back in the same order.
//!
//! Invariants:
//!
//! * A pack never changes and its number is never reused; a checkpoint names it with its exact length.
//! * Each index has one encoding; a decoded index is in order, in bounds, and covers every byte of the records.

mod index;

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::index::PackIndex;
use crate::{
    format::{
        codec::{self, HEADER_LEN, Malformed, ObjectKind},
        varint::put_number,
    },
    ids::{Epoch, Nonce, PackNumber, SessionId, Slot, VnodeHash},
    state::place::{FileNumber, Origin, Place, PlaceKind},
};

/// Largest pack that is written, in bytes.
pub const PACK_LEN_MAX: usize = 64 << 20;

const TRAILER_LEN: usize = 8;
const TRAILER_MAGIC: [u8; 4] = *b"HLCP";
/// Bytes of the index before its groups: session, number, end of the records, number of groups.
const INDEX_HEADER_LEN: usize = 32;
/// Bytes of a group's head: slot, epoch, number of entries, length of the entries.
const GROUP_LEN: usize = 18;
/// Most bytes of an entry: hash, checksum, and length, commit number and wake time as varints.
const ENTRY_LEN_MAX: usize = 16 + 4 + 5 + 7 + 7;

/// A checkpoint's reference to a pack: enough to get its index, and to detect that it was truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackRef {
    /// Its number within its session.
    pub number: PackNumber,
    /// Bytes of the whole object.
    pub length: u32,
    /// The offset of its index.
    pub index_offset: u32,
}

impl PackRef {
    /// The range of the one get that reads the index.
    #[must_use]
    pub const fn index_range(&self) -> Range<u64> {
        self.index_offset as u64..self.length as u64
    }
}

/// The entries of one slot under one tenure, in a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The slot.
    pub slot: Slot,
    /// The tenure's epoch.
    pub epoch: Epoch,
    /// The number of entries; at least 1.
    pub count: u32,
    /// The offset of its first record in the pack.
    offset: u32,
    /// The range of its entries in the index's body.
    entries: Range<usize>,
}

/// A pack being filled, in order.
#[derive(Debug)]
pub struct PackBuilder {
    session: SessionId,
    number: PackNumber,
    file: FileNumber,
    object: Vec<u8>,
    heads: Vec<GroupHead>,
    entries: Vec<u8>,
    last: Option<VnodeHash>,
}

#[derive(Clone, Copy, Debug)]
struct GroupHead {
    slot: Slot,
    epoch: Epoch,
    count: u32,
    entries_len: u32,
}

impl PackBuilder {
    /// An empty pack with this number; its places will refer to `file`.
    #[must_use]
    pub fn new(session: SessionId, number: PackNumber, file: FileNumber) -> Self {
        let (object, heads, entries) = (codec::start(0), Vec::new(), Vec::new());
        Self { session, number, file, object, heads, entries, last: None }
    }

    /// Whether it has no records yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Whether a record of that length fits. Every record fits into an empty pack.
    #[must_use]
    pub const fn fits(&self, record_len: usize) -> bool {
        let index = 2 * HEADER_LEN + INDEX_HEADER_LEN + TRAILER_LEN;
        let heads = (self.heads.len() + 1) * GROUP_LEN;
        let records = self.object.len() + record_len;
        let length = records + self.entries.len() + ENTRY_LEN_MAX + heads + index;
        self.is_empty() || length <= PACK_LEN_MAX
    }

    /// Appends a copy of a vnode's record; returns its vnode and its place.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when `record` isn't exactly one state record.
    ///
    /// # Panics
    ///
    /// When a record is out of order, or doesn't fit.
    pub fn add(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        record: &[u8],
    ) -> Result<(VnodeHash, Place), Malformed> {
        assert!(self.fits(record.len()), "a record of {} bytes doesn't fit", record.len());
        let (hash, place) = Place::of_record(self.file, self.object.len(), record, Origin::Own)?;
        let group = self.heads.last().map(|head| (head.slot, head.epoch));
        if group != Some((slot, epoch)) {
            assert!(group < Some((slot, epoch)), "group {slot} {epoch} comes after {group:?}");
            self.heads.push(GroupHead { slot, epoch, count: 0, entries_len: 0 });
            self.last = None;
        }
        assert!(self.last < Some(hash), "{slot} {epoch}: {hash:?} comes after {:?}", self.last);
        self.last = Some(hash);
        self.object.extend_from_slice(record);
        let before = self.entries.len();
        append_entry(&mut self.entries, hash, &place);
        let head = self.heads.last_mut().expect("a group was begun above");
        head.count += 1;
        head.entries_len += narrow(self.entries.len() - before);
        Ok((hash, place))
    }

    /// The object to put, and its reference.
    #[must_use]
    pub fn finish(mut self, nonce: Nonce) -> (Bytes, PackRef) {
        let index_offset = narrow(self.object.len());
        let mut index = codec::start(self.entries.len() + self.heads.len() * GROUP_LEN);
        index.extend_from_slice(&self.session.get().to_le_bytes());
        index.extend_from_slice(&self.number.get().to_le_bytes());
        index.extend_from_slice(&index_offset.to_le_bytes());
        index.extend_from_slice(&narrow(self.heads.len()).to_le_bytes());
        for head in &self.heads {
            index.extend_from_slice(&head.slot.0.to_le_bytes());
            index.extend_from_slice(&head.epoch.get().to_le_bytes());
            index.extend_from_slice(&head.count.to_le_bytes());
            index.extend_from_slice(&head.entries_len.to_le_bytes());
        }
        index.extend_from_slice(&self.entries);
        codec::finish(&mut index, ObjectKind::PackIndex, nonce);
        self.object.extend_from_slice(&index);
        self.object.extend_from_slice(&index_offset.to_le_bytes());
        self.object.extend_from_slice(&TRAILER_MAGIC);
        codec::finish(&mut self.object, ObjectKind::Pack, nonce);
        let reference =
            PackRef { number: self.number, length: narrow(self.object.len()), index_offset };
        (self.object.into(), reference)
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("a pack is far below 4 GiB")
}

fn append_entry(out: &mut Vec<u8>, hash: VnodeHash, place: &Place) {
    out.extend_from_slice(&hash.get().to_le_bytes());
    out.extend_from_slice(&place.checksum.to_le_bytes());
    let tombstone = u64::from(place.kind == PlaceKind::Tombstone);
    put_number(out, u64::from(place.length) << 1 | tombstone);
    put_number(out, place.commit.get());
    put_number(out, place.wake_at);
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::state::place::tests::{file, record};

    const SESSION: SessionId = SessionId::new(0xabc);
    const NUMBER: PackNumber = PackNumber::new(4);

    type Contents = BTreeMap<(Slot, Epoch, VnodeHash), Bytes>;

    fn contents(vnodes: &[(u16, u64, u16)]) -> Contents {
        vnodes
            .iter()
            .map(|&(slot, epoch, key)| {
                let bytes = record(&format!("{key}"), u64::from(key) + 1, b"state");
                let facts = crate::journal::batch::state_facts("r", &bytes).unwrap();
                ((Slot(slot), Epoch::new(epoch), facts.hash), bytes)
            })
            .collect()
    }

    fn build(contents: &Contents) -> (Bytes, PackRef) {
        let mut builder = PackBuilder::new(SESSION, NUMBER, file(9));
        for ((slot, epoch, _), bytes) in contents {
            builder.add(*slot, *epoch, bytes).unwrap();
        }
        builder.finish(Nonce::new(1))
    }

    fn tail(object: &Bytes, pack: &PackRef) -> Bytes {
        object.slice(pack.index_offset as usize..)
    }

    #[test]
    fn the_index_alone_finds_each_record_and_the_place_alone_reads_it() {
        let contents = contents(&[(1, 3, 1), (1, 3, 2), (1, 7, 1), (5, 2, 9)]);
        let (object, pack) = build(&contents);
        let index = PackIndex::decode("k", &pack, &tail(&object, &pack)).unwrap();
        assert_eq!((index.session, index.number, index.count()), (SESSION, NUMBER, 4));
        assert_eq!(index.groups().len(), 3);
        let mut read = Contents::new();
        for group in index.groups() {
            for (hash, place) in index.entries(group, file(9)) {
                let bytes =
                    object.slice(place.offset as usize..(place.offset + place.length) as usize);
                place.open("k", hash, &bytes).unwrap();
                read.insert((group.slot, group.epoch, hash), bytes);
            }
        }
        assert_eq!(read, contents);
    }

    #[test]
    fn a_builder_returns_the_places_of_its_index() {
        let contents = contents(&[(1, 3, 1), (1, 3, 2)]);
        let mut builder = PackBuilder::new(SESSION, NUMBER, file(9));
        let said: Vec<_> = contents
            .iter()
            .map(|((slot, epoch, _), bytes)| builder.add(*slot, *epoch, bytes).unwrap())
            .collect();
        let (object, pack) = builder.finish(Nonce::new(1));
        let index = PackIndex::decode("k", &pack, &tail(&object, &pack)).unwrap();
        let read: Vec<_> = index.entries(&index.groups()[0], file(9)).collect();
        assert_eq!(said, read);
    }

    #[test]
    fn the_index_of_another_pack_is_refused() {
        let (object, pack) = build(&contents(&[(1, 3, 1)]));
        let tail = tail(&object, &pack);
        let other = PackRef { number: NUMBER.next(), ..pack };
        assert!(PackIndex::decode("k", &other, &tail).is_err());
        let longer = PackRef { length: pack.length + 1, ..pack };
        assert!(PackIndex::decode("k", &longer, &tail).is_err());
        assert!(PackIndex::decode("k", &pack, &tail.slice(1..)).is_err());
        let huge = PackRef { length: u32::MAX, ..pack };
        assert!(PackIndex::decode("k", &huge, &tail).is_err());
    }

    #[test]
    fn the_reference_of_a_pack_can_be_derived_from_the_whole_object() {
        let (object, pack) = build(&contents(&[(1, 3, 1), (2, 3, 2)]));
        let (found, index) = PackIndex::of_object("k", &object).unwrap();
        assert_eq!((found, index.count()), (pack, 2));
    }

    #[test]
    #[should_panic(expected = "comes after")]
    fn records_out_of_order_are_refused() {
        let contents = contents(&[(1, 3, 1), (1, 3, 2)]);
        let mut builder = PackBuilder::new(SESSION, NUMBER, file(9));
        for ((slot, epoch, _), bytes) in contents.iter().rev() {
            builder.add(*slot, *epoch, bytes).unwrap();
        }
    }

    #[test]
    fn a_record_does_not_fit_into_a_full_pack() {
        let mut builder = PackBuilder::new(SESSION, NUMBER, file(9));
        let large = record("1", 1, &vec![7; PACK_LEN_MAX / 2]);
        assert!(builder.fits(PACK_LEN_MAX), "every record fits into an empty pack");
        builder.add(Slot(1), Epoch::new(1), &large).unwrap();
        assert!(!builder.fits(large.len()));
        let (object, pack) = builder.finish(Nonce::new(1));
        assert_eq!(object.len(), pack.length as usize);
    }

    /// An arbitrary body of an index under a valid checksum, as a faulty writer would write it.
    fn forged(body: &[u8], index_offset: u32) -> (PackRef, Bytes) {
        let mut whole = Vec::new();
        whole.extend_from_slice(&SESSION.get().to_le_bytes());
        whole.extend_from_slice(&NUMBER.get().to_le_bytes());
        whole.extend_from_slice(&index_offset.to_le_bytes());
        whole.extend_from_slice(body);
        let mut tail = codec::object(ObjectKind::PackIndex, Nonce::new(1), &whole).to_vec();
        tail.extend_from_slice(&index_offset.to_le_bytes());
        tail.extend_from_slice(&TRAILER_MAGIC);
        let length = index_offset + narrow(tail.len());
        (PackRef { number: NUMBER, length, index_offset }, tail.into())
    }

    proptest! {
        #[test]
        fn packed_records_read_back(vnodes in proptest::collection::vec((0..4u16, 1..4u64, 0..40u16), 0..40)) {
            let contents = contents(&vnodes);
            let (object, pack) = build(&contents);
            let index = PackIndex::decode("k", &pack, &tail(&object, &pack)).unwrap();
            let read: Vec<_> = index.groups().iter().flat_map(|group| {
                index.entries(group, file(9)).map(|(hash, place)| {
                    place.check("k", &object[place.offset as usize..(place.offset + place.length) as usize]).unwrap();
                    (group.slot, group.epoch, hash)
                }).collect::<Vec<_>>()
            }).collect();
            prop_assert!(read.iter().eq(contents.keys()));
        }

        #[test]
        fn arbitrary_bytes_under_a_valid_checksum_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), groups in 0..3u8, offset in 32..200u32) {
            let mut body = vec![groups, 0, 0, 0];
            body.extend_from_slice(&bytes);
            for body in [&bytes, &body] {
                let (pack, tail) = forged(body, offset);
                drop(PackIndex::decode("k", &pack, &tail));
            }
            let bytes = Bytes::from(bytes);
            drop(PackIndex::of_object("k", &bytes));
            drop(PackIndex::of_object("k", &codec::object(ObjectKind::Pack, Nonce::new(1), &bytes)));
        }

        #[test]
        fn each_index_has_one_encoding(vnodes in proptest::collection::vec((0..3u16, 1..3u64, 0..9u16), 1..9), at: prop::sample::Index, byte: u8) {
            let (object, pack) = build(&contents(&vnodes));
            let tail = tail(&object, &pack);
            let fixed = HEADER_LEN + 16 + 8 + 4;
            let mut body = tail[fixed..tail.len() - TRAILER_LEN].to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            let (pack, forged) = forged(&body, pack.index_offset);
            let Ok(index) = PackIndex::decode("k", &pack, &forged) else { return Ok(()) };
            // The decoded index encodes to the same bytes again.
            let mut again = narrow(index.groups().len()).to_le_bytes().to_vec();
            let mut entries = Vec::new();
            for group in index.groups() {
                again.extend_from_slice(&group.slot.0.to_le_bytes());
                again.extend_from_slice(&group.epoch.get().to_le_bytes());
                again.extend_from_slice(&group.count.to_le_bytes());
                again.extend_from_slice(&narrow(group.entries.len()).to_le_bytes());
                for (hash, place) in index.entries(group, file(0)) {
                    append_entry(&mut entries, hash, &place);
                }
            }
            again.extend_from_slice(&entries);
            prop_assert_eq!(again, body);
        }
    }
}
