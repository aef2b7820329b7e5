//! A set of slots as ranges.

use alloc::{string::ToString, vec::Vec};
use core::fmt;

use serde::{Serialize, Serializer};

use crate::ids::Slot;

/// Ranges that `{:#}` prints before it says how many more there are.
const SHOWN_MAX: usize = 6;

/// A set of slots. Displays as `0-1365 1400`, like in an epoch record; `{:#}`, for sentences, has commas and only the
/// first ranges of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotRanges(Vec<(Slot, Slot)>);

impl SlotRanges {
    /// From slots in order, each once.
    ///
    /// # Panics
    ///
    /// When they are not in order.
    #[must_use]
    pub fn of(slots: &[Slot]) -> Self {
        let mut ranges: Vec<(Slot, Slot)> = Vec::new();
        for &slot in slots {
            match ranges.last_mut() {
                Some((_, last)) if last.0.checked_add(1) == Some(slot.0) => *last = slot,
                Some((_, last)) => {
                    assert!(*last < slot, "{slot} after {last}");
                    ranges.push((slot, slot));
                }
                None => ranges.push((slot, slot)),
            }
        }
        Self(ranges)
    }

    /// The number of slots.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|(first, last)| usize::from(last.0 - first.0) + 1).sum()
    }

    /// The slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().flat_map(|(first, last)| (first.0..=last.0).map(Slot))
    }

    /// Whether a slot is one of them.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

impl fmt::Display for SlotRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { SHOWN_MAX } else { self.0.len() };
        for (at, (first, last)) in self.0.iter().take(shown).enumerate() {
            let between = if f.alternate() { ", " } else { " " };
            let space = if at == 0 { "" } else { between };
            match first == last {
                true => write!(f, "{space}{}", first.0)?,
                false => write!(f, "{space}{}-{}", first.0, last.0)?,
            }
        }
        match self.0.len().saturating_sub(shown) {
            0 => Ok(()),
            more => write!(f, " and {more} more ranges"),
        }
    }
}

impl Serialize for SlotRanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}
