//! The load of slots: measured by hosts, reported to the leader, which places slots by it.
//!
//! A slot's load is one number, in thousandths of what one command per second costs: calls, vnodes in memory and bytes of
//! state, weighted. It is a hint. A wrong one costs moves; nothing of safety relies on it.
//!
//! A host counts calls for a window of [`WINDOW`] and averages windows, so that a burst moves nothing. It reports a slot only
//! if it has served it for the whole window: until then the leader knows what the former owner said. The leader names the
//! newest report that it has of a session, and a host sends its report only if that is another one.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Position, Slot},
    time::Time,
};

/// How long calls are counted. Longer: less noise. Shorter: a new hot spot is seen sooner.
pub const WINDOW: Duration = Duration::from_secs(5);
/// What one command or query per second counts.
pub const CALL: u64 = 1_000;
/// What a vnode in memory counts: a hundred take as much memory as a host has for each command per second that it can run.
pub const ACTIVE: u64 = 10;
/// What a mebibyte of state counts: it is copied when the slot moves, and read after a takeover.
pub const MEBIBYTE: u64 = 100;
/// What a slot without any load counts: as much as one command per second. So a cluster without load is even by the number of
/// slots, and little load moves little.
pub const BASE: u64 = 1_000;

/// A load, rounded to one of eight steps per power of two: 6 % off at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Coarse(u8);

impl Coarse {
    /// Rounds to the nearest step; what is beyond the last one is the last one.
    #[must_use]
    pub fn of(load: u64) -> Self {
        let step = (0..=u8::MAX)
            .collect::<Vec<_>>()
            .partition_point(|&step| Self(step).load() <= load)
            .saturating_sub(1);
        let below = Self(u8::try_from(step).expect("there are 256 steps"));
        match below.0.checked_add(1).map(Self) {
            Some(above) if above.load() - load < load - below.load() => above,
            Some(_) | None => below,
        }
    }

    /// The load.
    #[must_use]
    pub fn load(self) -> u64 {
        let (power, step) = (u32::from(self.0 / 8), u64::from(self.0 % 8));
        match power {
            0 => step,
            _ => (8 + step) << (power - 1),
        }
    }
}

/// What a session says of the load of its slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Grows with every report of the session that says something else; the first is 1.
    pub number: u64,
    /// The slots that were served for a whole window.
    pub slots: Vec<(Slot, Coarse)>,
}

/// What was counted of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls in the window.
    pub calls: u64,
    /// Vnodes in memory.
    pub active: u64,
    /// Bytes of the newest records of its vnodes.
    pub bytes: u64,
}

/// A slot that was served at the end of the last window.
#[derive(Clone, Copy, Debug)]
struct Served {
    /// The Adopt since which it is served.
    adopted: Position,
    /// The average of calls per second, in units of load; `None` before the first whole window.
    calls: Option<u64>,
}

/// A session's measurement.
#[derive(Clone, Debug)]
pub struct Meter {
    slots: Vec<Option<Served>>,
    report: LoadReport,
    began: Time,
}

impl Meter {
    /// A session that serves nothing yet: its first report says so.
    #[must_use]
    pub fn new(slot_count: u16, now: Time) -> Self {
        let report = LoadReport { number: 1, ..LoadReport::default() };
        Self { slots: vec![None; slot_count.into()], report, began: now }
    }

    /// Whether the window is over.
    #[must_use]
    pub fn is_due(&self, now: Time) -> bool {
        now.since(self.began) >= WINDOW
    }

    /// Ends a window. `counted` has every slot that is served now, with its Adopt.
    pub fn window(
        &mut self,
        now: Time,
        counted: impl IntoIterator<Item = (Slot, Position, Counted)>,
    ) {
        let millis = u64::try_from(now.since(self.began).as_millis()).unwrap_or(u64::MAX).max(1);
        self.began = now;
        let nothing = vec![None; self.slots.len()];
        let before = core::mem::replace(&mut self.slots, nothing);
        let mut slots = Vec::new();
        for (slot, adopted, counted) in counted {
            let rate = counted.calls.saturating_mul(1_000 * CALL) / millis;
            // A slot that was adopted in this window is measured from now on.
            let served = before[slot.index()].filter(|served| served.adopted == adopted);
            let calls = served.map(|served| served.calls.map_or(rate, |calls| (calls + rate) / 2));
            if let Some(calls) = calls {
                let other = counted.active * ACTIVE + counted.bytes * MEBIBYTE / (1 << 20);
                slots.push((slot, Coarse::of(calls.saturating_add(other))));
            }
            self.slots[slot.index()] = Some(Served { adopted, calls });
        }
        if slots != self.report.slots {
            self.report = LoadReport { number: self.report.number + 1, slots };
        }
    }

    /// The load of all slots.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.report.slots.iter().map(|(_, load)| load.load()).sum()
    }

    /// The newest report, unless the leader has it.
    #[must_use]
    pub fn news(&self, heard: u64) -> Option<&LoadReport> {
        (self.report.number != heard).then_some(&self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn one(calls: u64) -> [(Slot, Position, Counted); 1] {
        [(Slot(3), Position::new(7), Counted { calls, ..Counted::default() })]
    }

    fn load(meter: &Meter) -> Option<u64> {
        meter.report.slots.first().map(|(_, load)| load.load())
    }

    #[test]
    fn loads_are_rounded_by_6_percent_at_most() {
        for load in (0..20_000).chain([1 << 20, (1 << 33) + 12_345, 15_000_000_000]) {
            let rounded = Coarse::of(load).load();
            assert!(rounded.abs_diff(load) * 16 <= load, "{load} becomes {rounded}");
        }
        assert_eq!(Coarse::of(u64::MAX), Coarse(u8::MAX));
        let steps: Vec<u64> = (0..=u8::MAX).map(|step| Coarse(step).load()).collect();
        assert!(steps.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_slot_is_reported_after_it_was_served_for_a_window_and_averaged_from_then_on() {
        let mut meter = Meter::new(8, seconds(0));
        assert_eq!(meter.news(0).map(|report| report.number), Some(1), "it serves nothing");
        assert!(!meter.is_due(seconds(4)) && meter.is_due(seconds(5)));
        meter.window(seconds(5), one(999));
        assert_eq!((load(&meter), meter.news(1)), (None, None), "adopted within the window");
        meter.window(seconds(10), one(80));
        assert_eq!(load(&meter), Some(16_384), "16 per second");
        meter.window(seconds(15), one(0));
        assert_eq!(load(&meter), Some(8_192), "half of it");
        // It left and came back: what was counted before says nothing.
        let again = [(Slot(3), Position::new(90), Counted { calls: 80, ..Counted::default() })];
        meter.window(seconds(20), again);
        assert_eq!(load(&meter), None);
    }

    #[test]
    fn memory_and_bytes_count_too_and_a_report_without_news_keeps_its_number() {
        let mut meter = Meter::new(8, seconds(0));
        let counted = Counted { calls: 0, active: 100, bytes: 10 << 20 };
        for window in 1..=3 {
            meter.window(seconds(window * 5), [(Slot(0), Position::new(1), counted)]);
        }
        assert_eq!(load(&meter), Some(2_048));
        assert_eq!(meter.report.number, 2);
        assert_eq!(meter.news(2), None);
    }
}
