//! Counts what slots cost, for the leader's placement.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use holocron_protocol::{
    checkpoint::retain::Copying,
    control::load::{CALL, Counted, LoadReport, Meter},
    ids::Slot,
    slot::residency::SlotState,
    time::Time,
};

use super::Session;

/// What is counted of a session's slots.
#[derive(Debug)]
pub(super) struct Load {
    /// Calls per slot since the window began.
    calls: Box<[AtomicU32]>,
    meter: Mutex<Meter>,
}

impl Load {
    pub(super) fn new(slot_count: u16, now: Time) -> Self {
        let calls = (0..slot_count).map(|_| AtomicU32::new(0)).collect();
        Self { calls, meter: Mutex::new(Meter::new(slot_count, now)) }
    }

    /// Counts a call.
    pub(super) fn called(&self, slot: Slot) {
        self.calls[slot.index()].fetch_add(1, Ordering::Relaxed);
    }

    fn with_meter<T>(&self, work: impl FnOnce(&mut Meter) -> T) -> T {
        work(&mut self.meter.lock().expect("nothing panics under the meter's lock"))
    }
}

impl Session {
    /// Ends a window of measurement if it is over.
    pub(crate) fn measure(&self) {
        let now = self.clock.now();
        if !self.load.with_meter(|meter| meter.is_due(now)) {
            return;
        }
        let table = self.slots.lock();
        let mut counted = Vec::new();
        self.journal.with_residency(|residency| {
            for (slot, state) in residency.states() {
                let calls = self.load.calls[slot.index()].swap(0, Ordering::Relaxed).into();
                let SlotState::Serving { tenure, since } = state else { continue };
                let data = table.get(slot);
                let (active, bytes) = (data.active, data.bytes(tenure));
                counted.push((slot, since, Counted { calls, active, bytes }));
            }
        });
        drop(table);
        self.load.with_meter(|meter| meter.window(now, counted));
    }

    /// What the slots cost, unless the leader has this report.
    pub(crate) fn load_news(&self, heard: u64) -> Option<LoadReport> {
        self.load.with_meter(|meter| meter.news(heard).cloned())
    }

    /// The load of all slots, in commands per second.
    pub(super) fn measured(&self) -> u64 {
        self.load.with_meter(|meter| meter.total()) / CALL
    }

    /// Whether states of slots that were adopted are still to be copied.
    pub(crate) fn copying(&self) -> Copying {
        let table = self.slots.lock();
        let unlogged = |(_, slot): (Slot, &super::slots::SlotData)| {
            slot.recovered.values().any(|index| index.foreign() > 0)
        };
        if table.iter().any(unlogged) {
            return Copying::Remaining;
        }
        Copying::of(table.iter().map(|(_, slot)| &slot.log))
    }
}
