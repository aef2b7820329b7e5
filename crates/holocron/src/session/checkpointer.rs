//! Checkpoints: bring the slots' logs up to date, copy records into packs, commit, then trim.
//!
//! `protocol::checkpoint::plan` decides what a checkpoint holds; this fetches, stores and commits. It reads only committed
//! batches, never actors, so a checkpoint holds only committed state.

mod trim;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use holocron_protocol::{
    checkpoint::{
        pack_writer::{self, PackWriter, Read},
        plan::{Plan, PlanInput, Survey, TenureStatus},
        retain::{Copying, Forget, Recovering, Retention},
    },
    epoch::{
        draft::{SlotReport, SourceFact},
        record::EpochRecord,
    },
    format::keys,
    ids::{Position, Tenure},
    journal::batch::{self, JournalObject},
    slot::replay::for_each_slot_record,
    state::{
        checkpoint::Checkpoint,
        pack::PackRef,
        place::{FileObject, Place},
    },
};
use holocron_store::{GaveUp, get_range_until, put_until};
use tokio::{sync::mpsc, time::Instant};

use super::{Notice, Session};
use crate::planted;
use crate::session::{
    journal::Closed,
    slots::{SlotData, Table},
};

/// Ranged gets in flight for copying.
const READS_MAX: usize = 8;

/// The checkpoint task of a session.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    session: Arc<Session>,
    /// The newest epoch record; lists the tenures that are still needed.
    views: tokio::sync::watch::Receiver<Option<crate::transport::serve::View>>,
    notices: mpsc::UnboundedSender<Notice>,
    /// The packs that the newest committed checkpoint names.
    packs: Vec<PackRef>,
    /// The newest batch that is in the slots' logs.
    entered: Position,
    retention: Retention,
    /// When the own objects are listed next, because some were deleted: a request may land after the deletion.
    look_again_at: Option<Instant>,
    /// When they are to be listed for what was deleted last.
    last_look_at: Option<Instant>,
}

/// Why the task woke up.
enum Woken {
    Ended,
    CheckpointDue,
    /// What was needed by the epoch before may be garbage now.
    NewEpoch,
    /// Objects that were deleted may have landed again, or what was kept for a backup may go.
    LookAgain,
}

/// Why a checkpoint failed.
#[derive(Debug)]
enum Failed {
    /// The session is over.
    Over,
    /// A record to copy can't be read, for the given reason. Logged and retried later.
    Unreadable(String),
}

impl Checkpoints {
    pub(crate) fn new(
        session: Arc<Session>,
        views: tokio::sync::watch::Receiver<Option<crate::transport::serve::View>>,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        let retention = Retention::new(session.id());
        let (packs, entered) = (Vec::new(), Position::ZERO);
        Self {
            session,
            views,
            notices,
            packs,
            entered,
            retention,
            look_again_at: None,
            last_look_at: None,
        }
    }

    /// Writes checkpoints whenever one is due, until the session ends.
    pub(crate) async fn run(mut self) {
        let session = Arc::clone(&self.session);
        loop {
            let done = match self.wake().await {
                Woken::Ended => break,
                Woken::CheckpointDue => self.checkpoint().await,
                Woken::NewEpoch => self.delete_garbage().await.map(|()| Copying::Complete),
                Woken::LookAgain => self.look_again().await.map(|()| Copying::Complete),
            };
            match done {
                Ok(Copying::Complete) => {}
                Ok(Copying::Remaining) => {
                    // More remains to copy than one checkpoint may. The pause leaves the store to commands.
                    self.pause().await;
                    session.journal.want_checkpoint();
                }
                Err(Failed::Over) => break,
                Err(Failed::Unreadable(why)) => {
                    tracing::error!(session = %session.id(), why, "checkpoint failed and is retried; the journal grows");
                    self.retention.given_up();
                    self.pause().await;
                    session.journal.want_checkpoint();
                }
            }
        }
        self.leave_no_pack_behind().await;
    }

    async fn wake(&mut self) -> Woken {
        let session = Arc::clone(&self.session);
        let look_again_at = self.look_again_at;
        let look_again = async {
            match look_again_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = session.journal.ended().cancelled() => Woken::Ended,
            () = look_again => Woken::LookAgain,
            () = session.journal.until_checkpoint_due() => Woken::CheckpointDue,
            changed = self.views.changed() => match changed {
                Ok(()) => Woken::NewEpoch,
                // The host stops.
                Err(_) => Woken::Ended,
            },
        }
    }

    async fn pause(&self) {
        tokio::select! {
            biased;
            () = self.session.journal.ended().cancelled() => {}
            () = tokio::time::sleep(self.session.settings.copy_pause) => {}
        }
    }

    /// Writes one checkpoint, if anything was committed.
    async fn checkpoint(&mut self) -> Result<Copying, Failed> {
        let Some(record) = self.newest_record() else {
            return Ok(Copying::Complete);
        };
        let low_water = self.enter_tail()?;
        if low_water == Position::ZERO {
            return Ok(Copying::Complete);
        }
        let began = Instant::now();
        let plan = self.plan(&record, low_water);
        let (packs, places) = self.write_packs(&plan).await?;
        let filled = self.session.journal.checkpoint(low_water, |residency| {
            let content = plan.content(&packs, |slot| residency.open_tenure(slot));
            (content.encode(), content)
        });
        let (position, content) = filled.map_err(|Closed| Failed::Over)?;
        self.retention.checkpoint_appended(content.low_water);
        if planted::trim_before_commit() {
            self.delete_garbage().await?;
        }
        self.session.journal.until_committed(position).await.map_err(|Closed| Failed::Over)?;
        let copying = self.committed(&plan, &content, &places);
        self.delete_garbage().await?;
        self.session.parts.counts.checkpoints.took(began.elapsed());
        Ok(copying)
    }

    /// Brings the logs of the slots up to the newest committed batch.
    fn enter_tail(&mut self) -> Result<Position, Failed> {
        let low_water = self.session.journal.committed();
        let session_id = self.session.id();
        let batches = self.session.journal.with_tail(|tail| tail.through(low_water));
        for (position, object) in batches {
            if position <= self.entered {
                continue;
            }
            let key = keys::journal_position(session_id, position);
            let decoded = batch::decode(&key, &object);
            let Ok(JournalObject::Batch(batch)) = decoded else {
                unreachable!("{key}: a batch of our own can't be read back: {decoded:?}");
            };
            let mut table = self.session.slots.lock();
            let mut files = self.session.slots.files();
            let slot_count = self.session.parts.cluster.slots;
            let entered = for_each_slot_record(
                &batch,
                slot_count,
                |_| true,
                &mut files,
                |slot, record| {
                    let SlotData { log, recovered, .. } = table.get_mut(slot);
                    log.apply(record, |epoch| {
                        recovered.remove(&epoch).expect("an adopted slot was recovered")
                    })
                },
            );
            // Our own journal breaks a rule of the protocol: the session must not continue.
            entered
                .unwrap_or_else(|malformed| panic!("journal of session {session_id}: {malformed}"));
            self.entered = position;
        }
        Ok(low_water)
    }

    /// Plans the checkpoint.
    fn plan(&self, record: &EpochRecord, low_water: Position) -> Plan {
        let session = self.session.id();
        let mut table = self.session.slots.lock();
        let files = self.session.slots.files();
        let (mut slots, mut survey) = (BTreeMap::new(), Survey::default());
        let open = self.session.journal.open_tenures();
        // A session that the record doesn't list is named by no slot of any domain.
        let slots_by_record = record.slots_around(session).unwrap_or(&record.home().slots);
        for (slot, holding) in slots_by_record.iter() {
            let state = table.get_mut(slot);
            if state.log.keep_listed(session, holding) {
                slots.insert(slot, state.log.checkpoint_entry());
            }
            for tenure in state.log.tenures() {
                survey.tenure(tenure, TenureStatus::of(tenure.epoch, open[slot.index()]));
            }
        }
        let copy_len_max = self.session.settings.copy_len;
        let input =
            PlanInput { session, low_water, slots, packs: self.packs.clone(), copy_len_max };
        let mut plan = Plan::new(input, &survey, &files);
        for (slot, state) in table.iter() {
            for tenure in state.log.tenures() {
                let status = TenureStatus::of(tenure.epoch, open[slot.index()]);
                plan.tenure(slot, tenure, status, &files);
            }
        }
        plan
    }

    /// Fetches the records to copy and stores them in packs.
    async fn write_packs(&mut self, plan: &Plan) -> Result<(Vec<PackRef>, Vec<Place>), Failed> {
        let copies = plan.copies();
        let reads = pack_writer::reads(copies);
        let fetched = self.fetch_all(reads.clone()).await?;
        let mut writer = PackWriter::new(self.session.id(), self.retention.next_pack());
        let mut objects = Vec::new();
        for copy in copies {
            let unreadable = |malformed: holocron_protocol::format::codec::Malformed| {
                Failed::Unreadable(malformed.to_string())
            };
            let bytes = pack_writer::bytes_of(copy, &reads, &fetched).map_err(unreadable)?;
            if !writer.fits(copy) {
                objects.extend(writer.cut(self.session.parts.random.nonce()));
            }
            writer.add(copy, &bytes, &mut self.session.slots.files()).map_err(unreadable)?;
        }
        objects.extend(writer.cut(self.session.parts.random.nonce()));
        for (pack, object) in objects {
            self.retention.pack_written(pack.number);
            let key = keys::pack(self.session.id(), pack.number);
            let put = put_until(
                &*self.session.parts.store,
                &key,
                object,
                self.session.patience(),
                self.session.journal.ended(),
            );
            put.await.map_err(|gave_up| failed(&key, &gave_up))?;
        }
        Ok(writer.finish())
    }

    async fn fetch_all(&self, reads: Vec<Read>) -> Result<Vec<Bytes>, Failed> {
        stream::iter(reads).map(|read| self.fetch(read)).buffered(READS_MAX).try_collect().await
    }

    async fn fetch(&self, read: Read) -> Result<Bytes, Failed> {
        let file = self.session.slots.files().id(read.file);
        let range = read.range.start as usize..read.range.end as usize;
        if let FileObject::Journal(position) = file.object
            && file.session == self.session.id()
        {
            let kept = self.session.journal.with_tail(|tail| tail.object(position));
            if let Some(object) = kept {
                return Ok(object.slice(range));
            }
        }
        if let Some(bytes) = self.session.record_cache.find(&file, range) {
            return Ok(bytes);
        }
        let key = file.key();
        let range = u64::from(read.range.start)..u64::from(read.range.end);
        let store = &*self.session.parts.store;
        match get_range_until(
            store,
            &key,
            range,
            self.session.patience(),
            self.session.journal.ended(),
        )
        .await
        {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Failed::Unreadable(format!("{key} is missing"))),
            Err(gave_up) => Err(failed(&key, &gave_up)),
        }
    }

    /// Forgets the numbers of files that no index points into.
    fn forget_files(&mut self, table: &Table) {
        let mut used = BTreeSet::new();
        for (_, state) in table.iter() {
            for tenure in state.log.tenures() {
                tenure.entries.note_files(&mut used);
            }
            for recovered in state.recovered.values() {
                recovered.note_files(&mut used);
            }
        }
        let mut files = self.session.slots.files();
        files.retain(&used);
        self.retention.files_left(files.count());
    }

    /// The checkpoint is committed: points the indexes to the copies, and drops what the checkpoint covers.
    fn committed(&mut self, plan: &Plan, content: &Checkpoint, places: &[Place]) -> Copying {
        let session = self.session.id();
        let held = Arc::clone(&self.session);
        // Locked until the end of this function: a slot adopted afterwards pins its sources' objects again.
        let mut table = held.slots.lock();
        for (copy, place) in plan.copies().iter().zip(places) {
            table.get_mut(copy.slot).log.copied(copy, place);
        }
        let mut facts = Vec::new();
        for (slot, epoch) in plan.settled(content) {
            table.get_mut(slot).log.settled(epoch);
            let fact = SourceFact::Full(Tenure { epoch, session });
            facts.push(SlotReport { domain: held.parts.domain, slot, fact });
        }
        let copying = Copying::of(table.iter().map(|(_, state)| &state.log));
        let unlogged = table.iter().map(|(_, state)| state.recovered.len()).sum();
        let recovering =
            held.journal.with_residency(|residency| Recovering::of(residency, unlogged));
        let files_known = held.slots.files().count();
        for forget in self.retention.committed(content, copying, recovering, files_known) {
            match forget {
                Forget::Tail(low_water) => {
                    held.journal.with_tail(|tail| tail.drop_through(low_water));
                }
                Forget::ForeignObjects => held.record_cache.clear(),
                Forget::UnusedFiles => self.forget_files(&table),
            }
        }
        held.slots.files().grow_older();
        drop(table);
        self.packs.clone_from(&content.packs);
        self.session.note_packs(&content.packs);
        tracing::debug!(%session, low_water = %content.low_water, packs = content.packs.len(),
            copied = places.len(), "checkpoint committed");
        if !facts.is_empty() {
            // The host may be stopping.
            drop(self.notices.send(Notice::Facts(facts)));
        }
        copying
    }
}

fn failed(key: &str, gave_up: &GaveUp) -> Failed {
    match gave_up {
        GaveUp::Stopped | GaveUp::Spent { .. } => Failed::Over,
        GaveUp::Rejected(error) => {
            Failed::Unreadable(format!("{key}: {}", holocron_store::explain(error)))
        }
    }
}
