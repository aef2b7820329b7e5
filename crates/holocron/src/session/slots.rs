//! What this session keeps of each slot: calls that wait for it, where the states of its vnodes are, its active vnodes.
//!
//! What the session *does* with a slot is its [`Residency`], which stands under the journal's lock. It changes only while
//! this table is locked too (the table first), so whoever holds the table sees one state of both.
//!
//! Invariants:
//!
//! * Calls wait only for slots that are recovering. They are bounded, and none is lost when that ends.
//!
//! [`Residency`]: holocron_protocol::slot::residency::Residency

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use holocron_protocol::{
    ids::{Epoch, Slot, VnodeHash},
    slot::log::SlotLog,
    state::{
        index::SlotIndex,
        place::{Files, Place},
    },
};
use ractor::ActorCell;

use crate::api::call::{Call, ReplyTo};

/// Calls that may wait for recovering slots before callers are answered `Busy`.
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
    slots: Vec<SlotData>,
    /// Calls waiting in all slots together.
    waiting: usize,
}

/// One slot.
#[derive(Debug, Default)]
pub(crate) struct SlotData {
    /// Calls that wait until the slot is adopted.
    waiting: Vec<(Call, ReplyTo)>,
    /// What this session's journal says of the slot, as far as checkpoints have read it; the tail knows the rest.
    pub(crate) log: SlotLog,
    /// What it was recovered with, by tenure, until the Adopt is in the log, which then holds it.
    pub(crate) recovered: BTreeMap<Epoch, SlotIndex>,
    /// Active vnodes of the slot.
    pub(crate) active: u64,
    /// Their supervisor, while there are any.
    pub(crate) supervisor: Option<ActorCell>,
}

impl SlotData {
    /// Where the newest record of a vnode that isn't in the tail stands, under one tenure.
    pub(crate) fn find(&self, tenure: Epoch, hash: VnodeHash) -> Option<Place> {
        self.index(tenure).and_then(|index| index.get(hash))
    }

    fn index(&self, tenure: Epoch) -> Option<&SlotIndex> {
        self.recovered.get(&tenure).or_else(|| self.log.tenure(tenure).map(|log| &log.entries))
    }

    /// How many vnodes are known under a tenure, except those that only the tail knows.
    pub(crate) fn known(&self, tenure: Epoch) -> usize {
        self.index(tenure).map_or(0, SlotIndex::count)
    }
}

impl Slots {
    pub(crate) fn new(count: u16) -> Self {
        let slots = (0..count).map(|_| SlotData::default()).collect();
        Self { table: Mutex::new(Table { slots, waiting: 0 }), files: Mutex::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics under the slots' lock but its own assertions")
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("nothing panics under the files' lock but its own assertions")
    }
}

impl Table {
    pub(crate) fn get(&self, slot: Slot) -> &SlotData {
        &self.slots[slot.index()]
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut SlotData {
        &mut self.slots[slot.index()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &SlotData)> {
        (0..).map(Slot).zip(&self.slots)
    }

    /// Lets a call wait for a recovering slot; gives it back when too many wait.
    pub(crate) fn wait(&mut self, slot: Slot, call: Call, reply: ReplyTo) -> Result<(), ReplyTo> {
        if self.waiting >= WAITING_MAX {
            return Err(reply);
        }
        self.get_mut(slot).waiting.push((call, reply));
        self.waiting += 1;
        Ok(())
    }

    /// Takes the calls that wait for a slot.
    pub(crate) fn take_waiting(&mut self, slot: Slot) -> Vec<(Call, ReplyTo)> {
        let waited = core::mem::take(&mut self.get_mut(slot).waiting);
        self.waiting -= waited.len();
        waited
    }

    /// Takes the calls that wait for any slot.
    pub(crate) fn take_all_waiting(&mut self) -> Vec<(Call, ReplyTo)> {
        self.waiting = 0;
        self.slots.iter_mut().flat_map(|slot| core::mem::take(&mut slot.waiting)).collect()
    }
}
