//! The epoch log in the store: reading the newest record and following it.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    epoch::{
        log::{EpochReader, Found, MarkState, ReadEffect, ReadEvent},
        record::EpochRecord,
    },
    format::{
        cluster::Cluster,
        codec::Malformed,
        keys::{self, Key},
    },
    ids::{Epoch, Segment},
};
use holocron_store::{GaveUp, Patience, Store, get_until, list_until};
use tokio_util::sync::CancellationToken;

use crate::transport::serve::View;

/// The pause before the log is listed again; grows by this much each time.
const LIST_PAUSE: Duration = Duration::from_millis(20);
const LIST_PAUSES_MAX: u32 = 50;

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
        let known_epoch = known.as_ref().map_or(Epoch::ZERO, |view| view.record.epoch);
        let segments = self.cluster.epoch_segments();
        let (mut reader, mut effect) = EpochReader::new(known_epoch, segments);
        let mut newest = known;
        let mut lists = 0;
        loop {
            let event = match effect {
                ReadEffect::Get(epoch) => {
                    let key = keys::epoch(epoch);
                    let found = get_until(&*self.store, &key, self.patience, &self.stop).await?;
                    ReadEvent::Got(match found.map(|stored| view(&key, stored)) {
                        None => Found::Absent,
                        Some(Ok(found)) => {
                            newest = Some(found);
                            Found::Record
                        }
                        Some(Err(malformed)) => Found::Undecodable(malformed),
                    })
                }
                ReadEffect::GetMark(segment) => ReadEvent::Marked(self.mark(segment).await?),
                ReadEffect::ListMarks => {
                    // A log that changes while it is read is read again, with a growing pause.
                    tokio::time::sleep(LIST_PAUSE * lists).await;
                    lists = (lists + 1).min(LIST_PAUSES_MAX);
                    let keys = self.list(keys::EPOCH_MARKS).await?;
                    ReadEvent::MarksListed(
                        keys.filter_map(|key| {
                            if let Key::EpochMark(segment) = key { Some(segment) } else { None }
                        })
                        .collect(),
                    )
                }
                ReadEffect::ListEpochs(from) => {
                    let keys = self.list(keys::EPOCHS).await?;
                    let epochs = keys.filter_map(|key| {
                        if let Key::Epoch(epoch) = key { Some(epoch) } else { None }
                    });
                    ReadEvent::EpochsListed(epochs.filter(|&epoch| epoch >= from).max())
                }
                ReadEffect::Done(epoch) => {
                    let found = newest.filter(|view| view.record.epoch == epoch);
                    assert_eq!(found.is_none(), epoch == Epoch::ZERO, "the newest record was read");
                    return Ok(found);
                }
                ReadEffect::Broken(malformed) => return Err(malformed.into()),
            };
            effect = reader.step(event);
        }
    }

    pub(crate) async fn mark(&self, segment: Segment) -> Result<MarkState, LogError> {
        let found =
            get_until(&*self.store, &keys::epoch_mark(segment), self.patience, &self.stop).await?;
        Ok(if found.is_some() { MarkState::Present } else { MarkState::Absent })
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<impl Iterator<Item = Key>, LogError> {
        let listed = list_until(&*self.store, prefix, self.patience, &self.stop).await?;
        Ok(listed.into_iter().filter_map(|object| keys::parse(&object.key)))
    }
}

/// A record with its stored bytes.
pub(crate) fn view(key: &str, stored: Bytes) -> Result<View, Malformed> {
    let record = EpochRecord::decode(key, &stored)?;
    Ok(View { record: Arc::new(record), stored })
}
