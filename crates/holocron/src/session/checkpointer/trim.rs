//! Deletes garbage after a checkpoint, as `protocol::checkpoint::retain` decides.

use std::sync::Arc;

use holocron_protocol::{
    checkpoint::retain::Deletion,
    epoch::record::EpochRecord,
    format::{keys, segment::TrimStep},
    journal::batch::Mark,
};
use holocron_store::{Created, create_once, delete_until};

use super::{Checkpoints, Failed, failed};

impl Checkpoints {
    pub(super) fn newest_record(&self) -> Option<Arc<EpochRecord>> {
        self.views.borrow().as_ref().map(|view| Arc::clone(&view.record))
    }

    /// Trims the journal and deletes own packs, one object at a time.
    pub(super) async fn delete_garbage(&mut self) -> Result<(), Failed> {
        let segments = self.session.parts.cluster.journal_segments();
        // Read again for each deletion: the newest epoch decides what may be deleted.
        while let Some(record) = self.newest_record() {
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
                    match create_once(&parts.store, &key, mark, self.patience(), stop).await {
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
        }
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Failed> {
        let store = &*self.session.parts.store;
        let deleted = delete_until(store, key, self.patience(), self.session.journal.ended()).await;
        deleted.map_err(|gave_up| failed(key, &gave_up))
    }
}
