//! The epoch log: how its newest record is found, when a create counts, and what may be deleted.
//!
//! A reader goes forward from a known epoch, with one get each, until nothing is found. Old epochs are deleted by whole
//! segments, so "nothing found" and even "created" may mean that we are far behind, in a segment that was trimmed. A
//! segment's mark is created before its first epoch is deleted, and is never deleted: if the mark is absent *after* the
//! get or the create returned, the segment was not trimmed then.
//!
//! Invariants:
//!
//! * Marks are contiguous: if one is absent, its segment and all later ones are not trimmed.
//! * [`ReadEffect::Done`] follows only after a mark was found absent, after all other reads.
//! * A segment is marked only when all of it is older than the newest [`EPOCHS_KEPT_MIN`] epochs, so above the newest
//!   mark there is always an epoch.
//! * Numbers come from keys: an undecodable record is skipped if a later one can be read.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::{
    format::{
        codec::Malformed,
        segment::{EpochSegments, first_unmarked},
    },
    ids::{Epoch, Segment},
};

/// The number of newest epochs that are never deleted, regardless of the settings.
pub const EPOCHS_KEPT_MIN: u64 = 16;
/// The number of records read one by one before the reader lists instead.
const FORWARD_LEN_MAX: u64 = 16;

/// Whether a mark exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkState {
    /// It does: epochs of its segment may be deleted.
    Present,
    /// It did not, when it was read.
    Absent,
}

/// Whether a Won create of an epoch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateVerdict {
    /// It counts: the record is the epoch.
    Committed,
    /// We are far behind, and the epoch at this key had been deleted. The create counts as lost.
    InTrimmedLog,
}

/// Judges a Won create. `mark` is the mark of the epoch's segment, read after the create returned.
#[must_use]
pub const fn judge_create(mark: MarkState) -> CreateVerdict {
    match mark {
        MarkState::Absent => CreateVerdict::Committed,
        MarkState::Present => CreateVerdict::InTrimmedLog,
    }
}

/// The next step of the reader's driver. Each is answered by exactly one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReadEffect {
    /// Get this record; answer [`ReadEvent::Got`].
    Get(Epoch),
    /// Get this mark; answer [`ReadEvent::Marked`].
    GetMark(Segment),
    /// List the marks; answer [`ReadEvent::MarksListed`].
    ListMarks,
    /// List the epochs from this one on; answer [`ReadEvent::EpochsListed`].
    ListEpochs(Epoch),
    /// The end: the newest epoch. Its record was read now or was known before. 0: the log is empty.
    Done(Epoch),
    /// The end: the newest record can't be decoded. The reader must not write the next epoch until it is repaired.
    Broken(Malformed),
}

/// The answer to a [`ReadEffect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadEvent {
    /// What was found at the epoch's key.
    Got(Found),
    /// Whether the mark exists.
    Marked(MarkState),
    /// The marks that exist, in any order.
    MarksListed(BTreeSet<Segment>),
    /// The newest epoch that exists, by its key.
    EpochsListed(Option<Epoch>),
}

/// The result of a get of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A record.
    Record,
    /// An object that can't be decoded; its number is used up.
    Undecodable(Malformed),
}

/// Reads the log up to its newest record. Its driver retries failed requests and paces the lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochReader {
    segments: EpochSegments,
    known: Epoch,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Going forward: the epochs from `first` to before `next` were read, and a get of `next` is in flight. `newest` is
    /// `None` while `first` is known only from a list.
    Forward { first: Epoch, next: Epoch, newest: Option<Newest> },
    /// Nothing was found after the newest; the mark shows whether the segment was trimmed.
    Checking { newest: Newest },
    /// Far behind: the marks show the first segment that isn't trimmed.
    ListingMarks,
    /// Far behind: the newest key shows where to continue.
    ListingEpochs { first_unmarked: Segment },
    /// The reader has ended.
    Done,
}

/// The newest epoch found so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Newest {
    epoch: Epoch,
    /// The decoding error, if it can't be decoded.
    malformed: Option<Malformed>,
}

impl EpochReader {
    /// A reader that continues from an epoch that was once the newest; from 0 if none is known.
    #[must_use]
    pub fn new(known: Epoch, segments: EpochSegments) -> (Self, ReadEffect) {
        let mut reader = Self { segments, known, state: State::ListingMarks };
        let effect = if known == Epoch::ZERO {
            ReadEffect::ListMarks
        } else {
            let newest = Newest { epoch: known, malformed: None };
            reader.forward(known.next(), known.next(), Some(newest))
        };
        (reader, effect)
    }

    /// Takes the answer to the last effect; returns the next one.
    ///
    /// # Panics
    ///
    /// When the event doesn't answer the last effect.
    #[must_use]
    pub fn step(&mut self, event: ReadEvent) -> ReadEffect {
        let state = core::mem::replace(&mut self.state, State::Done);
        match (state, event) {
            (State::Forward { first, next, newest }, ReadEvent::Got(found)) => {
                self.on_got(first, next, newest, found)
            }
            (State::Checking { newest }, ReadEvent::Marked(mark)) => self.on_marked(newest, mark),
            (State::ListingMarks, ReadEvent::MarksListed(marks)) => {
                let first_unmarked = first_unmarked(marks);
                self.state = State::ListingEpochs { first_unmarked };
                ReadEffect::ListEpochs(self.segments.first(first_unmarked))
            }
            (State::ListingEpochs { first_unmarked }, ReadEvent::EpochsListed(newest)) => {
                self.on_listed(first_unmarked, newest)
            }
            (
                state @ (State::Forward { .. }
                | State::Checking { .. }
                | State::ListingMarks
                | State::ListingEpochs { .. }
                | State::Done),
                event,
            ) => panic!("{event:?} answers nothing in {state:?}"),
        }
    }

    fn on_got(
        &mut self,
        first: Epoch,
        next: Epoch,
        newest: Option<Newest>,
        found: Found,
    ) -> ReadEffect {
        let malformed = match (found, newest) {
            (Found::Absent, Some(newest)) => return self.check(first, newest),
            // A listed key is missing: it was deleted meanwhile.
            (Found::Absent, None) => return self.start_over(),
            (Found::Record, _) => None,
            (Found::Undecodable(malformed), _) => Some(malformed),
        };
        if next.get() - first.get() >= FORWARD_LEN_MAX {
            return self.start_over();
        }
        self.forward(first, next.next(), Some(Newest { epoch: next, malformed }))
    }

    /// Reads the mark after all epochs: if a segment had been trimmed before, the mark would exist. Marks are contiguous, so
    /// the mark of the first epoch's segment is enough.
    fn check(&mut self, first: Epoch, newest: Newest) -> ReadEffect {
        self.state = State::Checking { newest };
        ReadEffect::GetMark(self.segments.segment(first))
    }

    fn on_marked(&mut self, newest: Newest, mark: MarkState) -> ReadEffect {
        match mark {
            MarkState::Present => self.start_over(),
            MarkState::Absent => {
                assert!(newest.epoch >= self.known, "{} after {}", newest.epoch, self.known);
                match newest.malformed {
                    None => ReadEffect::Done(newest.epoch),
                    Some(malformed) => ReadEffect::Broken(malformed),
                }
            }
        }
    }

    fn on_listed(&mut self, first_unmarked: Segment, listed: Option<Epoch>) -> ReadEffect {
        match listed {
            Some(listed) if listed >= self.known => self.forward(listed, listed, None),
            None if first_unmarked == Segment::ZERO && self.known == Epoch::ZERO => {
                self.check(Epoch::new(1), Newest { epoch: Epoch::ZERO, malformed: None })
            }
            // There is always an epoch above the newest mark, and the newest epoch never goes down. So the list was
            // incomplete, and must not be read as an empty log.
            Some(_) | None => self.start_over(),
        }
    }

    fn forward(&mut self, first: Epoch, next: Epoch, newest: Option<Newest>) -> ReadEffect {
        self.state = State::Forward { first, next, newest };
        ReadEffect::Get(next)
    }

    fn start_over(&mut self) -> ReadEffect {
        self.state = State::ListingMarks;
        ReadEffect::ListMarks
    }
}

/// How much history is kept. Higher costs a few kilobytes per epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The number of epochs that are kept at least; values below [`EPOCHS_KEPT_MIN`] count as that.
    pub epochs: u64,
    /// Epochs younger than this are kept, by the writers' wall clocks.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { epochs: 1000, age: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

impl Retention {
    /// The first segment that is kept because of the number of epochs. A segment before it may be marked if its last record
    /// [`Self::is_old`], then deleted. `newest` is an epoch that was read; if it isn't the true newest, more is kept.
    #[must_use]
    pub fn due(&self, newest: Epoch, segments: EpochSegments) -> Segment {
        due(newest, self.epochs.max(EPOCHS_KEPT_MIN), segments)
    }

    /// Whether a record of this wall time, in milliseconds, is old enough to be deleted. One that can't be read has no
    /// time and is kept: an operator has to look.
    #[must_use]
    pub fn is_old(&self, wall_ms: Option<u64>, now_wall_ms: u64) -> bool {
        wall_ms.is_some_and(|wall_ms| {
            u128::from(now_wall_ms.saturating_sub(wall_ms)) >= self.age.as_millis()
        })
    }
}

/// Of the epochs that exist, those in marked segments. They may go at any time: a mark is never deleted, and what is
/// created there again doesn't count ([`judge_create`]). `marked` is the first segment without a mark.
pub fn leftovers(
    marked: Segment,
    segments: EpochSegments,
    existing: impl IntoIterator<Item = Epoch>,
) -> impl Iterator<Item = Epoch> {
    existing.into_iter().filter(move |&epoch| segments.segment(epoch) < marked)
}

/// [`Retention::due`] for any number of epochs to keep, at least 1.
fn due(newest: Epoch, kept: u64, segments: EpochSegments) -> Segment {
    assert!(kept > 0, "the newest epoch is kept");
    let last_due = Epoch::new(newest.get().saturating_sub(kept));
    segments.whole_up_to(last_due)
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::format::segment::{TrimStep, Trimmed};

    const TENS: EpochSegments = EpochSegments::new(10);

    /// A stored log.
    struct Stored {
        epochs: BTreeSet<u64>,
        undecodable: BTreeSet<u64>,
        marks: BTreeSet<u64>,
    }

    impl Stored {
        fn new(
            epochs: impl IntoIterator<Item = u64>,
            marks: impl IntoIterator<Item = u64>,
        ) -> Self {
            Self {
                epochs: epochs.into_iter().collect(),
                undecodable: BTreeSet::new(),
                marks: marks.into_iter().collect(),
            }
        }

        fn answer(&self, effect: &ReadEffect) -> Option<ReadEvent> {
            Some(match effect {
                ReadEffect::Get(epoch) if self.undecodable.contains(&epoch.get()) => {
                    ReadEvent::Got(Found::Undecodable(Malformed::new("epochs/x", "damaged")))
                }
                ReadEffect::Get(epoch) if self.epochs.contains(&epoch.get()) => {
                    ReadEvent::Got(Found::Record)
                }
                ReadEffect::Get(_) => ReadEvent::Got(Found::Absent),
                ReadEffect::GetMark(segment) if self.marks.contains(&segment.get()) => {
                    ReadEvent::Marked(MarkState::Present)
                }
                ReadEffect::GetMark(_) => ReadEvent::Marked(MarkState::Absent),
                ReadEffect::ListMarks => ReadEvent::MarksListed(
                    self.marks.iter().map(|&mark| Segment::new(mark)).collect(),
                ),
                ReadEffect::ListEpochs(from) => ReadEvent::EpochsListed(
                    self.epochs.range(from.get()..).next_back().map(|&epoch| Epoch::new(epoch)),
                ),
                ReadEffect::Done(_) | ReadEffect::Broken(_) => return None,
            })
        }

        /// All effects of a read; the last one is its end.
        fn read(&self, known: u64) -> Vec<ReadEffect> {
            let (mut reader, effect) = EpochReader::new(Epoch::new(known), TENS);
            let mut effects = vec![effect];
            while let Some(event) = self.answer(&effects[effects.len() - 1]) {
                assert!(effects.len() < 50, "it never ends: {effects:?}");
                effects.push(reader.step(event));
            }
            effects
        }
    }

    fn get(epoch: u64) -> ReadEffect {
        ReadEffect::Get(Epoch::new(epoch))
    }

    fn done(epoch: u64) -> ReadEffect {
        ReadEffect::Done(Epoch::new(epoch))
    }

    fn mark(segment: u64) -> ReadEffect {
        ReadEffect::GetMark(Segment::new(segment))
    }

    #[test]
    fn a_cached_epoch_is_confirmed_by_two_gets() {
        assert_eq!(Stored::new(1..=7, []).read(7), [get(8), mark(0), done(7)]);
    }

    #[test]
    fn later_epochs_are_read_one_by_one_and_checked_by_one_mark() {
        let effects = Stored::new(1..=12, []).read(9);
        assert_eq!(effects, [get(10), get(11), get(12), get(13), mark(1), done(12)]);
    }

    #[test]
    fn an_empty_log_is_recognized() {
        let effects = Stored::new([], []).read(0);
        let lists = [ReadEffect::ListMarks, ReadEffect::ListEpochs(Epoch::ZERO)];
        assert_eq!(effects[..2], lists);
        assert_eq!(effects[2..], [mark(0), done(0)]);
    }

    #[test]
    fn nothing_found_in_a_trimmed_segment_is_not_the_end() {
        let effects = Stored::new(25..=31, [0, 1]).read(7);
        assert_eq!(effects[..2], [get(8), mark(0)]);
        assert_eq!(effects[2..4], [ReadEffect::ListMarks, ReadEffect::ListEpochs(Epoch::new(20))]);
        assert_eq!(effects[4..], [get(31), get(32), mark(3), done(31)]);
    }

    #[test]
    fn a_record_created_in_a_trimmed_segment_is_not_the_newest() {
        // A host that is far behind created 8 again.
        assert_eq!(Stored::new([8, 25, 26], [0, 1]).read(7).last(), Some(&done(26)));
    }

    #[test]
    fn a_reader_far_behind_lists_instead_of_reading_each_epoch() {
        let effects = Stored::new(1..=90, []).read(2);
        assert_eq!(effects.last(), Some(&done(90)));
        assert!(effects.len() < 25, "{effects:?}");
    }

    #[test]
    fn an_undecodable_record_is_skipped_unless_it_is_the_newest() {
        let mut stored = Stored::new(1..=9, []);
        stored.undecodable.insert(8);
        assert_eq!(stored.read(7).last(), Some(&done(9)));
        stored.epochs.remove(&9);
        let last = stored.read(7).pop();
        assert!(matches!(last, Some(ReadEffect::Broken(_))), "{last:?}");
    }

    #[test]
    fn the_reader_starts_over_if_a_listed_epoch_is_missing() {
        let (mut reader, _) = EpochReader::new(Epoch::ZERO, TENS);
        let effect = reader.step(ReadEvent::MarksListed(BTreeSet::new()));
        assert_eq!(effect, ReadEffect::ListEpochs(Epoch::ZERO));
        assert_eq!(reader.step(ReadEvent::EpochsListed(Some(Epoch::new(5)))), get(5));
        assert_eq!(reader.step(ReadEvent::Got(Found::Absent)), ReadEffect::ListMarks);
    }

    #[test]
    fn an_incomplete_list_is_not_read_as_an_empty_log() {
        let (mut reader, _) = EpochReader::new(Epoch::ZERO, TENS);
        let effect = reader.step(ReadEvent::MarksListed(BTreeSet::from([Segment::new(0)])));
        assert_eq!(effect, ReadEffect::ListEpochs(Epoch::new(10)));
        assert_eq!(reader.step(ReadEvent::EpochsListed(None)), ReadEffect::ListMarks);
    }

    #[test]
    #[should_panic(expected = "answers nothing")]
    fn an_answer_to_another_question_is_refused() {
        let (mut reader, _) = EpochReader::new(Epoch::new(3), TENS);
        drop(reader.step(ReadEvent::Marked(MarkState::Absent)));
    }

    #[test]
    fn only_a_contiguous_run_of_marks_counts() {
        let marks = |marks: &[u64]| first_unmarked(marks.iter().map(|&mark| Segment::new(mark)));
        assert_eq!(marks(&[]), Segment::new(0));
        assert_eq!(marks(&[2, 0, 1, 5]), Segment::new(3));
        assert_eq!(marks(&[1]), Segment::new(0));
    }

    #[test]
    fn segments_cover_every_epoch_once() {
        assert_eq!(TENS.segment(Epoch::new(9)), Segment::new(0));
        assert_eq!(TENS.segment(Epoch::new(10)), Segment::new(1));
        let first: Vec<_> = TENS.members(Segment::new(0)).collect();
        assert_eq!((first[0], first.len()), (Epoch::new(1), 9));
        assert_eq!(TENS.members(Segment::new(1)).last(), Some(TENS.last(Segment::new(1))));
    }

    #[test]
    fn history_is_deleted_by_segment_after_its_mark() {
        let retention = Retention { epochs: 20, ..Retention::default() };
        let step = |newest, marked, deleted| {
            let (marked, deleted) = (Segment::new(marked), Segment::new(deleted));
            Trimmed { marked, deleted }.next_step(retention.due(Epoch::new(newest), TENS))
        };
        assert_eq!(step(28, 0, 0), None, "epoch 9 is among the newest 20");
        assert_eq!(step(29, 0, 0), Some(TrimStep::Mark(Segment::new(0))));
        assert_eq!(step(29, 1, 0), Some(TrimStep::Delete(Segment::new(0))));
        assert_eq!(step(29, 1, 1), None);
    }

    #[test]
    fn only_epochs_of_marked_segments_are_leftovers() {
        let existing = [1, 9, 10, 19, 20].map(Epoch::new);
        let found: Vec<_> = leftovers(Segment::new(2), TENS, existing).collect();
        assert_eq!(found, [1, 9, 10, 19].map(Epoch::new));
        assert_eq!(leftovers(Segment::ZERO, TENS, existing).count(), 0);
    }

    #[test]
    fn the_newest_sixteen_are_kept_regardless_of_the_settings() {
        let retention = Retention { epochs: 0, age: Duration::ZERO };
        let trimmed = Trimmed::default();
        assert_eq!(trimmed.next_step(retention.due(Epoch::new(24), TENS)), None);
        assert!(trimmed.next_step(retention.due(Epoch::new(25), TENS)).is_some());
    }

    #[test]
    fn a_record_is_old_by_the_wall_clocks() {
        let retention = Retention { epochs: 0, age: Duration::from_secs(1) };
        assert!(!retention.is_old(Some(5_000), 5_999));
        assert!(retention.is_old(Some(5_000), 6_000));
        assert!(!retention.is_old(Some(5_000), 0), "from a clock ahead of ours");
        assert!(!retention.is_old(None, u64::MAX), "it can't be read");
    }
}
