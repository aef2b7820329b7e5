//! What one session's journal says of one slot: its tenures, and the newest record of each vnode under each.
//!
//! Built in two ways that agree: by a reader, from a checkpoint and the batches above it; and by the session itself,
//! from what it has committed. The session's own log of a slot it serves also holds what it found in older tenures
//! ([`Origin::Foreign`]), until that is copied.
//!
//! Invariants:
//!
//! * Tenures stand oldest first; only the newest can be open, and a record of a vnode belongs to the open one.
//! * Only the newest Release is kept. It ends every tenure given before it. A reader whom it doesn't satisfy, because it
//!   is of a later epoch than the reader's, is on an old epoch and has to read on.
//! * Within a tenure the commit numbers of a vnode go up.
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

/// A tenure that was adopted, and what was written under it.
#[derive(Clone, Debug)]
pub struct TenureLog {
    /// The epoch that gave the slot.
    pub epoch: Epoch,
    /// Whether the newest committed checkpoint holds the slot in full under this tenure.
    pub coverage: Coverage,
    /// The newest record of each vnode.
    pub entries: SlotIndex,
}

/// What one session's journal says of one slot.
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
    /// Where it stands.
    pub from: Place,
}

/// What a record of a batch says of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRecord {
    /// The slot is adopted under that epoch.
    Adopt(Epoch),
    /// A vnode's newest record stands there.
    Write(VnodeHash, Place),
    /// The slot is released by that epoch.
    Release(Epoch),
}

/// What can't be in a journal whose writer followed the rules; says which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// An Adopt of a tenure that isn't newer than all before it.
    #[error("it adopts a tenure after a newer one or after its Release")]
    Adopt,
    /// A Release that does not end the open tenure, or comes after a newer one.
    #[error("it releases under an epoch that ends nothing")]
    Release,
    /// A vnode's record though the slot isn't held.
    #[error("it writes a vnode of a slot that it doesn't hold")]
    Unheld,
    /// A vnode's record after a newer one.
    #[error("a vnode's commit number doesn't go up")]
    Commit,
}

impl SlotLog {
    /// As a checkpoint says it, still without the entries.
    #[must_use]
    pub fn of_checkpoint(entry: &SlotEntry) -> Self {
        let tenures = entry.tenures.iter().map(|tenure| TenureLog {
            epoch: tenure.epoch,
            coverage: tenure.coverage,
            entries: SlotIndex::default(),
        });
        Self { released: entry.released, tenures: tenures.collect() }
    }

    /// What a checkpoint says of it, without the entries.
    #[must_use]
    pub fn checkpoint_entry(&self) -> SlotEntry {
        let tenures = self
            .tenures
            .iter()
            .map(|tenure| TenureEntry { epoch: tenure.epoch, coverage: tenure.coverage });
        SlotEntry { released: self.released, tenures: tenures.collect() }
    }

    /// The epoch of the newest Release; 0 when there is none.
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

    /// The tenure that was adopted and not released.
    #[must_use]
    pub fn open(&self) -> Option<&TenureLog> {
        self.tenures.last().filter(|tenure| self.released <= tenure.epoch)
    }

    fn open_mut(&mut self) -> Option<&mut TenureLog> {
        let released = self.released;
        self.tenures.last_mut().filter(|tenure| released <= tenure.epoch)
    }

    /// An Adopt: from here on records belong to that tenure. `entries` is what it starts from: nothing for a reader,
    /// what was recovered for the session itself.
    ///
    /// A slot that comes back to its session is recovered from what that session's journal said when it was read. A
    /// checkpoint that was under way then may have copied records since and let their packs go; the older tenures know
    /// where they are.
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

    /// A Release: every tenure given before that epoch is over. Of what the open one holds only its own stays.
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

    /// A vnode's record under the open tenure.
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

    /// Takes the next record. `recovered` is asked what the tenure of an Adopt starts from, see [`Self::adopt`].
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

    /// A record was copied into a pack whose checkpoint is committed: points to the copy, unless the vnode was written
    /// since or its tenure let go.
    pub fn copied(&mut self, copy: &Copy, to: &Place) {
        if let Some(tenure) = self.tenure_mut(copy.epoch) {
            tenure.entries.replace(copy.hash, &copy.from, to);
        }
    }

    /// A checkpoint that holds the slot in full under this tenure is committed.
    pub fn settled(&mut self, epoch: Epoch) {
        if let Some(tenure) = self.tenure_mut(epoch) {
            tenure.coverage = Coverage::Full;
        }
    }

    /// Lets go of what nobody needs: of the session's own log, every tenure that is over and that `holding`, of the
    /// newest epoch it has read, doesn't list. Says whether anything is left; if not, checkpoints leave the slot out.
    pub fn keep_listed(&mut self, session: SessionId, holding: &Holding) -> bool {
        let listed = |epoch| {
            let mut listed = holding.owner.iter().chain(&holding.sources);
            listed.any(|tenure| tenure.session == session && tenure.epoch == epoch)
        };
        let open = self.open().map(|tenure| tenure.epoch);
        self.tenures.retain(|tenure| Some(tenure.epoch) == open || listed(tenure.epoch));
        // A Release speaks for tenures that were never adopted, too.
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
    fn what_no_writer_by_the_rules_writes_is_found() {
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
    fn after_the_release_nothing_of_older_tenures_is_left() {
        let mut log = SlotLog::default();
        let found = SlotIndex::from_sorted([place("a", 1, Origin::Foreign)]);
        log.adopt(epoch(2), found).unwrap();
        write(&mut log, "b", 1).unwrap();
        log.release(epoch(3)).unwrap();
        let tenure = log.tenure(epoch(2)).unwrap();
        assert_eq!((tenure.entries.count(), tenure.coverage), (1, Coverage::Part));
    }

    #[test]
    fn what_comes_back_is_followed_to_where_a_checkpoint_has_copied_it() {
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
