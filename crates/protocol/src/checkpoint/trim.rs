//! Trimming a session's own journal: which segments a committed checkpoint makes garbage.
//!
//! A deletion can't be told from a batch that never landed. So before a deletion a mark is created that tells it: a trim
//! mark for each segment of a journal. Marks are created once and never deleted: a sealer or reader that finds one later knows
//! that what is missing there existed.
//!
//! Invariants:
//!
//! * Only what a *committed* checkpoint covers is trimmed. The checkpoint's own record lies above its low water and stays.
//! * A segment's mark is definite before anything in it is deleted ([`Trimmed`]).

use crate::{
    format::segment::{SegmentLen, TrimStep, Trimmed},
    ids::Position,
    journal::writer::Writer,
};

/// What to do next to trim the writer's own journal; `None` when nothing is due.
///
/// # Panics
///
/// When more was trimmed than the newest committed checkpoint allows.
#[must_use]
pub fn next_trim(writer: &Writer, trimmed: Trimmed, segments: SegmentLen) -> Option<TrimStep> {
    let (low_water, checkpoint_at) = (writer.low_water(), writer.checkpoint_at());
    if checkpoint_at == Position::ZERO {
        assert_eq!(trimmed, Trimmed::default(), "trimmed without a checkpoint");
        return None;
    }
    assert!(low_water < checkpoint_at, "a checkpoint would trim its own record");
    assert!(checkpoint_at <= writer.committed(), "trims rest on a committed checkpoint");
    let due = segments.whole_up_to(low_water);
    assert!(trimmed.marked <= due, "{trimmed:?} though only {due} is due");
    trimmed.next_step(due)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        ids::{Segment, SessionId},
        journal::writer::Carries,
    };

    const SESSION: SessionId = SessionId::new(7);
    const FOURS: SegmentLen = SegmentLen::new(4);

    /// A writer with that many committed batches, the last a checkpoint of everything before it.
    fn checkpointed(batches: u64) -> Writer {
        let mut writer = Writer::new(SESSION, 1);
        for position in 1..=batches {
            let low_water = writer.committed();
            let carries = if position == batches {
                Carries::Checkpoint { low_water }
            } else {
                Carries::Records
            };
            let header = writer.submit(carries);
            assert_eq!(writer.won(header.position), Some(header.position));
        }
        writer
    }

    fn trimmed(marked: u64, deleted: u64) -> Trimmed {
        Trimmed { marked: Segment::new(marked), deleted: Segment::new(deleted) }
    }

    #[test]
    fn segments_are_marked_and_deleted_one_by_one_and_in_order() {
        let writer = checkpointed(9);
        let mut so_far = Trimmed::default();
        let mut steps = vec![];
        while let Some(step) = next_trim(&writer, so_far, FOURS) {
            steps.push(step);
            match step {
                TrimStep::Mark(segment) => so_far.marked = segment.next(),
                TrimStep::Delete(segment) => so_far.deleted = segment.next(),
            }
        }
        let [first, second] = [Segment::new(0), Segment::new(1)];
        assert_eq!(
            steps,
            [
                TrimStep::Mark(first),
                TrimStep::Delete(first),
                TrimStep::Mark(second),
                TrimStep::Delete(second)
            ],
        );
    }

    #[test]
    fn a_segment_that_reaches_above_the_low_water_stays() {
        let writer = checkpointed(7);
        assert_eq!(writer.low_water(), Position::new(6));
        assert_eq!(next_trim(&writer, trimmed(1, 1), FOURS), None);
    }

    #[test]
    fn nothing_is_trimmed_while_the_checkpoint_is_in_flight() {
        let mut writer = Writer::new(SESSION, 1);
        for position in 1..=8 {
            assert_eq!(writer.submit(Carries::Records).position, Position::new(position));
            assert!(writer.won(Position::new(position)).is_some());
        }
        let header = writer.submit(Carries::Checkpoint { low_water: Position::new(8) });
        assert_eq!(next_trim(&writer, Trimmed::default(), FOURS), None);
        assert!(writer.won(header.position).is_some());
        assert!(next_trim(&writer, Trimmed::default(), FOURS).is_some());
    }

    #[test]
    #[should_panic(expected = "is due")]
    fn marks_ahead_of_the_low_water_are_noticed() {
        assert_eq!(next_trim(&checkpointed(7), trimmed(2, 1), FOURS), None);
    }
}
