//! What this session knows of each slot: not ours, coming, served, or leaving; and where the states of a served slot
//! are.
//!
//! Invariants:
//!
//! * A slot is served only after its Adopt was appended, and leaves only with its Release: phase and gate change
//!   together, under this table's lock.
//! * Calls for a slot that is coming wait here, bounded; no call is lost when the phase changes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use holocron_protocol::{
    ids::{Epoch, Position, Slot, Tenure, VnodeHash},
    slot::{log::SlotLog, tenure::Submitted},
    state::{
        index::SlotIndex,
        place::{Files, Place},
    },
};
use ractor::ActorCell;

use crate::api::call::{Call, ReplyTo};

/// Calls that may wait for slots on their way here before callers are answered `Busy`.
const WAITING_MAX: usize = 50_000;

/// All slots of a domain.
#[derive(Debug)]
pub(crate) struct Slots {
    table: Mutex<Table>,
    /// The files that the indexes point into. Locked after the table, if both are.
    files: Mutex<Files>,
}

#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<SlotState>,
    /// Calls waiting in all slots together.
    pub(crate) waiting: usize,
}

/// One slot.
#[derive(Debug, Default)]
pub(crate) struct SlotState {
    pub(crate) phase: Phase,
    /// What this session's journal says of the slot, as far as checkpoints have read it; the tail knows the rest.
    pub(crate) log: SlotLog,
    /// What it was recovered with, by tenure, until the Adopt is in the log, which then holds it.
    pub(crate) recovered: BTreeMap<Epoch, SlotIndex>,
    /// What was submitted about it.
    pub(crate) submitted: Submitted,
    /// Active vnodes of the slot.
    pub(crate) active: u64,
    /// Their supervisor, while there are any.
    pub(crate) supervisor: Option<ActorCell>,
}

/// Where a slot is.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    /// Not ours.
    #[default]
    Elsewhere,
    /// Given to us; its sources are being read or waited for. Calls wait.
    Coming(Coming),
    /// Ours: adopted and not released.
    Serving(Serving),
    /// Given away: no new calls; what runs is being handed over, then it is released.
    Leaving(Serving),
}

/// A slot on its way here.
#[derive(Debug)]
pub(crate) struct Coming {
    /// The tenure it will be served under.
    pub(crate) tenure: Tenure,
    /// What it is recovered from, newest first.
    pub(crate) sources: Vec<Tenure>,
    /// Calls that wait for it.
    pub(crate) waiting: Vec<(Call, ReplyTo)>,
}

/// A slot served here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    /// The epoch of the tenure it is served under: may be older than the newest epoch's, see the protocol.
    pub(crate) epoch: Epoch,
    /// Where its Adopt stands in the journal. A record below is of an earlier tenure of this session, and another owner
    /// may have written since.
    pub(crate) since: Position,
}

impl SlotState {
    /// Where a vnode's newest record stands, unless the tail has a newer one.
    pub(crate) fn find(&self, hash: VnodeHash) -> Option<Place> {
        let serving = match &self.phase {
            Phase::Serving(serving) | Phase::Leaving(serving) => serving,
            Phase::Elsewhere | Phase::Coming(_) => return None,
        };
        self.index(serving.epoch).and_then(|index| index.get(hash))
    }

    /// Where the states are that no batch of the tail holds, under one tenure.
    fn index(&self, epoch: Epoch) -> Option<&SlotIndex> {
        self.recovered.get(&epoch).or_else(|| self.log.tenure(epoch).map(|tenure| &tenure.entries))
    }

    /// How many vnodes it serves, but for those that only the tail knows.
    pub(crate) fn known(&self) -> usize {
        match &self.phase {
            Phase::Serving(serving) => self.index(serving.epoch).map_or(0, SlotIndex::count),
            Phase::Elsewhere | Phase::Coming(_) | Phase::Leaving(_) => 0,
        }
    }
}

impl Slots {
    pub(crate) fn new(count: u16) -> Self {
        let slots = (0..count).map(|_| SlotState::default()).collect();
        Self { table: Mutex::new(Table { slots, waiting: 0 }), files: Mutex::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics under the slots' lock but its own assertions")
    }
}

impl Slots {
    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("nothing panics under the files' lock but its own assertions")
    }
}

impl Table {
    pub(crate) fn get(&self, slot: Slot) -> &SlotState {
        &self.slots[slot.index()]
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut SlotState {
        &mut self.slots[slot.index()]
    }

    /// The served index of a slot, also while it is leaving.
    pub(crate) fn serving(&self, slot: Slot) -> Option<&Serving> {
        match &self.get(slot).phase {
            Phase::Serving(serving) | Phase::Leaving(serving) => Some(serving),
            Phase::Elsewhere | Phase::Coming(_) => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &SlotState)> {
        (0..).map(Slot).zip(&self.slots)
    }

    /// Lets a call wait for a slot that is coming; gives it back when too many wait.
    pub(crate) fn wait(&mut self, slot: Slot, call: Call, reply: ReplyTo) -> Result<(), ReplyTo> {
        if self.waiting >= WAITING_MAX {
            return Err(reply);
        }
        let Phase::Coming(coming) = &mut self.slots[slot.index()].phase else {
            unreachable!("calls wait only for slots that are coming");
        };
        coming.waiting.push((call, reply));
        self.waiting += 1;
        Ok(())
    }

    /// Puts a slot in another phase; the calls that waited for it come back.
    pub(crate) fn change(&mut self, slot: Slot, phase: Phase) -> Vec<(Call, ReplyTo)> {
        let waited = match core::mem::replace(&mut self.slots[slot.index()].phase, phase) {
            Phase::Coming(coming) => coming.waiting,
            Phase::Elsewhere | Phase::Serving(_) | Phase::Leaving(_) => Vec::new(),
        };
        self.waiting -= waited.len();
        waited
    }
}
