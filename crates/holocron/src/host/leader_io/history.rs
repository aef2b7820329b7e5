//! Trims the epoch log: marks old segments, then deletes them.

use core::marker::PhantomData;
use std::sync::Arc;

use holocron_protocol::{format::segment::Trimmed, ids::Epoch};
use tokio_util::sync::CancellationToken;

use crate::{
    host::{driver::Driver, shared::Shared},
    store_io::log_trim::LogTrim,
    transport::serve::View,
};

impl Driver {
    /// Deletes old epochs, in a task of its own. At most one such task runs.
    pub(super) fn trim_epoch_log(&self, newest: Epoch) {
        let Some(lead) = &self.lead else { return };
        let segments = self.shared.parts.cluster.epoch_segments();
        // No need to list the marks when nothing is due. A later look does what isn't done now.
        if self.shared.parts.keep.until().is_some()
            || LogTrim::<View>::is_idle(newest, self.shared.parts.settings.history, segments)
        {
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
    let parts = &shared.parts;
    let store = parts.store();
    let trim: LogTrim<'_, View> = LogTrim {
        store: &store,
        segments: parts.cluster.epoch_segments(),
        retention: parts.settings.history,
        patience: parts.patience(),
        stop,
        by: &parts.name,
        clock: &*parts.clock,
        random: &parts.random,
        records: PhantomData,
    };
    trim.trim(newest, trimmed).await
}
