//! Blocks of positions that are trimmed as one, so that a single mark speaks for many deletions.

use crate::ids::{Position, Segment};

/// How many positions of a journal make a segment. Every reader and writer of a cluster uses the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentLen(u64);

impl SegmentLen {
    /// That of every journal: 256 positions, so that a busy host leaves few marks behind.
    pub const JOURNAL: Self = Self::new(256);

    /// A length in positions. Other lengths than [`SegmentLen::JOURNAL`] are for tests.
    ///
    /// # Panics
    ///
    /// When it is below 2: the opening would be a segment of its own and its mark would cover no batch.
    #[must_use]
    pub const fn new(positions: u64) -> Self {
        assert!(positions >= 2, "a segment holds at least the opening and a batch");
        Self(positions)
    }

    /// The segment a position lies in.
    #[must_use]
    pub const fn segment(self, position: Position) -> Segment {
        Segment::new(position.get() / self.0)
    }

    /// The first position of a segment.
    ///
    /// # Panics
    ///
    /// When the segment lies beyond the last position.
    #[must_use]
    pub const fn first(self, segment: Segment) -> Position {
        Position::new(segment.get().checked_mul(self.0).expect("a segment holds positions"))
    }

    /// The segments that lie wholly at or below a position, as the first one that doesn't.
    #[must_use]
    pub const fn whole_up_to(self, position: Position) -> Segment {
        Segment::new(position.next().get() / self.0)
    }

    /// The positions of a segment, in order.
    pub fn positions(self, segment: Segment) -> impl Iterator<Item = Position> {
        (self.first(segment).get()..self.first(segment.next()).get()).map(Position::new)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_segment_is_whole_only_with_its_last_position() {
        let length = SegmentLen::JOURNAL;
        assert_eq!(length.whole_up_to(Position::new(254)), Segment::new(0));
        assert_eq!(length.whole_up_to(Position::new(255)), Segment::new(1));
        assert_eq!(length.segment(Position::new(255)), Segment::new(0));
        assert_eq!(length.segment(Position::new(256)), Segment::new(1));
    }

    #[test]
    fn a_segment_holds_the_positions_that_lie_in_it() {
        let length = SegmentLen::new(3);
        let positions: Vec<_> = length.positions(Segment::new(2)).collect();
        assert_eq!(positions, [6, 7, 8].map(Position::new));
        assert!(positions.iter().all(|&position| length.segment(position) == Segment::new(2)));
    }
}
