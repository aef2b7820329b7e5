//! Segments: blocks of consecutive numbers that are trimmed as one, so that one mark object speaks for many deletions.
//!
//! Journals are trimmed by segments of positions, the epoch log by segments of epochs. In both, a segment's mark is
//! created before anything in the segment is deleted, and never deleted itself.
//!
//! Invariants:
//!
//! * Marks are contiguous: a segment is marked only after every segment before it.
//! * Nothing of a segment is deleted before its mark is known to be there.

use alloc::collections::BTreeSet;
use core::marker::PhantomData;

use crate::ids::{Epoch, Position, Segment};

/// A number that is grouped into segments.
pub trait Numbered: Copy {
    /// The first number in use.
    const FIRST: u64;

    /// The number itself.
    fn number(self) -> u64;

    /// From the number.
    fn from_number(number: u64) -> Self;
}

impl Numbered for Position {
    const FIRST: u64 = 0;

    fn number(self) -> u64 {
        self.get()
    }

    fn from_number(number: u64) -> Self {
        Self::new(number)
    }
}

impl Numbered for Epoch {
    const FIRST: u64 = 1;

    fn number(self) -> u64 {
        self.get()
    }

    fn from_number(number: u64) -> Self {
        Self::new(number)
    }
}

/// How many numbers make a segment. Every reader and writer of a cluster uses the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segments<N> {
    len: u64,
    of: PhantomData<N>,
}

/// The segments of a journal, in positions.
pub type SegmentLen = Segments<Position>;

/// The segments of the epoch log, in epochs.
pub type EpochSegments = Segments<Epoch>;

impl Segments<Position> {
    /// Those of every journal: 256 positions, so that a busy host leaves few marks behind. Other lengths are for tests.
    pub const JOURNAL: Self = Self::new(256);
}

impl<N> Segments<N> {
    /// Segments of that many numbers.
    ///
    /// # Panics
    ///
    /// When it is below 2: the first segment would hold only the opening, or only epoch 0, and its mark would cover
    /// nothing.
    #[must_use]
    pub const fn new(len: u64) -> Self {
        assert!(len >= 2, "a segment has at least 2 numbers");
        Self { len, of: PhantomData }
    }
}

impl<N: Numbered> Segments<N> {
    /// The segment of a number.
    #[must_use]
    pub fn segment(self, number: N) -> Segment {
        Segment::new(number.number() / self.len)
    }

    /// The first number of a segment; of the epoch log's first segment 0, which is no epoch.
    ///
    /// # Panics
    ///
    /// When the segment lies beyond the last number.
    #[must_use]
    pub fn first(self, segment: Segment) -> N {
        let first = segment.get().checked_mul(self.len);
        N::from_number(first.expect("a segment's numbers fit 64 bits"))
    }

    /// The last number of a segment.
    #[must_use]
    pub fn last(self, segment: Segment) -> N {
        N::from_number(self.first(segment.next()).number() - 1)
    }

    /// The numbers of a segment that are in use, in order.
    pub fn members(self, segment: Segment) -> impl Iterator<Item = N> {
        let first = self.first(segment).number().max(N::FIRST);
        (first..=self.last(segment).number()).map(N::from_number)
    }

    /// The first segment that doesn't lie completely at or below a number.
    #[must_use]
    pub fn whole_up_to(self, number: N) -> Segment {
        Segment::new((number.number() + 1) / self.len)
    }
}

/// How far a journal or the epoch log was trimmed. A new session starts with none of its journal trimmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trimmed {
    /// The first segment whose mark isn't known to be there; the marks of all before it are.
    pub marked: Segment,
    /// The first segment that may still hold objects; all before it were deleted.
    pub deleted: Segment,
}

/// One step of trimming. The next one follows from its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrimStep {
    /// Create the mark of that segment; if the outcome is unclear, again.
    Mark(Segment),
    /// Delete every object of that segment.
    Delete(Segment),
}

impl Trimmed {
    /// From a list of the marks that exist, for a process that didn't create them. The last marked segment counts as
    /// not deleted: its marker may have stopped in between.
    #[must_use]
    pub fn resumed(marks: impl IntoIterator<Item = Segment>) -> Self {
        let marked = first_unmarked(marks);
        Self { marked, deleted: marked.previous().unwrap_or(marked) }
    }

    /// The next step, when every segment before `due` may go; `None` when nothing is left to do. Marked segments are
    /// deleted first: a mark is kept permanently, so it should soon be worth its place.
    ///
    /// # Panics
    ///
    /// When something was deleted before it was marked.
    #[must_use]
    pub fn next_step(self, due: Segment) -> Option<TrimStep> {
        assert!(self.deleted <= self.marked, "{self:?}: deleted before it was marked");
        if self.deleted < self.marked {
            Some(TrimStep::Delete(self.deleted))
        } else if self.marked < due {
            Some(TrimStep::Mark(self.marked))
        } else {
            None
        }
    }

    /// A step was carried out, with a definite outcome.
    ///
    /// # Panics
    ///
    /// When it wasn't the next one.
    pub fn done(&mut self, step: TrimStep) {
        match step {
            TrimStep::Mark(segment) => {
                assert_eq!(segment, self.marked, "marks are contiguous");
                self.marked = segment.next();
            }
            TrimStep::Delete(segment) => {
                assert_eq!(segment, self.deleted, "segments are deleted in order");
                assert!(segment < self.marked, "{segment} is deleted before it was marked");
                self.deleted = segment.next();
            }
        }
    }
}

/// The first segment without a mark, by a list of the marks that exist. Only a contiguous run counts: a list isn't one
/// moment, and may contain a mark without the one before it.
#[must_use]
pub fn first_unmarked(marks: impl IntoIterator<Item = Segment>) -> Segment {
    let marks: BTreeSet<Segment> = marks.into_iter().collect();
    let mut next = Segment::ZERO;
    while marks.contains(&next) {
        next = next.next();
    }
    next
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_segment_is_whole_only_with_its_last_position() {
        let segments = SegmentLen::JOURNAL;
        assert_eq!(segments.whole_up_to(Position::new(254)), Segment::new(0));
        assert_eq!(segments.whole_up_to(Position::new(255)), Segment::new(1));
        assert_eq!(segments.segment(Position::new(255)), Segment::new(0));
        assert_eq!(segments.segment(Position::new(256)), Segment::new(1));
    }

    #[test]
    fn a_segment_holds_the_positions_that_lie_in_it() {
        let segments = SegmentLen::new(3);
        let positions: Vec<_> = segments.members(Segment::new(2)).collect();
        assert_eq!(positions, [6, 7, 8].map(Position::new));
        assert!(positions.iter().all(|&position| segments.segment(position) == Segment::new(2)));
    }

    #[test]
    fn the_first_epoch_is_1() {
        let epochs: Vec<_> = EpochSegments::new(3).members(Segment::ZERO).collect();
        assert_eq!(epochs, [1, 2].map(Epoch::new));
    }

    #[test]
    fn trimming_goes_on_where_the_marks_end() {
        let marks = [0, 1, 3].map(Segment::new);
        let trimmed = Trimmed::resumed(marks);
        assert_eq!(trimmed, Trimmed { marked: Segment::new(2), deleted: Segment::new(1) });
        assert_eq!(Trimmed::resumed([]), Trimmed::default());
    }

    #[test]
    #[should_panic(expected = "marks are contiguous")]
    fn a_mark_out_of_order_is_noticed() {
        Trimmed::default().done(TrimStep::Mark(Segment::new(1)));
    }
}
