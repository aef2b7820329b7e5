//! Where a vnode's newest record is: a file and a range in it, small enough for a million vnodes in memory.
//!
//! A place also holds what must be known without a request: whether the vnode is a tombstone, its wake time, its commit
//! number. The bytes are fetched on first use and checked against the place before they are used: they must be exactly
//! the record that the index was built from.
//!
//! Invariants:
//!
//! * A packed place is 28 bytes, 44 with its hash. The budget is 48 for each dormant vnode.
//! * A file's number is never reused, so that a stale place refers to no file instead of a wrong one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
};
use core::fmt;

use bytes::Bytes;

use crate::{
    format::{
        codec::{Malformed, OBJECT_LEN_MAX},
        keys,
    },
    ids::{CommitNumber, PackNumber, Position, SessionId, VnodeHash},
    journal::batch::{self, StateKind, StateRecord},
};

/// The latest wake time that an index can hold, in milliseconds: in the year 10889. Later times are stored as this, so
/// such a vnode is woken too early, never too late.
pub const WAKE_AT_MAX: u64 = (1 << 48) - 1;

const COMMIT_BITS: u32 = 48;
const FILE_BITS: u32 = 38;
const RANGE_BITS: u32 = 28;
const _: () = assert!(OBJECT_LEN_MAX == 1 << RANGE_BITS, "every range of an object fits a place");

/// An object that holds state records, within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileObject {
    /// A batch of the journal.
    Journal(Position),
    /// A pack.
    Pack(PackNumber),
}

/// An object that holds state records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Its session.
    pub session: SessionId,
    /// The object within the session.
    pub object: FileObject,
}

impl FileId {
    /// Its key, relative to the root of its domain.
    #[must_use]
    pub fn key(&self) -> String {
        match self.object {
            FileObject::Journal(position) => keys::journal_position(self.session, position),
            FileObject::Pack(number) => keys::pack(self.session, number),
        }
    }
}

/// A file's number in one [`Files`] table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(u64);

/// The files that places point into. They are numbered, because a place has no room for the 16 bytes of a session id.
#[derive(Clone, Debug, Default)]
pub struct Files {
    by_id: BTreeMap<FileId, FileNumber>,
    by_number: BTreeMap<FileNumber, Numbered>,
    next: u64,
    /// The number of calls of [`Self::grow_older`].
    age: u64,
}

#[derive(Clone, Copy, Debug)]
struct Numbered {
    id: FileId,
    /// The table's age when the number was last requested.
    asked_at: u64,
}

impl Files {
    /// The file's number; assigned on the first call.
    ///
    /// # Panics
    ///
    /// When 2^38 files have been numbered: a thousand batches a second for eight years in one process.
    pub fn number(&mut self, id: FileId) -> FileNumber {
        let number = *self.by_id.entry(id).or_insert_with(|| {
            assert!(self.next < 1 << FILE_BITS, "2^38 files outlast every process");
            self.next += 1;
            FileNumber(self.next - 1)
        });
        self.by_number.insert(number, Numbered { id, asked_at: self.age });
        number
    }

    /// The file's number, if it has one.
    #[must_use]
    pub fn find(&self, id: &FileId) -> Option<FileNumber> {
        self.by_id.get(id).copied()
    }

    /// The file with this number.
    ///
    /// # Panics
    ///
    /// When the file was forgotten while a place still points into it, which is a bug.
    #[must_use]
    pub fn id(&self, number: FileNumber) -> FileId {
        self.by_number.get(&number).expect("a file that a place points into is kept").id
    }

    /// Forgets the files that no index points into. Exception: files whose number was requested since the table last
    /// grew older, because records that were just read may not be in an index yet. `used` has the files of every index
    /// ([`SlotIndex::note_files`]).
    ///
    /// [`SlotIndex::note_files`]: crate::state::index::SlotIndex::note_files
    pub fn retain(&mut self, used: &BTreeSet<FileNumber>) {
        let age = self.age;
        self.by_number.retain(|number, file| file.asked_at == age || used.contains(number));
        self.by_id.retain(|_, number| self.by_number.contains_key(number));
    }

    /// All records read so far are in an index, or never will be. Call it once per checkpoint.
    pub fn grow_older(&mut self) {
        self.age += 1;
    }

    /// The number of known files.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_number.len()
    }
}

/// Whether a vnode's newest record holds a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaceKind {
    /// It does.
    Live,
    /// The vnode was deleted; window, mark and outbox stay.
    Tombstone,
}

/// Which tenure wrote the bytes of a place, relative to the tenure of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The entry's own tenure.
    Own,
    /// An earlier tenure, of any session: the record must be copied before the slot is `full`.
    Foreign,
}

/// Where a vnode's newest record is, and what the record says in addition to its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The object.
    pub file: FileNumber,
    /// The offset of the record, in bytes.
    pub offset: u32,
    /// The length of the record, in bytes.
    pub length: u32,
    /// crc32c of the record.
    pub checksum: u32,
    /// The record's commit number.
    pub commit: CommitNumber,
    /// When the vnode wants to be woken: 0 never, 1 for an undelivered outbox, else a wall time in milliseconds.
    pub wake_at: u64,
    /// Whether the record holds a state.
    pub kind: PlaceKind,
    /// Which tenure wrote the bytes.
    pub origin: Origin,
}

impl Place {
    /// The vnode and the place of a record at `offset` of a file.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when `record` isn't exactly one state record, or its numbers are out of range.
    pub fn of_record(
        file: FileNumber,
        offset: usize,
        record: &[u8],
        origin: Origin,
    ) -> Result<(VnodeHash, Self), Malformed> {
        const WHAT: &str = "a state record";
        let facts = batch::state_facts(WHAT, record)?;
        if facts.commit.get() >= 1 << COMMIT_BITS {
            return Err(Malformed::new(
                WHAT,
                &format!("commit number {} is out of range", facts.commit),
            ));
        }
        let narrow = |number: usize| {
            u32::try_from(number)
                .ok()
                .filter(|&number| number < 1 << RANGE_BITS)
                .ok_or_else(|| Malformed::new(WHAT, "its offset is beyond the limit of an object"))
        };
        let place = Self {
            file,
            offset: narrow(offset)?,
            length: narrow(record.len())?,
            checksum: crc32c::crc32c(record),
            commit: facts.commit,
            wake_at: facts.wake_at.min(WAKE_AT_MAX),
            kind: PlaceKind::of(facts.kind),
            origin,
        };
        Ok((facts.hash, place))
    }

    /// Whether both are the same range of the same file.
    #[must_use]
    pub fn same_bytes(&self, other: &Self) -> bool {
        self.file == other.file && self.offset == other.offset
    }

    /// Whether both are places of the same record of a vnode, maybe of different copies.
    #[must_use]
    pub fn same_record(&self, other: &Self) -> bool {
        (self.commit, self.length, self.checksum) == (other.commit, other.length, other.checksum)
    }

    /// Decodes the bytes fetched from this place, and checks that they are the record in the index.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming `what`, when the bytes are another record or damaged.
    pub fn open(
        &self,
        what: &str,
        hash: VnodeHash,
        bytes: &Bytes,
    ) -> Result<StateRecord, Malformed> {
        self.check(what, bytes)?;
        let record = batch::decode_state(what, bytes)?;
        if record.hash != hash || record.commit != self.commit {
            return Err(Malformed::new(what, "the record of another vnode"));
        }
        Ok(record)
    }

    /// Checks that these bytes are the record that the index was built from, without decoding them.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming `what`.
    pub fn check(&self, what: &str, bytes: &[u8]) -> Result<(), Malformed> {
        if bytes.len() != self.length as usize || crc32c::crc32c(bytes) != self.checksum {
            return Err(Malformed::new(
                what,
                &format!(
                    "the record at {}+{} is damaged: checksum mismatch",
                    self.offset, self.length
                ),
            ));
        }
        Ok(())
    }
}

impl PlaceKind {
    /// The kind of place for a record of this kind.
    #[must_use]
    pub const fn of(kind: StateKind) -> Self {
        match kind {
            StateKind::Put | StateKind::Delta => Self::Live,
            StateKind::Delete => Self::Tombstone,
        }
    }
}

/// A place in 28 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed([u32; 7]);

impl Packed {
    #[expect(clippy::cast_possible_truncation, reason = "the words of a number are cut out of it")]
    pub(crate) fn new(place: &Place) -> Self {
        let (commit, wake_at) = (place.commit.get(), place.wake_at.min(WAKE_AT_MAX));
        assert!(commit < 1 << COMMIT_BITS, "{place:?}: its commit number exceeds 48 bits");
        assert!(
            place.offset < 1 << RANGE_BITS && place.length < 1 << RANGE_BITS,
            "{place:?}: its range exceeds an object"
        );
        let file = place.file.0;
        assert!(file < 1 << FILE_BITS, "{place:?}: its file number exceeds 38 bits");
        let mut tail = u128::from(file)
            | u128::from(place.offset) << FILE_BITS
            | u128::from(place.length) << (FILE_BITS + RANGE_BITS);
        tail |= u128::from(place.kind == PlaceKind::Tombstone) << 94;
        tail |= u128::from(place.origin == Origin::Own) << 95;
        Self([
            commit as u32,
            (commit >> 32) as u32 | ((wake_at >> 32) as u32) << 16,
            wake_at as u32,
            place.checksum,
            tail as u32,
            (tail >> 32) as u32,
            (tail >> 64) as u32,
        ])
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked to its width")]
    pub(crate) fn unpack(self) -> Place {
        let [commit, high, wake_at, checksum, ..] = self.0;
        let tail = self.tail();
        let range = |bits: u128| (bits as u32) & ((1 << RANGE_BITS) - 1);
        Place {
            file: self.file(),
            offset: range(tail >> FILE_BITS),
            length: range(tail >> (FILE_BITS + RANGE_BITS)),
            checksum,
            commit: CommitNumber::new(u64::from(commit) | u64::from(high & 0xffff) << 32),
            wake_at: u64::from(wake_at) | u64::from(high >> 16) << 32,
            kind: if tail >> 94 & 1 == 1 { PlaceKind::Tombstone } else { PlaceKind::Live },
            origin: if self.is_own() { Origin::Own } else { Origin::Foreign },
        }
    }

    /// Only its file, for fast scans.
    pub(crate) fn file(self) -> FileNumber {
        FileNumber((u64::from(self.0[4]) | u64::from(self.0[5]) << 32) & ((1 << FILE_BITS) - 1))
    }

    /// Only its length, in bytes.
    #[expect(clippy::cast_possible_truncation, reason = "masked to its width")]
    pub(crate) fn length(self) -> u32 {
        (self.tail() >> (FILE_BITS + RANGE_BITS)) as u32 & ((1 << RANGE_BITS) - 1)
    }

    /// Only when its vnode wants to be woken.
    pub(crate) fn wake_at(self) -> u64 {
        u64::from(self.0[2]) | u64::from(self.0[1] >> 16) << 32
    }

    /// Whether its origin is [`Origin::Own`].
    pub(crate) const fn is_own(self) -> bool {
        self.0[6] >> 31 == 1
    }

    /// The same place as an entry of a later tenure.
    pub(crate) const fn as_foreign(mut self) -> Self {
        self.0[6] &= !(1 << 31);
        self
    }

    fn tail(self) -> u128 {
        u128::from(self.0[4]) | u128::from(self.0[5]) << 32 | u128::from(self.0[6]) << 64
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unpack().fmt(f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        ids::VnodeName,
        journal::batch::{StateFields, append_state},
    };

    pub(crate) fn file(number: u64) -> FileNumber {
        FileNumber(number)
    }

    /// A state record of vnode `t/<key>`.
    pub(crate) fn record(key: &str, commit: u64, envelope: &[u8]) -> Bytes {
        let name = VnodeName::new("t", key).unwrap();
        let mut bytes = Vec::new();
        append_state(
            &mut bytes,
            StateFields {
                kind: StateKind::Put,
                hash: name.hash(),
                commit: CommitNumber::new(commit),
                wake_at: 5,
                name: &name,
                envelope,
            },
        );
        bytes.into()
    }

    #[test]
    fn a_place_of_44_bytes_with_its_hash_keeps_the_budget_of_48() {
        assert_eq!(size_of::<Packed>() + size_of::<VnodeHash>(), 44);
    }

    #[test]
    fn fetched_bytes_are_used_only_if_they_are_the_record_in_the_index() {
        let bytes = record("a", 3, b"state");
        let (hash, place) = Place::of_record(file(1), 40, &bytes, Origin::Own).unwrap();
        assert_eq!(place.open("k", hash, &bytes).unwrap().commit, CommitNumber::new(3));
        for other in [record("a", 4, b"state"), record("b", 3, b"state"), record("a", 3, b"stale")]
        {
            assert!(place.open("k", hash, &other).is_err());
        }
        assert!(place.open("k", VnodeName::new("t", "b").unwrap().hash(), &bytes).is_err());
    }

    #[test]
    fn a_file_keeps_its_number_until_it_is_forgotten_and_then_gets_a_new_one() {
        let mut files = Files::default();
        let id = |number| FileId {
            session: SessionId::new(1),
            object: FileObject::Pack(PackNumber::new(number)),
        };
        let (one, two) = (files.number(id(1)), files.number(id(2)));
        assert_eq!(files.number(id(1)), one);
        files.retain(&BTreeSet::from([two]));
        assert_eq!(files.id(one), id(1), "its number was requested recently");
        files.grow_older();
        files.retain(&BTreeSet::from([two]));
        assert_eq!((files.find(&id(1)), files.id(two), files.count()), (None, id(2), 1));
        assert_ne!(files.number(id(1)), one);
    }

    proptest! {
        #[test]
        fn a_packed_place_unpacks_to_itself(
            file in 0u64..1 << 38, range in (0u32..1 << 28, 0u32..1 << 28), checksum: u32,
            commit in 0u64..1 << 48, wake_at in 0..=WAKE_AT_MAX, flags: (bool, bool),
        ) {
            let place = Place {
                file: FileNumber(file), offset: range.0, length: range.1, checksum,
                commit: CommitNumber::new(commit), wake_at,
                kind: if flags.0 { PlaceKind::Tombstone } else { PlaceKind::Live },
                origin: if flags.1 { Origin::Own } else { Origin::Foreign },
            };
            let packed = Packed::new(&place);
            prop_assert_eq!(packed.unpack(), place);
            prop_assert_eq!(packed.file(), place.file);
            prop_assert_eq!(packed.is_own(), flags.1);
            prop_assert_eq!(packed.length(), range.1);
            prop_assert_eq!(packed.as_foreign().unpack(), Place { origin: Origin::Foreign, ..place });
        }
    }
}
