//! Trimming an epoch log, a cluster's or an election's: marks old segments, then deletes them.

use core::marker::PhantomData;
use std::sync::Arc;

use holocron_protocol::{
    epoch::log::{Retention, leftovers},
    format::{
        keys::{self, Key},
        segment::{EpochSegments, TrimStep, Trimmed},
    },
    ids::{Epoch, HostName, Segment},
    journal::batch::Mark,
};
use holocron_store::{Created, Patience, Store, create_once, delete_until, get_until, list_until};
use tokio_util::sync::CancellationToken;

use super::log_reader::LogEntry;
use crate::api::{clock::Clock, random::Random};

/// Trims one log, whose records are `E`.
pub(crate) struct LogTrim<'a, E> {
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) segments: EpochSegments,
    pub(crate) retention: Retention,
    pub(crate) patience: Patience,
    pub(crate) stop: &'a CancellationToken,
    /// Whose marks they are.
    pub(crate) by: &'a HostName,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) random: &'a Random,
    pub(crate) records: PhantomData<fn() -> E>,
}

impl<E: LogEntry> LogTrim<'_, E> {
    /// Whether nothing is due, so that the marks need not be listed.
    pub(crate) fn is_idle(newest: Epoch, retention: Retention, segments: EpochSegments) -> bool {
        retention.due(newest, segments) == Segment::ZERO
    }

    /// Deletes what is due. `trimmed` is how far an earlier call came; `None` lists the marks. `None` if it was stopped or a
    /// request failed: the next call continues.
    pub(crate) async fn trim(&self, newest: Epoch, trimmed: &mut Option<Trimmed>) -> Option<()> {
        if trimmed.is_none() {
            let listed = list_until(&**self.store, keys::EPOCH_MARKS, self.patience, self.stop)
                .await
                .ok()?;
            let marks = listed.iter().filter_map(|object| match keys::parse(&object.key) {
                Some(Key::EpochMark(segment)) => Some(segment),
                _ => None,
            });
            let resumed = Trimmed::resumed(marks);
            if self.delete_leftovers(resumed.marked).await.is_none() {
                // They are harmless, and a log that is too long to be listed becomes shorter only by this trim.
                tracing::debug!(marked = %resumed.marked, "epochs left in trimmed segments are not deleted; the next leader tries");
            }
            *trimmed = Some(resumed);
        }
        let trimmed = trimmed.as_mut()?;
        let due = self.retention.due(newest, self.segments);
        while let Some(step) = trimmed.next_step(due) {
            match step {
                TrimStep::Mark(segment) => {
                    if !self.is_old(self.segments.last(segment)).await? {
                        return Some(());
                    }
                    let mark = Mark { by: self.by.clone() }.encode(self.random.nonce());
                    let key = keys::epoch_mark(segment);
                    match create_once(self.store, &key, mark, self.patience, self.stop).await {
                        Created::Won | Created::Lost(_) => {}
                        Created::Unknown => return None,
                    }
                }
                TrimStep::Delete(segment) => {
                    for epoch in self.segments.members(segment) {
                        let key = keys::epoch(epoch);
                        delete_until(&**self.store, &key, self.patience, self.stop).await.ok()?;
                    }
                }
            }
            trimmed.done(step);
        }
        Some(())
    }

    /// Deletes what is in marked segments: a host that was far behind may have created epochs there again.
    async fn delete_leftovers(&self, marked: Segment) -> Option<()> {
        let listed =
            list_until(&**self.store, keys::EPOCHS, self.patience, self.stop).await.ok()?;
        let epoch = |key: &str| match keys::parse(key) {
            Some(Key::Epoch(epoch)) => Some(epoch),
            _ => None,
        };
        let epochs: Vec<Epoch> = listed.iter().filter_map(|object| epoch(&object.key)).collect();
        for epoch in leftovers(marked, self.segments, epochs) {
            let key = keys::epoch(epoch);
            delete_until(&**self.store, &key, self.patience, self.stop).await.ok()?;
        }
        Some(())
    }

    /// Whether a record is older than the retention age.
    async fn is_old(&self, epoch: Epoch) -> Option<bool> {
        let key = keys::epoch(epoch);
        let stored = get_until(&**self.store, &key, self.patience, self.stop).await.ok()?;
        let record = stored.and_then(|stored| E::read(&key, stored).ok());
        Some(self.retention.is_old(record.map(|record| record.wall_ms()), self.clock.wall_ms()))
    }
}
