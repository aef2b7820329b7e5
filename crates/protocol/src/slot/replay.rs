//! Replay of a journal: its newest checkpoint, then every batch above the low water, up to the seal or the last batch.
//!
//! A replay is one consistent view: a tenure's end and its content are read together. If an object of its range is
//! missing, it was trimmed meanwhile, and the whole replay starts over; a replay with a gap is impossible.
//!
//! Invariants:
//!
//! * Positions come without a gap; the seal is right after the last.
//! * Only requested slots take memory.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
};

use crate::{
    format::{codec::Malformed, keys},
    ids::{Position, SessionId, Slot},
    journal::batch::{Batch, Record},
    planted,
    slot::log::{Disorder, SlotLog, SlotRecord},
    state::{
        checkpoint::Checkpoint,
        index::SlotIndex,
        pack::PackIndex,
        place::{FileId, FileObject, Files, Origin, Place},
    },
};

/// How a replayed journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalEnd {
    /// The session may still be open.
    Live,
    /// The seal is at this position: nothing follows.
    Sealed(Position),
}

impl JournalEnd {
    /// How long the batches read from such a journal stay in the store.
    #[must_use]
    pub const fn batches_stay(self) -> BatchesStay {
        match self {
            Self::Live => BatchesStay::UntilTrimmed,
            Self::Sealed(_) => BatchesStay::UntilDetached,
        }
    }
}

/// How long batches that adopted slots were read from stay in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchesStay {
    /// Their writer lives. It copies what it released into packs of its own and then trims its journal, though the new
    /// owner's index still names these batches: the new owner must keep them until it has copied its records itself.
    UntilTrimmed,
    /// Their writer's session is over. It is detached only when no owner needs it any more.
    UntilDetached,
}

/// What to replay.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The requested slots.
    pub slots: BTreeSet<Slot>,
    /// The number of slots of the cluster.
    pub slot_count: u16,
}

/// A checkpoint with the indexes of all packs it names, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The content of the checkpoint record.
    pub checkpoint: &'a Checkpoint,
    /// The index of each of its packs.
    pub packs: &'a [PackIndex],
}

/// The content of a session's journal for some slots, as far as it was read.
#[derive(Clone, Debug)]
pub struct JournalReplay {
    session: SessionId,
    scope: Scope,
    through: Position,
    end: JournalEnd,
    slots: BTreeMap<Slot, SlotLog>,
}

/// The result of a replay for one slot; the input of a fold.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Whether the session is over.
    pub end: JournalEnd,
    /// The journal's log of the slot, if it has any records of it.
    pub log: Option<&'a SlotLog>,
}

impl JournalReplay {
    /// Starts from the newest checkpoint within the range to read, if there is one.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when a pack belongs to another session.
    ///
    /// # Panics
    ///
    /// When the index of a pack is missing: missing is never taken for empty.
    pub fn new(
        session: SessionId,
        scope: Scope,
        base: Option<Base<'_>>,
        files: &mut Files,
    ) -> Result<Self, Malformed> {
        let (through, slots) = (Position::ZERO, BTreeMap::new());
        let mut replay = Self { session, scope, through, end: JournalEnd::Live, slots };
        let Some(Base { checkpoint, packs }) = base else { return Ok(replay) };
        replay.through = checkpoint.low_water;
        for (&slot, entry) in &checkpoint.slots {
            if replay.scope.slots.contains(&slot) {
                replay.slots.insert(slot, SlotLog::of_checkpoint(entry));
            }
        }
        let named = checkpoint.packs.iter().map(|pack| pack.number);
        let given = packs.iter().map(|pack| pack.number);
        assert!(named.eq(given), "a replay needs the index of each pack of its checkpoint");
        for pack in packs {
            if pack.session != session {
                let key = keys::pack(session, pack.number);
                return Err(Malformed::new(&key, "it is a pack of another session"));
            }
            replay.pack(pack, files);
        }
        Ok(replay)
    }

    /// Adds a pack's entries. Entries of tenures that the checkpoint doesn't list are void.
    fn pack(&mut self, pack: &PackIndex, files: &mut Files) {
        let id = FileId { session: self.session, object: FileObject::Pack(pack.number) };
        let file = files.number(id);
        for group in pack.groups() {
            let log = self.slots.get_mut(&group.slot);
            if let Some(tenure) = log.and_then(|log| log.tenure_mut(group.epoch)) {
                tenure.entries.overlay(pack.entries(group, file));
            }
        }
    }

    /// Adds the next batch.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the batch, also when its records contradict earlier ones.
    ///
    /// # Panics
    ///
    /// When it isn't the next: missing is never taken for empty.
    pub fn batch(&mut self, batch: &Batch, files: &mut Files) -> Result<(), Malformed> {
        let header = batch.header;
        assert_eq!(header.session, self.session, "a batch of another session");
        self.assert_next(header.position);
        assert_eq!(self.end, JournalEnd::Live, "a batch after the seal");
        self.through = header.position;
        let Self { scope, slots, .. } = self;
        let in_scope = |slot: &Slot| scope.slots.contains(slot);
        for_each_slot_record(batch, scope.slot_count, in_scope, files, |slot, record| {
            slots.entry(slot).or_default().apply(record, |_| SlotIndex::default())
        })
    }

    /// Ends the replay with the seal, right after the last batch.
    ///
    /// # Panics
    ///
    /// When a batch before it is missing.
    pub fn seal(&mut self, position: Position) {
        self.assert_next(position);
        self.end = JournalEnd::Sealed(position);
    }

    fn assert_next(&self, position: Position) {
        let is_next = planted::is_next(position == self.through.next());
        assert!(is_next, "{position} after {}: a replay has no gaps", self.through);
    }

    /// The journal's session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The last position read.
    #[must_use]
    pub const fn through(&self) -> Position {
        self.through
    }

    /// The result for one slot.
    ///
    /// # Panics
    ///
    /// When the slot was not requested: an unread slot is never taken for empty.
    #[must_use]
    pub fn source(&self, slot: Slot) -> Source<'_> {
        assert!(self.scope.slots.contains(&slot), "{slot} was not requested");
        Source { end: self.end, log: self.slots.get(&slot) }
    }
}

/// Hands on what a batch of a session's journal says of slots, record by record. The batch gets a number among the files
/// with the first state that is handed on.
///
/// # Errors
///
/// [`Malformed`] naming the batch: damaged, or what it says can't follow what came before.
pub fn for_each_slot_record(
    batch: &Batch,
    slot_count: u16,
    is_wanted: impl Fn(&Slot) -> bool,
    files: &mut Files,
    mut apply: impl FnMut(Slot, &SlotRecord) -> Result<(), Disorder>,
) -> Result<(), Malformed> {
    let (session, position) = (batch.header.session, batch.header.position);
    let mut file = None;
    for record in batch.records() {
        let (range, record) = record?;
        let (slot, record) = match record {
            Record::State(state) => {
                let slot = state.hash.slot(slot_count);
                if !is_wanted(&slot) {
                    continue;
                }
                let id = FileId { session, object: FileObject::Journal(position) };
                let file = *file.get_or_insert_with(|| files.number(id));
                let bytes = batch.bytes_at(range.clone());
                let (hash, place) = Place::of_record(file, range.start, &bytes, Origin::Own)?;
                (slot, SlotRecord::Write(hash, place))
            }
            Record::Adopt { slot, epoch, .. } => (slot, SlotRecord::Adopt(epoch)),
            Record::Release { slot, epoch } => (slot, SlotRecord::Release(epoch)),
            // The newest one in range is the base of a replay already.
            Record::Checkpoint(_) => continue,
        };
        if !is_wanted(&slot) {
            continue;
        }
        apply(slot, &record).map_err(|disorder| {
            let key = keys::journal_position(session, position);
            Malformed::new(&key, &format!("slot {slot}: {disorder}"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use bytes::Bytes;

    use super::*;
    use crate::{
        ids::{CommitNumber, Epoch, Nonce, PackNumber, VnodeHash, VnodeName},
        journal::batch::{self, BatchBuilder, BatchHeader, JournalObject, StateFields, StateKind},
        state::{
            checkpoint::{Coverage, SlotEntry, TenureEntry},
            pack::{PackBuilder, PackRef},
            place::tests::record,
        },
    };

    const A: SessionId = SessionId::new(1);
    const SLOTS: u16 = 2;

    /// The first vnode of a slot, from this key on.
    fn vnode(slot: u16, from: u32) -> VnodeName {
        let names = (from..).map(|key| VnodeName::new("t", &format!("{key}")).unwrap());
        names.into_iter().find(|name| name.hash().slot(SLOTS) == Slot(slot)).unwrap()
    }

    fn write(batch: &mut BatchBuilder, name: &VnodeName, commit: u64) {
        let (kind, hash) = (StateKind::Put, name.hash());
        let commit = CommitNumber::new(commit);
        batch.state(StateFields { kind, hash, commit, wake_at: 0, name, envelope: b"e" });
    }

    fn finish(batch: BatchBuilder, position: u64) -> Batch {
        let header = BatchHeader {
            session: A,
            position: Position::new(position),
            committed: Position::ZERO,
            low_water: Position::ZERO,
            checkpoint_at: Position::ZERO,
        };
        let key = keys::journal_position(A, header.position);
        match batch::decode(&key, &batch.finish(header, Nonce::new(1))).unwrap() {
            JournalObject::Batch(batch) => batch,
            other @ (JournalObject::Seal(_) | JournalObject::Opening(_)) => panic!("{other:?}"),
        }
    }

    fn begin(base: Option<Base<'_>>, files: &mut Files) -> Result<JournalReplay, Malformed> {
        let scope = Scope { slots: BTreeSet::from([Slot(0)]), slot_count: SLOTS };
        JournalReplay::new(A, scope, base, files)
    }

    /// A pack with one record of slot 0 under each of these tenures.
    fn pack(session: SessionId, number: u64, records: &[(u64, Bytes)]) -> (PackRef, PackIndex) {
        let mut builder =
            PackBuilder::new(session, PackNumber::new(number), crate::state::place::tests::file(0));
        for (epoch, record) in records {
            builder.add(Slot(0), Epoch::new(*epoch), record).unwrap();
        }
        PackIndex::of_object("k", &builder.finish(Nonce::new(1)).0).unwrap()
    }

    fn checkpoint(packs: Vec<PackRef>, tenures: &[u64]) -> Checkpoint {
        let coverage = Coverage::Part;
        let tenures =
            tenures.iter().map(|&epoch| TenureEntry { epoch: Epoch::new(epoch), coverage });
        let entry = SlotEntry { released: Epoch::ZERO, tenures: tenures.collect() };
        Checkpoint { low_water: Position::new(4), packs, slots: [(Slot(0), entry)].into() }
    }

    fn commit_of(replay: &JournalReplay, epoch: u64, hash: VnodeHash) -> Option<u64> {
        let log = replay.source(Slot(0)).log?;
        log.tenure(Epoch::new(epoch))?.entries.get(hash).map(|place| place.commit.get())
    }

    #[test]
    fn records_of_a_tenure_stay_after_its_release() {
        let (mut files, name) = (Files::default(), vnode(0, 0));
        let mut replay = begin(None, &mut files).unwrap();
        let mut batch = BatchBuilder::default();
        batch.adopt(Slot(0), Epoch::new(1), &[]);
        write(&mut batch, &name, 1);
        batch.release(Slot(0), Epoch::new(2));
        replay.batch(&finish(batch, 1), &mut files).unwrap();
        assert_eq!(commit_of(&replay, 1, name.hash()), Some(1));
        assert_eq!(replay.source(Slot(0)).log.unwrap().released(), Epoch::new(2));
    }

    #[test]
    fn later_packs_and_then_batches_above_the_low_water_replace_older_entries() {
        let mut files = Files::default();
        let name = VnodeName::new("t", vnode(0, 0).key()).unwrap();
        let old = record(name.key(), 1, b"old");
        let (one, two) =
            (pack(A, 1, &[(3, old)]), pack(A, 2, &[(3, record(name.key(), 2, b"new"))]));
        let checkpoint = checkpoint(vec![one.0, two.0], &[3]);
        let base = Base { checkpoint: &checkpoint, packs: &[one.1, two.1] };
        let mut replay = begin(Some(base), &mut files).unwrap();
        assert_eq!(commit_of(&replay, 3, name.hash()), Some(2));
        let mut batch = BatchBuilder::default();
        write(&mut batch, &name, 3);
        replay.batch(&finish(batch, 5), &mut files).unwrap();
        assert_eq!(commit_of(&replay, 3, name.hash()), Some(3));
    }

    #[test]
    fn pack_entries_of_a_tenure_that_the_checkpoint_does_not_list_are_void() {
        let mut files = Files::default();
        let one = pack(A, 1, &[(3, record("a", 1, b""))]);
        let checkpoint = checkpoint(vec![one.0], &[4]);
        let base = Base { checkpoint: &checkpoint, packs: &[one.1] };
        let replay = begin(Some(base), &mut files).unwrap();
        let log = replay.source(Slot(0)).log.unwrap();
        assert!(log.tenure(Epoch::new(3)).is_none());
        assert_eq!(log.tenure(Epoch::new(4)).unwrap().entries.count(), 0);
    }

    #[test]
    fn slots_that_were_not_requested_take_no_memory_not_even_a_file_number() {
        let mut files = Files::default();
        let mut replay = begin(None, &mut files).unwrap();
        let mut batch = BatchBuilder::default();
        batch.adopt(Slot(1), Epoch::new(1), &[]);
        write(&mut batch, &vnode(1, 0), 1);
        replay.batch(&finish(batch, 1), &mut files).unwrap();
        assert_eq!((replay.slots.len(), files.count()), (0, 0));
    }

    #[test]
    fn a_journal_that_breaks_the_rules_is_an_error_naming_the_batch() {
        let mut files = Files::default();
        let mut replay = begin(None, &mut files).unwrap();
        let mut batch = BatchBuilder::default();
        write(&mut batch, &vnode(0, 0), 1);
        let error = replay.batch(&finish(batch, 1), &mut files).unwrap_err();
        assert_eq!(error.what, keys::journal_position(A, Position::new(1)));
        assert!(error.why.contains("slot #0"), "{error}");
    }

    #[test]
    fn another_sessions_pack_is_refused() {
        let mut files = Files::default();
        let foreign = pack(SessionId::new(2), 1, &[(3, record("a", 1, b""))]);
        let checkpoint = checkpoint(vec![foreign.0], &[3]);
        let base = Base { checkpoint: &checkpoint, packs: &[foreign.1] };
        assert!(begin(Some(base), &mut files).is_err());
    }

    #[test]
    #[should_panic(expected = "no gaps")]
    fn a_missing_batch_is_never_taken_for_empty() {
        let mut files = Files::default();
        let mut replay = begin(None, &mut files).unwrap();
        drop(replay.batch(&finish(BatchBuilder::default(), 2), &mut files));
    }

    #[test]
    #[should_panic(expected = "no gaps")]
    fn a_seal_does_not_hide_a_missing_batch() {
        begin(None, &mut Files::default()).unwrap().seal(Position::new(2));
    }

    #[test]
    #[should_panic(expected = "the index of each pack")]
    fn a_missing_pack_is_never_taken_for_empty() {
        let one = pack(A, 1, &[(3, record("a", 1, b""))]);
        let checkpoint = checkpoint(vec![one.0], &[3]);
        let base = Base { checkpoint: &checkpoint, packs: &[] };
        drop(begin(Some(base), &mut Files::default()));
    }
}
