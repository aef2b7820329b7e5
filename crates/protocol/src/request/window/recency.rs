//! A map that keeps its items in order of last use.
//!
//! Few items are scanned, which is fast and needs no other memory. With more, an index has the position of each. An
//! item that is used again moves to the end and leaves a hole; holes are removed when there are as many as items. So
//! each use costs one look-up, for any number of items.
//!
//! Invariants:
//!
//! * Keys are unique. The first and the last item are never holes; without an index there are no holes.
//! * Empty, it takes no heap; with one item, it has room for one.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::{
    hash::{Hash, Hasher},
    ops::RangeBounds,
};

/// Most items that are scanned. With more there is an index, until there are only half as many.
const SCANNED_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Recency<K, V> {
    items: VecDeque<Option<(K, V)>>,
    index: Option<Box<Index<K>>>,
}

/// The position of each item.
#[derive(Clone, Debug)]
struct Index<K> {
    /// The number of the first item, counted over all items ever appended.
    first: u64,
    holes: usize,
    places: BTreeMap<K, u64>,
}

impl<K, V> Default for Recency<K, V> {
    fn default() -> Self {
        Self { items: VecDeque::new(), index: None }
    }
}

impl<K, V> Recency<K, V> {
    pub(super) fn len(&self) -> usize {
        self.items.len() - self.index.as_ref().map_or(0, |index| index.holes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// In order of last use.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.items.iter().flatten()
    }

    /// The item at a place in order of last use. Only for a map without holes, such as one that was only pushed to.
    pub(super) fn at_place(&self, place: usize) -> Option<&(K, V)> {
        self.items.get(place)?.as_ref()
    }

    /// The least recently used item.
    pub(super) fn oldest(&self) -> Option<&(K, V)> {
        self.items.front().map(|item| item.as_ref().expect("the first is no hole"))
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.items.capacity()
    }
}

impl<K: Copy + Ord, V> Recency<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.items[self.position(key)?].as_ref().map(|(_, value)| value)
    }

    /// The value of a key, which becomes the most recently used.
    pub(super) fn touch(&mut self, key: &K) -> Option<&mut V> {
        let at = self.position(key)?;
        if at + 1 < self.items.len() {
            let item = self.take(at);
            self.append(item);
        }
        let last = self.items.back_mut().expect("it was just found");
        last.as_mut().map(|(_, value)| value)
    }

    /// Adds a new item, as the most recently used.
    pub(super) fn push(&mut self, key: K, value: V) {
        if self.items.is_empty() {
            // Often it stays the only item.
            self.items.reserve_exact(1);
        }
        self.append((key, value));
        if self.index.is_none() && self.items.len() > SCANNED_MAX {
            self.renumber();
        }
    }

    /// Removes the least recently used item.
    pub(super) fn pop_oldest(&mut self) -> Option<(K, V)> {
        if self.items.is_empty() {
            return None;
        }
        let item = self.remove_at(0);
        self.shrink();
        Some(item)
    }

    /// Removes the items whose keys are in a range.
    pub(super) fn remove_range(&mut self, keys: impl RangeBounds<K>, mut removed: impl FnMut(V)) {
        match &self.index {
            Some(index) => {
                let keys: Vec<K> = index.places.range(keys).map(|(key, _)| *key).collect();
                for key in keys {
                    let at = self.position(&key).expect("the key is in the index");
                    removed(self.remove_at(at).1);
                }
            }
            None => {
                let mut at = 0;
                while let Some((key, _)) = self.items.get(at).and_then(Option::as_ref) {
                    if keys.contains(key) {
                        removed(self.remove_at(at).1);
                    } else {
                        at += 1;
                    }
                }
            }
        }
        self.shrink();
    }

    /// The keys in order, each with its place in order of last use.
    pub(super) fn places(&self) -> Vec<(K, usize)> {
        let mut places: Vec<_> =
            self.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect();
        places.sort_unstable_by_key(|(key, _)| *key);
        places
    }

    fn position(&self, key: &K) -> Option<usize> {
        match &self.index {
            Some(index) => {
                let place = index.places.get(key)?;
                Some(
                    usize::try_from(place - index.first)
                        .expect("positions are below the number of items"),
                )
            }
            // From the back: most lookups are of recently used items.
            None => self.items.iter().rposition(|item| matches!(item, Some((at, _)) if at == key)),
        }
    }

    /// Removes an item. The positions of others may change.
    fn remove_at(&mut self, at: usize) -> (K, V) {
        let item = self.take(at);
        if let Some(index) = &mut self.index {
            index.places.remove(&item.0);
        }
        self.tidy();
        item
    }

    /// Takes an item out of its place.
    fn take(&mut self, at: usize) -> (K, V) {
        let item = match &mut self.index {
            Some(index) => {
                index.holes += 1;
                self.items[at].take()
            }
            None => self.items.remove(at).flatten(),
        };
        item.expect("the position of an item is not a hole")
    }

    fn append(&mut self, item: (K, V)) {
        if let Some(index) = &mut self.index {
            index.places.insert(item.0, index.first + self.items.len() as u64);
        }
        self.items.push_back(Some(item));
        self.tidy();
    }

    /// Drops the holes at both ends, and all holes when there are as many as items.
    fn tidy(&mut self) {
        let Some(index) = &mut self.index else { return };
        while self.items.pop_front_if(|item| item.is_none()).is_some() {
            index.first += 1;
            index.holes -= 1;
        }
        while self.items.pop_back_if(|item| item.is_none()).is_some() {
            index.holes -= 1;
        }
        if index.holes > SCANNED_MAX && 2 * index.holes > self.items.len() {
            self.items.retain(Option::is_some);
            self.renumber();
        }
    }

    /// Builds the index. There are no holes.
    fn renumber(&mut self) {
        let keys = self.items.iter().flatten().map(|(key, _)| *key);
        let places = keys.zip(0..).collect();
        self.index = Some(Box::new(Index { first: 0, holes: 0, places }));
    }

    /// Frees the capacity of a burst in a vnode that has few clients afterwards.
    fn shrink(&mut self) {
        if self.index.is_some() && self.len() <= SCANNED_MAX / 2 {
            self.items.retain(Option::is_some);
            self.index = None;
        }
        if self.items.capacity() > 16 && self.items.len() < self.items.capacity() / 4 {
            self.items.shrink_to(2 * self.items.len());
        }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Recency<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for Recency<K, V> {}

impl<K: Hash, V: Hash> Hash for Recency<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|item| item.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(recency: &Recency<u8, u32>) -> Vec<(u8, u32)> {
        recency.iter().copied().collect()
    }

    proptest! {
        /// Compared with a plain list.
        #[test]
        fn it_is_a_list_in_order_of_last_use_of_any_length(
            steps in proptest::collection::vec((0..12u8, 0..120u8), 1..600),
        ) {
            let (mut recency, mut list) = (Recency::default(), Vec::<(u8, u32)>::new());
            for (value, (what, key)) in (0..).zip(steps) {
                let at = list.iter().position(|(other, _)| *other == key);
                match (what, at) {
                    (0, _) => {
                        let oldest = (!list.is_empty()).then(|| list.remove(0));
                        prop_assert_eq!(recency.pop_oldest(), oldest);
                    }
                    (1, _) => {
                        let mut removed = Vec::new();
                        recency.remove_range(key..=key, |value| removed.push(value));
                        removed.sort_unstable();
                        let goes = |(other, _): &(u8, u32)| *other == key;
                        let mut gone: Vec<u32> = list.iter().filter(|item| goes(item)).map(|(_, value)| *value).collect();
                        gone.sort_unstable();
                        prop_assert_eq!(removed, gone);
                        list.retain(|item| !goes(item));
                    }
                    (_, Some(at)) => {
                        let item = list.remove(at);
                        list.push(item);
                        prop_assert_eq!(recency.touch(&key).copied(), Some(item.1));
                    }
                    (_, None) => {
                        prop_assert_eq!(recency.touch(&key), None);
                        recency.push(key, value);
                        list.push((key, value));
                    }
                }
                prop_assert_eq!(keys(&recency), list.clone());
                prop_assert_eq!(recency.len(), list.len());
                prop_assert_eq!(recency.oldest(), list.first());
                prop_assert!(recency.items.len() <= 2 * list.len() + SCANNED_MAX + 1);
            }
        }
    }

    #[test]
    fn removing_a_range_frees_its_capacity() {
        let mut recency = Recency::default();
        (0..200u8).for_each(|key| recency.push(key, u32::from(key)));
        let mut removed = 0;
        recency.remove_range(3..199, |_| removed += 1);
        assert_eq!((removed, recency.len()), (196, 4));
        assert_eq!(keys(&recency), [(0, 0), (1, 1), (2, 2), (199, 199)]);
        assert!(recency.index.is_none() && recency.capacity() <= 16);
    }
}
