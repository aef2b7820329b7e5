//! The session's data of each slot: calls that wait for it, where the states of its vnodes are, its active vnodes.
//!
//! What the session *does* with a slot is its [`Residency`], under the journal's lock. The residency changes only while
//! this table is locked too (the table first), so a holder of the table lock sees a consistent state of both.
//!
//! Invariants:
//!
//! * Calls wait only for slots that are recovering. Their number is bounded, and each is run or refused in the end.
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

/// The number of calls that may wait for recovering slots; further ones are answered `Busy`.
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
    /// The number of waiting calls of all slots.
    waiting: usize,
}

/// One slot.
#[derive(Debug, Default)]
pub(crate) struct SlotData {
    /// Calls that wait until the slot is adopted.
    waiting: Vec<(Call, ReplyTo)>,
    /// The slot's log in this session's journal, up to the newest batch that a checkpoint has read; the tail has the rest.
    pub(crate) log: SlotLog,
    /// The recovered index, by tenure, until the Adopt is in the log, which then holds it.
    pub(crate) recovered: BTreeMap<Epoch, SlotIndex>,
    /// Active vnodes of the slot.
    pub(crate) active: u64,
    /// Their supervisor, while there are any.
    pub(crate) supervisor: Option<ActorCell>,
}

impl SlotData {
    /// Where a vnode's newest record is under a tenure, if it isn't in the tail.
    pub(crate) fn find(&self, tenure: Epoch, hash: VnodeHash) -> Option<Place> {
        self.index(tenure).and_then(|index| index.get(hash))
    }

    /// Where the newest records are under a tenure, of vnodes that aren't in the tail.
    pub(crate) fn index(&self, tenure: Epoch) -> Option<&SlotIndex> {
        self.recovered.get(&tenure).or_else(|| self.log.tenure(tenure).map(|log| &log.entries))
    }

    /// The number of vnodes under a tenure, without those that are only in the tail.
    pub(crate) fn known(&self, tenure: Epoch) -> usize {
        self.index(tenure).map_or(0, SlotIndex::count)
    }

    /// The bytes of their newest records.
    pub(crate) fn bytes(&self, tenure: Epoch) -> u64 {
        self.index(tenure).map_or(0, SlotIndex::bytes)
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

    /// Queues a call for a recovering slot; returns its reply handle if too many calls wait.
    pub(crate) fn wait(&mut self, slot: Slot, call: Call, reply: ReplyTo) -> Result<(), ReplyTo> {
        if self.waiting >= WAITING_MAX {
            return Err(reply);
        }
        self.get_mut(slot).waiting.push((call, reply));
        self.waiting += 1;
        Ok(())
    }

    /// Removes and returns the calls that wait for a slot.
    pub(crate) fn take_waiting(&mut self, slot: Slot) -> Vec<(Call, ReplyTo)> {
        let waited = core::mem::take(&mut self.get_mut(slot).waiting);
        self.waiting -= waited.len();
        waited
    }

    /// Removes and returns the calls that wait for any slot.
    pub(crate) fn take_all_waiting(&mut self) -> Vec<(Call, ReplyTo)> {
        self.waiting = 0;
        self.slots.iter_mut().flat_map(|slot| core::mem::take(&mut slot.waiting)).collect()
    }
}
