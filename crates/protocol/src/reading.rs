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
    batch::{Batch, Record},
    checkpoint::Checkpoint,
    codec::Malformed,
    ids::{Position, SessionId, Slot},
    index::SlotIndex,
    keys,
    pack::PackIndex,
    place::{FileId, FileObject, Files, Origin, Place},
    slot_log::{Disorder, SlotLog},
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
pub struct JournalReading {
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

impl JournalReading {
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
        assert_eq!(header.position, self.through.next(), "a reading has no holes");
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
                    let (hash, place) =
                        Place::of_record(file, range.start, &bytes, Origin::Foreign)?;
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
        assert_eq!(position, self.through.next(), "a reading has no holes");
        self.end = JournalEnd::Sealed(position);
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
