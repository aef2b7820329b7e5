//! Trims the epoch log: marks old segments, then deletes them.

use std::sync::Arc;

use holocron_protocol::{
    format::{
        keys::{self, Key},
        segment::{TrimStep, Trimmed},
    },
    ids::{Epoch, Segment},
    journal::batch::Mark,
};
use holocron_store::{Created, create_once, delete_until, list_until};
use tokio_util::sync::CancellationToken;

use crate::host::{driver::Driver, shared::Shared};

impl Driver {
    /// Deletes old epochs, in a task of its own. At most one such task runs.
    pub(super) fn trim_epoch_log(&self, newest: Epoch) {
        let Some(lead) = &self.lead else { return };
        let segments = self.shared.parts.cluster.epoch_segments();
        // No need to list the marks when nothing is due.
        if self.shared.parts.settings.history.due(newest, segments) == Segment::ZERO {
            return;
        }
        let Ok(mut trimmed) = Arc::clone(&lead.trimming).try_lock_owned() else {
            return;
        };
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        self.shared.spawn(async move {
            if trim(&shared, newest, &mut trimmed, &stop).await.is_none() {
                tracing::debug!(%newest, "trim of the epoch log did not finish; the next one continues");
            }
        });
    }
}

/// `None` if it was stopped or a request failed.
async fn trim(
    shared: &Shared,
    newest: Epoch,
    trimmed: &mut Option<Trimmed>,
    stop: &CancellationToken,
) -> Option<()> {
    let (store, patience) = (shared.parts.store(), shared.parts.patience());
    let segments = shared.parts.cluster.epoch_segments();
    if trimmed.is_none() {
        let listed = list_until(&*store, keys::EPOCH_MARKS, patience, stop).await.ok()?;
        let marks = listed.iter().filter_map(|object| match keys::parse(&object.key) {
            Some(Key::EpochMark(segment)) => Some(segment),
            _ => None,
        });
        *trimmed = Some(Trimmed::resumed(marks));
    }
    let trimmed = trimmed.as_mut()?;
    let due = shared.parts.settings.history.due(newest, segments);
    while let Some(step) = trimmed.next_step(due) {
        match step {
            TrimStep::Mark(segment) => {
                if !is_old(shared, segments.last(segment), stop).await? {
                    return Some(());
                }
                let mark =
                    Mark { by: shared.parts.name.clone() }.encode(shared.parts.random.nonce());
                match create_once(&store, &keys::epoch_mark(segment), mark, patience, stop).await {
                    Created::Won | Created::Lost(_) => {}
                    Created::Unknown => return None,
                }
            }
            TrimStep::Delete(segment) => {
                for epoch in segments.members(segment) {
                    delete_until(&*store, &keys::epoch(epoch), patience, stop).await.ok()?;
                }
            }
        }
        trimmed.done(step);
    }
    Some(())
}

/// Whether a record is older than the retention age.
async fn is_old(shared: &Shared, epoch: Epoch, stop: &CancellationToken) -> Option<bool> {
    let (store, patience) = (shared.parts.store(), shared.parts.patience());
    let key = keys::epoch(epoch);
    let stored = holocron_store::get_until(&*store, &key, patience, stop).await.ok()?;
    let record = stored.and_then(|stored| crate::store_io::epoch_log::view(&key, stored).ok());
    let now = shared.parts.clock.wall_ms();
    Some(shared.parts.settings.history.is_old(record.map(|view| view.record.wall_ms), now))
}
