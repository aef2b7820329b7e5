//! A cache of journal objects and packs of former owners that were read whole, so that the first use of a vnode after
//! a takeover needs no request. Bounded; evicted objects are read by ranged gets.
//!
//! Exception: batches of a live former owner are pinned, because it may trim them before we have copied them: it
//! copies what it released into packs of its own, and our index still names the batch. There is at most one tail of
//! each source.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Mutex,
};

use bytes::Bytes;
use holocron_protocol::state::place::{FileId, Place};

/// Bytes of unpinned objects at most.
const CACHE_LEN_MAX: usize = 64 << 20;

/// A cache of whole objects, by file.
#[derive(Debug, Default)]
pub(crate) struct RecordCache(Mutex<Objects>);

#[derive(Debug, Default)]
struct Objects {
    evictable: BTreeMap<FileId, Bytes>,
    oldest_first: VecDeque<FileId>,
    len: usize,
    pinned: BTreeMap<FileId, Bytes>,
}

impl RecordCache {
    /// Adds an object; evicts the oldest ones when the cache is full.
    pub(crate) fn keep(&self, file: FileId, object: Bytes) {
        let mut objects = self.0.lock().expect("a map's lock");
        objects.len += object.len();
        if let Some(before) = objects.evictable.insert(file, object) {
            objects.len -= before.len();
        } else {
            objects.oldest_first.push_back(file);
        }
        while objects.len > CACHE_LEN_MAX {
            let Some(oldest) = objects.oldest_first.pop_front() else {
                return;
            };
            let dropped = objects.evictable.remove(&oldest).map_or(0, |object| object.len());
            objects.len -= dropped;
        }
    }

    /// Adds an object that is not evicted: it stays until [`RecordCache::clear`].
    pub(crate) fn pin(&self, file: FileId, object: Bytes) {
        self.0.lock().expect("a map's lock").pinned.insert(file, object);
    }

    /// The record at a place of a file, if its object is cached.
    pub(crate) fn record(&self, file: &FileId, place: &Place) -> Option<Bytes> {
        let begin = place.offset as usize;
        self.find(file, begin..begin + place.length as usize)
    }

    /// A part of an object, if it is cached.
    pub(crate) fn find(&self, file: &FileId, range: Range<usize>) -> Option<Bytes> {
        let objects = self.0.lock().expect("a map's lock");
        let object = objects.evictable.get(file).or_else(|| objects.pinned.get(file))?;
        (range.end <= object.len()).then(|| object.slice(range))
    }

    /// Drops all objects: their states have been copied.
    pub(crate) fn clear(&self) {
        *self.0.lock().expect("a map's lock") = Objects::default();
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::{
        ids::{Position, SessionId},
        state::place::FileObject,
    };

    use super::*;

    fn file(position: u64) -> FileId {
        FileId { session: SessionId::new(1), object: FileObject::Journal(Position::new(position)) }
    }

    #[test]
    fn the_oldest_are_evicted_when_the_cache_is_full() {
        let record_cache = RecordCache::default();
        let big = Bytes::from(vec![7; CACHE_LEN_MAX / 2]);
        record_cache.keep(file(1), big.clone());
        record_cache.keep(file(2), big.clone());
        assert_eq!(record_cache.find(&file(1), 0..2), Some(big.slice(0..2)));
        record_cache.keep(file(3), big.clone());
        assert_eq!(record_cache.find(&file(1), 0..2), None);
        assert_eq!(record_cache.find(&file(3), 0..big.len() + 1), None);
    }

    #[test]
    fn pinned_objects_are_not_evicted() {
        let record_cache = RecordCache::default();
        let big = Bytes::from(vec![7; CACHE_LEN_MAX / 2]);
        record_cache.pin(file(1), big.clone());
        for position in 2..6 {
            record_cache.keep(file(position), big.clone());
        }
        assert!(record_cache.find(&file(1), 0..2).is_some());
        record_cache.clear();
        assert_eq!(record_cache.find(&file(1), 0..2), None);
    }
}
