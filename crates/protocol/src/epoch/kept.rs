//! Which epochs of a log can still be read, for readers of its history.
//!
//! Invariants:
//!
//! * An epoch of a marked segment counts as deleted, even while its record exists: it may be a record that a host far
//!   behind created again.
//! * Between the first and the newest kept epoch there is a record for each number, unless it was deleted from outside.

use core::ops::RangeInclusive;

use crate::{
    format::segment::{EpochSegments, first_unmarked},
    ids::{Epoch, Segment},
};

/// The epochs of a log that are kept. There is at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The first epoch that is kept; all before it are deleted, or are being deleted.
    pub first: Epoch,
    /// The newest epoch that exists.
    pub newest: Epoch,
}

impl Kept {
    /// From the log's keys: the listed epochs and marks. `None` when there is no epoch.
    #[must_use]
    pub fn among(
        epochs: impl IntoIterator<Item = Epoch>,
        marks: impl IntoIterator<Item = Segment>,
        segments: EpochSegments,
    ) -> Option<Self> {
        let first = segments.first(first_unmarked(marks)).max(Epoch::ZERO.next());
        let newest = epochs.into_iter().filter(|&epoch| epoch >= first).max()?;
        Some(Self { first, newest })
    }

    /// The last epoch that is deleted; `None` when all are kept.
    #[must_use]
    pub fn last_deleted(&self) -> Option<Epoch> {
        self.first.previous().filter(|&epoch| epoch > Epoch::ZERO)
    }

    /// The newest `count` of them, as a range of numbers; all if there are fewer. At least one.
    #[must_use]
    pub fn last(&self, count: u64) -> RangeInclusive<u64> {
        let newest = self.newest.get();
        let begin = newest.saturating_sub(count.max(1) - 1);
        begin.max(self.first.get())..=newest
    }

    /// Whether an epoch is among them.
    #[must_use]
    pub fn contains(&self, epoch: Epoch) -> bool {
        (self.first..=self.newest).contains(&epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENS: EpochSegments = EpochSegments::new(10);

    fn kept(
        epochs: impl IntoIterator<Item = u64>,
        marks: impl IntoIterator<Item = u64>,
    ) -> Option<Kept> {
        Kept::among(epochs.into_iter().map(Epoch::new), marks.into_iter().map(Segment::new), TENS)
    }

    fn range(first: u64, newest: u64) -> Option<Kept> {
        Some(Kept { first: Epoch::new(first), newest: Epoch::new(newest) })
    }

    #[test]
    fn without_marks_everything_is_kept() {
        let all = kept(1..=7, []);
        assert_eq!(all, range(1, 7));
        assert_eq!(all.unwrap().last_deleted(), None);
        assert_eq!(kept([], []), None);
    }

    #[test]
    fn what_is_marked_is_deleted_even_if_a_record_is_there() {
        let rest = kept([3, 18, 20, 21, 22], [0, 1]);
        assert_eq!(rest, range(20, 22));
        assert_eq!(rest.unwrap().last_deleted(), Some(Epoch::new(19)));
        assert!(!rest.unwrap().contains(Epoch::new(19)));
        assert_eq!(kept([3], [0]), None, "only what a host far behind created again");
    }

    #[test]
    fn the_newest_few_never_reach_below_the_first() {
        let kept = Kept { first: Epoch::new(20), newest: Epoch::new(25) };
        assert_eq!(kept.last(2), 24..=25);
        assert_eq!(kept.last(100), 20..=25);
        assert_eq!(kept.last(0), 25..=25);
        assert_eq!(kept.last(u64::MAX), 20..=25);
    }
}
