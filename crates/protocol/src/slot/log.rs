//! One slot in one session's journal: its tenures, and the newest record of each vnode under each.
//!
//! Built in two ways that agree: by a reader, from a checkpoint and the batches above it; and by the session itself,
//! from its committed batches. The session's own log of a slot that it serves also holds the records of older tenures
//! ([`Origin::Foreign`]), until they are copied.
//!
//! Invariants:
//!
//! * Tenures are sorted oldest first; only the newest can be open, and a record of a vnode belongs to the open one.
//! * Only the newest Release is kept. It ends every tenure given before its epoch. A reader with an older epoch than the
//!   Release can't use it, and must read the epoch log.
//! * Within a tenure the commit numbers of a vnode grow.
//!
//! [`Origin::Foreign`]: crate::state::place::Origin::Foreign

use alloc::vec::Vec;

use crate::{
    epoch::record::Holding,
    ids::{Epoch, SessionId, Slot, VnodeHash},
    state::{
        checkpoint::{Coverage, SlotEntry, TenureEntry},
        index::SlotIndex,
        place::Place,
    },
};

/// An adopted tenure and the records written under it.
#[derive(Clone, Debug)]
pub struct TenureLog {
    /// The epoch that gave the slot.
    pub epoch: Epoch,
    /// Whether the newest committed checkpoint holds the slot in full under this tenure.
    pub coverage: Coverage,
    /// The newest record of each vnode.
    pub entries: SlotIndex,
}

/// One slot in one session's journal.
#[derive(Clone, Debug, Default)]
pub struct SlotLog {
    released: Epoch,
    tenures: Vec<TenureLog>,
}

/// A record to copy into a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its slot.
    pub slot: Slot,
    /// The tenure it is copied for.
    pub epoch: Epoch,
    /// Its vnode.
    pub hash: VnodeHash,
    /// Where it is.
    pub from: Place,
}

/// A record of a batch, from the view of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRecord {
    /// An Adopt of the slot under this epoch.
    Adopt(Epoch),
    /// A vnode's newest record is at this place.
    Write(VnodeHash, Place),
    /// A Release of the slot under this epoch.
    Release(Epoch),
}

/// The rule that a journal's writer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// An Adopt of a tenure that isn't newer than all earlier tenures and Releases.
    #[error("an Adopt follows a newer Adopt or a Release that covers it")]
    Adopt,
    /// A Release that does not end the open tenure, or comes after a newer one.
    #[error("a Release is older than the open tenure or than an earlier Release")]
    Release,
    /// A vnode's record while no tenure is open.
    #[error("a vnode's record is outside any open tenure")]
    Unheld,
    /// A vnode's record that isn't newer than the one before.
    #[error("a vnode's commit number doesn't grow")]
    Commit,
}

impl SlotLog {
    /// The log as a checkpoint describes it, without the entries.
    #[must_use]
    pub fn of_checkpoint(entry: &SlotEntry) -> Self {
        let tenures = entry.tenures.iter().map(|tenure| TenureLog {
            epoch: tenure.epoch,
            coverage: tenure.coverage,
            entries: SlotIndex::default(),
        });
        Self { released: entry.released, tenures: tenures.collect() }
    }

    /// The description of the log in a checkpoint, without the entries.
    #[must_use]
    pub fn checkpoint_entry(&self) -> SlotEntry {
        let tenures = self
            .tenures
            .iter()
            .map(|tenure| TenureEntry { epoch: tenure.epoch, coverage: tenure.coverage });
        SlotEntry { released: self.released, tenures: tenures.collect() }
    }

    /// The epoch of the newest Release; 0 if there is none.
    #[must_use]
    pub const fn released(&self) -> Epoch {
        self.released
    }

    /// The tenures that were adopted, oldest first.
    #[must_use]
    pub fn tenures(&self) -> &[TenureLog] {
        &self.tenures
    }

    /// The tenure of that epoch, if it was adopted.
    #[must_use]
    pub fn tenure(&self, epoch: Epoch) -> Option<&TenureLog> {
        self.tenures.iter().find(|tenure| tenure.epoch == epoch)
    }

    /// As [`Self::tenure`], to change it.
    pub fn tenure_mut(&mut self, epoch: Epoch) -> Option<&mut TenureLog> {
        self.tenures.iter_mut().find(|tenure| tenure.epoch == epoch)
    }

    /// The tenure that is adopted and not released.
    #[must_use]
    pub fn open(&self) -> Option<&TenureLog> {
        self.tenures.last().filter(|tenure| self.released <= tenure.epoch)
    }

    fn open_mut(&mut self) -> Option<&mut TenureLog> {
        let released = self.released;
        self.tenures.last_mut().filter(|tenure| released <= tenure.epoch)
    }

    /// Adds an Adopt: later records belong to this tenure. `entries` is its initial index: empty for a reader, the recovered
    /// index for the session itself.
    ///
    /// A slot that returns to its session is recovered from an earlier read of the session's own journal. A checkpoint in
    /// progress at that time may have copied records since, and their old packs may be deleted; so the new locations are
    /// taken from the older tenures.
    ///
    /// # Errors
    ///
    /// [`Disorder::Adopt`].
    pub fn adopt(&mut self, epoch: Epoch, mut entries: SlotIndex) -> Result<(), Disorder> {
        let newest = self.tenures.last().map_or(Epoch::ZERO, |tenure| tenure.epoch);
        if epoch <= newest || epoch <= self.released {
            return Err(Disorder::Adopt);
        }
        for older in &self.tenures {
            entries.follow(&older.entries);
        }
        self.tenures.push(TenureLog { epoch, coverage: Coverage::Part, entries });
        assert!(self.tenures.is_sorted_by(|a, b| a.epoch < b.epoch), "tenures are in order");
        assert_eq!(self.open().map(|open| open.epoch), Some(epoch), "the newest tenure is open");
        Ok(())
    }

    /// Adds a Release: it ends every tenure given before its epoch. The open tenure keeps only its own records.
    ///
    /// # Errors
    ///
    /// [`Disorder::Release`].
    pub fn release(&mut self, epoch: Epoch) -> Result<(), Disorder> {
        if epoch < self.released || self.open().is_some_and(|open| epoch <= open.epoch) {
            return Err(Disorder::Release);
        }
        if let Some(open) = self.open_mut() {
            open.entries = core::mem::take(&mut open.entries).into_own();
        }
        self.released = epoch;
        assert!(self.open().is_none(), "a Release by {epoch} leaves no tenure open");
        Ok(())
    }

    /// Adds a vnode's record under the open tenure.
    ///
    /// # Errors
    ///
    /// [`Disorder::Unheld`] or [`Disorder::Commit`].
    pub fn write(&mut self, hash: VnodeHash, place: &Place) -> Result<(), Disorder> {
        let open = self.open_mut().ok_or(Disorder::Unheld)?;
        match open.entries.put(hash, place) {
            Some(before) if before.commit >= place.commit => Err(Disorder::Commit),
            Some(_) | None => Ok(()),
        }
    }

    /// Adds the next record. `recovered` returns the initial index of an Adopt's tenure, see [`Self::adopt`].
    ///
    /// # Errors
    ///
    /// [`Disorder`].
    pub fn apply(
        &mut self,
        record: &SlotRecord,
        recovered: impl FnOnce(Epoch) -> SlotIndex,
    ) -> Result<(), Disorder> {
        match record {
            SlotRecord::Adopt(epoch) => self.adopt(*epoch, recovered(*epoch)),
            SlotRecord::Write(hash, place) => self.write(*hash, place),
            SlotRecord::Release(epoch) => self.release(*epoch),
        }
    }

    /// A record was copied into a pack whose checkpoint is committed: points the entry to the copy, unless the vnode was
    /// written since or its tenure was removed.
    pub fn copied(&mut self, copy: &Copy, to: &Place) {
        if let Some(tenure) = self.tenure_mut(copy.epoch) {
            tenure.entries.replace(copy.hash, &copy.from, to);
        }
    }

    /// A checkpoint is committed that holds the slot in full under this tenure.
    pub fn settled(&mut self, epoch: Epoch) {
        if let Some(tenure) = self.tenure_mut(epoch) {
            tenure.coverage = Coverage::Full;
        }
    }

    /// Removes tenures that are no longer needed: those that have ended and that `holding`, of the newest epoch that the
    /// session has read, doesn't list. Returns whether checkpoints must still include the slot.
    pub fn keep_listed(&mut self, session: SessionId, holding: &Holding) -> bool {
        let listed = |epoch| {
            let mut listed = holding.owner.iter().chain(&holding.sources);
            listed.any(|tenure| tenure.session == session && tenure.epoch == epoch)
        };
        let open = self.open().map(|tenure| tenure.epoch);
        self.tenures.retain(|tenure| Some(tenure.epoch) == open || listed(tenure.epoch));
        // A Release also ends tenures that were never adopted.
        !self.tenures.is_empty() || holding.newest_source_of(session).is_some()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        ids::Tenure,
        state::place::{
            Origin,
            tests::{file, record},
        },
    };

    fn epoch(number: u64) -> Epoch {
        Epoch::new(number)
    }

    fn place(key: &str, commit: u64, origin: Origin) -> (VnodeHash, Place) {
        Place::of_record(file(commit), 32, &record(key, commit, b"s"), origin).unwrap()
    }

    fn write(log: &mut SlotLog, key: &str, commit: u64) -> Result<(), Disorder> {
        let (hash, place) = place(key, commit, Origin::Own);
        log.write(hash, &place)
    }

    #[test]
    fn a_record_belongs_to_the_tenure_that_is_open() {
        let mut log = SlotLog::default();
        assert_eq!(write(&mut log, "a", 1), Err(Disorder::Unheld));
        log.adopt(epoch(1), SlotIndex::default()).unwrap();
        write(&mut log, "a", 1).unwrap();
        log.release(epoch(2)).unwrap();
        assert_eq!(write(&mut log, "a", 2), Err(Disorder::Unheld));
        log.adopt(epoch(3), SlotIndex::default()).unwrap();
        write(&mut log, "b", 1).unwrap();
        let counts: Vec<_> =
            log.tenures().iter().map(|tenure| (tenure.epoch, tenure.entries.count())).collect();
        assert_eq!(counts, [(epoch(1), 1), (epoch(3), 1)]);
    }

    #[test]
    fn a_record_that_breaks_a_rule_is_an_error() {
        let mut log = SlotLog::default();
        log.adopt(epoch(3), SlotIndex::default()).unwrap();
        assert_eq!(log.adopt(epoch(3), SlotIndex::default()), Err(Disorder::Adopt));
        assert_eq!(log.release(epoch(3)), Err(Disorder::Release));
        write(&mut log, "a", 2).unwrap();
        assert_eq!(write(&mut log, "a", 2), Err(Disorder::Commit));
        log.release(epoch(5)).unwrap();
        assert_eq!(log.release(epoch(4)), Err(Disorder::Release));
        assert_eq!(log.adopt(epoch(4), SlotIndex::default()), Err(Disorder::Adopt));
    }

    #[test]
    fn a_release_of_a_slot_that_was_never_adopted_is_remembered() {
        let mut log = SlotLog::default();
        log.release(epoch(2)).unwrap();
        assert_eq!((log.released(), log.open().is_some()), (epoch(2), false));
        let again = SlotLog::of_checkpoint(&log.checkpoint_entry());
        assert_eq!(again.released(), epoch(2));
    }

    #[test]
    fn a_release_removes_records_of_older_tenures() {
        let mut log = SlotLog::default();
        let found = SlotIndex::from_sorted([place("a", 1, Origin::Foreign)]);
        log.adopt(epoch(2), found).unwrap();
        write(&mut log, "b", 1).unwrap();
        log.release(epoch(3)).unwrap();
        let tenure = log.tenure(epoch(2)).unwrap();
        assert_eq!((tenure.entries.count(), tenure.coverage), (1, Coverage::Part));
    }

    #[test]
    fn a_slot_that_returns_takes_the_locations_of_a_later_checkpoint() {
        let mut log = SlotLog::default();
        log.adopt(epoch(1), SlotIndex::default()).unwrap();
        let (hash, written) = place("a", 1, Origin::Own);
        log.write(hash, &written).unwrap();
        log.release(epoch(2)).unwrap();
        // Read now, for epoch 3; adopted when the checkpoint that copies it is committed.
        let recovered = [(hash, Place { origin: Origin::Foreign, ..written })];
        let copy = Copy { slot: Slot(0), epoch: epoch(1), hash, from: written };
        let to = Place { file: file(9), ..written };
        log.copied(&copy, &to);
        log.adopt(epoch(3), SlotIndex::from_sorted(recovered)).unwrap();
        let found = log.tenure(epoch(3)).unwrap().entries.get(hash);
        assert_eq!(found, Some(Place { origin: Origin::Foreign, ..to }));
    }

    #[test]
    fn a_slot_is_kept_as_long_as_it_is_open_or_the_newest_epoch_lists_it() {
        let (me, other) = (SessionId::new(1), SessionId::new(2));
        let tenure = |session, number| Tenure { session, epoch: epoch(number) };
        let holding = |sources| Holding { owner: Some(tenure(other, 9)), sources };
        let mut log = SlotLog::default();
        log.adopt(epoch(1), SlotIndex::default()).unwrap();
        log.release(epoch(2)).unwrap();
        log.adopt(epoch(3), SlotIndex::default()).unwrap();
        assert!(log.keep_listed(me, &holding(vec![tenure(me, 1)])), "one open, one listed");
        assert_eq!(log.tenures().len(), 2);
        assert!(log.keep_listed(me, &holding(vec![])), "one open");
        assert_eq!(log.tenures().len(), 1);
        log.release(epoch(9)).unwrap();
        assert!(log.keep_listed(me, &holding(vec![tenure(other, 5), tenure(me, 3)])));
        assert!(!log.keep_listed(me, &holding(vec![tenure(other, 5)])));
        // A tenure that was never adopted has no entries, and its Release must stay visible.
        assert!(log.keep_listed(me, &holding(vec![tenure(me, 7)])));
        assert_eq!((log.tenures().len(), log.released()), (0, epoch(9)));
    }
}
