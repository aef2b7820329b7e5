//! The epoch log in the store: reading the newest record and following it.

use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    epoch::record::EpochRecord,
    format::{cluster::Cluster, codec::Malformed},
    ids::Epoch,
};
use holocron_store::{GaveUp, Patience, Store};
use tokio_util::sync::CancellationToken;

use super::log_reader::{LogEntry, LogReader};
use crate::transport::serve::View;

/// The epoch log of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct EpochLog {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cluster: Cluster,
    pub(crate) patience: Patience,
    pub(crate) stop: CancellationToken,
}

/// The log can't be read now, or at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The store gave no answer in time.
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
    /// A record can't be decoded.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl EpochLog {
    /// The newest record: by probing forward from a known one, else by a list; `None` when the log is empty. A known
    /// record that is still the newest is returned unchanged.
    pub(crate) async fn newest(&self, known: Option<View>) -> Result<Option<View>, LogError> {
        self.reader().newest(known).await
    }

    /// What reads the log by its keys.
    pub(crate) fn reader(&self) -> LogReader<'_> {
        LogReader {
            store: &*self.store,
            segments: self.cluster.epoch_segments(),
            patience: self.patience,
            stop: &self.stop,
        }
    }
}

impl LogEntry for View {
    fn read(key: &str, stored: Bytes) -> Result<Self, Malformed> {
        view(key, stored)
    }

    fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    fn wall_ms(&self) -> u64 {
        self.record.wall_ms
    }
}

/// A record with its stored bytes.
pub(crate) fn view(key: &str, stored: Bytes) -> Result<View, Malformed> {
    let record = EpochRecord::decode(key, &stored)?;
    Ok(View { record: Arc::new(record), stored })
}
