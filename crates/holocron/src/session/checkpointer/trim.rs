//! Deletes garbage after a checkpoint, as `protocol::checkpoint::retain` decides.

use std::sync::Arc;

use holocron_protocol::{
    checkpoint::retain::{Deletion, LeftBehind},
    epoch::record::EpochRecord,
    format::{
        keys::{self, Key},
        segment::TrimStep,
    },
    journal::batch::Mark,
};
use holocron_store::{Created, Patience, create_once, delete_until, get_until, list_until};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Checkpoints, Failed, failed};

/// How long the host tries to delete a pack of an ended session.
const LEFT_BEHIND_WITHIN: core::time::Duration = core::time::Duration::from_secs(60);

impl Checkpoints {
    pub(super) fn newest_record(&self) -> Option<Arc<EpochRecord>> {
        self.views.borrow().as_ref().map(|view| Arc::clone(&view.record))
    }

    /// Deletes what is garbage by now.
    pub(super) async fn look_again(&mut self) -> Result<(), Failed> {
        self.delete_garbage().await?;
        self.delete_late().await
    }

    /// Trims the journal and deletes own packs, one object at a time. While a backup is being made, nothing goes.
    pub(super) async fn delete_garbage(&mut self) -> Result<(), Failed> {
        let segments = self.session.parts.cluster.journal_segments();
        // Read again for each deletion: the newest epoch decides what may be deleted.
        while let Some(record) = self.newest_record() {
            if let Some(until) = self.session.parts.keep.until() {
                self.look_again_by(until);
                break;
            }
            let journal = &self.session.journal;
            let due = journal
                .with_writer(|writer| self.retention.next_deletion(writer, segments, &record));
            let Some(deletion) = due else { break };
            match deletion {
                Deletion::Trim(TrimStep::Mark(segment)) => {
                    let key = keys::trim_mark(self.session.id(), segment);
                    let parts = &self.session.parts;
                    let mark = Mark { by: parts.host.clone() }.encode(parts.random.nonce());
                    let stop = self.session.journal.ended();
                    match create_once(&parts.store, &key, mark, self.session.patience(), stop).await
                    {
                        Created::Won | Created::Lost(_) => {}
                        Created::Unknown => return Err(Failed::Over),
                    }
                }
                Deletion::Trim(TrimStep::Delete(segment)) => {
                    for position in segments.members(segment) {
                        self.delete(&keys::journal_position(self.session.id(), position)).await?;
                    }
                }
                Deletion::Pack(number) => {
                    self.delete(&keys::pack(self.session.id(), number)).await?;
                }
            }
            self.retention.deleted(deletion);
            self.look_again_later();
        }
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Failed> {
        let store = &*self.session.parts.store;
        let deleted =
            delete_until(store, key, self.session.patience(), self.session.journal.ended()).await;
        deleted.map_err(|gave_up| failed(key, &gave_up))
    }

    /// Looks for own objects once more, a while after the last deletion. Under load that is one look per
    /// `collect_again_after`.
    fn look_again_later(&mut self) {
        self.look_again_by(Instant::now() + self.session.settings.collect_again_after);
    }

    fn look_again_by(&mut self, at: Instant) {
        self.last_look_at = self.last_look_at.max(Some(at));
        self.look_again_at.get_or_insert(at);
    }

    /// Deletes own objects that landed after they were deleted or given up.
    pub(super) async fn delete_late(&mut self) -> Result<(), Failed> {
        // Not yet the last look, if more was deleted meanwhile.
        let now = Instant::now();
        self.look_again_at = self.last_look_at.filter(|&at| at > now);
        let segments = self.session.parts.cluster.journal_segments();
        let session = self.session.id();
        let mut listed = Vec::new();
        // Not the marks: there may be many.
        for prefix in [keys::journal(session), keys::packs(session)] {
            let stop = self.session.journal.ended();
            let store = &*self.session.parts.store;
            let found = list_until(store, &prefix, self.session.patience(), stop).await;
            listed.extend(found.map_err(|gave_up| failed(&prefix, &gave_up))?);
        }
        let listed = listed.iter().filter_map(|object| keys::parse(&object.key));
        let late: Vec<Key> = self.retention.landed_late(segments, listed).collect();
        for key in late {
            tracing::debug!(%session, key = key.path(), "object landed late and is deleted");
            self.delete(&key.path()).await?;
            self.look_again_later();
        }
        Ok(())
    }

    /// After the session has ended: deletes its packs that a collector may have come too early for. The leader may have
    /// collected and forgotten the session while this process was paused in the middle of a put.
    pub(super) async fn leave_no_pack_behind(self) {
        let session = self.session.id();
        let patience = Patience { budget: Some(LEFT_BEHIND_WITHIN), ..self.session.patience() };
        let LeftBehind { unnamed, in_doubt } = self.retention.left_behind();
        if unnamed.is_empty() && in_doubt.is_empty() {
            return;
        }
        // A put whose answer nobody waits for any more may land for a moment.
        tokio::time::sleep(self.session.settings.store_try_timeout).await;
        // The session's own token is cancelled. The task ends with the host.
        let stop = CancellationToken::new();
        let store = &*self.session.parts.store;
        let mut goes = unnamed;
        if !in_doubt.is_empty() {
            match get_until(store, &keys::end_mark(session), patience, &stop).await {
                Ok(Some(_)) => goes.extend(in_doubt),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%session, %error, "end mark can't be read; packs of an ended session stay");
                }
            }
        }
        for number in goes {
            let key = keys::pack(session, number);
            if let Err(error) = delete_until(store, &key, patience, &stop).await {
                tracing::debug!(%session, key, %error, "pack of an ended session not deleted; it goes with the session");
            }
        }
    }
}
