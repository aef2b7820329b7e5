//! The records of the epoch log that are kept.

use core::ops::RangeInclusive;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use holocron_protocol::{
    epoch::{kept::Kept, log::MarkState, record::EpochRecord},
    format::{
        codec::Malformed,
        keys::{self, Key},
    },
    ids::Epoch,
};

use super::{ClusterReader, ReadError};
use crate::store_io::epoch_log::view;

/// Records that one call reads at most; a record takes a few kilobytes.
pub const ENTRIES_MAX: u64 = 256;
/// Gets in flight.
const GETS_MAX: usize = 32;

/// What the store holds of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Its record.
    Record(Arc<EpochRecord>),
    /// An object that is no valid record; names its key.
    Undecodable(Malformed),
    /// Nothing: the epoch is older than the history that is kept.
    Deleted,
    /// Nothing: not written yet if it is above the newest, else deleted from outside.
    Absent,
}

impl Entry {
    /// The record, if there is one.
    #[must_use]
    pub fn record(&self) -> Option<&Arc<EpochRecord>> {
        match self {
            Self::Record(record) => Some(record),
            Self::Undecodable(_) | Self::Deleted | Self::Absent => None,
        }
    }
}

impl ClusterReader {
    /// Which epochs are kept, from the log's keys.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::NoCluster`] when there is no epoch.
    pub async fn kept(&self) -> Result<Kept, ReadError> {
        let log = self.log.reader();
        let marks = log.list(keys::EPOCH_MARKS).await?;
        let epochs = log.list(keys::EPOCHS).await?;
        let marks =
            marks.filter_map(|key| if let Key::EpochMark(mark) = key { Some(mark) } else { None });
        let epochs =
            epochs.filter_map(|key| if let Key::Epoch(epoch) = key { Some(epoch) } else { None });
        let kept = Kept::among(epochs, marks, self.log.cluster.epoch_segments());
        kept.ok_or_else(|| ReadError::NoCluster("the cluster has no epoch yet".to_owned()))
    }

    /// What the store holds of an epoch.
    ///
    /// # Errors
    ///
    /// [`ReadError::GaveUp`] when the store gives no answer.
    pub async fn entry(&self, epoch: Epoch) -> Result<Entry, ReadError> {
        let stored = self.stored(epoch).await?;
        // The mark is created before the first deletion: if it is absent after the get, nothing was deleted before. If it
        // is present, a record may have been created again by a host that is far behind.
        let segment = self.log.cluster.epoch_segments().segment(epoch);
        Ok(match self.log.reader().mark(segment).await? {
            MarkState::Present => Entry::Deleted,
            MarkState::Absent => stored,
        })
    }

    /// As [`Self::entry`], by one get: doesn't tell whether the epoch was deleted.
    ///
    /// # Errors
    ///
    /// [`ReadError::GaveUp`] when the store gives no answer.
    pub async fn stored(&self, epoch: Epoch) -> Result<Entry, ReadError> {
        let key = keys::epoch(epoch);
        Ok(match self.get(&key).await?.map(|stored| view(&key, stored)) {
            Some(Ok(view)) => Entry::Record(view.record),
            Some(Err(malformed)) => Entry::Undecodable(malformed),
            None => Entry::Absent,
        })
    }

    /// The entries of some of the [kept](Self::kept) epochs, in order; of the first [`ENTRIES_MAX`] of them if there are
    /// more.
    ///
    /// # Errors
    ///
    /// [`ReadError::GaveUp`] when the store gives no answer.
    pub async fn entries(
        &self,
        epochs: RangeInclusive<u64>,
    ) -> Result<Vec<(Epoch, Entry)>, ReadError> {
        let epochs = (*epochs.start()..=*epochs.end()).map(Epoch::new);
        stream::iter(epochs.take(usize::try_from(ENTRIES_MAX).expect("a small number")))
            .map(|epoch| async move {
                Ok(match self.stored(epoch).await? {
                    // It may have been deleted meanwhile.
                    Entry::Absent => (epoch, self.entry(epoch).await?),
                    stored @ (Entry::Record(_) | Entry::Undecodable(_) | Entry::Deleted) => {
                        (epoch, stored)
                    }
                })
            })
            .buffered(GETS_MAX)
            .try_collect()
            .await
    }

    /// The newest record that had been written at a wall time, in milliseconds since 1970, by its writer's clock. `None`
    /// when no kept record is that old. Takes a get for each halving of the log.
    ///
    /// # Errors
    ///
    /// [`ReadError::GaveUp`] when the store gives no answer.
    pub async fn record_at(
        &self,
        kept: Kept,
        wall_ms: u64,
    ) -> Result<Option<Arc<EpochRecord>>, ReadError> {
        // Wall times never go down along the log.
        let (mut low, mut above) = (kept.first.get(), kept.newest.get() + 1);
        let mut found = None;
        while low < above {
            let middle = low + (above - low) / 2;
            match self.readable(low..=middle).await? {
                Some(record) if record.wall_ms > wall_ms => above = record.epoch.get(),
                old_enough => {
                    found = old_enough.or(found);
                    low = middle + 1;
                }
            }
        }
        Ok(found)
    }

    /// The newest record of a range that can be read. Takes a get for each number above it.
    ///
    /// # Errors
    ///
    /// [`ReadError::GaveUp`] when the store gives no answer.
    pub async fn readable(
        &self,
        epochs: RangeInclusive<u64>,
    ) -> Result<Option<Arc<EpochRecord>>, ReadError> {
        for epoch in epochs.rev() {
            if let Entry::Record(record) = self.stored(Epoch::new(epoch)).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use bytes::Bytes;
    use holocron_protocol::{
        epoch::draft::Draft,
        epoch::{
            record::{HostEntry, HostState, Leader, RecordDigest},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::{ClusterId, DomainId, HostName, Nonce, Segment, SessionId},
        journal::batch::Mark,
    };
    use holocron_store::{Memory, Store};

    use super::*;

    /// A log of `count` epochs in segments of 4; epoch `n` was written at `1000 * n` ms.
    async fn log(count: u64) -> (Arc<dyn Store>, ClusterReader) {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let cluster = Cluster { slots: 4, epoch_segment_len: 4, ..Cluster::new(ClusterId::new(1)) };
        store.create(keys::CLUSTER, cluster.encode(Nonce::new(1))).await.unwrap();
        let host = HostName::new("a").unwrap();
        let session = SessionId::new(1);
        let leader = Leader { host: host.clone(), session, address: "a:1".into() };
        let mut draft = Draft::first(&cluster);
        for number in 1..=count {
            let entry = HostEntry {
                address: "a:1".into(),
                sessions: [(DomainId::HOME, session)].into(),
                state: HostState::Active,
                weight: u32::try_from(number).unwrap(),
                zone: None,
                versions: KindVersions::default(),
            };
            draft.join(&host, entry).unwrap();
            let record = draft.finish(leader.clone(), "because", number * 1_000);
            let object = record.encode(Nonce::new(number.into()));
            store.create(&keys::epoch(record.epoch), object.clone()).await.unwrap();
            draft = Draft::after(&record, RecordDigest::of(&object));
        }
        let reader = ClusterReader::open(Arc::clone(&store), Duration::from_secs(5)).await;
        (store, reader.unwrap())
    }

    async fn delete(store: &dyn Store, epochs: RangeInclusive<u64>) {
        for epoch in epochs {
            store.delete(&keys::epoch(Epoch::new(epoch))).await.unwrap();
        }
    }

    async fn mark(store: &dyn Store, segment: u64) {
        let mark = Mark { by: HostName::new("a").unwrap() }.encode(Nonce::new(1));
        store.create(&keys::epoch_mark(Segment::new(segment)), mark).await.unwrap();
    }

    /// The epoch of the state at a time.
    async fn at(reader: &ClusterReader, wall_ms: u64) -> Option<u64> {
        let kept = reader.kept().await.unwrap();
        let record = reader.record_at(kept, wall_ms).await.unwrap();
        record.map(|record| record.epoch.get())
    }

    #[tokio::test]
    async fn the_state_at_any_time_is_that_of_the_last_record_before() {
        for count in 1..=9 {
            let (_, reader) = log(count).await;
            assert_eq!(at(&reader, 999).await, None, "before the first");
            for epoch in 1..=count {
                assert_eq!(at(&reader, epoch * 1_000).await, Some(epoch), "of {count}");
                let until = at(&reader, epoch * 1_000 + 999).await;
                assert_eq!(until, Some(epoch), "of {count}");
            }
            assert_eq!(at(&reader, u64::MAX).await, Some(count));
        }
    }

    #[tokio::test]
    async fn a_damaged_record_is_named_and_the_rest_can_be_read() {
        let (store, reader) = log(9).await;
        for damaged in [4, 5, 9] {
            store.put(&keys::epoch(Epoch::new(damaged)), Bytes::from_static(b"x")).await.unwrap();
        }
        let entries = reader.entries(1..=9).await.unwrap();
        let readable: Vec<u64> = entries
            .iter()
            .filter_map(|(_, entry)| entry.record())
            .map(|record| record.epoch.get())
            .collect();
        assert_eq!(readable, [1, 2, 3, 6, 7, 8]);
        let (_, Entry::Undecodable(malformed)) = &entries[3] else { panic!("{:?}", entries[3]) };
        assert_eq!(malformed.what, keys::epoch(Epoch::new(4)));
        assert_eq!(at(&reader, 5_500).await, Some(3), "the newest that can be read");
        assert_eq!(at(&reader, 9_500).await, Some(8));
    }

    #[tokio::test]
    async fn deleted_history_is_told_apart_from_missing_records() {
        let (store, reader) = log(12).await;
        mark(&*store, 0).await;
        mark(&*store, 1).await;
        // The last deletion of segment 1 hasn't happened yet.
        delete(&*store, 1..=6).await;
        delete(&*store, 10..=10).await;
        let kept = reader.kept().await.unwrap();
        assert_eq!((kept.first.get(), kept.newest.get()), (8, 12));
        let entry = async |epoch| reader.entry(Epoch::new(epoch)).await.unwrap();
        assert_eq!(entry(2).await, Entry::Deleted);
        assert_eq!(entry(10).await, Entry::Absent);
        assert_eq!(entry(13).await, Entry::Absent);
        assert_eq!(at(&reader, 7_500).await, None, "nothing is kept of that time");
        assert_eq!(at(&reader, 10_500).await, Some(9));
    }

    #[tokio::test]
    async fn an_emptied_store_is_noticed() {
        let (store, reader) = log(1).await;
        assert!(reader.check_store().await.is_ok());
        store.delete(keys::CLUSTER).await.unwrap();
        assert!(matches!(reader.check_store().await, Err(ReadError::StoreLost(_))));
        let other = Cluster::new(ClusterId::new(2)).encode(Nonce::new(1));
        store.put(keys::CLUSTER, other).await.unwrap();
        assert!(matches!(reader.check_store().await, Err(ReadError::StoreLost(_))));
    }
}
