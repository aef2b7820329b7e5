//! Reading a journal: its newest checkpoint, then every batch above the low water, up to the seal or the last one there.
//!
//! A reading is one consistent view: what it says of a tenure's end and of its content belongs together. If an object
//! of its range is missing it was trimmed meanwhile, and the whole reading starts over; a reading with a hole can't be
//! made.
//!
//! Invariants:
//!
//! * Positions come without a gap; the seal is right behind the last.
//! * Only slots that are asked for take memory.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
};

use crate::{
    format::{codec::Malformed, keys},
    ids::{Position, SessionId, Slot},
    journal::batch::{Batch, Record},
    planted,
    slot::log::{Disorder, SlotLog},
    state::{
        checkpoint::Checkpoint,
        index::SlotIndex,
        pack::PackIndex,
        place::{FileId, FileObject, Files, Origin, Place},
    },
};

/// How far a reading goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalEnd {
    /// The session may be going on.
    Live,
    /// The seal stands there: nothing follows.
    Sealed(Position),
}

/// What a reading is for.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The slots whose vnodes are wanted.
    pub slots: BTreeSet<Slot>,
    /// How many slots the cluster has.
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

/// What a session's journal says of some slots, as far as it was read.
#[derive(Clone, Debug)]
pub struct JournalReplay {
    session: SessionId,
    scope: Scope,
    through: Position,
    end: JournalEnd,
    slots: BTreeMap<Slot, SlotLog>,
}

/// What a reading says of one slot; what a fold takes.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Whether the session is over.
    pub end: JournalEnd,
    /// Its log of the slot, if it says anything of it.
    pub log: Option<&'a SlotLog>,
}

impl JournalReplay {
    /// Begins with the newest checkpoint that the range of the reading names, if there is one.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when a pack isn't this session's.
    ///
    /// # Panics
    ///
    /// When an index of a pack is missing: missing is never read as empty.
    pub fn new(
        session: SessionId,
        scope: Scope,
        base: Option<Base<'_>>,
        files: &mut Files,
    ) -> Result<Self, Malformed> {
        let (through, slots) = (Position::ZERO, BTreeMap::new());
        let mut reading = Self { session, scope, through, end: JournalEnd::Live, slots };
        let Some(Base { checkpoint, packs }) = base else { return Ok(reading) };
        reading.through = checkpoint.low_water;
        for (&slot, entry) in &checkpoint.slots {
            if reading.scope.slots.contains(&slot) {
                reading.slots.insert(slot, SlotLog::of_checkpoint(entry));
            }
        }
        let named = checkpoint.packs.iter().map(|pack| pack.number);
        let given = packs.iter().map(|pack| pack.number);
        assert!(
            named.eq(given),
            "a reading needs the index of each pack that its checkpoint names"
        );
        for pack in packs {
            if pack.session != session {
                let key = keys::pack(session, pack.number);
                return Err(Malformed::new(&key, "it holds another session's pack"));
            }
            reading.pack(pack, files);
        }
        Ok(reading)
    }

    /// Adds a pack's entries; what it holds of tenures that the checkpoint left out is void.
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
    /// [`Malformed`] naming the batch, also when what it says can't follow what came before.
    ///
    /// # Panics
    ///
    /// When it isn't the next: missing is never read as empty.
    pub fn batch(&mut self, batch: &Batch, files: &mut Files) -> Result<(), Malformed> {
        let header = batch.header;
        assert_eq!(header.session, self.session, "a batch of another session");
        self.assert_next(header.position);
        assert_eq!(self.end, JournalEnd::Live, "nothing follows a seal");
        self.through = header.position;
        let mut file = None;
        for record in batch.records() {
            let (range, record) = record?;
            let (slot, done) = match record {
                Record::State(state) => {
                    let slot = state.hash.slot(self.scope.slot_count);
                    if !self.scope.slots.contains(&slot) {
                        continue;
                    }
                    // The file gets its number with the first record that is wanted.
                    let id = FileId {
                        session: self.session,
                        object: FileObject::Journal(header.position),
                    };
                    let file = *file.get_or_insert_with(|| files.number(id));
                    let bytes = batch.bytes_at(range.clone());
                    let (hash, place) = Place::of_record(file, range.start, &bytes, Origin::Own)?;
                    (slot, self.slots.entry(slot).or_default().write(hash, &place))
                }
                Record::Adopt { slot, epoch, .. } => {
                    (slot, self.change(slot, |log| log.adopt(epoch, SlotIndex::default())))
                }
                Record::Release { slot, epoch } => {
                    (slot, self.change(slot, |log| log.release(epoch)))
                }
                // The newest one in range is the base already.
                Record::Checkpoint(_) => continue,
            };
            done.map_err(|disorder| {
                let key = keys::journal_position(self.session, header.position);
                Malformed::new(&key, &format!("slot {slot}: {disorder}"))
            })?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        slot: Slot,
        change: impl FnOnce(&mut SlotLog) -> Result<(), Disorder>,
    ) -> Result<(), Disorder> {
        if !self.scope.slots.contains(&slot) {
            return Ok(());
        }
        change(self.slots.entry(slot).or_default())
    }

    /// The seal stands there, right behind the last batch.
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
        assert!(is_next, "{position} after {}: a reading has no holes", self.through);
    }

    /// Whose journal it is.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The last position that was read.
    #[must_use]
    pub const fn through(&self) -> Position {
        self.through
    }

    /// What it says of one slot.
    ///
    /// # Panics
    ///
    /// When the slot wasn't asked for: what wasn't read is never taken as empty.
    #[must_use]
    pub fn source(&self, slot: Slot) -> Source<'_> {
        assert!(self.scope.slots.contains(&slot), "{slot} was not read");
        Source { end: self.end, log: self.slots.get(&slot) }
    }
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

    /// The first vnode of a slot from that key on.
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

    /// A pack with one record for slot 0 under each of these tenures.
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

    fn commit_of(reading: &JournalReplay, epoch: u64, hash: VnodeHash) -> Option<u64> {
        let log = reading.source(Slot(0)).log?;
        log.tenure(Epoch::new(epoch))?.entries.get(hash).map(|place| place.commit.get())
    }

    #[test]
    fn what_a_tenure_wrote_outlives_its_release() {
        let (mut files, name) = (Files::default(), vnode(0, 0));
        let mut reading = begin(None, &mut files).unwrap();
        let mut batch = BatchBuilder::default();
        batch.adopt(Slot(0), Epoch::new(1), &[]);
        write(&mut batch, &name, 1);
        batch.release(Slot(0), Epoch::new(2));
        reading.batch(&finish(batch, 1), &mut files).unwrap();
        assert_eq!(commit_of(&reading, 1, name.hash()), Some(1));
        assert_eq!(reading.source(Slot(0)).log.unwrap().released(), Epoch::new(2));
    }

    #[test]
    fn a_later_pack_and_then_the_batches_above_the_low_water_overrule_what_is_older() {
        let mut files = Files::default();
        let name = VnodeName::new("t", vnode(0, 0).key()).unwrap();
        let old = record(name.key(), 1, b"old");
        let (one, two) =
            (pack(A, 1, &[(3, old)]), pack(A, 2, &[(3, record(name.key(), 2, b"new"))]));
        let checkpoint = checkpoint(vec![one.0, two.0], &[3]);
        let base = Base { checkpoint: &checkpoint, packs: &[one.1, two.1] };
        let mut reading = begin(Some(base), &mut files).unwrap();
        assert_eq!(commit_of(&reading, 3, name.hash()), Some(2));
        let mut batch = BatchBuilder::default();
        write(&mut batch, &name, 3);
        reading.batch(&finish(batch, 5), &mut files).unwrap();
        assert_eq!(commit_of(&reading, 3, name.hash()), Some(3));
    }

    #[test]
    fn what_a_pack_holds_of_a_tenure_that_the_checkpoint_left_out_is_void() {
        let mut files = Files::default();
        let one = pack(A, 1, &[(3, record("a", 1, b""))]);
        let checkpoint = checkpoint(vec![one.0], &[4]);
        let base = Base { checkpoint: &checkpoint, packs: &[one.1] };
        let reading = begin(Some(base), &mut files).unwrap();
        let log = reading.source(Slot(0)).log.unwrap();
        assert!(log.tenure(Epoch::new(3)).is_none());
        assert_eq!(log.tenure(Epoch::new(4)).unwrap().entries.count(), 0);
    }

    #[test]
    fn slots_that_nobody_asked_for_take_no_memory_not_even_a_file_number() {
        let mut files = Files::default();
        let mut reading = begin(None, &mut files).unwrap();
        let mut batch = BatchBuilder::default();
        batch.adopt(Slot(1), Epoch::new(1), &[]);
        write(&mut batch, &vnode(1, 0), 1);
        reading.batch(&finish(batch, 1), &mut files).unwrap();
        assert_eq!((reading.slots.len(), files.count()), (0, 0));
    }

    #[test]
    fn a_journal_that_breaks_the_rules_is_an_error_naming_the_batch() {
        let mut files = Files::default();
        let mut reading = begin(None, &mut files).unwrap();
        let mut batch = BatchBuilder::default();
        write(&mut batch, &vnode(0, 0), 1);
        let error = reading.batch(&finish(batch, 1), &mut files).unwrap_err();
        assert_eq!(error.what, keys::journal_position(A, Position::new(1)));
        assert!(error.why.contains("slot #0"), "{error}");
    }

    #[test]
    fn another_sessions_pack_is_refused() {
        let mut files = Files::default();
        let stranger = pack(SessionId::new(2), 1, &[(3, record("a", 1, b""))]);
        let checkpoint = checkpoint(vec![stranger.0], &[3]);
        let base = Base { checkpoint: &checkpoint, packs: &[stranger.1] };
        assert!(begin(Some(base), &mut files).is_err());
    }

    #[test]
    #[should_panic(expected = "no holes")]
    fn a_missing_batch_is_never_read_as_empty() {
        let mut files = Files::default();
        let mut reading = begin(None, &mut files).unwrap();
        drop(reading.batch(&finish(BatchBuilder::default(), 2), &mut files));
    }

    #[test]
    #[should_panic(expected = "no holes")]
    fn a_seal_does_not_hide_a_missing_batch() {
        begin(None, &mut Files::default()).unwrap().seal(Position::new(2));
    }

    #[test]
    #[should_panic(expected = "the index of each pack")]
    fn a_missing_pack_is_never_read_as_empty() {
        let one = pack(A, 1, &[(3, record("a", 1, b""))]);
        let checkpoint = checkpoint(vec![one.0], &[3]);
        let base = Base { checkpoint: &checkpoint, packs: &[] };
        drop(begin(Some(base), &mut Files::default()));
    }
}
