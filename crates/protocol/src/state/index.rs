//! The index of a slot: for each vnode the place of its newest record. A dormant vnode costs nothing else in memory.
//!
//! Two parallel arrays sorted by hash, and a small map of new vnodes. A known vnode is updated in place, so a slot
//! without new vnodes has only arrays: 44 bytes for each vnode.
//!
//! Invariants:
//!
//! * No hash is in both the arrays and the map.
//! * `foreign` counts the places whose bytes must still be copied; at 0 the slot can be `full`. `bytes` is the sum of the
//!   records' lengths.
//! * A vnode is never removed: a deleted one leaves its tombstone.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{convert::Infallible, iter::Peekable, ops::Bound};

use crate::{
    ids::VnodeHash,
    state::place::{FileNumber, Origin, Packed, Place},
};

/// New vnodes stay in the map until there are this many, and at least a 64th of the arrays. Then they are sorted into
/// the arrays, so that each entry is moved a bounded number of times.
const RECENT_MIN: usize = 64;

/// The places of a slot's vnodes.
#[derive(Clone, Debug, Default)]
pub struct SlotIndex {
    hashes: Vec<VnodeHash>,
    places: Vec<Packed>,
    recent: BTreeMap<VnodeHash, Packed>,
    foreign: usize,
    bytes: u64,
}

impl SlotIndex {
    /// From entries sorted by hash, each hash once.
    ///
    /// # Panics
    ///
    /// When they aren't sorted or a hash is repeated.
    #[must_use]
    pub fn from_sorted(entries: impl IntoIterator<Item = (VnodeHash, Place)>) -> Self {
        let mut index = Self::default();
        for (hash, place) in entries {
            index.push(hash, Packed::new(&place));
        }
        index.shrink();
        index
    }

    fn shrink(&mut self) {
        self.hashes.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    fn push(&mut self, hash: VnodeHash, place: Packed) {
        assert!(self.hashes.last() < Some(&hash), "{hash:?} comes after {:?}", self.hashes.last());
        self.foreign += usize::from(!place.is_own());
        self.bytes += u64::from(place.length());
        self.hashes.push(hash);
        self.places.push(place);
    }

    /// The place of a vnode's newest record; `None` for a vnode that was never written.
    #[must_use]
    pub fn get(&self, hash: VnodeHash) -> Option<Place> {
        let found = match self.hashes.binary_search(&hash) {
            Ok(at) => Some(&self.places[at]),
            Err(_) => self.recent.get(&hash),
        };
        found.map(|packed| packed.unpack())
    }

    /// Sets the place of a vnode's newest record; returns the previous one.
    pub fn put(&mut self, hash: VnodeHash, place: &Place) -> Option<Place> {
        let packed = Packed::new(place);
        let before = match self.hashes.binary_search(&hash) {
            Ok(at) => Some(core::mem::replace(&mut self.places[at], packed)),
            Err(_) => self.recent.insert(hash, packed),
        };
        self.foreign += usize::from(!packed.is_own());
        self.foreign -= before.map_or(0, |before| usize::from(!before.is_own()));
        self.bytes += u64::from(packed.length());
        self.bytes -= before.map_or(0, |before| u64::from(before.length()));
        if self.recent.len() > RECENT_MIN.max(self.hashes.len() / 64) {
            self.merge();
        }
        before.map(Packed::unpack)
    }

    /// Points a vnode to a copy of the record at `old`, unless the vnode was written since. Returns whether it did.
    pub fn replace(&mut self, hash: VnodeHash, old: &Place, new: &Place) -> bool {
        let current = self.get(hash).is_some_and(|current| current.same_bytes(old));
        if current {
            self.put(hash, new);
        }
        current
    }

    /// Points entries to where another index has the same record, in any file.
    pub fn follow(&mut self, other: &Self) {
        for (hash, there) in other.iter() {
            let Some(here) = self.get(hash) else { continue };
            if here.same_record(&there) && !here.same_bytes(&there) {
                self.put(hash, &Place { origin: here.origin, ..there });
            }
        }
    }

    /// All vnodes by hash.
    pub fn iter(&self) -> impl Iterator<Item = (VnodeHash, Place)> + '_ {
        self.packed().map(|(hash, packed)| (hash, packed.unpack()))
    }

    /// The vnodes after one of them, by hash.
    pub fn iter_after(
        &self,
        after: Option<VnodeHash>,
    ) -> impl Iterator<Item = (VnodeHash, Place)> + '_ {
        let begin = self.hashes.partition_point(|hash| Some(*hash) <= after);
        let base = self.hashes[begin..].iter().copied().zip(self.places[begin..].iter().copied());
        let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
        let recent = self.recent.range((bound, Bound::Unbounded));
        let recent = recent.map(|(&hash, &place)| (hash, place));
        let merged = Merged { base: base.peekable(), recent: recent.peekable() };
        merged.map(|(hash, packed)| (hash, packed.unpack()))
    }

    /// Like [`Self::iter`], for fast scans that need little of each place.
    pub(crate) fn packed(&self) -> impl Iterator<Item = (VnodeHash, Packed)> + '_ {
        let base = self.hashes.iter().copied().zip(self.places.iter().copied());
        let recent = self.recent.iter().map(|(&hash, &place)| (hash, place));
        Merged { base: base.peekable(), recent: recent.peekable() }
    }

    /// The vnodes that want to be woken, and when: see [`crate::journal::batch::StateRecord::wake_at`].
    pub fn wakes(&self) -> impl Iterator<Item = (VnodeHash, u64)> + '_ {
        self.packed()
            .map(|(hash, packed)| (hash, packed.wake_at()))
            .filter(|(_, wake_at)| *wake_at > 0)
    }

    /// The number of vnodes ever written, with tombstones.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hashes.len() + self.recent.len()
    }

    /// The number of vnodes whose record was written by an earlier tenure. At 0 the slot can be `full`.
    #[must_use]
    pub const fn foreign(&self) -> usize {
        self.foreign
    }

    /// The bytes of the vnodes' newest records.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the entries of a later pack, sorted by hash. Of two entries for one vnode, the one with the higher commit
    /// number stays; of two copies of one record, the later one.
    ///
    /// # Panics
    ///
    /// When they aren't sorted.
    pub fn overlay(&mut self, later: impl Iterator<Item = (VnodeHash, Place)>) {
        let later = later.map(|(hash, place)| (hash, Packed::new(&place)));
        let combined = self.combine(later, |_, here, later| {
            Ok::<_, Infallible>(if later.commit >= here.commit { later } else { here })
        });
        *self = match combined {
            Ok(combined) => combined,
            Err(never) => match never {},
        };
    }

    /// Merges this with another sorted sequence into one index; for a vnode in both, `choose` gets this place first,
    /// then the other.
    pub(crate) fn combine<E>(
        &self,
        others: impl Iterator<Item = (VnodeHash, Packed)>,
        mut choose: impl FnMut(VnodeHash, Place, Place) -> Result<Place, E>,
    ) -> Result<Self, E> {
        let (mut own, mut others) = (self.packed().peekable(), others.peekable());
        let mut combined = Self::default();
        loop {
            let (hash, place) = match (own.peek().copied(), others.peek().copied()) {
                (Some((hash, place)), Some((other_hash, other))) if hash == other_hash => {
                    own.next();
                    others.next();
                    (hash, Packed::new(&choose(hash, place.unpack(), other.unpack())?))
                }
                (Some((hash, place)), other) if other.is_none_or(|(other, _)| hash < other) => {
                    own.next();
                    (hash, place)
                }
                (_, Some((hash, place))) => {
                    others.next();
                    (hash, place)
                }
                (_, None) => break,
            };
            combined.push(hash, place);
        }
        combined.shrink();
        Ok(combined)
    }

    /// Only the vnodes whose record the tenure itself wrote: what a checkpoint keeps after the Release.
    #[must_use]
    pub fn into_own(self) -> Self {
        Self::from_sorted(self.iter().filter(|(_, place)| place.origin == Origin::Own))
    }

    /// Adds the files of its places to `used`, for [`Files::retain`](crate::state::place::Files::retain).
    pub fn note_files(&self, used: &mut BTreeSet<FileNumber>) {
        // Adjacent entries are often in one file.
        let mut last = None;
        for (_, place) in self.packed() {
            if last.replace(place.file()) != Some(place.file()) {
                used.insert(place.file());
            }
        }
    }

    /// Bytes of heap memory it takes.
    #[cfg(test)]
    fn heap_len(&self) -> usize {
        // Tree nodes are about two thirds full and have some overhead.
        let recent = self.recent.len() * (size_of::<VnodeHash>() + size_of::<Packed>()) * 2;
        self.hashes.capacity() * size_of::<VnodeHash>()
            + self.places.capacity() * size_of::<Packed>()
            + recent
    }

    /// Sorts the recent vnodes into the arrays.
    fn merge(&mut self) {
        let mut merged = Self {
            hashes: Vec::with_capacity(self.count()),
            places: Vec::with_capacity(self.count()),
            ..Self::default()
        };
        for (hash, place) in self.packed() {
            merged.push(hash, place);
        }
        assert_eq!(merged.foreign, self.foreign, "foreign places are counted as they come and go");
        assert_eq!(merged.bytes, self.bytes, "bytes are counted as they come and go");
        *self = merged;
    }
}

/// Merges two sorted sequences without a common hash.
struct Merged<A: Iterator, B: Iterator> {
    base: Peekable<A>,
    recent: Peekable<B>,
}

impl<A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = (VnodeHash, Packed)>,
    B: Iterator<Item = (VnodeHash, Packed)>,
{
    type Item = (VnodeHash, Packed);

    fn next(&mut self) -> Option<Self::Item> {
        match (self.base.peek(), self.recent.peek()) {
            (Some((base, _)), Some((recent, _))) if recent < base => self.recent.next(),
            (Some(_), _) => self.base.next(),
            (None, _) => self.recent.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        ids::CommitNumber,
        state::place::{PlaceKind, tests::file},
    };

    fn hash(number: u64) -> VnodeHash {
        // Spread like real hashes, not in the order of the numbers.
        VnodeHash::from_bits(u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64)
    }

    fn place(commit: u64, origin: Origin) -> Place {
        Place {
            file: file(commit % 7),
            offset: u32::try_from(commit % 1_000).unwrap(),
            length: 10 + u32::try_from(commit % 3).unwrap(),
            checksum: 1,
            commit: CommitNumber::new(commit),
            wake_at: 0,
            kind: PlaceKind::Live,
            origin,
        }
    }

    #[test]
    fn a_dormant_vnode_costs_at_most_48_bytes() {
        let mut index = SlotIndex::default();
        for number in 0..100_000 {
            index.put(hash(number), &place(number, Origin::Own));
        }
        let each = (index.heap_len() + size_of::<SlotIndex>()) as f64 / index.count() as f64;
        assert!(each <= 48.0, "{each} bytes");
    }

    #[test]
    fn a_copy_never_replaces_a_newer_record() {
        let mut index = SlotIndex::default();
        let (old, written) = (place(1, Origin::Foreign), place(2, Origin::Own));
        let copy = Place { file: file(99), origin: Origin::Own, ..old };
        index.put(hash(1), &old);
        index.put(hash(1), &written);
        assert!(!index.replace(hash(1), &old, &copy));
        assert_eq!(index.get(hash(1)), Some(written));
    }

    #[test]
    fn it_follows_only_copies_of_the_same_record() {
        let mut index = SlotIndex::default();
        index.put(hash(1), &place(1, Origin::Foreign));
        index.put(hash(2), &place(2, Origin::Foreign));
        let mut other = SlotIndex::default();
        let copy = Place { file: file(99), offset: 7, ..place(1, Origin::Own) };
        other.put(hash(1), &copy);
        other.put(hash(2), &Place { file: file(99), ..place(1, Origin::Own) });
        other.put(hash(3), &place(3, Origin::Own));
        index.follow(&other);
        assert_eq!(index.get(hash(1)), Some(Place { origin: Origin::Foreign, ..copy }));
        assert_eq!(index.get(hash(2)), Some(place(2, Origin::Foreign)), "another record");
        assert_eq!((index.get(hash(3)), index.foreign()), (None, 2));
    }

    #[test]
    fn after_a_release_only_its_own_entries_are_kept() {
        let mut index = SlotIndex::default();
        index.put(hash(1), &place(1, Origin::Foreign));
        index.put(hash(2), &place(2, Origin::Own));
        let own = index.into_own();
        assert_eq!((own.count(), own.foreign()), (1, 0));
        assert!(own.get(hash(2)).is_some());
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map_that_counts_its_foreign_places(writes in proptest::collection::vec((0..300u64, 0..1_000u64, any::<bool>()), 0..600)) {
            let mut index = SlotIndex::default();
            let mut oracle = BTreeMap::new();
            for (number, commit, own) in writes {
                let place = place(commit, if own { Origin::Own } else { Origin::Foreign });
                prop_assert_eq!(index.put(hash(number), &place), oracle.insert(hash(number), place));
            }
            prop_assert_eq!(index.count(), oracle.len());
            prop_assert_eq!(index.bytes(), oracle.values().map(|place| u64::from(place.length)).sum::<u64>());
            prop_assert_eq!(index.foreign(), oracle.values().filter(|place| place.origin == Origin::Foreign).count());
            for number in 0..300 {
                prop_assert_eq!(index.get(hash(number)), oracle.get(&hash(number)).copied());
            }
            let mut files = BTreeSet::new();
            index.note_files(&mut files);
            prop_assert_eq!(files, oracle.values().map(|place| place.file).collect());
            prop_assert!(index.iter().eq(oracle.into_iter()));
        }
    }
}
