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
//! [`Origin::Foreign`]: crate::place::Origin::Foreign

use alloc::vec::Vec;

use crate::{
    checkpoint::{Coverage, SlotEntry, TenureEntry},
    epoch::Holding,
    ids::{Epoch, SessionId, VnodeHash},
    index::SlotIndex,
    place::Place,
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
    /// # Errors
    ///
    /// [`Disorder::Adopt`].
    pub fn adopt(&mut self, epoch: Epoch, entries: SlotIndex) -> Result<(), Disorder> {
        let newest = self.tenures.last().map_or(Epoch::ZERO, |tenure| tenure.epoch);
        if epoch <= newest || epoch <= self.released {
            return Err(Disorder::Adopt);
        }
        self.tenures.push(TenureLog { epoch, coverage: Coverage::Part, entries });
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
