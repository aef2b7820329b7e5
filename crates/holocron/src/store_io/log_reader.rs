//! Reading an epoch log, a cluster's or an election's: carries out [`EpochReader`].

use core::time::Duration;

use bytes::Bytes;
use holocron_protocol::{
    epoch::log::{EpochReader, Found, MarkState, ReadEffect, ReadEvent},
    format::{
        codec::Malformed,
        keys::{self, Key},
        segment::EpochSegments,
    },
    ids::{Epoch, Segment},
};
use holocron_store::{Patience, Store, get_until, list_until};
use tokio_util::sync::CancellationToken;

use super::epoch_log::LogError;

/// The pause before the log is listed again; grows by this much each time.
const LIST_PAUSE: Duration = Duration::from_millis(20);
const LIST_PAUSES_MAX: u32 = 50;

/// A record of an epoch log, with its stored bytes.
pub(crate) trait LogEntry: Sized {
    /// From the bytes at its key.
    fn read(key: &str, stored: Bytes) -> Result<Self, Malformed>;

    /// Its epoch.
    fn epoch(&self) -> Epoch;

    /// When it was written, in milliseconds.
    fn wall_ms(&self) -> u64;
}

/// Reads one log.
pub(crate) struct LogReader<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) segments: EpochSegments,
    pub(crate) patience: Patience,
    pub(crate) stop: &'a CancellationToken,
}

impl LogReader<'_> {
    /// The newest record: by probing forward from a known one, else by a list; `None` when the log is empty. A known
    /// record that is still the newest is returned unchanged.
    pub(crate) async fn newest<E: LogEntry>(
        &self,
        known: Option<E>,
    ) -> Result<Option<E>, LogError> {
        let known_epoch = known.as_ref().map_or(Epoch::ZERO, LogEntry::epoch);
        let (mut reader, mut effect) = EpochReader::new(known_epoch, self.segments);
        let mut newest = known;
        let mut lists = 0;
        loop {
            let event = match effect {
                ReadEffect::Get(epoch) => {
                    let key = keys::epoch(epoch);
                    let found = get_until(self.store, &key, self.patience, self.stop).await?;
                    ReadEvent::Got(match found.map(|stored| E::read(&key, stored)) {
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
                    let found = newest.filter(|entry| entry.epoch() == epoch);
                    assert_eq!(found.is_none(), epoch == Epoch::ZERO, "the newest record was read");
                    return Ok(found);
                }
                ReadEffect::Broken(malformed) => return Err(malformed.into()),
            };
            effect = reader.step(event);
        }
    }

    /// Whether the mark of a segment exists.
    pub(crate) async fn mark(&self, segment: Segment) -> Result<MarkState, LogError> {
        let key = keys::epoch_mark(segment);
        let found = get_until(self.store, &key, self.patience, self.stop).await?;
        Ok(if found.is_some() { MarkState::Present } else { MarkState::Absent })
    }

    /// The keys below a prefix.
    pub(crate) async fn list(&self, prefix: &str) -> Result<impl Iterator<Item = Key>, LogError> {
        let listed = list_until(self.store, prefix, self.patience, self.stop).await?;
        Ok(listed.into_iter().filter_map(|object| keys::parse(&object.key)))
    }
}
