//! The committed batches above the last checkpoint, in memory. The next checkpoint is made of them, and they give the
//! newest state of a vnode without a request. Bounded, because a checkpoint is due when they grow.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use holocron_protocol::ids::{Position, VnodeHash};

/// The place of a vnode's newest record in the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TailPlace {
    pub(crate) position: Position,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// A state record of a batch: its vnode, and its place in the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailEntry {
    pub(crate) hash: VnodeHash,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// The committed batches above the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
    newest: HashMap<VnodeHash, TailPlace>,
    len: u64,
}

#[derive(Clone, Debug)]
struct TailBatch {
    position: Position,
    object: Bytes,
    entries: Arc<[TailEntry]>,
}

/// The batches of the tail at one moment.
#[derive(Debug)]
pub(crate) struct TailMoment(Vec<TailBatch>);

impl TailMoment {
    /// The first batch that stands where a condition holds, which holds for all batches after it too.
    pub(crate) fn first(&self, counts: impl Fn(Position) -> bool) -> usize {
        self.0.partition_point(|batch| !counts(batch.position))
    }

    /// All entries, each with the number of its batch; of two entries of one vnode, the newer comes later.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, TailEntry)> {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(at, batch)| batch.entries.iter().map(move |entry| (at, *entry)))
    }

    /// The record of an entry.
    pub(crate) fn record(&self, batch: usize, entry: TailEntry) -> Bytes {
        let begin = entry.offset as usize;
        self.0[batch].object.slice(begin..begin + entry.len as usize)
    }
}

impl Tail {
    /// Adds a batch that was just committed.
    pub(crate) fn push(&mut self, position: Position, object: Bytes, entries: Vec<TailEntry>) {
        assert!(
            self.batches.back().is_none_or(|last| last.position < position),
            "batches commit in order"
        );
        for entry in &entries {
            self.newest
                .insert(entry.hash, TailPlace { position, offset: entry.offset, len: entry.len });
        }
        self.len += object.len() as u64;
        self.batches.push_back(TailBatch { position, object, entries: entries.into() });
    }

    /// Drops the batches at or below `low_water`: a committed checkpoint holds their content.
    pub(crate) fn drop_through(&mut self, low_water: Position) {
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.position <= low_water) {
            self.len -= batch.object.len() as u64;
            for entry in &*batch.entries {
                if self.newest.get(&entry.hash).is_some_and(|place| place.position <= low_water) {
                    self.newest.remove(&entry.hash);
                }
            }
        }
    }

    /// The newest record of a vnode, if the tail holds one.
    pub(crate) fn find(&self, hash: VnodeHash) -> Option<(TailPlace, Bytes)> {
        let place = *self.newest.get(&hash)?;
        let at = self.batches.partition_point(|batch| batch.position < place.position);
        let object = &self.batches.get(at).expect("a place is dropped with its batch").object;
        let begin = place.offset as usize;
        Some((place, object.slice(begin..begin + place.len as usize)))
    }

    /// All batches, as they are now.
    pub(crate) fn moment(&self) -> TailMoment {
        TailMoment(self.batches.iter().cloned().collect())
    }

    /// The batches at or below a position, oldest first.
    pub(crate) fn through(&self, position: Position) -> Vec<(Position, Bytes)> {
        self.batches
            .iter()
            .take_while(|batch| batch.position <= position)
            .map(|batch| (batch.position, batch.object.clone()))
            .collect()
    }

    /// The batch at a position, if it is in the tail.
    pub(crate) fn object(&self, position: Position) -> Option<Bytes> {
        let at = self.batches.partition_point(|batch| batch.position < position);
        self.batches
            .get(at)
            .filter(|batch| batch.position == position)
            .map(|batch| batch.object.clone())
    }

    /// The number of batches.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.len() as u64
    }

    /// The bytes of all batches.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u128) -> TailEntry {
        TailEntry { hash: VnodeHash::from_bits(key), offset: 0, len: 1 }
    }

    #[test]
    fn the_newest_record_of_a_vnode_is_found_until_its_batch_is_dropped() {
        let mut tail = Tail::default();
        tail.push(Position::new(1), Bytes::from_static(b"a"), vec![entry(7)]);
        tail.push(Position::new(2), Bytes::from_static(b"b"), vec![entry(7), entry(8)]);
        assert_eq!(tail.find(VnodeHash::from_bits(7)).unwrap().1, Bytes::from_static(b"b"));
        tail.drop_through(Position::new(1));
        assert_eq!(tail.find(VnodeHash::from_bits(7)).unwrap().0.position, Position::new(2));
        tail.drop_through(Position::new(2));
        assert_eq!(tail.find(VnodeHash::from_bits(7)), None);
        assert_eq!((tail.batches(), tail.len()), (0, 0));
    }
}
