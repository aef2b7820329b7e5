//! After a checkpoint: delete what nobody will ask for again. What may go is decided by `protocol::garbage`.

use std::{collections::BTreeSet, sync::Arc};

use holocron_planted::{Bug, is_planted};
use holocron_protocol::{
    checkpoint::garbage::{OwnPacks, ReleasedSlots, TrimStep, Trimmed, packs_to_delete},
    epoch::record::{EpochRecord, Holding},
    format::{keys, segment::SegmentLen},
    ids::{DomainId, PackNumber},
    journal::batch::Mark,
    state::checkpoint::Checkpoint,
};
use holocron_store::{Created, create_once, delete_until};

use super::{Checkpoints, Failed, failed};

impl Checkpoints {
    pub(super) fn newest_record(&self) -> Option<Arc<EpochRecord>> {
        self.views.borrow().as_ref().map(|view| Arc::clone(&view.record))
    }

    /// Trims the journal and deletes own packs, as far as the newest committed checkpoint allows.
    pub(super) async fn trim(&mut self, content: &Checkpoint) -> Result<(), Failed> {
        let parts = &self.session.parts;
        let segment_len = parts.cluster.journal_segments();
        while let Some(step) = self.next_trim(segment_len, content) {
            match step {
                TrimStep::Mark(segment) => {
                    let key = keys::trim_mark(self.session.id(), segment);
                    let mark = Mark { by: parts.host.clone() }.encode(parts.random.nonce());
                    let stop = self.session.journal.ended();
                    match create_once(&parts.store, &key, mark, self.patience(), stop).await {
                        Created::Won | Created::Lost(_) => self.trimmed.marked = segment.next(),
                        Created::Unknown => return Err(Failed::Over),
                    }
                }
                TrimStep::Delete(segment) => {
                    for position in segment_len.positions(segment) {
                        self.delete(&keys::journal_position(self.session.id(), position)).await?;
                    }
                    self.trimmed.deleted = segment.next();
                }
            }
        }
        self.delete_packs(content).await
    }

    fn next_trim(&self, segment_len: SegmentLen, content: &Checkpoint) -> Option<TrimStep> {
        if is_planted(Bug::TrimBeforeCommit) {
            let Trimmed { marked, deleted } = self.trimmed;
            let due = segment_len.whole_up_to(content.low_water);
            return match (deleted < marked, marked < due) {
                (true, _) => Some(TrimStep::Delete(deleted)),
                (false, true) => Some(TrimStep::Mark(marked)),
                (false, false) => None,
            };
        }
        self.session.journal.next_trim(self.trimmed, segment_len)
    }

    /// Judged by the newest epoch read, now that the checkpoint is committed: a slot may have been released since the
    /// checkpoint was planned, and its new owner reads by the checkpoint before. A Release below this checkpoint came of
    /// an epoch that was read by now; whoever reads one above it reads by this checkpoint.
    async fn delete_packs(&mut self, content: &Checkpoint) -> Result<(), Failed> {
        let session = self.session.id();
        let Some(record) = self.newest_record() else { return Ok(()) };
        let domain = record.domains.get(&DomainId::HOME).expect("every record has the home domain");
        let listed = domain.slots.distinct().iter().any(|holding| is_source(holding, session));
        let named: BTreeSet<PackNumber> = content.packs.iter().map(|pack| pack.number).collect();
        let packs = OwnPacks {
            written: &self.written,
            named: &named,
            free_from: self.next_pack,
            released_slots: if listed { ReleasedSlots::Listed } else { ReleasedSlots::Unlisted },
        };
        let garbage: Vec<PackNumber> = packs_to_delete(packs).collect();
        for pack in garbage {
            self.delete(&keys::pack(session, pack)).await?;
            self.written.remove(&pack);
        }
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Failed> {
        let store = &*self.session.parts.store;
        let deleted = delete_until(store, key, self.patience(), self.session.journal.ended()).await;
        deleted.map_err(|gave_up| failed(key, &gave_up))
    }
}

/// Whether others may read what a session released.
fn is_source(holding: &Holding, session: holocron_protocol::ids::SessionId) -> bool {
    holding.newest_source_of(session).is_some()
}
