//! The state of a journal's writer: what is in flight, what is committed, what the next header says.
//!
//! Batches are submitted in order and answered in any order. Position n is committed when 1..=n are all won by this
//! session, so a batch that is won early waits for those before it. The checkpoint that a header names is fixed on
//! submit: its own if the batch carries one, else the newest committed one. Therefore a batch with a checkpoint is
//! alone in flight: a seal right after it then names objects that exist, even if the trim that the checkpoint allows
//! has begun.
//!
//! Invariants:
//!
//! * `committed <= submitted <= committed + in_flight_max`; neither ever goes down.
//! * `low_water < checkpoint_at <= committed`, or both are 0: what may be trimmed is in a committed checkpoint.
//! * A committed position is never lost, and after a loss nothing more is committed.

use crate::{
    ids::{Position, SessionId},
    journal::batch::BatchHeader,
    planted,
};

/// Most batches that a writer keeps in flight. Sealing relies on it: a header that claims more is refused.
pub const IN_FLIGHT_MAX: u64 = 64;

/// What a batch carries in addition to records of vnodes and slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carries {
    /// Nothing.
    Records,
    /// A checkpoint that covers everything at or below its low water.
    Checkpoint {
        /// The highest position it covers; at most what was committed when it was built.
        low_water: Position,
    },
}

/// The position of a checkpoint record, and what it covers. All zero: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Place {
    at: Position,
    low_water: Position,
}

/// The writer of one journal, after its opening was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    session: SessionId,
    in_flight_max: u64,
    submitted: Position,
    committed: Position,
    /// Bit i: position `committed + 1 + i` is won, but one before it isn't yet.
    won: u64,
    /// The newest committed checkpoint.
    checkpoint: Place,
    /// The checkpoint in flight.
    checkpoint_in_flight: Option<Place>,
    /// The lowest position that was lost.
    lost: Option<Position>,
}

impl Writer {
    /// A writer with no batches. Its opening must have been won: batch 1 may not be submitted before.
    ///
    /// # Panics
    ///
    /// When `in_flight_max`, in batches, isn't within 1 to [`IN_FLIGHT_MAX`].
    #[must_use]
    pub fn new(session: SessionId, in_flight_max: u64) -> Self {
        assert!(
            (1..=IN_FLIGHT_MAX).contains(&in_flight_max),
            "{in_flight_max} batches in flight: use 1 to {IN_FLIGHT_MAX}"
        );
        Self {
            session,
            in_flight_max,
            submitted: Position::ZERO,
            committed: Position::ZERO,
            won: 0,
            checkpoint: Place::default(),
            checkpoint_in_flight: None,
            lost: None,
        }
    }

    /// Whether a batch without a checkpoint may be submitted now.
    #[must_use]
    pub const fn may_submit(&self) -> bool {
        self.lost.is_none()
            && self.checkpoint_in_flight.is_none()
            && self.in_flight() < self.in_flight_max
    }

    /// Whether a batch with a checkpoint may be submitted now: only when nothing is in flight.
    #[must_use]
    pub const fn may_submit_checkpoint(&self) -> bool {
        self.lost.is_none() && self.in_flight() == 0
    }

    /// The header of the next batch. The batch is in flight from now on, and its bytes never change.
    ///
    /// # Panics
    ///
    /// When it may not be submitted now, or a checkpoint covers what isn't committed or less than the previous one.
    #[must_use]
    pub fn submit(&mut self, carries: Carries) -> BatchHeader {
        let position = self.next_position();
        let place = match carries {
            Carries::Records => {
                assert!(self.may_submit(), "{position} may not be submitted now: {self:?}");
                self.checkpoint
            }
            Carries::Checkpoint { low_water } => {
                assert!(
                    self.may_submit_checkpoint(),
                    "{position} carries a checkpoint and is not alone: {self:?}"
                );
                assert!(low_water <= self.committed, "{position} covers what isn't committed");
                assert!(
                    low_water >= self.checkpoint.low_water,
                    "{position} covers less than before"
                );
                let place = Place { at: position, low_water };
                self.checkpoint_in_flight = Some(place);
                place
            }
        };
        self.submitted = position;
        let place = planted::checkpoint_named(place, self.checkpoint);
        BatchHeader {
            session: self.session,
            position,
            committed: self.committed,
            low_water: place.low_water,
            checkpoint_at: place.at,
        }
    }

    /// A batch was won. Returns the new committed position, if it moved; everything up to it may become visible. `None`
    /// also when the session is over: the answer came too late.
    ///
    /// # Panics
    ///
    /// When the position isn't in flight or was won before.
    pub fn won(&mut self, position: Position) -> Option<Position> {
        if self.lost.is_some() {
            return None;
        }
        self.assert_in_flight(position);
        self.won |= 1 << (position.get() - self.committed.get() - 1);
        let advance = planted::batches_committed(self.won.trailing_ones(), self.won);
        if advance == 0 {
            return None;
        }
        self.won = self.won.checked_shr(advance).unwrap_or(0);
        self.committed = Position::new(self.committed.get() + u64::from(advance));
        assert!(self.committed <= self.submitted, "committed before it was submitted: {self:?}");
        if let Some(place) = self.checkpoint_in_flight
            && place.at <= self.committed
        {
            assert!(place.low_water < place.at, "a checkpoint covers what comes before it");
            self.checkpoint = place;
            self.checkpoint_in_flight = None;
        }
        Some(self.committed)
    }

    /// A batch was lost: another object is at its position, which can only be a seal. The session is over. With several
    /// batches in flight, more than one may be lost.
    ///
    /// # Panics
    ///
    /// When the position isn't in flight or was won.
    pub fn lost(&mut self, position: Position) {
        self.assert_in_flight(position);
        self.lost = Some(self.lost.map_or(position, |lost| lost.min(position)));
    }

    fn assert_in_flight(&self, position: Position) {
        assert!(
            self.committed < position && position <= self.submitted,
            "{position} is not in flight: {self:?}"
        );
        let bit = 1u64 << (position.get() - self.committed.get() - 1);
        assert!(self.won & bit == 0, "{position} was won already: {self:?}");
    }

    /// Whether the session is over, because a batch was lost to a seal.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.lost.is_some()
    }

    /// The highest position that is committed.
    #[must_use]
    pub const fn committed(&self) -> Position {
        self.committed
    }

    /// The highest position submitted.
    #[must_use]
    pub const fn submitted(&self) -> Position {
        self.submitted
    }

    /// The position of the open batch.
    #[must_use]
    pub const fn next_position(&self) -> Position {
        self.submitted.next()
    }

    /// The number of batches submitted and not committed, even if won out of order.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.submitted.get() - self.committed.get()
    }

    /// The most batches it keeps in flight.
    #[must_use]
    pub const fn in_flight_max(&self) -> u64 {
        self.in_flight_max
    }

    /// Everything at or below is in a *committed* checkpoint and may be trimmed.
    #[must_use]
    pub const fn low_water(&self) -> Position {
        self.checkpoint.low_water
    }

    /// The position of the newest committed checkpoint record; 0 when there is none.
    #[must_use]
    pub const fn checkpoint_at(&self) -> Position {
        self.checkpoint.at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: SessionId = SessionId::new(7);

    fn at(position: u64) -> Position {
        Position::new(position)
    }

    fn records(writer: &mut Writer) -> BatchHeader {
        writer.submit(Carries::Records)
    }

    fn checkpoint(writer: &mut Writer, low_water: u64) -> BatchHeader {
        writer.submit(Carries::Checkpoint { low_water: at(low_water) })
    }

    #[test]
    fn a_batch_that_is_won_early_waits_for_those_before_it() {
        let mut writer = Writer::new(SESSION, 3);
        for _ in 0..3 {
            records(&mut writer);
        }
        assert!(!writer.may_submit());
        assert_eq!(writer.won(at(3)), None);
        assert_eq!(writer.won(at(2)), None);
        assert_eq!(writer.won(at(1)), Some(at(3)));
        assert_eq!(writer.in_flight(), 0);
    }

    #[test]
    fn a_header_says_what_was_committed_on_submit() {
        let mut writer = Writer::new(SESSION, 2);
        assert_eq!(records(&mut writer).committed, at(0));
        assert_eq!(writer.won(at(1)), Some(at(1)));
        let header = records(&mut writer);
        assert_eq!((header.position, header.committed), (at(2), at(1)));
        assert_eq!(records(&mut writer).committed, at(1));
    }

    #[test]
    fn a_checkpoint_names_itself_and_is_alone_in_flight() {
        let mut writer = Writer::new(SESSION, 2);
        records(&mut writer);
        assert!(!writer.may_submit_checkpoint(), "batch 1 is in flight");
        assert_eq!(writer.won(at(1)), Some(at(1)));
        let header = checkpoint(&mut writer, 1);
        assert_eq!((header.low_water, header.checkpoint_at), (at(1), at(2)));
        assert!(!writer.may_submit(), "a checkpoint is in flight");
    }

    #[test]
    fn nothing_may_be_trimmed_before_the_checkpoint_is_committed() {
        let mut writer = Writer::new(SESSION, 1);
        records(&mut writer);
        assert_eq!(writer.won(at(1)), Some(at(1)));
        checkpoint(&mut writer, 1);
        assert_eq!((writer.low_water(), writer.checkpoint_at()), (at(0), at(0)));
        assert_eq!(writer.won(at(2)), Some(at(2)));
        assert_eq!((writer.low_water(), writer.checkpoint_at()), (at(1), at(2)));
        let header = records(&mut writer);
        assert_eq!((header.low_water, header.checkpoint_at), (at(1), at(2)));
    }

    #[test]
    fn after_a_loss_nothing_is_committed_not_even_a_won_batch() {
        let mut writer = Writer::new(SESSION, 3);
        for _ in 0..3 {
            records(&mut writer);
        }
        assert_eq!(writer.won(at(2)), None);
        writer.lost(at(3));
        assert!(writer.is_over() && !writer.may_submit() && !writer.may_submit_checkpoint());
        assert_eq!(writer.won(at(1)), None);
        assert_eq!(writer.committed(), at(0));
        writer.lost(at(1));
    }

    #[test]
    fn a_writer_with_the_most_batches_in_flight_counts_them_all() {
        let mut writer = Writer::new(SESSION, IN_FLIGHT_MAX);
        for _ in 0..IN_FLIGHT_MAX {
            records(&mut writer);
        }
        for position in (2..=IN_FLIGHT_MAX).rev() {
            assert_eq!(writer.won(at(position)), None);
        }
        assert_eq!(writer.won(at(1)), Some(at(IN_FLIGHT_MAX)));
    }

    #[test]
    #[should_panic(expected = "isn't committed")]
    fn a_checkpoint_never_covers_a_batch_that_is_not_committed() {
        let mut writer = Writer::new(SESSION, 1);
        checkpoint(&mut writer, 1);
    }

    #[test]
    #[should_panic(expected = "covers less")]
    fn a_checkpoint_never_covers_less_than_the_previous_one() {
        let mut writer = Writer::new(SESSION, 1);
        for position in 1..=2 {
            records(&mut writer);
            assert_eq!(writer.won(at(position)), Some(at(position)));
        }
        checkpoint(&mut writer, 2);
        assert_eq!(writer.won(at(3)), Some(at(3)));
        checkpoint(&mut writer, 1);
    }

    #[test]
    #[should_panic(expected = "not in flight")]
    fn a_committed_position_is_never_lost() {
        let mut writer = Writer::new(SESSION, 1);
        records(&mut writer);
        assert_eq!(writer.won(at(1)), Some(at(1)));
        writer.lost(at(1));
    }

    #[test]
    #[should_panic(expected = "won already")]
    fn a_position_is_won_once() {
        let mut writer = Writer::new(SESSION, 2);
        records(&mut writer);
        records(&mut writer);
        assert_eq!(writer.won(at(2)), None);
        assert_eq!(writer.won(at(2)), None);
    }

    proptest! {
        /// Against the definition: n is committed when 1..=n are all won.
        #[test]
        fn the_committed_prefix_is_exactly_what_was_won(
            in_flight_max in 1..=IN_FLIGHT_MAX,
            choices in proptest::collection::vec(any::<prop::sample::Index>(), 1..300),
        ) {
            let mut writer = Writer::new(SESSION, in_flight_max);
            let mut in_flight = alloc::collections::BTreeSet::new();
            for choice in choices {
                let may_submit = usize::from(writer.may_submit());
                let pick = choice.index(in_flight.len() + may_submit);
                if pick == in_flight.len() {
                    let header = records(&mut writer);
                    prop_assert_eq!(header.committed, writer.committed());
                    in_flight.insert(header.position);
                } else {
                    let position = *in_flight.iter().nth(pick).unwrap();
                    in_flight.remove(&position);
                    let before = writer.committed();
                    let moved = writer.won(position);
                    prop_assert_eq!(moved.unwrap_or(before), writer.committed());
                }
                let first_missing = in_flight.first().copied().unwrap_or(writer.next_position());
                prop_assert_eq!(Some(writer.committed()), first_missing.previous());
                prop_assert!(writer.in_flight() <= in_flight_max);
            }
        }
    }
}
