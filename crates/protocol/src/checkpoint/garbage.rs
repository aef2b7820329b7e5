//! Garbage: what may be deleted, and in which order.
//!
//! A deletion can't be told from a batch that never landed, so whoever deletes first leaves a mark that can: a trim mark
//! for a segment of a live journal, the end mark for a detached session. Marks are created once and stay for ever; a
//! late sealer or reader who finds one knows that what is missing was not missing always. Garbage is garbage for ever,
//! so a stale deleter does no harm.
//!
//! Invariants:
//!
//! * Only what a *committed* checkpoint covers is trimmed; its own record lies above its low water and stays.
//! * Trim marks are contiguous, and a segment's is definite before anything in it is deleted.
//! * The seal and the marks of a session are never deleted. (A seal that went into trimmed ground is garbage like the
//!   rest of its segment; the mark there says so.)

use alloc::{collections::BTreeSet, vec::Vec};

use holocron_planted::{Bug, is_planted};

use crate::{
    format::{keys::Key, segment::SegmentLen},
    ids::{PackNumber, Position, Segment, SessionId},
    journal::writer::Writer,
};

/// How far the trimming of a session's own journal has come. A new session starts at none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trimmed {
    /// The first segment whose mark isn't known to be there; those of all before it are.
    pub marked: Segment,
    /// The first segment that may still hold objects; all before it were deleted.
    pub deleted: Segment,
}

/// One step of trimming. The next follows from what has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrimStep {
    /// Create the mark of that segment; if the outcome is unclear, again.
    Mark(Segment),
    /// Delete every position of that segment.
    Delete(Segment),
}

/// What to do next to trim the writer's own journal; `None` when nothing is due.
///
/// # Panics
///
/// When more was trimmed than the newest committed checkpoint allows.
#[must_use]
pub fn next_trim(writer: &Writer, trimmed: Trimmed, segment_len: SegmentLen) -> Option<TrimStep> {
    let (low_water, checkpoint_at) = (writer.low_water(), writer.checkpoint_at());
    if checkpoint_at == Position::ZERO {
        assert_eq!(trimmed, Trimmed::default(), "trimmed without a checkpoint");
        return None;
    }
    assert!(low_water < checkpoint_at, "a checkpoint would trim its own record");
    assert!(checkpoint_at <= writer.committed(), "trims rest on a committed checkpoint");
    let due = segment_len.whole_up_to(low_water);
    let Trimmed { marked, deleted } = trimmed;
    assert!(deleted <= marked && marked <= due, "{trimmed:?} though only {due} is due");
    // Marked ground first: a mark is kept for ever, so it should soon be worth its place.
    if deleted < marked {
        Some(TrimStep::Delete(deleted))
    } else if marked < due {
        Some(TrimStep::Mark(marked))
    } else {
        None
    }
}

/// Whether the newest epoch this session has read lists it as a source for a slot it has released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReleasedSlots {
    /// It does: somebody may be reading this session's packs.
    Listed,
    /// It does not.
    Unlisted,
}

/// A session's own packs, and who may need them.
#[derive(Clone, Copy, Debug)]
pub struct OwnPacks<'a> {
    /// Those that were written and not yet deleted.
    pub written: &'a BTreeSet<PackNumber>,
    /// Those that the newest committed checkpoint names.
    pub named: &'a BTreeSet<PackNumber>,
    /// The first number that was still free when that checkpoint was built: from here on packs may belong to the next.
    pub free_from: PackNumber,
    /// Whether others may read them.
    pub released_slots: ReleasedSlots,
}

/// The own packs that nobody will ask for again.
pub fn packs_to_delete(packs: OwnPacks<'_>) -> impl Iterator<Item = PackNumber> {
    let nobody_reads = packs.released_slots == ReleasedSlots::Unlisted;
    let is_settled = move |number| number < packs.free_from || is_planted(Bug::DeletePacksToCome);
    packs
        .written
        .iter()
        .copied()
        .take_while(move |&number| is_settled(number))
        .filter(move |number| nobody_reads && !packs.named.contains(number))
}

/// A session that an epoch says is detached, once that epoch was read and found to be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Detached {
    /// Which.
    pub session: SessionId,
    /// Where its seal stands.
    pub sealed_at: Position,
}

/// Whether a detached session's end mark is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndMark {
    /// Not that we know; a create with an unclear outcome is no more than that.
    NotKnown,
    /// Seen, or won.
    Definite,
}

/// What to do next about a detached session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collection {
    /// Create its end mark; nothing may be deleted before.
    CreateEndMark,
    /// Delete these, in any order. With none left it is done.
    Delete(Vec<Key>),
}

impl Detached {
    /// What to do next, given the keys under [`crate::format::keys::session`]. Foreign names among them are nobody's to delete.
    ///
    /// # Panics
    ///
    /// When the seal stands at position 0, where none ever does.
    #[must_use]
    pub fn collect(self, end_mark: EndMark, listed: impl IntoIterator<Item = Key>) -> Collection {
        assert!(self.sealed_at > Position::ZERO, "position 0 is never sealed");
        match end_mark {
            EndMark::NotKnown => Collection::CreateEndMark,
            EndMark::Definite => {
                Collection::Delete(listed.into_iter().filter(|key| self.is_garbage(key)).collect())
            }
        }
    }

    fn is_garbage(self, key: &Key) -> bool {
        match *key {
            Key::Journal(session, position) => {
                session == self.session
                    && (position != self.sealed_at || is_planted(Bug::DeleteSeal))
            }
            Key::Pack(session, _) => session == self.session,
            Key::TrimMark(..) | Key::EndMark(_) => false,
            Key::Cluster
            | Key::Epoch(_)
            | Key::EpochMark(_)
            | Key::LeaderHint
            | Key::HostHint(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{format::keys, journal::writer::Carries};

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

    fn numbers<const N: usize>(numbers: [u64; N]) -> BTreeSet<PackNumber> {
        numbers.into_iter().map(PackNumber::new).collect()
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

    #[test]
    fn a_pack_goes_when_the_committed_checkpoint_omits_it_and_nobody_reads_it() {
        let (written, named) = (numbers([1, 2, 3, 4]), numbers([2]));
        let packs = OwnPacks {
            written: &written,
            named: &named,
            free_from: PackNumber::new(4),
            released_slots: ReleasedSlots::Unlisted,
        };
        // Pack 4 may be for the checkpoint that is being built.
        let gone: Vec<_> = packs_to_delete(packs).collect();
        assert_eq!(gone, [1, 3].map(PackNumber::new));
        let read_by_others = OwnPacks { released_slots: ReleasedSlots::Listed, ..packs };
        assert_eq!(packs_to_delete(read_by_others).count(), 0);
    }

    #[test]
    fn a_detached_session_loses_everything_but_its_seal_and_marks() {
        let detached = Detached { session: SESSION, sealed_at: Position::new(5) };
        let [batch, late, seal] = [4, 6, 5].map(|at| Key::Journal(SESSION, Position::new(at)));
        let pack = Key::Pack(SESSION, PackNumber::new(1));
        let stranger = Key::Pack(SessionId::new(8), PackNumber::new(1));
        let marks = [Key::TrimMark(SESSION, Segment::new(0)), Key::EndMark(SESSION)];
        let listed = || {
            let ours = [batch.clone(), seal.clone(), late.clone(), pack.clone(), stranger.clone()];
            ours.into_iter().chain(marks.clone())
        };
        assert_eq!(detached.collect(EndMark::NotKnown, listed()), Collection::CreateEndMark);
        assert_eq!(
            detached.collect(EndMark::Definite, listed()),
            Collection::Delete(vec![batch.clone(), late.clone(), pack.clone()])
        );
    }

    #[test]
    fn a_foreign_name_in_a_detached_session_is_left_alone() {
        let detached = Detached { session: SESSION, sealed_at: Position::new(5) };
        let foreign = alloc::format!("{}notes.txt", keys::session(SESSION));
        let listed = keys::parse(&foreign);
        assert_eq!(detached.collect(EndMark::Definite, listed), Collection::Delete(vec![]));
    }
}
