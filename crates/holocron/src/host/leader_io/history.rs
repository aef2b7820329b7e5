//! Trims the epoch log: marks old segments, then deletes them.

use std::sync::Arc;

use holocron_protocol::{
    epoch::log::{Retention, leftovers},
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
        if retention(&self.shared).due(newest, segments) == Segment::ZERO {
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

fn retention(shared: &Shared) -> Retention {
    let settings = &shared.parts.settings;
    Retention { epochs: settings.history_epochs, age: settings.history_age }
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
        let resumed = Trimmed::resumed(marks);
        delete_leftovers(shared, resumed.marked, stop).await?;
        *trimmed = Some(resumed);
    }
    let trimmed = trimmed.as_mut()?;
    let due = retention(shared).due(newest, segments);
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

/// Deletes what is in marked segments: a host that was far behind may have created epochs there again.
async fn delete_leftovers(
    shared: &Shared,
    marked: Segment,
    stop: &CancellationToken,
) -> Option<()> {
    let (store, patience) = (shared.parts.store(), shared.parts.patience());
    let listed = list_until(&*store, keys::EPOCHS, patience, stop).await.ok()?;
    let epoch = |key: &str| match keys::parse(key) {
        Some(Key::Epoch(epoch)) => Some(epoch),
        _ => None,
    };
    let epochs: Vec<Epoch> = listed.iter().filter_map(|object| epoch(&object.key)).collect();
    for epoch in leftovers(marked, shared.parts.cluster.epoch_segments(), epochs) {
        delete_until(&*store, &keys::epoch(epoch), patience, stop).await.ok()?;
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
    Some(retention(shared).is_old(record.map(|view| view.record.wall_ms), now))
}
