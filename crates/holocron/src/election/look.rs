//! Requests to an election's log: reading it, and looking whether the store is still the election's.

use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    control::{candidate, election::News, loss::Look},
    epoch::{election_record::ElectionRecord, log::MarkState},
    format::{codec::Malformed, election::ElectionObject, keys, segment::EpochSegments},
    ids::{Epoch, SessionId},
};
use holocron_store::{Patience, Store, get_until};
use tokio_util::sync::CancellationToken;

use crate::store_io::{
    epoch_log::LogError,
    log_reader::{LogEntry, LogReader},
};

/// A record with its stored bytes.
#[derive(Clone, Debug)]
pub(super) struct ElectionView {
    pub(super) record: Arc<ElectionRecord>,
    pub(super) stored: Bytes,
}

impl ElectionView {
    pub(super) fn news(&self, session: SessionId) -> News {
        candidate::news(&self.record, session)
    }
}

impl LogEntry for ElectionView {
    fn read(key: &str, stored: Bytes) -> Result<Self, Malformed> {
        let record = Arc::new(ElectionRecord::decode(key, &stored)?);
        Ok(Self { record, stored })
    }

    fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    fn wall_ms(&self) -> u64 {
        self.record.wall_ms
    }
}

/// The log of one election. `store` begins at the election's root.
#[derive(Clone, Debug)]
pub(super) struct ElectionLog {
    pub(super) store: Arc<dyn Store>,
    pub(super) segments: EpochSegments,
    /// The `election` object. It never changes.
    pub(super) object: Bytes,
    pub(super) patience: Patience,
    pub(super) stop: CancellationToken,
}

impl ElectionLog {
    /// The newest record, as [`LogReader::newest`] finds it.
    pub(super) async fn newest(
        &self,
        known: Option<ElectionView>,
    ) -> Result<Option<ElectionView>, LogError> {
        self.reader().newest(known).await
    }

    /// A look at what must exist: the newest known record, or `election` while there is none. A replaced or restored store has
    /// neither, or another one.
    pub(super) async fn look(&self, known: Option<&ElectionView>) -> Result<Look, LogError> {
        let Some(known) = known else {
            let found = self.get(keys::ELECTION).await?;
            let is_sound = |found: &[u8]| ElectionObject::decode(keys::ELECTION, found).is_ok();
            return Ok(Look::at_unchanging(&self.object, found.as_deref(), is_sound));
        };
        let epoch = known.record.epoch;
        let key = keys::epoch(epoch);
        let found = self.get(&key).await?;
        let is_sound = |found: &[u8]| ElectionRecord::decode(&key, found).is_ok();
        let look = Look::at_unchanging(&known.stored, found.as_deref(), is_sound);
        if look != Look::There && self.mark(epoch).await? == MarkState::Present {
            // This member is far behind, and the record was trimmed. Another one that is far behind may have created the
            // epoch again.
            return Ok(Look::There);
        }
        Ok(look)
    }

    /// Whether an epoch's segment was trimmed.
    pub(super) async fn mark(&self, epoch: Epoch) -> Result<MarkState, LogError> {
        self.reader().mark(self.segments.segment(epoch)).await
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, LogError> {
        Ok(get_until(&*self.store, key, self.patience, &self.stop).await?)
    }

    fn reader(&self) -> LogReader<'_> {
        LogReader {
            store: &*self.store,
            segments: self.segments,
            patience: self.patience,
            stop: &self.stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::{
        epoch::election_record::{ElectionLeader, LeaderTenure},
        ids::{HostName, Nonce},
    };
    use holocron_store::Memory;

    use super::*;

    fn view(session: u128) -> ElectionView {
        let leader = ElectionLeader {
            name: HostName::new("m1").unwrap(),
            session: SessionId::new(session),
            address: String::new(),
        };
        let record = ElectionRecord {
            epoch: Epoch::new(1),
            reason: "a test".to_owned(),
            wall_ms: 0,
            previous: None,
            leader,
            tenure: LeaderTenure::Stays,
        };
        let stored = record.encode(Nonce::new(session));
        ElectionView { record: Arc::new(record), stored }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_at_the_key_of_a_trimmed_record_says_nothing_about_the_store() {
        let segments = EpochSegments::new(5);
        let log = ElectionLog {
            store: Arc::new(Memory::new()),
            segments,
            object: Bytes::new(),
            patience: Patience::within(core::time::Duration::from_secs(1)),
            stop: CancellationToken::new(),
        };
        let (ours, other) = (view(1), view(2));
        let key = keys::epoch(Epoch::new(1));
        let mark = keys::epoch_mark(segments.segment(Epoch::new(1)));
        for (is_marked, at_other, at_nothing) in
            [(false, Look::Foreign, Look::Missing), (true, Look::There, Look::There)]
        {
            if is_marked {
                log.store.create(&mark, Bytes::from_static(b"mark")).await.unwrap();
            }
            log.store.put(&key, other.stored.clone()).await.unwrap();
            assert_eq!(log.look(Some(&ours)).await.unwrap(), at_other, "created again");
            log.store.delete(&key).await.unwrap();
            assert_eq!(log.look(Some(&ours)).await.unwrap(), at_nothing, "deleted");
        }
    }
}
