//! States kept near: objects of former owners' journals and packs that were read whole, so that the first use of a vnode
//! after a takeover finds its state without a request. Bounded; what is dropped is read by ranged gets.
//!
//! But for the batches of a former owner that goes on with other slots: it copies what it released into packs of its own
//! and trims, so once its batch is gone nobody has these bytes where our index says. Those are kept until they have been
//! copied here; there is at most a tail of each source.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Mutex,
};

use bytes::Bytes;
use holocron_protocol::state::place::FileId;

/// Bytes kept at most.
const CACHE_LEN_MAX: usize = 64 << 20;

/// Whole objects, by file.
#[derive(Debug, Default)]
pub(crate) struct RecordCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    objects: BTreeMap<FileId, Bytes>,
    oldest_first: VecDeque<FileId>,
    len: usize,
    pinned: BTreeMap<FileId, Bytes>,
}

impl RecordCache {
    /// Keeps an object; the oldest go when it gets too much.
    pub(crate) fn keep(&self, file: FileId, object: Bytes) {
        let mut kept = self.0.lock().expect("a map's lock");
        kept.len += object.len();
        if let Some(before) = kept.objects.insert(file, object) {
            kept.len -= before.len();
        } else {
            kept.oldest_first.push_back(file);
        }
        while kept.len > CACHE_LEN_MAX {
            let Some(oldest) = kept.oldest_first.pop_front() else {
                return;
            };
            let dropped = kept.objects.remove(&oldest).map_or(0, |object| object.len());
            kept.len -= dropped;
        }
    }

    /// Keeps an object until everything was copied.
    pub(crate) fn pin(&self, file: FileId, object: Bytes) {
        self.0.lock().expect("a map's lock").pinned.insert(file, object);
    }

    /// A part of an object, if it is kept.
    pub(crate) fn find(&self, file: &FileId, range: Range<usize>) -> Option<Bytes> {
        let kept = self.0.lock().expect("a map's lock");
        let object = kept.objects.get(file).or_else(|| kept.pinned.get(file))?;
        (range.end <= object.len()).then(|| object.slice(range))
    }

    /// Lets go of every object: their states have been copied.
    pub(crate) fn clear(&self) {
        *self.0.lock().expect("a map's lock") = Kept::default();
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
    fn the_oldest_go_when_it_gets_too_much() {
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
    fn what_nobody_else_has_stays() {
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
